"""Curves put together: one after the other, scaled, again and again."""

from __future__ import annotations

import math
import pickle
import sys
import threading
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lightning_lr.durations import Horizon
from lightning_lr.schedules.composition import Join, Repeat, Scale
from lightning_lr.schedules.curves import Anneal, Flat, Function, Staircase
from lightning_lr.schedules.cycles import Cycle
from lightning_lr.schedules.profiles import Peak, Trapezoid, Triangles

CURVES = [
    Join((Anneal(0.0, 1.0, "linear", "neither"), Repeat(Anneal(1.0, 0.1), cycles=3, cycle_mult=1.5)), ("20%",)),
    Join((Flat(1.0), Flat(2.0), Flat(3.0)), (3, "1ep")),
    Scale(Repeat(Anneal(1.0, 0.0), cycle="10%", cycle_mult=2, start_decay=0.5, end_decay=0.5), 0.1),
    Repeat(Anneal(1.0, 0.1), cycle=7, cycle_mult=1.1, start_decay=0.9),
    Repeat(Staircase(1.0, 0.5, every="50%"), cycles=4),
    Repeat(Join((Flat(1.0), Flat(2.0)), ("50%",)), cycles=3),
]
names = [type(curve).__name__ for curve in CURVES]


def values(curve, total, steps_per_epoch=None):
    return [*map(curve.bind(Horizon(total, steps_per_epoch)), range(total))]


# Literal values


@pytest.mark.parametrize(
    ("curve", "total", "expected"),
    [
        (Join((Flat(1.0), Flat(2.0)), (1,)), 2, [1.0, 2.0]),
        (Join((Flat(1.0), Flat(2.0), Flat(3.0)), (1, "75%")), 4, [1.0, 2.0, 2.0, 3.0]),
        # Each part begins at its own 0 and is as long as its place.
        (Join((Anneal(1.0, 0.0, "linear"), Anneal(8.0, 0.0, "linear")), (2,)), 6, [1.0, 0.5, 8.0, 6.0, 4.0, 2.0]),
        # A share inside a part is of the whole: half of 8 is 4, from the part's start.
        (Join((Flat(9.0), Staircase(1.0, 0.5, every="50%")), ("25%",)), 8, [9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5]),
        # A boundary that rounds to 0 leaves its part one update.
        (Join((Flat(1.0), Flat(2.0)), ("1%",)), 3, [1.0, 2.0, 2.0]),
        (Join((1.0, lambda step: 2.0 * step), (1,)), 3, [1.0, 0.0, 2.0]),
        (Scale(Flat(0.5), 3), 2, [1.5, 1.5]),
        (Repeat(Anneal(1.0, 0.0, "linear"), cycles=2), 4, [1.0, 0.5, 1.0, 0.5]),
        (Repeat(Anneal(1.0, 0.0, "linear"), cycles=2), 5, [1.0, 0.5, 1.0, 2 / 3, 1 / 3]),
        (Repeat(Anneal(1.0, 0.0, "linear"), cycle=2), 5, [1.0, 0.5, 1.0, 0.5, 1.0]),
        (Repeat(Anneal(1.0, 0.0, "linear"), cycle=4), 6, [1.0, 0.75, 0.5, 0.25, 1.0, 0.75]),
        (Repeat(Anneal(8.0, 4.0, "linear"), cycle=2, start_decay=0.75), 4, [8.0, 6.0, 6.0, 5.0]),
        (Repeat(Anneal(8.0, 4.0, "linear"), cycle=2, end_decay=0.5), 4, [8.0, 6.0, 8.0, 5.0]),
        (Repeat(Flat(8.0), cycle=1, start_decay=0.5, end_decay=0.5), 3, [8.0, 4.0, 2.0]),
        # A share inside a repetition is of the cycle.
        (Repeat(Staircase(1.0, 0.5, every="50%"), cycles=2), 8, [1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.5, 0.5]),
        (Repeat(Repeat(Anneal(1.0, 0.0, "linear"), cycles=2), cycles=2), 8, [1.0, 0.5] * 4),
    ],
)
def test_literal_values(curve, total, expected):
    assert values(curve, total) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("curve", "total", "cycles"),
    [
        (Repeat(Flat(1.0), cycles=1), 1, [(0, 1, True)]),
        (Repeat(Flat(1.0), cycles=2), 5, [(0, 2, True), (2, 5, True)]),
        (Repeat(Flat(1.0), cycle=2), 4, [(0, 2, True), (2, 4, True)]),
        (Repeat(Flat(1.0), cycle=2), 5, [(0, 2, True), (2, 4, True), (4, 5, False)]),
        (Repeat(Flat(1.0), cycle=9), 5, [(0, 5, False)]),
        (Repeat(Flat(1.0), cycle="1ep", cycle_mult=2), 21, [(0, 3, True), (3, 9, True), (9, 21, True)]),
        (Join((Flat(0.0), Repeat(Flat(1.0), cycles=2)), (1,)), 5, [(1, 3, True), (3, 5, True)]),
        (
            Join((Repeat(Flat(1.0), cycles=2), Flat(0.0), Repeat(Flat(1.0), cycle=2)), (4, 5)),
            8,
            [(0, 2, True), (2, 4, True), (5, 7, True), (7, 8, False)],
        ),
        (Scale(Repeat(Flat(1.0), cycles=2), 0.5), 4, [(0, 2, True), (2, 4, True)]),
        (Join((Flat(1.0), Flat(2.0)), (1,)), 3, []),
    ],
)
def test_cycles(curve, total, cycles):
    assert curve.cycles(Horizon(total, 3)) == tuple(Cycle(index, *cycle) for index, cycle in enumerate(cycles))


