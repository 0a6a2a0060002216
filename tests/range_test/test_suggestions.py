"""The rules on curves whose answers are known by construction, and what holds for every curve."""

from __future__ import annotations

import math
import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.range_test.suggestions import (
    FIXED_LR,
    MAX_LR,
    RULES,
    base_lr,
    drop,
    noise,
    reliability,
    smooth,
    suggest,
)

# Two readings a decade: level, falling from 1e-4, steepest at 1e-3, lowest at 1e-1, diverging.
LRS = [10 ** (k / 2) for k in range(-10, 1)]
LOSSES = [2.0, 2.0, 2.0, 1.9, 1.5, 1.0, 0.7, 0.6, 0.5, 1.5, 9.0]
FOUND = {
    "steepest": 1e-3,
    "valley": 1e-2,
    "minimum/10": 1e-2,
    "minimum/4": 0.025,
    "minimum/3": 0.1 / 3,
    "minimum/1.5": 0.1 / 1.5,
    "half of the drop": 10**-2.5,
}

losses = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)
whole = st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=40)
smoothings = st.floats(0.0, 1.0, exclude_max=True)


def ladder(count, low=1e-6, high=10.0):
    return [low * (high / low) ** (i / (count - 1)) for i in range(count)]


def notes(lrs, smoothed, found=None, **kwargs):
    given = {"noise": 0.0, "steps": len(lrs), "ended": "diverged", "bands": {}} | kwargs
    return reliability(lrs, smoothed, suggest(lrs, smoothed) if found is None else found, **given)


# ---- smoothing


@pytest.mark.parametrize(
    ("readings", "smoothing", "expected"),
    [
        ([], 0.5, []),
        ([3], 0.5, [3.0]),
        # The start is the median, 4, and the lowest -2: 9 counts for 7. Weights 1, 1/2, 1/4; 1/2, 1, 1/2; 1/4, 1/2, 1.
        ([4.0, 9.0, -2.0], 0.5, [4.0, 4.0, 2.5 / 1.75]),
        ([4.0, 1.0, 1e300], 0.0, [4.0, 1.0, 1e300]),
    ],
)
def test_smoothing_is_a_mean_with_weights_that_fall_at_each_reading(readings, smoothing, expected):
    assert smooth(readings, smoothing) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.floats(-10.0, 1.0), max_size=30), smoothings)
def test_smoothing_is_the_sum_that_it_says(readings, smoothing):
    readings = [1.0] * 5 + readings
    for i, found in enumerate(smooth(readings, smoothing)):
        weights = [smoothing ** abs(i - j) for j in range(len(readings))]
        assert found == pytest.approx(
            sum(w * x for w, x in zip(weights, readings, strict=True)) / sum(weights), abs=1e-9
        )


@given(st.floats(-1e300, 1e300), st.integers(1, 30), smoothings)
def test_a_constant_stays_what_it_is(value, count, smoothing):
    assert smooth([value] * count, smoothing) == [value] * count


@given(st.lists(st.floats(-10.0, 1.0), max_size=30), smoothings)
def test_smoothing_is_the_same_backwards(readings, smoothing):
    # Both ends on one level, above which nothing is cut: the cut alone knows which end is the start.
    level = [1.0] * 5
    readings = [*level, *readings, *level]
    assert smooth(readings[::-1], smoothing)[::-1] == pytest.approx(smooth(readings, smoothing), abs=1e-9)


@given(losses, smoothings)
def test_smoothing_stays_between_the_readings(readings, smoothing):
    smoothed = smooth(readings, smoothing)
    assert len(smoothed) == len(readings)
    assert min(readings) <= min(smoothed) <= max(smoothed) <= max(readings)


