from __future__ import annotations

from fractions import Fraction
from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lightning_lr.schedules.cycles import Cycle, lengthening, proportional

multipliers = st.one_of(st.just(1), st.integers(1, 12), st.decimals(min_value=1, max_value=4, places=2).map(float))


@pytest.mark.parametrize(
    ("total", "cycles", "mult", "ends"),
    [
        (1, 1, 1, [1]),
        (1, 1, 7.5, [1]),
        (5, 5, 1, [1, 2, 3, 4, 5]),
        (10, 3, 1, [3, 6, 10]),
        (164, 5, 1, [32, 65, 98, 131, 164]),
        (11, 4, 1.0, [2, 5, 8, 11]),
        (70, 3, 2, [10, 30, 70]),
        (7, 3, 2, [1, 3, 7]),
        (100, 3, 2, [14, 42, 100]),
        (65, 3, 1.5, [13, 34, 65]),
        (331, 3, 1.1, [100, 210, 331]),
        (1111, 4, 10, [1, 11, 111, 1111]),
    ],
)
def test_shares_of_the_horizon(total, cycles, mult, ends):
    assert proportional(total, cycles, mult) == ends


@pytest.mark.parametrize(
    ("total", "first", "mult", "lengths"),
    [
        (1, 1, 1, [1]),
        (3, 1, 1, [1, 1, 1]),
        (5, 2, 1, [2, 2, 2]),
        (7, 1, 2, [1, 2, 4]),
        (8, 1, 2, [1, 2, 4, 8]),
        (1210, 10, 3, [10, 30, 90, 270, 810]),
        (1211, 10, 3, [10, 30, 90, 270, 810, 2430]),
        (30, 5, 1.5, [5, 8, 11, 17]),  # 5, 7.5, 11.25, 16.875
        (10, 1, 1.5, [1, 2, 2, 3, 5]),  # 1, 1.5, 2.25, 3.375, 5.0625
        (5, 1, 2.5, [1, 2, 6]),  # 2.5 goes to the even neighbour, as Python's round has it
        (100, 10, 1.1, [10, 11, 12, 13, 15, 16, 18, 19]),
        (5, 100, 3, [100]),
        (4, 1, 1e300, [1, 10**300]),
    ],
)
def test_lengths_that_grow(total, first, mult, lengths):
    assert list(lengthening(total, first, mult)) == lengths


def test_more_cycles_than_updates():
    with pytest.raises(
        ValueError,
        match=r"^cycles=6: more cycles than updates \(5\); ask for fewer cycles or train for longer$",
    ):
        proportional(5, 6, 1)


@pytest.mark.parametrize(("cycles", "mult", "enough"), [(3, 2, 7), (4, 10, 1111), (3, 1.5, 5), (10, 1.01, 11)])
def test_the_updates_that_an_error_asks_for_are_just_enough(cycles, mult, enough):
    assert proportional(enough, cycles, mult)[0] == 1
    with pytest.raises(ValueError, match="first cycle gets no update") as refused:
        proportional(enough - 1, cycles, mult)
    assert str(refused.value) == (
        f"cycles={cycles}: with cycle_mult={mult!r} the first cycle gets no update of {enough - 1}; "
        f"ask for fewer cycles or train for {enough} updates or more"
    )


def test_a_need_too_large_to_print_is_refused_with_our_words():
    # Python does not write an int of more than 4300 digits.
    with pytest.raises(ValueError, match=r"^cycles=6000: .*; ask for fewer cycles"):
        proportional(10_000, 6000, 10)


@settings(deadline=None, database=None, max_examples=300)
@given(total=st.integers(1, 10**6), cycles=st.integers(1, 60), mult=multipliers)
def test_shares_are_those_of_exact_fractions(total, cycles, mult):
    exact = Fraction(str(mult))
    weights = [exact**index for index in range(cycles)]
    expected = [total * share / sum(weights) for share in accumulate(weights)]
    assume(expected[0] >= 1 and cycles <= total)
    ends = proportional(total, cycles, mult)
    assert ends == [share.__floor__() for share in expected]
    assert all(start < end for start, end in pairwise([0, *ends]))
    assert ends[-1] == total


@settings(deadline=None, database=None, max_examples=200)
@given(total=st.integers(1, 10**6), first=st.integers(1, 10**6), mult=multipliers)
def test_lengths_are_those_of_exact_fractions(total, first, mult):
    assume(total // first <= 2000 or mult > 1.1)
    exact = Fraction(str(mult))
    lengths = list(lengthening(total, first, mult))
    assert lengths == [round(first * exact**index) for index in range(len(lengths))]
    assert sum(lengths) >= total > sum(lengths[:-1])
    assert min(lengths) >= 1


@pytest.mark.parametrize("mult", [2, 3, 5, 10])
def test_no_restart_is_off_by_one(mult):
    # By the geometric series, from every first length that a float logarithm is known to miss one at.
    for first in range(1, 60):
        ends = list(accumulate(lengthening(10**6, first, mult)))
        assert ends == [first * (mult**index - 1) // (mult - 1) for index in range(1, len(ends) + 1)]
        assert ends[-1] >= 10**6


def test_a_cycle_is_a_value():
    assert Cycle(0, 0, 5) == Cycle(index=0, start=0, end=5, complete=True)
    assert len({Cycle(0, 0, 5), Cycle(0, 0, 5), Cycle(0, 0, 5, complete=False)}) == 2
