"""What the picture of several range tests shows, read from the figure that is written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lightning_lr.plots import plot_range_tests
from lightning_lr.range_test.readings import Run, Settings
from lightning_lr.range_test.result import RangeTest
from tests.plots.drawn import legend

SETTINGS = Settings(min_lr=1e-5, max_lr=1.0, steps=11, smoothing=0.0)
LOSSES = (2.0, 2.0, 2.0, 1.9, 1.5, 1.0, 0.7, 0.6, 0.5, 1.5, 9.0)
LATE = RangeTest(SETTINGS, [Run(LOSSES, "complete")])
EARLY = RangeTest(SETTINGS, [Run((*LOSSES[2:], 9.5, 10.0), "complete")])
NEVER = RangeTest(SETTINGS, [Run((2.0, 2.1) * 5, "diverged")])
TWICE = RangeTest(SETTINGS, [Run(LOSSES, "complete"), Run(LOSSES[:9], "diverged")])


def curves(panel):
    """The smoothed lines, by the name in the legend."""
    return {line.get_label().strip(): line for line in panel.lines if not line.get_label().startswith("_")}


def marked(panel):
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in panel.lines if len(line.get_xdata()) == 1]


def test_a_curve_each_with_a_mark_where_it_has_a_suggestion(figures):
    plot_range_tests({"momentum=0.8": LATE, "momentum=0.9": EARLY, "momentum=1": NEVER}, "lr.png", title="momenta")
    (panel,) = figures[0].axes
    # The lowest losses at 0.1 and 0.01, divided by 1.5.
    assert [text.strip() for text in legend(figures[0])] == [
        "momentum=0.8: max_lr=0.067",
        "momentum=0.9: max_lr=6.7e-3",
        "momentum=1: no max_lr",
    ]
    assert [tuple(line.get_ydata()) for line in curves(panel).values()] == [
        test.smoothed for test in (LATE, EARLY, NEVER)
    ]
    assert [tuple(line.get_xdata()) for line in curves(panel).values()] == [test.lrs for test in (LATE, EARLY, NEVER)]
    # On the line from 0.6 to 0.5, the readings half a decade before the lowest and at it, on a logarithmic axis.
    loss = 0.5 + 0.1 * math.log10(1.5) / 0.5
    assert marked(panel) == [pytest.approx((0.1 / 1.5, loss)), pytest.approx((0.01 / 1.5, loss))]
    assert (panel.get_xscale(), panel.get_xlabel()) == ("log", "learning rate (log scale)")
    assert panel.get_ylabel() == "training loss"
    assert figures[0].get_suptitle() == "momenta"


def test_every_reading_of_every_repeat_is_faint(figures):
    plot_range_tests({"a": TWICE, "b": NEVER}, "lr.png")
    (panel,) = figures[0].axes
    faint = [line for line in panel.lines if (line.get_alpha() or 1) < 0.5]
    assert [tuple(line.get_ydata()) for line in faint] == [LOSSES, LOSSES[:9], NEVER.losses]
    colors = [line.get_color() for line in curves(panel).values()]
    assert [line.get_color() for line in faint] == [colors[0], colors[0], colors[1]]


def test_eight_are_told_apart_by_colour_and_by_dashes(figures):
    plot_range_tests({f"weight_decay={index}": LATE for index in range(8)}, "lr.png")
    (panel,) = figures[0].axes
    lines = curves(panel).values()
    assert len({line.get_color() for line in lines}) == 8
    assert len({str(line._dash_pattern) for line in lines}) == 8
    assert len({line.get_marker() for line in lines}) == 8


def test_more_differ_in_one_of_the_two(figures):
    plot_range_tests({str(index): LATE for index in range(20)}, "lr.png")
    lines = curves(figures[0].axes[0]).values()
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 20


@pytest.mark.parametrize("label", ["_hidden", "$x$ 5$", "weight_decay=0.0001, batch_size=64, nesterov", "a word " * 30])
def test_a_label_is_in_the_legend_whole(label, figures):
    plot_range_tests({label: LATE, "other": EARLY, "third": NEVER}, "lr.png")
    (figure,) = figures
    assert "".join(legend(figure)[0].split()) == "".join(f"{label}: max_lr=0.067".split())
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_kinds_of_loss_that_differ(figures):
    held_out = RangeTest(Settings(1e-5, 1.0, 11, smoothing=0.0, validation=True), LATE.runs)
    plot_range_tests({"a": held_out}, "lr.png")
    plot_range_tests({"a": held_out, "b": LATE}, "lr.png")
    assert [figure.axes[0].get_ylabel() for figure in figures] == ["validation loss", "loss"]


def test_linear_rates(figures):
    linear = RangeTest(Settings(0.1, 1.1, 11, "linear", smoothing=0.0), LATE.runs)
    plot_range_tests({"a": linear}, "lr.png")
    plot_range_tests({"a": linear, "b": LATE}, "lr.png")
    assert [figure.axes[0].get_xscale() for figure in figures] == ["linear", "log"]


def test_one_that_explodes_does_not_flatten_the_others(figures):
    bomb = RangeTest(SETTINGS, [Run((*LOSSES[:9], 1e3, 1e12), "complete")])
    plot_range_tests({"a": LATE, "b": bomb}, "lr.png")
    bottom, top = figures[0].axes[0].get_ylim()
    assert 0 < bottom < 0.5
    assert 2.0 < top < 3.0


def test_nothing_to_draw():
    with pytest.raises(ValueError, match=r"^found={}: nothing to draw; give range tests by what each is to be called$"):
        plot_range_tests({}, "lr.png")
    nothing = RangeTest(SETTINGS, [Run((), "stopped")])
    message = r"^found\['b'\]\.lrs=\(\): nothing to draw, it ended before its first reading; run the test again$"
    with pytest.raises(ValueError, match=message):
        plot_range_tests({"a": LATE, "b": nothing}, "lr.png")
    assert not Path("lr.png").exists()