def test_the_level_that_a_curve_starts_at_is_that_of_its_first_five_readings():
    falls = [3.0, 9.0, 4.0, 4.0, 5.0, *[1.0] * 9]
    assert smooth([*falls, 100.0], 0.5) == smooth([*falls, 5.5], 0.5) != smooth([*falls, 5.4], 0.5)
    assert smooth([2.0] * 5 + [9.0] * 20, 0.5) == [2.0] * 25


def test_smoothing_knows_every_float():
    assert all(map(math.isfinite, smooth([1.7e308] * 10 + [-1.7e308] * 10, 0.99)))


def test_smoothing_next_to_one_is_the_mean():
    readings = [2.0, 2.0, 2.0, 1.0, 0.5]
    assert smooth(readings, 1 - 2**-53) == pytest.approx([1.5] * 5)
    assert noise([2.0, 1.0, 1.0, 1.0, 0.0], 1 - 2**-53) == pytest.approx(4 * 1.4826 / math.sqrt(6) * math.sqrt(2 / 5))


def test_smoothing_has_no_lag():
    bowl = [abs(k - 50) / 50 for k in range(101)]
    assert [smooth(bowl, smoothing).index(min(smooth(bowl, smoothing))) for smoothing in (0.5, 0.8, 0.95)] == [50] * 3


@pytest.mark.parametrize("explosion", [10.0, 1e3, 1e30])
def test_an_explosion_does_not_reach_back(explosion):
    readings = [2.0] * 40 + [2.0 - 1.5 * k / 20 for k in range(21)] + [explosion] * 5
    smoothed = smooth(readings, 0.8)
    lowest = smoothed.index(min(smoothed))
    # The lowest reading is the sixty-first, beside the cliff; a mean of five readings either side moves by as many.
    assert 55 <= lowest <= 60
    assert smoothed == smooth([*readings[:61], *[2.75] * 5], 0.8)


# ---- the rules


def test_each_rule_on_a_curve_made_for_it():
    assert suggest(LRS, LOSSES) == pytest.approx(FOUND)
    assert [*suggest(LRS, LOSSES)] == [*FOUND] == [*RULES]
    assert {MAX_LR, FIXED_LR} <= set(RULES)


def test_steepest_is_steepest_in_the_logarithm_of_the_rate():
    lrs = [float(k) for k in range(1, 11)]
    readings = [9.0, 8.0, 7.0, 6.9, 6.8, 6.7, 6.6, 6.0, 5.4, 9.0]
    # By index 2 is (-1 a reading, against -0.6). In the logarithm -2/log(3) = -1.8 against -1.2/log(9/7) = -4.8.
    assert suggest(lrs, readings)["steepest"] == 8.0


def test_steepest_looks_no_further_than_the_minimum():
    # After it the loss falls once more, from 9 to 1.
    assert suggest(ladder(8), [2.0, 1.9, 1.5, 0.5, 9.0, 5.0, 1.0, 9.0])["steepest"] == ladder(8)[2]


@pytest.mark.parametrize(
    ("readings", "first", "last"),
    [
        ([2.0, 1.5, 1.0, 0.5], 0, 3),
        ([1.0, 2.0, 2.0, 1.5, 1.0, 0.5], 2, 5),
        # One reading out of line does not end the stretch.
        ([2.0, 1.8, 1.9, 1.6, 1.4, 1.5, 1.0], 0, 6),
        # A second, deeper but shorter one does not count.
        ([2.0, 1.9, 1.8, 1.7, 9.0, 0.5], 0, 5),
        ([5.0, 4.0, 3.0, 2.0, 9.0, 1.9, 9.0], 0, 5),
        ([2.0, 1.9, 1.8, 5.0, 4.0, 3.0, 2.5, 2.4], 3, 7),
    ],
)
def test_valley_is_two_thirds_along_the_longest_falling_stretch(readings, first, last):
    lrs = [10.0**k for k in range(len(readings))]
    assert suggest(lrs, readings)["valley"] == pytest.approx(10 ** (first + (last - first) * 2 / 3))


