"""What the picture of many runs shows, read from the figure that is written."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from lightning_lr.plots import plot_runs
from lightning_lr.plots.frame import BLUE, VERMILLION
from lightning_lr.plots.runs import look
from tests.plots.drawn import assert_texts_stand_clear, legend, named, points, shown_ticks

NAN = math.nan


def run(*accuracies, loss=None, lr=None):
    """A validation every ten updates."""
    places = [10 * (index + 1) for index in range(len(accuracies))]
    made = {"accuracy": list(zip(places, accuracies, strict=True))}
    if loss is not None:
        made["loss"] = list(zip(places, loss, strict=True))
    if lr is not None:
        made["lr"] = list(enumerate(lr))
    return made


def band(panel):
    """Lowest and highest by place."""
    (filled,) = panel.collections
    by_place = {}
    for x, y in filled.get_paths()[0].vertices:
        by_place.setdefault(float(x), []).append(float(y))
    return {x: (min(ys), max(ys)) for x, ys in by_place.items()}


def test_three_panels_share_the_updates(figures):
    sgdr = [run(0.5, 0.9, loss=(1.0, 0.5), lr=(0.5, 0.4, 0.3)), run(0.7, 0.8, loss=(2.0, 1.5), lr=(0.5, 0.4, 0.3))]
    plot_runs({"sgdr": sgdr, "step": [run(0.6, 0.7, loss=(1, 1), lr=(0.1, 0.1, 0.1))]}, "curves.png", title="digits")
    (figure,) = figures
    loss, lr, accuracy = figure.axes
    assert [panel.get_ylabel() for panel in figure.axes] == [
        "validation loss",
        "learning rate",
        "validation accuracy (%)",
    ]
    assert [panel.get_xlabel() for panel in figure.axes] == ["", "", "optimizer updates"]
    assert loss.get_shared_x_axes().joined(loss, accuracy)
    assert points(named(loss, " sgdr (n=2)")) == [(10, 1.5), (20, 1.0)]
    assert points(named(lr, " sgdr (n=2)")) == [(0, 0.5), (1, 0.4), (2, 0.3)]
    assert points(named(accuracy, " sgdr (n=2)")) == [(10, pytest.approx(60)), (20, pytest.approx(85))]
    assert points(named(accuracy, " step (n=1)")) == [(10, 60), (20, 70)]
    assert legend(figure) == [" sgdr (n=2)", " step (n=1)"]
    assert figure.get_suptitle() == "digits"


def test_the_band_goes_from_the_lowest_to_the_highest_and_one_run_has_none(figures):
    plot_runs({"a": [run(0.5, 0.9), run(0.7, 0.8), run(0.6, 0.6)], "b": [run(0.1, 0.2)]}, "curves.png")
    (panel,) = figures[0].axes
    assert band(panel) == {10: (50, 70), 20: (60, 90)}
    assert to_hex(panel.collections[0].get_facecolor()) == BLUE.lower()
    assert named(panel, " b (n=1)").get_color() == VERMILLION


def test_runs_that_were_read_at_other_places_are_straight_in_between(figures):
    one, other = [(0, 0.0), (10, 0.5), (20, 0.7)], [(5, 0.1), (25, 0.9)]
    plot_runs({"a": [{"accuracy": one}, {"accuracy": other}]}, "curves.png")
    (panel,) = figures[0].axes
    line = named(panel, " a (n=2)")
    places, values = line.get_data()
    # Where one has not begun, or is at its end, there is no mean of two.
    assert list(places) == [0, 5, 10, 20, 25]
    assert list(values) == pytest.approx([NAN, 17.5, 40.0, 70.0, NAN], nan_ok=True)
    assert np.interp(10, *zip(*other, strict=True)) == pytest.approx(0.3)
    # What was not read is not marked as if it were.
    assert line.get_marker() == ""


def test_few_readings_are_marked_and_many_are_not(figures):
    plot_runs({"few": [run(*[0.5] * 40)], "many": [run(*[0.5] * 41)]}, "curves.png")
    (panel,) = figures[0].axes
    assert named(panel, " few (n=1)").get_marker() == "o"
    assert named(panel, " many (n=1)").get_marker() == ""


def test_a_run_that_breaks_takes_the_mean_with_it_and_is_counted(figures):
    plot_runs({"a": [run(0.5, 0.6, loss=(1.0, 0.5)), run(0.5, 0.6, loss=(1.0, math.inf))]}, "curves.png")
    loss = figures[0].axes[0]
    assert list(named(loss, " a (n=2, 1 not finite)").get_ydata()) == pytest.approx([1.0, NAN], nan_ok=True)


def test_a_quantity_that_nobody_has_is_left_out_and_a_kind_without_it_is_in_the_legend(figures):
    plot_runs({"a": [run(0.5, lr=(0.1,))], "b": [{"lr": [(0, 0.2)]}], "none": []}, "curves.png")
    assert [panel.get_ylabel() for panel in figures[0].axes] == ["learning rate", "validation accuracy (%)"]
    assert legend(figures[0]) == [" a (n=1)", " b (n=1)", " none (n=0)"]


def test_the_target_is_marked_in_the_panel_of_accuracies(figures):
    plot_runs({"a": [run(0.5, 0.9, loss=(1, 1))]}, "curves.png", target=0.975)
    loss, accuracy = figures[0].axes
    assert set(named(accuracy, "target: 97.5 %").get_ydata()) == {97.5}
    assert accuracy.get_ylim()[1] > 97.5
    assert [line.get_label() for line in loss.lines] == [" a (n=1)"]


def test_the_axis_of_accuracies_begins_where_the_worst_kind_is_after_a_quarter(figures):
    plot_runs({"a": [run(0.1, 0.9, 0.95, 0.97, 0.98)], "b": [run(0.2, 0.8, 0.9, 0.95, 0.99)]}, "curves.png")
    low, high = figures[0].axes[0].get_ylim()
    assert (low, high) == (pytest.approx(80 - 0.08 * 19), pytest.approx(99 + 0.08 * 19))


def test_accuracies_that_are_all_the_same_have_an_axis_too(figures):
    plot_runs({"a": [run(1.0, 1.0)], "b": [{"accuracy": [(5, 1.0)]}]}, "curves.png")
    low, high = figures[0].axes[0].get_ylim()
    assert low < 99 < 100 < high < 101


@pytest.mark.parametrize(
    ("losses", "scale"), [((2.0, 0.11), "linear"), ((2.0, 0.05), "log"), ((2.0, 0.0), "linear"), ((5.0, -1), "linear")]
)
def test_losses_are_on_a_logarithmic_axis_where_they_ask_for_it(losses, scale, figures):
    plot_runs({"a": [run(0.5, 0.6, loss=losses)]}, "curves.png")
    loss = figures[0].axes[0]
    assert loss.get_yscale() == scale
    assert loss.get_ylabel() == {"log": "validation loss\n(log scale)", "linear": "validation loss"}[scale]
    if scale == "log":
        assert {"0.1", "1", "2"} <= set(shown_ticks(loss.yaxis))


def test_a_rate_that_goes_down_to_nothing_is_no_reason_for_a_logarithmic_axis(figures):
    plot_runs({"a": [run(0.5, lr=(0.5, 1e-6))], "b": [run(0.5, lr=(0.1, 0.0))]}, "curves.png")
    assert figures[0].axes[0].get_yscale() == "linear"
    plot_runs({"a": [run(0.5, lr=(0.5, 1e-6))], "b": [run(0.5, lr=(0.01, 0.0))]}, "curves.png")
    panel = figures[1].axes[0]
    assert panel.get_yscale() == "log"
    assert panel.get_ylim() == pytest.approx((0.01 / 20, 1.0))


def test_kinds_are_told_apart_by_colour_and_dashes():
    looks = [look(index) for index in range(42)]
    assert len(set(looks)) == 42
    assert len({each.color for each in looks[:7]}) == 7
    assert len({each.dashes for each in looks[:6]}) == 6


CASES = {
    "one": {"sgdr": [run(0.5)]},
    "twelve": {f"schedule=sgdr schedule.max_lr={index}": [run(0.5, 0.9, lr=(0.1,))] * 3 for index in range(12)},
    "long": {"x" * 200: [run(0.5, 0.9, loss=(1, 2))], "data.name=$x_1$ $a$": [run(0.1, 0.2)]},
    "_hidden": {"_a": [run(0.5, loss=(1e9,), lr=(1e-9,))]},
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_off_and_none_lies_on_another(case, figures):
    plot_runs(CASES[case], "curves.png", target=0.95, title="a title")
    assert len(legend(figures[0])) == len(CASES[case]) + 1
    assert_texts_stand_clear(figures[0])


REFUSED = [
    ({}, "groups of 0: nothing to draw, no value is finite; give runs that have logged"),
    ({"a": [{}]}, "groups of 1: nothing to draw, no value is finite; "),
    ({"a": [run(NAN)]}, "groups of 1: nothing to draw, no value is finite; "),
    ({"a": [{"acc": [(0, 1.0)]}]}, r"groups\['a'\]: 'acc' is not known; give loss, lr, accuracy"),
]


@pytest.mark.parametrize(("groups", "message"), REFUSED)
def test_runs_that_cannot_be_drawn(groups, message):
    with pytest.raises(ValueError, match=f"^{message}") as refused:
        plot_runs(groups, "curves.png")
    assert "\n" not in str(refused.value)
    assert not Path("curves.png").exists()


def test_other_files_than_pictures_are_refused():
    with pytest.raises(ValueError, match=r"^path='curves.txt': not the name of a picture"):
        plot_runs({"a": [run(0.5)]}, "curves.txt")