@pytest.mark.parametrize(
    ("curve", "cyclic"),
    [
        (Flat(1.0), False),
        (Anneal(1.0, 0.0), False),
        (Staircase(1.0, 0.5, every="50%"), False),
        (Function(lambda step: 1.0), False),
        (Trapezoid(1.0, 0.0, 1, 1), False),
        (Peak(0.1, 1.0, 0.0), True),
        (Triangles(0.1, 1.0, 2), True),
        # With cycles of its own or not, what is repeated is a cycle.
        (Repeat(Flat(1.0), cycles=1), True),
        (Repeat(Triangles(0.1, 1.0, 2), cycle="50%"), True),
        (Scale(Flat(1.0), 0.5), False),
        (Scale(Repeat(Flat(1.0), cycles=2), 0.5), True),
        (Scale(Join((Flat(1.0), Peak(0.1, 1.0, 0.0)), (1,)), 0.5), True),
        (Join((Flat(1.0), Anneal(1.0, 0.0)), (1,)), False),
        (Join((Flat(1.0), Repeat(Flat(1.0), cycles=2)), (1,)), True),
        (Join((Repeat(Flat(1.0), cycles=2), Flat(1.0)), (4,)), True),
        (Join((Flat(1.0), Scale(Triangles(0.1, 1.0, 2), 0.5), Flat(1.0)), (1, "75%")), True),
    ],
)
def test_a_curve_knows_whether_it_is_cyclic_without_a_horizon(curve, cyclic):
    assert curve.cyclic is cyclic
    assert bool(curve.cycles(Horizon(100, 10))) is cyclic


# Properties


@pytest.mark.parametrize("curve", CURVES, ids=names)
@settings(deadline=None, database=None, max_examples=30)
@given(steps=st.lists(st.integers(0, 99), max_size=60))
def test_at_is_bind_in_any_order(curve, steps):
    horizon = Horizon(100, 10)
    in_order = values(curve, 100, 10)
    bound = curve.bind(horizon)
    assert [bound(step) for step in steps] == [in_order[step] for step in steps]
    assert [curve.at(step, horizon) for step in steps] == [in_order[step] for step in steps]


@pytest.mark.parametrize("curve", CURVES, ids=names)
def test_a_curve_is_a_value(curve):
    copy = pickle.loads(pickle.dumps(curve))
    assert copy == curve
    assert hash(copy) == hash(curve)
    assert repr(copy) == repr(curve)
    assert values(copy, 100, 10) == values(curve, 100, 10)
    with pytest.raises(FrozenInstanceError):
        curve.factor = 1.0


def test_what_differs_is_not_equal():
    assert len(set(CURVES)) == len(CURVES)
    assert Repeat(Flat(1.0), cycles=2) != Repeat(Flat(1.0), cycle=2)
    assert Join((Flat(1.0), Flat(2.0)), (1,)) != Join((Flat(1.0), Flat(2.0)), (2,))


