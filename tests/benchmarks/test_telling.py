"""What figures of several seeds allow to be said, against values worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks.telling import Difference, Figure, difference, listed, percent, tally, verdict


def test_a_figure_is_told_with_the_standard_deviation_of_the_sample():
    figure = Figure((1.0, 2.0, 3.0, 4.0))
    assert (figure.mean, figure.sd) == (2.5, pytest.approx(1.2909944487))
    assert figure.told() == "2.5 ± 1.3"
    assert figure.kept() == {"mean": 2.5, "sd": 1.291, "n": 4, "each": [1.0, 2.0, 3.0, 4.0]}


def test_shares_are_told_in_percent():
    assert percent([0.5, 0.25]).each == (50.0, 25.0)


def test_the_interval_of_a_difference_is_that_of_the_paired_t_test():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), and 4.302653 of Student's with two degrees of freedom.
    found = difference(Figure((2.0, 4.0, 6.0)), Figure((1.0, 2.0, 3.0)))
    assert found.mean == 2.0
    assert (found.low, found.high) == (pytest.approx(-0.484138, abs=1e-6), pytest.approx(4.484138, abs=1e-6))
    assert found.told() == "+2.0 points (95 % interval -0.5 to +4.5)"


def test_equal_differences_have_no_spread():
    assert difference(Figure((2.0, 3.0)), Figure((1.0, 2.0))) == Difference(1.0, 1.0, 1.0)


def test_seeds_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="zip"):
        difference(Figure((1.0, 2.0)), Figure((1.0,)))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.9, "better"),
        (-0.9, -0.1, "worse"),
        (-0.1, 0.9, "no different as far as can be told"),
        (0.0, 0.9, "no different as far as can be told"),
    ],
)
def test_better_is_said_where_the_interval_leaves_zero_out(low, high, said):
    assert verdict(Difference((low + high) / 2, low, high)) == said


def test_names_are_listed_as_in_a_sentence():
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_a_tally_leaves_out_what_happened_nowhere():
    assert tally({"better on": ["a", "b"], "worse on": [], "even on": ["c"]}) == "Better on a and b; even on c."
