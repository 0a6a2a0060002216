"""What a range test is asked for and what it reads: what is refused, which rates are taken, and where it ends."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.range_test.readings import Divergence, Run, Settings

# ---- settings


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"min_lr": 0.01, "max_lr": 1.0, "steps": 3}, (0.01, 0.1, 1.0)),
        ({"min_lr": 1.0, "max_lr": 16.0, "steps": 5}, (1.0, 2.0, 4.0, 8.0, 16.0)),
        ({"min_lr": 1.0, "max_lr": 3.0, "steps": 5, "mode": "linear"}, (1.0, 1.5, 2.0, 2.5, 3.0)),
        ({"min_lr": 1, "max_lr": 3, "steps": 3, "mode": "linear"}, (1.0, 2.0, 3.0)),
    ],
)
def test_learning_rates(given, expected):
    lrs = Settings(**given).lrs
    assert lrs == pytest.approx(expected)
    assert all(type(lr) is float for lr in lrs)
    assert (lrs[0], lrs[-1]) == (expected[0], expected[-1])


@given(st.floats(1e-12, 10.0), st.floats(1.01, 1e10), st.integers(3, 500), st.sampled_from(["exponential", "linear"]))
def test_learning_rates_hit_both_ends_and_rise(min_lr, factor, steps, mode):
    lrs = Settings(min_lr=min_lr, max_lr=min_lr * factor, steps=steps, mode=mode).lrs
    assert len(lrs) == steps
    assert (lrs[0], lrs[-1]) == (min_lr, min_lr * factor)
    assert all(lower < upper for lower, upper in pairwise(lrs))
    assert lrs[:-1] == pytest.approx(
        [
            min_lr * factor ** (i / (steps - 1))
            if mode == "exponential"
            else min_lr * (1 + (factor - 1) * i / (steps - 1))
            for i in range(steps - 1)
        ]
    )


def test_defaults():
    assert Settings() == Settings(1e-6, 10.0, 100, "exponential", 0.75, 4.0, None, None, False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"min_lr": 0.0}, ValueError, "min_lr=0.0: out of range; pass a number above 0"),
        ({"min_lr": 0.0, "mode": "linear"}, ValueError, "min_lr=0.0: out of range; pass a number above 0"),
        ({"min_lr": "1e-6"}, TypeError, "min_lr='1e-6': not a number; pass a number above 0"),
        ({"max_lr": math.inf}, ValueError, "max_lr=inf: not finite; pass a number above 0"),
        (
            {"min_lr": 0.1, "max_lr": 0.1},
            ValueError,
            "min_lr=0.1: not below max_lr=0.1; pass a min_lr that is smaller than max_lr",
        ),
        (
            {"min_lr": 1, "max_lr": 0.5},
            ValueError,
            "min_lr=1: not below max_lr=0.5; pass a min_lr that is smaller than max_lr",
        ),
        ({"steps": 2}, ValueError, "steps=2: out of range; pass an int of at least 3"),
        ({"steps": 100.0}, TypeError, "steps=100.0: not an int; pass an int of at least 3"),
        ({"mode": "log"}, ValueError, "mode='log': unknown; pass 'exponential' or 'linear'"),
        ({"smoothing": 1.0}, ValueError, "smoothing=1.0: out of range; pass a number of at least 0 and below 1"),
        ({"smoothing": -0.1}, ValueError, "smoothing=-0.1: out of range; pass a number of at least 0 and below 1"),
        ({"early_stop_threshold": 1}, ValueError, "early_stop_threshold=1: out of range; pass a number above 1"),
        ({"momentum": 1.0}, ValueError, "momentum=1.0: out of range; pass a number of at least 0 and below 1"),
        ({"momentum": True}, TypeError, "momentum=True: not a number; pass a number of at least 0 and below 1"),
        ({"optimizer": -1}, ValueError, "optimizer=-1: out of range; pass an int of at least 0"),
        ({"validation": 1}, TypeError, "validation=1: not a bool; pass True or False"),
        (
            {"min_lr": 1.0, "max_lr": 1.0 + 2**-51, "steps": 100},
            ValueError,
            "steps=100: more than there are floats from min_lr=1.0 to max_lr=1.0000000000000004; pass a larger max_lr",
        ),
    ],
)
def test_settings_refuse(arguments, error, message):
    with pytest.raises(error) as refused:
        Settings(**arguments)
    assert str(refused.value) == message


def test_settings_hold_plain_floats():
    chosen = Settings(min_lr=np.float32(0.5), max_lr=Fraction(3, 2), steps=3, early_stop_threshold=5, momentum=0)
    assert chosen == Settings(min_lr=0.5, max_lr=1.5, steps=3, early_stop_threshold=5.0, momentum=0.0)
    assert {type(chosen.min_lr), type(chosen.max_lr), type(chosen.early_stop_threshold), type(chosen.momentum)} == {
        float
    }
    assert Settings(early_stop_threshold=None).early_stop_threshold is None


def test_smoothing_is_told_at_a_hundred_steps():
    assert Settings(smoothing=0.8).weight == 0.8
    assert Settings(smoothing=0.8, steps=200).weight ** 2 == pytest.approx(0.8)
    assert Settings(smoothing=0.8, steps=50).weight == pytest.approx(0.64)
    assert Settings(smoothing=0.0, steps=50).weight == 0.0


# ---- runs


@pytest.mark.parametrize(
    ("losses", "ended", "error", "message"),
    [
        ((1.0, math.nan), "diverged", ValueError, "losses[1]=nan: not finite; pass a finite number"),
        ((math.inf,), "diverged", ValueError, "losses[0]=inf: not finite; pass a finite number"),
        (("1.0",), "complete", TypeError, "losses[0]='1.0': not a number; pass a finite number"),
        ((1.0,), "done", ValueError, "ended='done': unknown; pass 'complete' or 'diverged' or 'stopped'"),
    ],
)
def test_a_run_refuses(losses, ended, error, message):
    with pytest.raises(error) as refused:
        Run(losses, ended)
    assert str(refused.value) == message


def test_a_run_holds_plain_floats():
    run = Run([np.float32(0.5), 2], "stopped")
    assert run == Run((0.5, 2.0), "stopped")
    assert [type(loss) for loss in run.losses] == [float, float]


# ---- where it ends


def where(losses, smoothing=0.0, threshold=4.0, steps=100):
    """The reading at which the loss has diverged for the first time; None where it never has."""
    diverged = Divergence(Settings(steps=steps, smoothing=smoothing, early_stop_threshold=threshold))
    said = [diverged(loss) for loss in losses]
    return said.index(True) if True in said else None


@pytest.mark.parametrize(
    ("threshold", "losses", "expected"),
    [
        # The lowest is 1: four times that, which is above the start.
        (4.0, (2.0, 2.0, 1.0, 3.9, 4.1), 4),
        (1.5, (2.0, 2.0, 1.0, 1.4, 2.1), 4),
        (10.0, (2.0, 2.0, 1.0, 9.9, 10.1), 4),
        # Of the first reading, where it is the lowest.
        (4.0, (1.0, 1.5, 3.9, 4.1), 3),
        # Many times the lowest, and not yet back above the start.
        (4.0, (1.0, 0.1, 0.5, 0.99, 1.01), 4),
        (1.001, (2.0, 1.0, 1.5, 1.99, 2.01), 4),
        # Back above the start, and not yet so many times the lowest.
        (4.0, (1.0, 0.9, 1.1, 3.5, 3.7), 4),
        # The lowest of all so far, and the start is the first and not the highest.
        (4.0, (1.0, 0.5, 1.9, 0.4, 1.7), 4),
        (4.0, (1.0, 3.0, 0.1, 1.1), 3),
        # No multiple of 0 is above it: the start alone counts.
        (4.0, (1.0, 0.0, 0.5, 0.99, 1.01), 4),
        (4.0, (0.0, 0.0, 0.01), 2),
        # Below 0: three times the size of the lowest above it, -1 + 3 * 1.
        (4.0, (-0.5, -1.0, 0.0, 1.9, 2.1), 4),
        (4.0, (-5.0, -9.0, -6.0, 17.0, 19.0), 4),
        # From above 0 to below it.
        (4.0, (3.0, -0.1, 0.3, 2.9, 3.1), 4),
        # What does not rise has not diverged.
        (1.001, (2.0,) * 9, None),
        (1.001, (0.0,) * 9, None),
        (1.001, (-2.0,) * 9, None),
        (1.001, (2.0, 1.0, 0.0, -1.0, -2.0), None),
    ],
)
def test_a_loss_has_diverged_at_so_many_times_its_lowest_and_above_its_start(threshold, losses, expected):
    assert where(losses, threshold=threshold) == expected


@pytest.mark.parametrize("smoothing", [0.0, 0.75])
def test_without_a_threshold_no_loss_has_diverged(smoothing):
    assert where((1.0, 0.1, 1e6, 1e30, 1e300), smoothing, threshold=None) is None
    assert where((1.0, 0.1, 1e6, 1e30, 1e300), smoothing, threshold=1e3) == 2


@pytest.mark.parametrize(
    ("steps", "losses", "expected"),
    [
        # The weights of 1, 1, 1, x are 27/64, 9/16, 3/4 and 1, together 175/64. Their mean is above 4, four times the
        # first, where x > 4 * 175/64 - 111/64 = 9.203.
        (100, (1.0, 1.0, 1.0, 9.2), None),
        (100, (1.0, 1.0, 1.0, 9.21), 3),
        # Two in a row need less: that of 1, 1, x, x where 7/4 x > 4 * 175/64 - 63/64, so x > 5.6875.
        (100, (1.0, 1.0, 5.68, 5.68), None),
        (100, (1.0, 1.0, 5.69, 5.69), 3),
        # The lowest mean is that of 8, 0, 0: 9/2 to 37/16. Its fourfold is 7.8, below the start of 8, which is passed
        # where x > 8 * 175/64 - 27/8 = 18.5.
        (100, (8.0, 0.0, 0.0, 18.4), None),
        (100, (8.0, 0.0, 0.0, 18.6), 3),
        # The lowest is a mean too: that of 1, 0 is 3/7 and not 0. Passed where x > 12/7 * 37/16 - 9/16 = 3.402.
        (100, (1.0, 0.0, 3.4), None),
        (100, (1.0, 0.0, 3.41), 2),
        # Below 0: the mean of -1, -1, x is above -1 + 3 where x > 2 * 37/16 + 21/16 = 5.9375.
        (100, (-1.0, -1.0, 5.93), None),
        (100, (-1.0, -1.0, 5.94), 2),
        # The mean of 1, 1, x; weights by the distance in the range. Of 100 steps 9/16, 3/4, 1: x > 4 * 37/16 - 21/16 =
        # 7.9375. Of 50 steps 81/256, 9/16, 1: x > 4 * 481/256 - 225/256 = 6.637.
        (100, (1.0, 1.0, 7.93), None),
        (100, (1.0, 1.0, 7.94), 2),
        (50, (1.0, 1.0, 6.63), None),
        (50, (1.0, 1.0, 6.64), 2),
    ],
)
def test_divergence_is_that_of_the_mean_of_the_readings_so_far(steps, losses, expected):
    assert where(losses, smoothing=0.75, steps=steps) == expected
    # Unsmoothed, the last reading is beyond the limit in all of them.
    assert where(losses, smoothing=0.0, steps=steps) is not None


@given(
    st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.75]),
    st.sampled_from([2.0**-20, 0.5, 1024.0]),
)
def test_a_loss_in_another_unit_diverges_at_the_same_reading(losses, smoothing, factor):
    # Powers of two and whole numbers, in which floats are exact.
    assert where([factor * loss for loss in losses], smoothing) == where(losses, smoothing)
