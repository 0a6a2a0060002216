"""The profiles of whole runs over lengths, sides and sharings out of 1 to a million updates."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lightning_lr.durations import Horizon
from lightning_lr.schedules.composition import Join
from lightning_lr.schedules.curves import Flat
from lightning_lr.schedules.profiles import Peak, Trapezoid, Triangles

CURVES = [
    Peak(0.1, 1.0, 0.001, three_phase=True),
    Peak(0.1, 1.0, 0.001, 0.9, "exp"),
    Trapezoid(1.0, 0.1, "10%", "1ep"),
    Trapezoid(1.0, 0.1, 10, "1ep"),
    Triangles(0.1, 1.0, 7),
    Triangles(0.1, 1.0, 7, 3),
    Triangles(0.1, 1.0, "1ep", "5%", "triangular2"),
    Triangles(0.1, 1.0, 7, 3, "exp_range", 0.99),
]
numbers = st.floats(-1e300, 1e300)
rates = st.one_of(st.just(0.0), st.floats(1e-30, 1e30))
updates = st.one_of(st.integers(1, 40), st.integers(1, 10**6))
# An amount and its unit: updates, epochs of `EPOCH`, or a share.
EPOCH = 37
durations = st.one_of(
    st.tuples(st.integers(0, 10**6), st.just("st")),
    st.tuples(st.fractions(0, 20, max_denominator=8), st.just("ep")),
    st.tuples(st.integers(0, 100), st.just("%")),
)


def written(duration):
    amount, unit = duration
    return f"{float(amount):.3f}{unit}" if unit == "ep" else f"{amount}{unit}"


def length(duration, total):
    """A duration in updates, rounded half up; one at least where any was asked for."""
    amount, unit = duration
    exact = Fraction(amount) * {"st": 1, "ep": EPOCH, "%": Fraction(total, 100)}[unit]
    return max(math.floor(exact + Fraction(1, 2)), int(amount > 0))


def values(curve, total, steps_per_epoch=None):
    return [*map(curve.bind(Horizon(total, steps_per_epoch)), range(total))]


# Literal values


@pytest.mark.parametrize(
    ("curve", "total", "expected"),
    [
        (Peak(0.1, 1.0, 0.0, 0.5, "linear"), 1, [1.0]),
        (Peak(0.1, 1.0, 0.0, 0.3, "linear"), 2, [1.0, 0.0]),
        (Peak(0.1, 1.0, 0.0, 0.9, "linear"), 2, [0.1, 1.0]),
        (Peak(0.1, 1.0, 0.0, 0.5, "linear"), 3, [0.1, 1.0, 0.0]),
        (Peak(0.2, 1.0, 0.0, 0.5, "linear", True), 6, [0.2, 0.6, 1.0, 0.6, 0.2, 0.0]),
        (Peak(0.2, 1.0, 0.0, 0.2, "linear", True), 10, [0.2, 1.0, 0.2] + [0.2 * k / 7 for k in range(6, -1, -1)]),
        (Trapezoid(1.0, 0.0, 0, 0), 2, [1.0, 1.0]),
        (Trapezoid(1.0, 0.0, 1, 0), 2, [0.5, 1.0]),
        (Trapezoid(1.0, 0.0, 0, 2), 3, [1.0, 1.0, 0.5]),
        (Trapezoid(1.0, 0.0, 3, 0), 3, [0.25, 0.5, 0.75]),
        (Trapezoid(1.0, 0.2, 1, "40%"), 5, [0.5, 1.0, 1.0, 1.0, 0.6]),
        (Trapezoid(1.0, 0.0, "0.01%", "0.01%"), 3, [0.5, 1.0, 1.0]),
        (Trapezoid(1.0, 0.0, "50%", "50%"), 4, [1 / 3, 2 / 3, 1.0, 0.5]),
        # Both halves are rounded up: the fall gives one back.
        (Trapezoid(1.0, 0.0, "50%", "50%"), 5, [0.25, 0.5, 0.75, 1.0, 0.5]),
        (Trapezoid(-1.0, 1.0, 1, 2), 3, [-0.5, -1.0, 0.0]),
        (Triangles(0.0, 1.0, 1), 4, [0.0, 1.0, 0.0, 1.0]),
        (Triangles(0.0, 1.0, 2, 1), 4, [0.0, 0.5, 1.0, 0.0]),
        (Triangles(1.0, 0.0, 1, 3), 5, [1.0, 0.0, 1 / 3, 2 / 3, 1.0]),
        (Triangles(0.0, 1.0, 1, 1, "triangular2"), 7, [0.0, 1.0, 0.0, 0.5, 0.0, 0.25, 0.0]),
        (Triangles(1.0, 2.0, 1, 1, "exp_range", 0.5), 6, [1.0, 1.5, 1.0, 1.125, 1.0, 1.03125]),
        (Triangles(0.0, 1.0, "50%", "25%"), 8, [0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.0, 0.25]),
    ],
)
def test_literal_values(curve, total, expected):
    assert values(curve, total) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_a_curve_is_a_value(curve):
    copy = pickle.loads(pickle.dumps(curve))
    assert copy == curve
    assert hash(copy) == hash(curve)
    assert values(copy, 100, 10) == values(curve, 100, 10)
    assert [curve.at(step, Horizon(100, 10)) for step in reversed(range(100))] == values(curve, 100, 10)[::-1]
    with pytest.raises(FrozenInstanceError):
        curve.peak = 2.0


def test_what_differs_is_not_equal():
    assert len({*CURVES}) == len(CURVES)


# Peak


@settings(deadline=None, database=None, max_examples=200)
@given(
    total=st.integers(1, 10**6),
    pct=st.floats(0, 1, exclude_min=True, exclude_max=True),
    shape=st.sampled_from(["cos", "linear"]),
    three=st.booleans(),
    share=st.floats(0, 1),
)
def test_a_peak_is_where_the_formula_has_it(total, pct, shape, three, share):
    assume(not three or pct <= 0.5)
    curve, horizon = Peak(0.04, 1.0, 1e-6, pct, shape, three), Horizon(total)
    peak = max(0, math.floor(pct * total + 0.5) - 1)
    assert curve.at(peak, horizon) == 1.0
    if peak > 0:
        assert curve.at(0, horizon) == 0.04
    if peak < total - 1:
        assert curve.at(total - 1, horizon) == 1e-6
    if three and 0 < 2 * peak < total - 1:
        assert curve.at(2 * peak, horizon) == 0.04
    assert 1e-6 <= curve.at(int(share * (total - 1)), horizon) <= 1.0


@settings(deadline=None, database=None, max_examples=100)
@given(total=updates, pct=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_peak_is_one_cycle_and_tells_where_it_is(total, pct):
    (cycle,) = Peak(0.04, 1.0, 1e-6, pct).cycles(Horizon(total))
    assert (cycle.index, cycle.start, cycle.end, cycle.complete) == (0, 0, total, True)
    assert cycle.peak == max(0, math.floor(pct * total + 0.5) - 1)


# Trapezoid


@settings(deadline=None, database=None, max_examples=300)
@given(total=updates, warmup=durations, decay=durations, peak=numbers, end=numbers, share=st.floats(0, 1))
def test_a_trapezoid_is_where_the_formula_has_it(total, warmup, decay, peak, end, share):
    assume(abs(peak) < 1e299)
    assume(abs(end) < 1e299)
    up, down = length(warmup, total), length(decay, total)
    shares = warmup[1] == decay[1] == "%" and warmup[0] + decay[0] <= 100
    if shares and up + down == total + 1 and down > 1:
        down -= 1
    curve, horizon = Trapezoid(peak, end, written(warmup), written(decay)), Horizon(total, EPOCH)
    assert curve.cycles(horizon) == ()
    if up + down > total:
        with pytest.raises(
            ValueError, match=r"^warmup=[^\n]+, decay=[^\n]+: [^\n]+; shorten them or train for longer$"
        ):
            curve.bind(horizon)
        return
    bound, size = curve.bind(horizon), max(abs(peak), abs(end))
    for step in {0, up - 1, up, total - down - 1, total - down, total - 1, int(share * (total - 1))} & {*range(total)}:
        if step < up:
            expected = peak * (step + 1) / (up + 1)
            assert min(0.0, peak) <= bound(step) <= max(0.0, peak)
        elif step < total - down:
            expected = peak
            assert bound(step) == peak
        else:
            fallen = (step - (total - down)) / down
            expected = peak * (1 - fallen) + end * fallen
            assert min(peak, end) <= bound(step) <= max(peak, end)
        assert bound(step) == pytest.approx(expected, rel=0, abs=1e-12 * size)
    if total > up and down:
        assert bound(total - down) == peak


# Triangles


@settings(deadline=None, database=None, max_examples=300)
@given(
    total=updates,
    up=updates,
    down=st.one_of(st.none(), updates),
    low=rates,
    rise=rates,
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
    gamma=st.floats(0, 1, exclude_min=True),
    share=st.floats(0, 1),
)
# `low + (high - low)` is an ulp above `high` here, and an ulp below it.
@example(total=9, up=3, down=None, low=0.1, rise=0.7, mode="triangular", gamma=1.0, share=0.0)
@example(total=9, up=3, down=None, low=0.03, rise=0.9, mode="triangular", gamma=1.0, share=0.0)
def test_triangles_stay_between_base_and_peak(total, up, down, low, rise, mode, gamma, share):
    high, after = low + rise, up if down is None else down
    shape = {"mode": mode, "gamma": gamma if mode == "exp_range" else 1.0}
    bound = Triangles(low, high, up, down, **shape).bind(Horizon(total))
    upside_down = Triangles(high, low, up, down, **shape).bind(Horizon(total))
    step = int(share * (total - 1))
    start = step - step % (up + after)
    for edge in {start, start + up, step} & {*range(total)}:
        index, place = divmod(edge, up + after)
        way = float(min(Fraction(place, up), Fraction(up + after - place, after)))
        way *= {"triangular": 1.0, "triangular2": 0.5**index, "exp_range": gamma**edge}[mode]
        assert low <= bound(edge) <= high
        assert low <= upside_down(edge) <= high
        assert bound(edge) == pytest.approx(low + (high - low) * way, rel=0, abs=1e-12 * high)
        assert upside_down(edge) == pytest.approx(high - (high - low) * way, rel=0, abs=1e-12 * high)
        if place == 0:
            assert (bound(edge), upside_down(edge)) == (low, high)
        if place == up and (mode == "triangular" or (mode == "triangular2" and index == 0)):
            assert (bound(edge), upside_down(edge)) == (high, low)


def test_triangles_between_bounds_far_apart():
    # Their difference is no float.
    assert values(Triangles(-1e308, 1e308, 1), 3) == [-1e308, 1e308, -1e308]


@settings(deadline=None, database=None, max_examples=200)
@given(total=updates, up=updates, down=st.one_of(st.none(), updates))
def test_triangles_tile_the_horizon(total, up, down):
    size = up + (up if down is None else down)
    assume(total // size < 2000)
    cycles = Triangles(0.0, 1.0, up, down).cycles(Horizon(total))
    assert len(cycles) == -(-total // size)
    edges = [0, *(cycle.end for cycle in cycles)]
    assert [(cycle.start, cycle.end) for cycle in cycles] == [*pairwise(edges)]
    assert edges[-1] == total
    for index, cycle in enumerate(cycles):
        assert cycle.index == index
        assert cycle.start == index * size
        assert cycle.complete == ((index + 1) * size <= total)
        assert cycle.peak == index * size + up


def test_peaks_after_a_warm_up():
    joined = Join((Flat(0.0), Triangles(0.0, 1.0, 2, 1)), (4,)).cycles(Horizon(12))
    assert [(cycle.index, cycle.start, cycle.end, cycle.complete, cycle.peak) for cycle in joined] == [
        (0, 4, 7, True, 6),
        (1, 7, 10, True, 9),
        (2, 10, 12, False, 12),
    ]


@settings(deadline=None, database=None, max_examples=100)
@given(total=updates, up=durations, down=st.one_of(st.none(), durations))
def test_sides_are_durations(total, up, down):
    assume(up[0] > 0)
    assume(down is None or down[0] > 0)
    named = Triangles(0.0, 1.0, written(up), None if down is None else written(down))
    plain = Triangles(0.0, 1.0, length(up, total), None if down is None else length(down, total))
    horizon = Horizon(total, EPOCH)
    assume(total // length(up, total) < 2000)
    assert named.cycles(horizon) == plain.cycles(horizon)
    assert named.at(total // 2, horizon) == plain.at(total // 2, horizon)


# What is refused


@pytest.mark.parametrize(
    ("build", "error", "argument", "remedy"),
    [
        (lambda: Peak(0.0, 1.0, 0.0, 0.0), ValueError, "pct_start=0.0", "pass a number above 0 and below 1"),
        (lambda: Peak(0.0, 1.0, 0.0, 0.51, "cos", True), ValueError, "pct_start=0.51", "pass at most 0.5"),
        (lambda: Peak(0.0, 1.0, 0.0, shape="exp"), ValueError, "start=0.0", "pass a number above 0"),
        (lambda: Trapezoid("1", 0.0, 0, 0), TypeError, "peak='1'", "pass a finite number"),
        (lambda: Trapezoid(1.0, math.nan, 0, 0), ValueError, "end=nan", "pass a finite number"),
        (lambda: Trapezoid(1.0, 0.0, -1, 0), ValueError, "warmup=-1", 'write 500 or "500st"'),
        (lambda: Trapezoid(1.0, 0.0, 0, 0.2), TypeError, "decay=0.2", 'write 500 or "500st"'),
        (lambda: Trapezoid(1.0, 0.0, 5, 6).at(0, Horizon(10)), ValueError, "warmup=5, decay=6", "shorten them"),
        (lambda: Triangles(math.inf, 1.0, 1), ValueError, "base=inf", "pass a finite number"),
        (lambda: Triangles(0.0, None, 1), TypeError, "peak=None", "pass a finite number"),
        (lambda: Triangles(0.0, 1.0, 0), ValueError, "step_size_up=0", "pass a duration above 0"),
        (lambda: Triangles(0.0, 1.0, 1, 0), ValueError, "step_size_down=0", "pass a duration above 0"),
        (lambda: Triangles(0.0, 1.0, 1, mode="sine"), ValueError, "mode='sine'", "pass 'triangular' or"),
        (lambda: Triangles(0.0, 1.0, 1, gamma=0.9), ValueError, "gamma=0.9", 'pass mode="exp_range"'),
        (
            lambda: Triangles(0.0, 1.0, 1, mode="exp_range", gamma=2.0),
            ValueError,
            "gamma=2.0",
            "pass a number above 0 and of at most 1",
        ),
    ],
)
def test_refused(build, error, argument, remedy):
    with pytest.raises(error) as refused:
        build()
    message = str(refused.value)
    assert message.startswith(f"{argument}: ")
    assert remedy in message.split("; ", 1)[1]
    assert "\n" not in message