@settings(deadline=None, database=None, max_examples=150)
@given(
    total=st.integers(1, 10**6),
    length=st.one_of(
        st.tuples(st.just("cycles"), st.integers(1, 40)), st.tuples(st.just("cycle"), st.integers(1, 10**6))
    ),
    mult=st.sampled_from([1, 1.0, 1.01, 1.5, 2, 2.25, 3, 10]),
    decay=st.floats(0.1, 1.0),
    share=st.floats(0, 1),
)
def test_cycles_tile_the_horizon_and_restart_at_the_top(total, length, mult, decay, share):
    assume(length[0] == "cycles" or total // length[1] < 1000 or mult > 1)
    top, low = 0.1, 0.01
    curve = Repeat(Anneal(top, low), cycle_mult=mult, start_decay=decay, end_decay=decay, **{length[0]: length[1]})
    horizon = Horizon(total)
    try:
        cycles = curve.cycles(horizon)
    except ValueError:
        exact = Fraction(str(mult))
        # The first of them would have had less than one update.
        assert total / sum(exact**index for index in range(length[1])) < 1
        return
    edges = [0, *(cycle.end for cycle in cycles)]
    assert [(cycle.start, cycle.end) for cycle in cycles] == list(pairwise(edges))
    assert edges[-1] == total
    assert all(cycle.start < cycle.end for cycle in cycles)
    assert [cycle.index for cycle in cycles] == list(range(len(cycles)))
    assert all(cycle.complete for cycle in cycles[:-1])
    # All of the first, the last and one between: the bounds of a cycle hold at both of its ends and inside.
    bound = curve.bind(horizon)
    for cycle in (cycles[0], cycles[int(share * (len(cycles) - 1))], cycles[-1]):
        high, floor = top * decay**cycle.index, low * decay**cycle.index
        if floor < 1e-290:
            # A thousand decays by ten: no float lies between the bounds any more.
            continue
        assert bound(cycle.start) == high
        inside = cycle.start + int(share * (cycle.end - 1 - cycle.start))
        assert floor < bound(cycle.end - 1) <= bound(inside) <= high


@pytest.mark.parametrize("mult", [2, 3, 5, 10])
def test_no_restart_lands_in_the_trough(mult):
    horizon = Horizon(10**6)
    for first in range(1, 60):
        curve = Repeat(Anneal(0.1, 0.0), cycle=first, cycle_mult=mult)
        starts = [cycle.start for cycle in curve.cycles(horizon)]
        assert starts == [first * (mult**index - 1) // (mult - 1) for index in range(len(starts))]
        assert {curve.at(start, horizon) for start in starts} == {0.1}


def test_threads_that_ask_the_same_curve_get_their_own_answers():
    curve, horizon = Repeat(Anneal(1.0, 0.0), cycles=100), Horizon(1000)
    expected, wrong = values(curve, 1000), []

    def ask(offset):
        for count in range(6000):
            step = (7 * count + offset) % 1000
            try:
                if curve.at(step, horizon) != expected[step]:
                    wrong.append(step)
            except IndexError:
                wrong.append(step)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(313 * index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


# What is refused


@pytest.mark.parametrize(
    ("build", "error", "argument", "remedy"),
    [
        (lambda: Join((Flat(1.0),), ()), ValueError, "boundaries=[]", "pass two or more curves"),
        (lambda: Join((Flat(1.0), Flat(2.0)), ()), ValueError, "boundaries=[]", "one boundary fewer than curves"),
        (lambda: Join((Flat(1.0), Flat(2.0)), (0,)), ValueError, "boundaries=0", "pass a duration above 0"),
        (lambda: Join((Flat(1.0), "x"), (1,)), TypeError, "curves='x'", "pass a number, a function"),
        (lambda: Join((Flat(1.0), Flat(2.0)), (9,)).at(0, Horizon(9)), ValueError, "boundaries=[9]", "shorten it"),
        (
            lambda: Join((Flat(1.0), Flat(2.0), Flat(3.0)), (5, 3)).at(0, Horizon(9)),
            ValueError,
            "boundaries=[5, 3]",
            "train for longer",
        ),
        (lambda: Scale(Flat(1.0), math.nan), ValueError, "factor=nan", "pass a finite number"),
        (lambda: Scale("x", 1.0), TypeError, "curve='x'", "pass a number, a function of the update, or a curve"),
        (lambda: Repeat(Flat(1.0)), ValueError, "cycles=None, cycle=None", "pass exactly one of them"),
        (lambda: Repeat(Flat(1.0), cycles=1, cycle=1), ValueError, "cycles=1, cycle=1", "pass exactly one of them"),
        (lambda: Repeat(Flat(1.0), cycles=0), ValueError, "cycles=0", "pass an int of at least 1"),
        (lambda: Repeat(Flat(1.0), cycle="0%"), ValueError, "cycle='0%'", "pass a duration above 0"),
        (lambda: Repeat(Flat(1.0), cycles=1, cycle_mult=0.9), ValueError, "cycle_mult=0.9", "of at least 1"),
        (lambda: Repeat(Flat(1.0), cycles=1, start_decay=0.0), ValueError, "start_decay=0.0", "above 0"),
        (lambda: Repeat(Flat(1.0), cycles=1, end_decay=1.1), ValueError, "end_decay=1.1", "of at most 1"),
        (lambda: Repeat(Flat(1.0), cycles=1, start_decay=0.5), TypeError, "curve=Flat(value=1.0)", "pass an Anneal"),
        (lambda: Repeat("x", cycles=1), TypeError, "curve='x'", "pass a number, a function of the update, or a curve"),
        (lambda: Repeat(Flat(1.0), cycles=4).at(0, Horizon(3)), ValueError, "cycles=4", "ask for fewer cycles"),
    ],
)
def test_refused(build, error, argument, remedy):
    with pytest.raises(error) as refused:
        build()
    message = str(refused.value)
    assert message.startswith(f"{argument}: ")
    assert remedy in message.split("; ", 1)[1]
    assert "\n" not in message


def test_functions_compose():
    curve = Scale(Join((Function(lambda step: 1.0 + step), 5.0), ("50%",)), 2)
    assert values(curve, 4) == [2.0, 4.0, 10.0, 10.0]