@given(st.lists(st.integers(0, 20).map(float), min_size=2, max_size=9))
def test_valley_is_as_long_as_the_longest_of_all_falling_selections(readings):
    def falls(indices):
        return all(readings[a] > readings[b] for a, b in pairwise(indices))

    # The oracle: every selection of readings.
    everything = range(len(readings))
    falling = [picked for size in everything for picked in combinations(everything, size + 1) if falls(picked)]
    longest = max(map(len, falling))
    found = suggest([10.0**k for k in everything], readings)
    if found:
        ends = [(picked[0], picked[-1]) for picked in falling if len(picked) == longest]
        assert any(found["valley"] == pytest.approx(10 ** (a + (b - a) * 2 / 3)) for a, b in ends)


@pytest.mark.parametrize(
    "readings", [[], [1.0], [1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [-3.0, -2.0], [0.0] * 50], ids=lambda x: str(x)[:15]
)
def test_where_nothing_falls_no_rule_has_an_answer(readings):
    assert suggest(ladder(99)[: len(readings)], readings) == {}
    assert drop(readings) == 0.0


def test_of_several_minima_the_first_counts():
    lrs = [10.0**k for k in range(-5, 1)]
    assert suggest(lrs, [2.0, 2.0, 0.0, 0.0, 1.0, 0.0])["minimum/4"] == 1e-3 / 4


def test_two_readings_are_enough_for_every_rule():
    # From 1 to 10, with one slope: the first that has it.
    assert suggest([1.0, 10.0], [2.0, 1.0]) == pytest.approx(
        {
            "steepest": 1.0,
            "valley": 10 ** (2 / 3),
            "minimum/10": 1.0,
            "minimum/4": 2.5,
            "minimum/3": 10 / 3,
            "minimum/1.5": 10 / 1.5,
            "half of the drop": 10.0,
        }
    )


def test_a_plateau_and_a_cliff():
    lrs = [10.0**k for k in range(-7, 0)]
    assert suggest(lrs, [2.0, 2.0, 2.0, 2.0, 2.0, 0.5, 50.0]) == pytest.approx(
        {
            "steepest": 1e-3,
            "valley": 10 ** (-3 + 2 / 3),
            "minimum/10": 1e-3,
            "minimum/4": 2.5e-3,
            "minimum/3": 1e-2 / 3,
            "minimum/1.5": 1e-2 / 1.5,
            "half of the drop": 1e-2,
        }
    )


@given(whole, st.sampled_from([0.25, 1.0, 8.0]), st.integers(-5000, 5000))
def test_scale_and_offset_of_the_loss_change_nothing(readings, scale, offset):
    # Powers of two and whole numbers, in which floats are exact: a tie must stay one.
    lrs = ladder(40)[: len(readings)]
    assert suggest(lrs, [scale * reading + offset for reading in readings]) == suggest(lrs, readings)


@given(whole, st.sampled_from([2.0**-20, 0.5, 1024.0]))
def test_suggestions_scale_with_the_rates(readings, factor):
    lrs = ladder(40)[: len(readings)]
    expected = {rule: factor * lr for rule, lr in suggest(lrs, readings).items()}
    assert suggest([factor * lr for lr in lrs], readings) == pytest.approx(expected)


@given(losses.filter(lambda x: len(x) > 1), smoothings)
def test_every_suggestion_lies_in_the_range_or_a_known_step_below(readings, smoothing):
    lrs = ladder(len(readings))
    found = suggest(lrs, smooth(readings, smoothing))
    assert set(found) in (set(), set(RULES))
    for rule, lr in found.items():
        below = {"minimum/10": 10, "minimum/4": 4, "minimum/3": 3, "minimum/1.5": 1.5}.get(rule, 1)
        assert lrs[0] * 0.999 <= lr * below <= lrs[-1] * 1.001


@pytest.mark.parametrize("curvature", [0.01, 1.0, 40.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.8])
def test_gradient_descent_on_a_quadratic_diverges_at_two_over_its_curvature(curvature, smoothing):
    lrs, weight, readings = ladder(100, 1e-4 / curvature, 1e3 / curvature), 1.0, []
    for lr in lrs:
        readings.append(curvature * weight**2 / 2)
        if readings[-1] > 4 * readings[0]:
            break
        weight *= 1 - lr * curvature
    assert len(readings) < 100
    found = suggest(lrs[: len(readings)], smooth(readings, smoothing))
    # The first reading that an unstable update lifts is the one after it.
    assert 0.5 / curvature < 3 * found["minimum/3"] <= 2 / curvature * lrs[1] / lrs[0]
    assert all(found[rule] < 2 / curvature for rule in ("steepest", "half of the drop", MAX_LR, FIXED_LR))


# ---- what is no more than noise


@pytest.mark.parametrize("steps", [20, 100, 300])
@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.8, 0.95])
@pytest.mark.parametrize(
    "draw", [lambda rng: rng.gauss(2.3, 0.2), lambda rng: rng.expovariate(1)], ids=["bell", "tail"]
)
def test_noise_alone_hardly_ever_falls(steps, smoothing, draw):
    rng = random.Random(0)
    fell = 0
    for _ in range(100):
        readings = [draw(rng) for _ in range(steps)]
        fell += drop(smooth(readings, smoothing)) > noise(readings, smoothing)
    assert fell <= 5


