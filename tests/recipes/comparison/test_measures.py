"""Figures of a run and of a group, held against numpy."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from recipes import compare
from recipes.comparison.grouping import Group
from recipes.comparison.measures import MEASURES, Summary, ranked, reach, summary, target_of_all
from recipes.comparison.reading import Curves, Run

ACCURACY, STEPS = MEASURES["ensemble.accuracy"], MEASURES["steps_to_target"]


def run(*accuracies, clock=(), **scores):
    logged = [(10 * (index + 1), value) for index, value in enumerate(accuracies)]
    seconds = [(10 * (index + 1), value) for index, value in enumerate(clock)]
    return Run("run", {}, scores, 0, 100, 5.0, None, Curves(accuracy=logged, seconds=seconds))


def group(label, *runs):
    return Group(label, runs, (), {}, {})


def scored(label, *accuracies):
    return group(label, *(run(**{"ensemble.accuracy": value}) for value in accuracies))


def test_names_are_those_of_the_command_line():
    assert sorted(MEASURES) == sorted(compare.METRICS)


@pytest.mark.parametrize("values", [(0.9, 0.92, 0.97), (1.0, 1.0), (3.0,), (1e9, 1e9 + 1, 1e9 + 3)])
def test_mean_and_standard_deviation_are_numpys(values):
    found = Summary(values, len(values))
    assert found.mean == pytest.approx(np.mean(values), rel=1e-15)
    assert (found.low, found.high, found.n) == (min(values), max(values), len(values))
    if len(values) == 1:
        assert found.sd is None
    else:
        assert found.sd == pytest.approx(np.std(values, ddof=1), rel=1e-12, abs=1e-15)


def test_a_figure_that_is_not_finite_is_not_left_out():
    found = Summary((0.1, math.nan, 0.2), 3)
    assert math.isnan(found.mean)
    assert math.isnan(found.sd)
    assert math.isnan(Summary((), 2).mean)


def test_figures_as_they_are_shown():
    assert ACCURACY.spread(Summary((0.90, 0.92, 0.97), 3)) == "93.00 ± 3.61"
    assert ACCURACY.spread(Summary((0.9,), 1)) == "90.00"
    assert ACCURACY.spread(Summary((), 2)) == "-"
    assert ACCURACY.told(Summary((0.90, 0.92), 2)) == "91.00 ± 1.41 % (n=2)"
    assert STEPS.told(Summary((10.0, 20.0), 3)) == "15 ± 7 updates (2 of 3)"
    assert MEASURES["ensemble.nll"].spread(Summary((0.1, 0.2), 2)) == "0.1500 ± 0.0707"
    # Runs of one length are the rule.
    assert MEASURES["steps"].spread(Summary((136.0, 136.0), 2)) == "136"
    assert MEASURES["steps"].spread(Summary((136.0, 138.0), 2)) == "137 ± 1"


def test_the_target_is_reached_at_the_first_validation_at_it_or_above():
    of = run(0.5, 0.9, 0.8, 0.95, clock=(1.0, 2.0, 3.0, 4.0))
    assert reach(of, 0.5) == (reached := reach(of, 0.1))
    assert (reached.steps, reached.seconds) == (10, 1.0)
    assert (reach(of, 0.9).steps, reach(of, 0.9).seconds) == (20, 2.0)
    assert reach(of, 0.91).steps == 40
    assert (reach(of, 0.96).steps, reach(of, 0.96).seconds) == (None, None)
    assert (reach(run(0.9), 0.9).steps, reach(run(0.9), 0.9).seconds) == (10, None)


def test_what_a_float32_makes_of_an_accuracy_reaches_it():
    assert reach(run(float(np.float32(0.975) - np.float32(6e-8))), 0.975).steps == 10
    assert reach(run(0.9748), 0.975).steps is None


def test_without_a_target_it_is_the_highest_that_every_run_reached():
    assert target_of_all([group("a", run(0.5, 0.9871, 0.97)), group("b", run(0.93, 0.9666), run(0.99))]) == 0.966
    assert target_of_all([group("a", run(float(np.float32(0.975))))]) == 0.975
    assert target_of_all([group("a", run(math.nan, 0.3), run(0.4))]) == 0.3
    assert target_of_all([group("a", run())]) is None
    # A run without curves has nothing to say to that.
    assert target_of_all([group("a", run(), run(0.5))]) == 0.5


def test_every_run_reaches_the_target_that_was_not_set():
    rng = np.random.default_rng(0)
    for _ in range(200):
        groups = [group("a", *(run(*rng.random(4).astype(np.float32).tolist()) for _ in range(3)))]
        target = target_of_all(groups)
        assert summary(groups[0], STEPS, target).n == 3
        assert summary(groups[0], STEPS, target + 0.00101).n < 3


def test_the_best_is_first():
    groups = [scored("b", 0.9, 0.92), scored("nan", math.nan, 0.99), scored("a", 0.95), scored("c", 0.1)]
    assert [each.label for each in ranked(groups, ACCURACY, None)] == ["a", "b", "c", "nan"]
    lost = [group(name, run(**{"ensemble.nll": value})) for name, value in (("a", 0.3), ("b", 0.1), ("c", math.inf))]
    assert [each.label for each in ranked(lost, MEASURES["ensemble.nll"], None)] == ["b", "a", "c"]


def test_of_which_more_runs_reach_the_target_is_first():
    groups = [group("fast", run(0.95), run(0.5)), group("never", run(0.5)), group("slow", run(0.5, 0.9), run(0.5, 0.9))]
    assert [each.label for each in ranked(groups, STEPS, 0.9)] == ["slow", "fast", "never"]


def test_help_names_the_measures(capsys):
    with pytest.raises(SystemExit):
        compare.main(["--help"])
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert all(key in said for key in MEASURES)
