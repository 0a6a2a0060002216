"""How scores are written."""

from __future__ import annotations

import math

import pytest

from lightning_lr.plots.quantities import QUANTITIES, amount


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.1, "0.100"),
        (0.012345, "0.0123"),
        (0.0012345, "1.23e-3"),
        (-0.5, "-0.500"),
        (9.999, "10.0"),
        (99.99, "100"),
        (1234.5, "1234"),
        (12345.0, "1.23e4"),
        (-1e300, "-1.00e300"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_an_amount_as_people_write_it(value, text):
    assert amount(value) == text


def test_fewer_digits():
    assert [amount(value, 2) for value in (2.34, 123.0, 0.000456, 12345.0)] == ["2.3", "123", "4.6e-4", "1.2e4"]


@pytest.mark.parametrize(
    ("key", "value", "other", "text"),
    [
        ("accuracy", 97.25, 96.4, "+0.85 points"),
        ("accuracy", 90.0, 96.4, "-6.40 points"),
        ("nll", 0.1, 0.15, "-0.0500"),
        ("nll", -1.0, -2.5, "+1.50"),
    ],
)
def test_a_difference_has_its_sign(key, value, other, text):
    assert QUANTITIES[key].difference(value, other) == text


def test_the_best_and_what_is_worse():
    accuracy, nll = QUANTITIES["accuracy"], QUANTITIES["nll"]
    assert accuracy.best([90.0, math.nan, 95.0]) == 95.0
    assert nll.best([0.3, -math.inf, 0.2]) == 0.2
    assert math.isnan(nll.best([math.nan]))
    assert accuracy.worse(90.0, 95.0)
    assert not accuracy.worse(95.0, 95.0)
    assert nll.worse(0.3, 0.2)
    assert not nll.worse(math.nan, 0.2)


def test_only_accuracy_is_better_the_more_of_it():
    assert [key for key, quantity in QUANTITIES.items() if quantity.more_is_better] == ["accuracy"]
