"""What the picture of a run's loss shows, read from the figure that is written, and what cannot be drawn."""

from __future__ import annotations

import math

import pytest

from lightning_lr.plots import plot_loss
from lightning_lr.schedules.cycles import Cycle
from tests.plots.drawn import legend, points

NAN = math.nan


def test_loss_is_smoothed_within_each_cycle_and_the_legend_says_how(figures):
    train = [(step, 1.0 if step < 12 else 3.0) for step in range(24)]
    train[2] = (2, 11.0)
    train[20] = (20, NAN)
    plot_loss(train, "loss.png", validation=[(12, 1.5), (24, 2.5)], cycles=[Cycle(0, 0, 12), Cycle(1, 12, 24)])
    raw, first, second, validation = figures[0].axes[0].lines[:4]
    assert list(raw.get_ydata()) == pytest.approx([loss for _, loss in train], nan_ok=True)
    # (1 + 1 + 11)/3, (1 + 1 + 11 + 1)/4, then fifths until the spike has left the window
    assert list(first.get_ydata()) == pytest.approx([13 / 3, 3.5, 3.0, 3.0, 3.0, *[1.0] * 7])
    assert list(second.get_xdata()) == list(range(12, 24))
    assert list(second.get_ydata()) == pytest.approx([3.0] * 12)
    assert points(validation) == [(12, 1.5), (24, 2.5)]
    assert legend(figures[0]) == [
        "training, each reading, 1 not finite",
        "training, mean of 5 readings",
        "validation",
        "cycle end",
    ]


def test_one_explosion_does_not_stay_in_the_mean(figures):
    train = [(step, 1e30 if step == 10 else 0.25) for step in range(200)]
    plot_loss(train, "loss.png")
    assert list(figures[0].axes[0].lines[1].get_ydata()[13:]) == [0.25] * 187


@pytest.mark.parametrize(
    ("losses", "scale"),
    [((2.0, 0.05), "log"), ((2.0, 0.5), "linear"), ((2.0, 0.0), "linear"), ((0.05, -2.0), "linear")],
)
def test_loss_axis_is_logarithmic_where_the_spread_asks_for_it(losses, scale, figures):
    plot_loss(enumerate(losses), "loss.png")
    assert figures[0].axes[0].get_yscale() == scale


def test_few_readings_are_drawn_as_they_are(figures):
    plot_loss([(0, 2.0), (10, 1.0)], "loss.png")
    (line,) = figures[0].axes[0].lines
    assert points(line) == [(0, 2.0), (10, 1.0)]
    assert legend(figures[0]) == ["training"]


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        ([], None, r"train=\[\]: nothing to draw; give at least one value"),
        ([(0, NAN), (1, math.inf)], None, "train: nothing to draw, none of its 2 values is finite; "),
        ([(0, 1.0)], [], r"validation=\[\]: nothing to draw; "),
        ([(0, 1.0)], [(0, NAN)], "validation: nothing to draw, none of its 1 values is finite; "),
    ],
)
def test_losses_that_cannot_be_drawn(train, validation, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        plot_loss(train, "loss.png", validation=validation)