def test_noise_is_a_multiple_of_the_readings_spread():
    rng = random.Random(0)
    readings = [rng.gauss(5.0, 0.1) for _ in range(5000)]
    # Unsmoothed, a difference of two readings: four times the root of two, in spreads.
    assert noise(readings, 0.0) == pytest.approx(4 * math.sqrt(2) * 0.1, rel=0.05)
    # What smoothing leaves of it, from the weight of each reading in the first and in the middle one.
    dips = [smooth([-1.0 if i == j else 0.0 for i in range(201)], 0.8) for j in range(201)]
    left = math.sqrt(sum(dip[0] ** 2 + dip[100] ** 2 for dip in dips))
    assert noise(readings, 0.8) == pytest.approx(noise(readings, 0.0) * left / math.sqrt(2))


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([], math.inf),
        ([2.0, 1.0], math.inf),
        ([3.0, 2.0, 1.0], 0.0),
        ([1.0] * 9, 0.0),
        ([-4.0, -8.0, -12.0, -16.0], 0.0),
    ],
)
def test_a_steady_fall_is_no_noise(readings, expected):
    assert noise(readings, 0.5) == expected


# ---- the bottom of a cycle


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        # A tenth of the drop is lost at the fourth reading, 0.05, between 0.3 / 10 and 0.3 / 3.
        ([2.0, 2.0, 1.9, 1.75, 1.0, 0.5, 0.0], 0.05),
        # Earlier and later than that.
        ([2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0], 0.03),
        ([2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0], 0.1),
    ],
)
def test_base_lr_is_where_the_loss_begins_to_fall_within_a_tenth_and_a_third(readings, expected):
    assert base_lr([0.001, 0.002, 0.01, 0.05, 0.1, 0.3, 0.9], readings, max_lr=0.3) == pytest.approx(expected)


@given(losses.filter(lambda x: len(x) > 1), smoothings)
def test_base_lr_is_always_within_its_bounds(readings, smoothing):
    lrs, smoothed = ladder(len(readings)), smooth(readings, smoothing)
    if found := suggest(lrs, smoothed):
        assert 0.0999 <= base_lr(lrs, smoothed, found[MAX_LR]) / found[MAX_LR] <= 0.3334


# ---- reliability


def test_a_good_curve_needs_no_note():
    assert notes(LRS, LOSSES) == ()
    assert notes(LRS, LOSSES, ended="complete") == ()
    assert notes(LRS, LOSSES, bands={MAX_LR: (0.02, 0.05)}) == ()


