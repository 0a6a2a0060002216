from __future__ import annotations

import math
import pickle
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lr.durations import Horizon, parse, require_length

REMEDY = 'write 500 or "500st" for updates, "10ep" for epochs, "30%" for a share of the run'


@pytest.mark.parametrize(
    ("duration", "total_steps", "steps_per_epoch", "expected"),
    [
        (0, 10, None, 0),
        (500, 10, None, 500),
        ("500st", 10, None, 500),
        ("500 st", 10, None, 500),
        (" 10ep ", 1000, 40, 400),
        ("10.0st", 10, None, 10),
        ("0st", 10, None, 0),
        ("1ep", 100, 7, 7),
        ("2.5ep", 100, 40, 100),
        (".5ep", 100, 40, 20),
        ("0.5ep", 100, 1, 1),
        ("0.49ep", 100, 1, 0),
        ("30%", 1000, None, 300),
        ("0%", 1000, None, 0),
        ("100%", 7, None, 7),
        ("50%", 7, None, 4),
        # Half up, where Python's round would take the even neighbour.
        ("50%", 1, None, 1),
        ("50%", 5, None, 3),
        ("0.5ep", 100, 5, 3),
        ("0.1ep", 100, 15, 2),
        ("0.1ep", 100, 5, 1),
        ("0.1ep", 100, 25, 3),
        ("0.1ep", 100, 14, 1),
        # Exact, where binary floats miss the half: 0.145 * 100 is 14.499999999999998.
        ("0.145ep", 1000, 100, 15),
        ("14.5%", 100, None, 15),
        ("33.3%", 10, None, 3),
        ("33.3%", 1000, None, 333),
        ("33.3%", 5000, None, 1665),
        ("0.7ep", 1000, 10**17 + 5, 70000000000000004),
        ("1%", 49, None, 0),
        ("1%", 50, None, 1),
    ],
)
def test_literal_values(duration, total_steps, steps_per_epoch, expected):
    found = Horizon(total_steps, steps_per_epoch).updates(duration)
    assert type(found) is int
    assert found == expected


@pytest.mark.parametrize(
    ("duration", "what"),
    [
        ("10", "not a duration"),
        ("10 steps", "not a duration"),
        ("10eps", "not a duration"),
        ("10EP", "not a duration"),
        ("ep", "not a duration"),
        ("", "not a duration"),
        ("   ", "not a duration"),
        ("-1ep", "not a duration"),
        ("+1ep", "not a duration"),
        ("1e3st", "not a duration"),
        ("1_000st", "not a duration"),
        ("1,5ep", "not a duration"),
        ("1.ep", "not a duration"),
        ("nan%", "not a duration"),
        ("10ep 5st", "not a duration"),
        ("\N{ARABIC-INDIC DIGIT ONE}ep", "not a duration"),
        ("\N{FULLWIDTH DIGIT ONE}ep", "not a duration"),
        ("½ep", "not a duration"),
        ("0.5st", "there is no part of an update"),
        ("100.01%", "a share of the run is at most 100%"),
        ("101%", "a share of the run is at most 100%"),
        (-1, "a duration is not negative"),
    ],
)
def test_what_cannot_be_read_is_a_value_error(duration, what):
    with pytest.raises(ValueError, match=what) as refused:
        parse(duration, "cycle")
    assert str(refused.value) == f"cycle={duration!r}: {what}; {REMEDY}"


@pytest.mark.parametrize("duration", [0.3, 10.0, math.nan, True, False, None, Fraction(1, 2), ["1ep"], b"1ep"])
def test_what_is_neither_int_nor_string_is_a_type_error(duration):
    with pytest.raises(TypeError) as refused:
        parse(duration, "warmup")
    assert str(refused.value) == f"warmup={duration!r}: a duration is an int or a string; {REMEDY}"


def test_epochs_without_a_fixed_length_are_refused():
    with pytest.raises(
        ValueError, match=r"^duration='10ep': an epoch has no fixed number of updates here; "
    ) as refused:
        Horizon(100).updates("10ep")
    assert 'give the duration in updates ("500st") or as a share of the run ("30%")' in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("duration", [0, "0st", "0.0ep", "0%"])
def test_no_length(duration):
    with pytest.raises(ValueError, match=r"has no length; pass a duration above 0$") as refused:
        require_length("cycle", duration)
    assert str(refused.value).startswith(f"cycle={duration!r}: ")


def test_a_length_passes():
    require_length("cycle", "0.001ep")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"total_steps": 0}, ValueError, "total_steps=0: out of range; pass an int of at least 1"),
        ({"total_steps": -1}, ValueError, "total_steps=-1: out of range; pass an int of at least 1"),
        ({"total_steps": 10.0}, TypeError, "total_steps=10.0: not an int; pass an int of at least 1"),
        ({"total_steps": True}, TypeError, "total_steps=True: not an int; pass an int of at least 1"),
        ({"total_steps": math.inf}, TypeError, "total_steps=inf: not an int; pass an int of at least 1"),
        (
            {"total_steps": 10, "steps_per_epoch": 0},
            ValueError,
            "steps_per_epoch=0: out of range; pass an int of at least 1",
        ),
        (
            {"total_steps": 10, "steps_per_epoch": 2.5},
            TypeError,
            "steps_per_epoch=2.5: not an int; pass an int of at least 1",
        ),
    ],
)
def test_a_horizon_that_makes_no_sense_is_refused(arguments, error, message):
    with pytest.raises(error) as refused:
        Horizon(**arguments)
    assert str(refused.value) == message


def test_a_percentage_of_a_part_is_a_share_of_the_whole():
    part = Horizon(1000, 40).part(100)
    assert part.total_steps == 100
    assert part.updates("30%") == 300
    assert part.part(10).updates("30%") == 300
    assert part.updates("2ep") == 80


def test_a_horizon_is_a_value():
    horizon = Horizon(1000, 40)
    assert horizon == Horizon(1000, 40)
    assert len({horizon, Horizon(1000, 40), Horizon(1000), horizon.part(10)}) == 3
    assert pickle.loads(pickle.dumps(horizon.part(10))) == horizon.part(10)


@settings(deadline=None, database=None, max_examples=200)
@given(
    total=st.integers(1, 10**6),
    epoch=st.integers(1, 10**5),
    amount=st.decimals(min_value=0, max_value=100, places=3),
)
def test_rounded_half_up_and_never_twice(total, epoch, amount):
    exact = Fraction(amount)
    horizon = Horizon(total, epoch)
    assert horizon.updates(f"{amount}ep") == math.floor(exact * epoch + Fraction(1, 2))
    assert horizon.updates(f"{amount}%") == math.floor(exact * total / 100 + Fraction(1, 2))
    assert horizon.updates(f"{amount}%") <= total
