"""What the picture of poolings shows, read from the figure that is written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lightning_lr.plots import plot_poolings
from lightning_lr.plots.frame import VERMILLION
from tests.plots.drawn import assert_texts_stand_clear, texts

SCORES = {
    "mean_prob": {"accuracy": 0.972, "nll": 0.11, "brier": 0.05, "ece": 0.021},
    "vote": {"accuracy": 0.968, "nll": 1.9, "brier": 0.06, "ece": 0.04},
    "greedy": {"accuracy": 0.972, "nll": 0.098, "brier": 0.055, "ece": 0.008},
}


def dots(panel):
    return {line.get_ydata()[0]: line.get_xdata()[0] for line in panel.lines}


def outstanding(panel):
    rows = [line.get_ydata()[0] for line in panel.lines if line.get_color() == VERMILLION]
    assert [text.get_position()[1] for text in panel.texts if text.get_fontweight() == "bold"] == rows
    return rows


def test_a_row_a_pooling_and_a_panel_a_score(figures):
    plot_poolings(SCORES, "poolings.png", title="digits")
    panels = figures[0].axes
    assert [panel.get_title() for panel in panels] == [
        "accuracy (%)\nmore is better",
        "NLL (nats)\nless is better",
        "Brier score\nless is better",
        "ECE (%)\nless is better",
    ]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == list(SCORES)
    assert panels[0].get_ylim() == (2.5, -0.5)
    assert [dots(panel) for panel in panels] == [
        {0: 97.2, 1: 96.8, 2: 97.2},
        {0: 0.11, 1: 1.9, 2: 0.098},
        {0: 0.05, 1: 0.06, 2: 0.055},
        pytest.approx({0: 2.1, 1: 4.0, 2: 0.8}),
    ]
    assert [texts(panel) for panel in panels] == [
        ["97.20", "96.80", "97.20"],
        ["0.110", "1.90", "0.0980"],
        ["0.0500", "0.0600", "0.0550"],
        ["2.10", "4.00", "0.80"],
    ]
    assert figures[0].get_suptitle() == "digits"


def test_the_best_of_each_score_stands_out(figures):
    plot_poolings(SCORES, "poolings.png")
    assert [outstanding(panel) for panel in figures[0].axes] == [[0, 2], [2], [0], [2]]


def test_where_all_are_the_same_none_stands_out(figures):
    plot_poolings({"a": SCORES["vote"], "b": SCORES["vote"]}, "poolings.png")
    assert [outstanding(panel) for panel in figures[0].axes] == [[]] * 4


def test_every_dot_is_in_its_panel(figures):
    plot_poolings(SCORES, "poolings.png")
    plot_poolings({"alone": SCORES["vote"]}, "poolings.png")
    plot_poolings({"a": {"mse": 0.0, "mae": 0.0, "nll": -1e9}, "b": {"mse": 0.0, "mae": 1e-9, "nll": 1e9}}, "mse.png")
    for figure in figures:
        for panel in figure.axes:
            low, high = panel.get_xlim()
            assert all(low < value < high for value in dots(panel).values())


@pytest.mark.parametrize(
    ("nlls", "scale"), [((0.1, 2.1), "log"), ((0.1, 1.9), "linear"), ((-0.1, 9.0), "linear"), ((0.0, 9.0), "linear")]
)
def test_the_scale_is_logarithmic_where_the_spread_asks_for_it(nlls, scale, figures):
    plot_poolings({str(nll): {"nll": nll} for nll in nlls}, "poolings.png")
    (panel,) = figures[0].axes
    assert panel.get_xscale() == scale
    assert panel.get_xlabel() == {"log": "log scale", "linear": ""}[scale]


def test_what_is_not_finite_is_written_and_not_drawn(figures):
    plot_poolings({"a": {"mse": 1.0, "nll": math.nan}, "b": {"mse": 2.0, "nll": math.inf}}, "poolings.png")
    mse, nll = figures[0].axes
    assert texts(nll) == ["nan", "inf"]
    assert list(nll.get_xticks()) == []
    assert outstanding(mse) == [0]


LONG = "last {} of 12 members, weights 0.25 0.25 $x$ 0.5, temperature 1.3"
CASES = {
    "long names": {LONG.format(index): SCORES["vote"] for index in range(3)},
    "twenty": {f"pooling {index}": {**SCORES["vote"], "nll": 10.0**-index} for index in range(20)},
    "one": {"vote": SCORES["vote"]},
    "large": {str(index): {"mse": 1e6 * index, "mae": 1e3 * index, "nll": -1e5 * index} for index in range(1, 8)},
    "one score": {"a": {"nll": 0.1}, "b": {"nll": 0.2}},
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_off_and_none_lies_on_another(case, figures):
    plot_poolings(CASES[case], "poolings.png", title="a title")
    (figure,) = figures
    assert_texts_stand_clear(figure)
    names = figure.axes[0].get_yticklabels()
    assert ["".join(text.get_text().split()) for text in names] == ["".join(name.split()) for name in CASES[case]]
    assert not any(text.get_parse_math() for text in names)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "scores={}: nothing to draw; give the scores of each pooling by its name"),
        (
            {"vote": {}},
            r"scores\['vote'\]={}: nothing to draw; give at least one of accuracy, mse, mae, nll, brier, ece",
        ),
        ({"vote": {"nll": 1.0}, "mean": {}}, r"scores\['mean'\]\['nll'\]=None: missing; give the same scores of each"),
        ({"vote": {"ece": 4.0}}, r"scores\['vote'\]\['ece'\]=4.0: not a share; give it from 0 to 1"),
    ],
)
def test_poolings_that_cannot_be_drawn(scores, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        plot_poolings(scores, "poolings.png")
    assert not Path("poolings.png").exists()