@pytest.mark.parametrize(
    ("lrs", "readings", "kwargs", "expected"),
    [
        (
            LRS[:9],
            LOSSES[:9],
            {"ended": "complete"},
            "did not diverge: the loss is lowest at 0.1 and by 0.1 has not climbed back by half of its drop, so every "
            "suggestion is a lower bound; pass a larger max_lr",
        ),
        (
            LRS[:10],
            [*LOSSES[:9], 1.2],
            {"ended": "complete"},
            "did not diverge: the loss is lowest at 0.1 and by 0.32 has not climbed back by half of its drop, so every "
            "suggestion is a lower bound; pass a larger max_lr",
        ),
        (
            LRS,
            LOSSES,
            {"ended": "stopped", "steps": 20},
            "range cut at 1: the run was stopped after 11 of 20 readings, and not by divergence; take away "
            "what stopped it (max_time, a callback, an interrupt) and test again",
        ),
        (
            LRS,
            [2.0, 1.9, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 1.5, 9.0],
            {"steps": 100, "found": FOUND},
            "the loss fell at once: half of its drop is lost by reading 3 of 100, at 0.0001, so the level it starts "
            "from is not known; pass a smaller min_lr",
        ),
        (
            LRS,
            LOSSES,
            {"found": {"steepest": 1e-4, "valley": 1e-3, "minimum/3": 0.02}},
            "rules disagree by 2.3 decades: steepest says 0.0001 and minimum/3 0.02; look at the plot, and test with "
            "more steps or repeats",
        ),
        (
            LRS,
            LOSSES,
            {"bands": {"steepest": (1e-4, 1.0), "minimum/3": (1e-3, 1.0), "minimum/1.5": (0.01, 0.042)}},
            "repeats disagree by a factor of 4.2: minimum/1.5 goes from 0.01 to 0.042 with the order of the data; "
            "test with more steps or larger batches",
        ),
        (
            LRS,
            [2.0, 2.1, 1.9, 2.0, 2.0, 2.1, 2.0, 2.0, 1.95, 1.9, 2.0],
            {"found": {}, "noise": 0.283, "ended": "complete"},
            "the loss never fell: by 0.1 from 1e-05 to 1, where noise alone may make it 0.28; pass a larger max_lr "
            "or more steps, and see that the model learns at all",
        ),
        (
            LRS[:3],
            [2.0, 2.5, 9.0],
            {"found": {}, "noise": 0.1},
            "the loss never fell: by 0 from 1e-05 to 0.0001, where noise alone may make it 0.1; pass a smaller "
            "min_lr or more steps, and see that the model learns at all",
        ),
        (
            LRS[:1],
            [2.0],
            {"found": {}},
            "the loss never fell: too few readings (1) to tell; pass a smaller min_lr or more steps, and see that "
            "the model learns at all",
        ),
        (
            [],
            [],
            {"found": {}},
            "the loss never fell: too few readings (0) to tell; pass a smaller min_lr or more steps, and see that "
            "the model learns at all",
        ),
    ],
)
def test_each_note(lrs, readings, kwargs, expected):
    assert notes(lrs, readings, **kwargs) == (expected,)


def test_a_range_that_was_cut_before_the_loss_rose_has_both_notes():
    assert notes(LRS[:9], LOSSES[:9], ended="stopped", steps=20) == (
        "range cut at 0.1: the run was stopped after 9 of 20 readings, and not by divergence; take away "
        "what stopped it (max_time, a callback, an interrupt) and test again",
        "did not diverge: the loss is lowest at 0.1 and by 0.1 has not climbed back by half of its drop, so every "
        "suggestion is a lower bound; test the whole range",
    )
    cut, never = notes([], [], ended="stopped", steps=20)
    assert cut.startswith("range cut at its start: the run was stopped after 0 of 20 readings, ")
    assert never.startswith("the loss never fell: too few readings (0) ")
