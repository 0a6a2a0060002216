from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from lightning_lr.arguments import require_choice, require_int, require_number, require_one_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, 0.1),
        (3, 3.0),
        (0, 0.0),
        (Fraction(1, 4), 0.25),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(2), 2.0),
        (5e-324, 5e-324),
    ],
)
def test_what_is_a_number_comes_back_as_a_float(value, expected):
    found = require_number("max_lr", value)
    assert type(found) is float
    assert found == expected


@pytest.mark.parametrize(
    "value", ["0.1", True, False, np.True_, None, [0.1], 1 + 0j, Decimal("0.1"), torch.tensor(0.1), object]
)
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError) as refused:
        require_number("max_lr", value, above=0.0)
    assert str(refused.value) == f"max_lr={value!r}: not a number; pass a number above 0"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_finite_is_refused_whatever_the_bounds(value):
    with pytest.raises(ValueError, match=r"not finite") as refused:
        require_number("max_lr", value)
    assert str(refused.value) == f"max_lr={value!r}: not finite; pass a finite number"


def test_an_int_beyond_every_float_is_refused_like_an_infinity():
    with pytest.raises(ValueError, match=r"^max_lr=10+: .*; pass a number above 0$"):
        require_number("max_lr", 10**400, above=0.0)


@pytest.mark.parametrize(
    ("bounds", "value", "remedy"),
    [
        ({"above": 0.0}, 0.0, "pass a number above 0"),
        ({"at_least": 1.0}, 0.999, "pass a number of at least 1"),
        ({"below": 1.0}, 1.0, "pass a number below 1"),
        ({"at_most": 0.5}, 0.51, "pass a number of at most 0.5"),
        ({"above": 0.0, "at_most": 1.0}, -1, "pass a number above 0 and of at most 1"),
    ],
)
def test_a_number_out_of_bounds_is_told_the_bounds(bounds, value, remedy):
    with pytest.raises(ValueError, match="out of range") as refused:
        require_number("x", value, **bounds)
    assert str(refused.value) == f"x={value!r}: out of range; {remedy}"


@pytest.mark.parametrize(
    ("bounds", "value"),
    [({"at_least": 0.0}, 0.0), ({"at_most": 1.0}, 1), ({"above": 0.0}, 5e-324), ({"below": 1.0}, math.nextafter(1, 0))],
)
def test_a_number_on_a_closed_bound_or_just_inside_an_open_one_passes(bounds, value):
    assert require_number("x", value, **bounds) == value


@pytest.mark.parametrize("value", [2.5, 5.0, "5", True, None, [5], Fraction(5)])
def test_what_is_no_int_is_a_type_error(value):
    with pytest.raises(TypeError) as refused:
        require_int("cycles", value, at_least=1)
    assert str(refused.value) == f"cycles={value!r}: not an int; pass an int of at least 1"


@pytest.mark.parametrize("value", [0, -1])
def test_too_small_an_int_is_refused(value):
    with pytest.raises(ValueError, match=rf"^cycles={value}: out of range; pass an int of at least 1$"):
        require_int("cycles", value, at_least=1)


def test_an_int_comes_back():
    assert require_int("cycles", 1, at_least=1) == 1


def test_choices_are_listed_where_none_is_met():
    require_choice("mode", "min", ("min", "max"))
    with pytest.raises(ValueError, match=r"^mode='mean': unknown; pass 'min' or 'max'$"):
        require_choice("mode", "mean", ("min", "max"))
    with pytest.raises(ValueError, match=r"^mode=\['min'\]: unknown; pass 'min' or 'max'$"):
        require_choice("mode", ["min"], ("min", "max"))


def test_exactly_one_of_two():
    require_one_of("cycles", 0, "cycle", None)
    require_one_of("cycles", None, "cycle", 0)
    with pytest.raises(ValueError, match=r"^cycles=None, cycle=None: one of them is needed; pass exactly one of them$"):
        require_one_of("cycles", None, "cycle", None)
    with pytest.raises(ValueError, match=r"^cycles=0, cycle='1ep': they exclude each other; pass exactly one of them$"):
        require_one_of("cycles", 0, "cycle", "1ep")
