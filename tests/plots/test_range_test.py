"""What the picture of a range test shows, read from the figure that is written."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from lightning_lr.plots import plot_range_test
from lightning_lr.plots.axes import written
from lightning_lr.plots.frame import BLACK, BLUE, VERMILLION
from lightning_lr.range_test.readings import Run, Settings
from lightning_lr.range_test.result import RangeTest
from tests.plots.drawn import assert_texts_stand_clear, boxes, part

LRS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LOSSES = (2.0, 1.96, 1.7, 1.0, 0.5, 3.0)
RULES = {
    "steepest": 5e-3,
    "minimum/4": 0.025,
    "minimum/3": 0.1 / 3,
    "minimum/1.5": 0.1 / 1.5,
    "half of the drop": 0.01,
}
CHOSEN = {"base_lr": 0.01 / 1.5, "max_lr": 0.1 / 1.5, "fixed_lr": 0.1 / 3}
NEVER = {"suggestions": {}, "bands": {}, "base_lr": None, "max_lr": None, "fixed_lr": None}


def found(losses=LOSSES, runs=None, limits=(1e-5, 1.0), mode="exponential", validation=False, **given):
    """A range test as a picture sees it, with given suggestions: they are not what is tested here."""
    steps = max(3, *(len(run) for run in [losses, *(runs or [])]))
    settings = Settings(*limits, steps, mode, smoothing=0.0, validation=validation)
    values = {"suggestions": RULES, "bands": {}, "reliability": (), **CHOSEN, **given}
    return SimpleNamespace(
        settings=settings,
        runs=tuple(Run(run, "stopped") for run in runs or [losses]),
        lrs=settings.lrs[: len(losses)],
        losses=tuple(losses),
        **{"smoothed": tuple(losses), **values},
    )


def legend(figure):
    return [text.get_text() for text in part(figure).legends[0].get_texts()]


def lines(panel, label):
    return [line for line in panel.lines if line.get_label() == label]


def dots(panel):
    return {
        line.get_xdata()[0]: line.get_ydata()[0]
        for line in panel.lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    }


def uprights(panel):
    """Colour and dash of each line through the whole panel, by its rate."""
    found = [line for line in panel.lines if list(line.get_ydata()) == [0, 1]]
    return {line.get_xdata()[0]: (line.get_color(), line.get_linestyle()) for line in found}


def shades(panel):
    return [
        (patch.get_x(), patch.get_x() + patch.get_width()) for patch in panel.patches if isinstance(patch, Rectangle)
    ]


def texts(panel):
    return {text.get_text(): text for text in panel.texts}


# ---- the curve


def test_readings_and_the_smoothed_curve(figures):
    smoothed = (2.0, 1.9, 1.6, 1.1, 0.6, 2.0)
    plot_range_test(found(smoothed=smoothed), "lr.png", title="digits, cnn")
    panel, table = figures[0].axes
    (raw,), (curve,) = lines(panel, "each reading"), lines(panel, "smoothed")
    assert list(raw.get_xdata()) == pytest.approx(LRS)
    assert list(raw.get_ydata()) == list(LOSSES)
    assert list(curve.get_xdata()) == pytest.approx(LRS)
    assert list(curve.get_ydata()) == list(smoothed)
    assert raw.get_alpha() < 1
    assert raw.get_linewidth() < curve.get_linewidth()
    assert panel.get_xscale() == table.get_xscale() == "log"
    assert (panel.get_ylabel(), table.get_xlabel()) == ("training loss", "learning rate (log scale)")
    assert legend(figures[0]) == ["each reading", "smoothed", "for a cycle", "for no cycle"]
    assert figures[0].get_suptitle() == "digits, cnn"


def test_each_repeat_is_drawn_as_far_as_it_went(figures):
    runs = [LOSSES, (2.1, 2.0, 1.8, 1.2), (1.9, 1.9, 1.6, 0.8, 0.4)]
    plot_range_test(found((2.0, 1.95, 1.7, 1.0), runs=runs), "lr.png")
    panel = figures[0].axes[0]
    drawn = [tuple(line.get_ydata()) for line in panel.lines]
    assert drawn[:4] == [*runs, (2.0, 1.95, 1.7, 1.0)]
    assert [len(line.get_xdata()) for line in panel.lines[:4]] == [6, 4, 5, 4]
    assert len(lines(panel, "their mean")) == len(lines(panel, "each of 3 repeats")) == 1
    assert legend(figures[0])[:3] == ["each of 3 repeats", "their mean", "smoothed"]


def test_the_validation_loss_is_called_so(figures):
    plot_range_test(found(validation=True), "lr.png")
    assert figures[0].axes[0].get_ylabel() == "validation loss"


def test_linear_rates_stand_on_a_linear_axis(figures):
    plot_range_test(found(limits=(0.1, 0.6), mode="linear"), "lr.png")
    panel, table = figures[0].axes
    assert panel.get_xscale() == table.get_xscale() == "linear"
    assert table.get_xlabel() == "learning rate"
    # Most rules and the lower bound lie below the first reading, and in the picture.
    low, high = panel.get_xlim()
    assert low < 5e-3
    assert high > 0.6


@pytest.mark.parametrize(
    ("limits", "labels"),
    [
        ((1e-6, 10.0), ["1e-6", "1e-5", "1e-4", "1e-3", "0.01", "0.1", "1", "10"]),
        ((0.01, 0.1), ["0.01", "0.02", "0.05", "0.1"]),
        ((0.1, 0.14), ["0.1", "0.11", "0.12", "0.13", "0.14"]),
    ],
)
def test_rates_read_well(limits, labels, figures):
    plot_range_test(found(limits=limits, **NEVER), "lr.png")
    (panel,) = figures[0].axes
    low, high = panel.get_xlim()
    shown = [text.get_text() for text in panel.get_xticklabels() if low <= text.get_position()[0] <= high]
    assert [text for text in shown if text] == labels


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (1e-6, "1e-6"),
        (9.96e-4, "1e-3"),
        (0.00995, "0.01"),
        (0.03, "0.03"),
        (0.1 / 3, "0.033"),
        (999.0, "1e3"),
        (0, "0"),
    ],
)
def test_a_rate_as_people_write_it(rate, text):
    assert written(rate) == text


# ---- the losses' axis


def test_an_explosion_does_not_flatten_the_rest(figures):
    plot_range_test(found((2.0, 2.0, 1.0, 0.5, 1e6, 1e300)), "lr.png")
    bottom, top = figures[0].axes[0].get_ylim()
    # A bit above the level: 0.4 of the fall, and a margin.
    assert 2.6 <= top < 2.8
    assert 0.0 < bottom < 0.5


def test_a_loss_that_stays_near_its_level_is_shown_to_its_end(figures):
    plot_range_test(found((2.0, 2.0, 1.0, 0.5, 1.0, 2.3)), "lr.png")
    assert 2.3 < figures[0].axes[0].get_ylim()[1] < 2.5


def test_a_loss_that_only_explodes(figures):
    plot_range_test(found((2.0, 2.0, 2.0, 2.5, 50.0, 1e9), **NEVER), "lr.png")
    bottom, top = figures[0].axes[0].get_ylim()
    assert 1.9 < bottom < 2.0 < top < 2.2


def test_losses_that_are_all_the_same(figures):
    plot_range_test(found((0.0,) * 6, **NEVER), "lr.png")
    bottom, top = figures[0].axes[0].get_ylim()
    assert bottom < 0 < top


def test_noise_about_the_level_is_shown_and_a_reading_far_off_is_not(figures):
    level = [2.0 + 0.3 * (-1) ** step for step in range(40)]
    level[20] = 90.0
    losses = [*level, 1.5, 1.0, 0.5, 5e4]
    smoothed = [*[2.0] * 40, 1.5, 1.0, 0.5, 4.0]
    plot_range_test(found(losses, smoothed=smoothed), "lr.png")
    assert 2.3 < figures[0].axes[0].get_ylim()[1] < 3.5


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ((2.0, 2.0, 1.0, 0.05, 1.0, 1e6), "log"),
        ((2.0, 2.0, 1.0, 0.2, 1.0, 1e6), "linear"),
        ((2.0, 2.0, 1.0, 0.0, 1.0, 9.0), "linear"),
        ((2.0, 1.0, -1.0, -5.0, 1.0, 9.0), "linear"),
        # The climb at the end asks for nothing.
        ((2.0, 2.0, 2.0, 2.0, 1.0, 1e6), "linear"),
    ],
)
def test_losses_are_logarithmic_where_the_fall_asks_for_it(losses, scale, figures):
    plot_range_test(found(losses), "lr.png")
    panel = figures[0].axes[0]
    assert panel.get_yscale() == scale
    assert panel.get_ylabel() == {"log": "training loss (log scale)", "linear": "training loss"}[scale]
    bottom, top = panel.get_ylim()
    assert bottom < min(losses)
    assert top < 20


# ---- what it says


def test_three_phases_are_shaded_and_named(figures):
    plot_range_test(found(), "lr.png")
    left, right = figures[0].axes[0].get_xlim()
    for panel in figures[0].axes:
        # A tenth of the fall, 2.0 to 0.5, is lost below 1.85; the minimum is at 0.1.
        assert [edge for shade in shades(panel) for edge in shade] == pytest.approx([left, 1e-3, 1e-3, 0.1, 0.1, right])
    names = texts(figures[0].axes[0])
    assert [name for name in names if "=" not in name] == ["too low", "the loss falls", "too high"]
    assert left < names["too low"].get_position()[0] < 1e-3 < names["the loss falls"].get_position()[0] < 0.1
    assert 0.1 < names["too high"].get_position()[0] < right


def test_what_comes_after_the_last_reading_is_not_known(figures):
    plot_range_test(found((2.0, 2.0, 1.5, 1.0, 0.8, 0.7)), "lr.png")
    assert {"too low", "the loss falls"} <= set(texts(figures[0].axes[0]))
    assert "too high" not in texts(figures[0].axes[0])


def test_the_rates_to_use_stand_above_and_run_through_both_panels(figures):
    plot_range_test(found(), "lr.png")
    panel, table = figures[0].axes
    assert [text for text in texts(panel) if "=" in text] == ["base_lr=6.7e-3", "fixed_lr=0.033", "max_lr=0.067"]
    expected = {0.01 / 1.5: (VERMILLION, "--"), 0.1 / 1.5: (VERMILLION, "-"), 0.1 / 3: (BLACK, "-.")}
    assert uprights(panel) == uprights(table) == expected
    (bar,) = lines(panel, "for a cycle")
    assert list(bar.get_xdata()) == [0.01 / 1.5, 0.1 / 1.5]


def test_each_rule_has_a_row_and_a_dot_on_the_curve(figures):
    plot_range_test(found(), "lr.png")
    panel, table = figures[0].axes
    order = ["steepest", "half of the drop", "minimum/4", "minimum/3", "minimum/1.5"]
    assert [text.get_text() for text in table.get_yticklabels()] == order
    assert dots(table) == {RULES[rule]: row for row, rule in enumerate(order)}
    assert list(texts(table)) == ["5e-3", "0.01", "0.025", "0.033", "0.067"]
    assert [round(text.get_position()[1]) for text in table.texts] == [0, 1, 2, 3, 4]
    on_curve = dots(panel)
    assert on_curve[0.01] == pytest.approx(1.0)
    # Between readings, on the line that joins them on this axis: 1.7 at 1e-3, 1.0 at 1e-2.
    assert on_curve[5e-3] == pytest.approx(1.7 - 0.7 * math.log10(5))
    assert set(on_curve) == set(RULES.values())


def test_the_rules_that_were_taken_stand_out(figures):
    plot_range_test(found(), "lr.png")
    values = texts(figures[0].axes[1])
    assert {text: value.get_fontweight() for text, value in values.items()} == {
        "5e-3": "normal",
        "0.01": "normal",
        "0.025": "normal",
        "0.033": "bold",
        "0.067": "bold",
    }
    colors = {line.get_xdata()[0]: line.get_color() for line in figures[0].axes[1].lines if line.get_marker() == "o"}
    assert colors == {5e-3: BLUE, 0.01: BLUE, 0.025: BLUE, 0.1 / 3: BLACK, 0.1 / 1.5: VERMILLION}


def test_a_rule_below_the_first_reading_has_no_dot_on_the_curve(figures):
    plot_range_test(found(suggestions={"minimum/10": 1e-6, "minimum/3": 1e-4}), "lr.png")
    panel, table = figures[0].axes
    assert math.isnan(dots(panel)[1e-6])
    assert dots(table)[1e-6] == 0
    assert panel.get_xlim()[0] < 1e-6


def test_bands_lie_in_the_rows_of_their_rules(figures):
    bands = {"minimum/1.5": (0.02, 2.0), "steepest": (4e-3, 6e-3), "valley": (1e-9, 1e-8)}
    plot_range_test(found(runs=[LOSSES, LOSSES], bands=bands), "lr.png")
    panel, table = figures[0].axes
    spans = {tuple(line.get_xdata()): tuple(line.get_ydata()) for line in table.lines if line.get_linewidth() == 6}
    assert spans == {(4e-3, 6e-3): (0, 0), (0.02, 2.0): (4, 4)}
    assert list(texts(table)) == ["5e-3  (4e-3 to 6e-3)", "0.01", "0.025", "0.033", "0.067  (0.02 to 2)"]
    low, high = panel.get_xlim()
    assert high > 2.0
    # A rule that the mean says nothing of has no row.
    assert low > 1e-6


def test_a_curve_that_tells_nothing_says_so(figures):
    plot_range_test(found(**NEVER), "lr.png")
    (panel,) = figures[0].axes
    assert panel.get_title() == "no learning rate can be told from this curve"
    assert texts(panel) == {}
    assert shades(panel) == []
    assert legend(figures[0]) == ["each reading", "smoothed"]


@pytest.mark.parametrize("name", ["base_lr", "max_lr", "fixed_lr"])
def test_a_rate_that_is_not_told_is_not_drawn(name, figures):
    plot_range_test(found(**{name: None}), "lr.png")
    panel = figures[0].axes[0]
    assert not [text for text in texts(panel) if text.startswith(name)]
    assert set(uprights(panel)) == {rate for other, rate in CHOSEN.items() if other != name}
    assert ("for a cycle" in legend(figures[0])) == (name == "fixed_lr")
    assert ("for no cycle" in legend(figures[0])) == (name != "fixed_lr")


@pytest.mark.parametrize("losses", [(2.0,), (2.0, 1.0)])
def test_one_and_two_readings(losses, figures):
    plot_range_test(found(losses, **NEVER), "lr.png")
    (raw,) = lines(figures[0].axes[0], "each reading")
    assert list(raw.get_ydata()) == list(losses)
    assert raw.get_marker() == "o"


def test_two_readings_with_suggestions(figures):
    plot_range_test(found((2.0, 1.0), max_lr=0.1), "lr.png")
    assert [text for text in texts(figures[0].axes[0]) if "=" in text] == [
        "base_lr=6.7e-3",
        "fixed_lr=0.033",
        "max_lr=0.1",
    ]


# ---- what speaks against it

NOTES = (
    "range cut at 0.31: the run was stopped after 78 of 100 readings, and not by divergence; take away what stopped it "
    "(a callback, max_time, an interrupt) and test again",
    "costs $5 and $6",
)


def test_notes_are_written_below_wrapped_and_whole(figures):
    plot_range_test(found(reliability=NOTES), "lr.png")
    (below,) = figures[0].subfigs[1].texts
    assert " ".join(below.get_text().split()) == " ".join(f"• {note}" for note in NOTES)
    assert below.get_text().count("\n") == 2
    assert not below.get_parse_math()


def test_without_notes_nothing_is_written_below(figures):
    plot_range_test(found(), "lr.png")
    plot_range_test(found(reliability=NOTES), "lr.png")
    assert figures[0].subfigs == []
    assert figures[0].get_figheight() < figures[1].get_figheight()


BANDS = {rule: (rate / 1.234, rate * 1.234) for rule, rate in RULES.items()}
CASES = {
    "all": found(runs=[LOSSES] * 5, bands=BANDS, reliability=NOTES * 4),
    "at the left": found(base_lr=1.01e-5, fixed_lr=1.02e-5, max_lr=1.03e-5),
    "at the right": found(base_lr=0.97, fixed_lr=0.98, max_lr=0.99),
    "one place": found(base_lr=0.01, fixed_lr=0.01, max_lr=0.01),
    "narrow phases": found((2.0, 1.0, 0.5, 0.6, 0.8, 1.2), limits=(0.1, 1e5)),
    "nothing told": found(reliability=NOTES, **NEVER),
    "large losses": found([1e6 * loss for loss in LOSSES]),
    "a small fall": found([1e5 + loss for loss in LOSSES]),
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_off_and_none_lies_on_another(case, figures):
    plot_range_test(CASES[case], "lr.png", title="a title")
    (figure,) = figures
    assert len(boxes(figure)) > 10
    assert_texts_stand_clear(figure)


# ---- the real thing


def test_a_range_test_draws_itself(figures):
    losses = (2.0, 2.0, 1.95, 1.6, 0.9, 0.5, 0.45, 0.9, 7.0)
    test = RangeTest(Settings(min_lr=1e-4, max_lr=1.0, steps=9, smoothing=0.0), [Run(losses, "complete")])
    assert test.suggestions
    assert test.plot("lr.png").name == "lr.png"
    panel, table = figures[0].axes
    assert sorted(text.get_text() for text in table.get_yticklabels()) == sorted(test.suggestions)
    # Lowest at 0.1; a tenth of the drop is lost at 10**-2.5, below a tenth of max_lr.
    assert sorted(uprights(panel)) == pytest.approx([0.01 / 1.5, 0.1 / 3, 0.1 / 1.5])
    assert all(same_color(color, VERMILLION) for rate, (color, _) in uprights(panel).items() if rate == test.max_lr)


def test_a_test_without_a_reading():
    nothing = RangeTest(Settings(), [Run((), "stopped")])
    with pytest.raises(
        ValueError, match=r"^found\.lrs=\(\): nothing to draw, it ended before its first reading; run the test again$"
    ):
        plot_range_test(nothing, "lr.png")
