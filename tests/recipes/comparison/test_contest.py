"""Whether a lead is more than noise: the tests are scipy's, and of one run nothing is claimed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from recipes.comparison.contest import against_the_best, in_words
from recipes.comparison.grouping import Group
from recipes.comparison.measures import MEASURES
from recipes.comparison.reading import Run

ACCURACY, NLL = MEASURES["ensemble.accuracy"], MEASURES["ensemble.nll"]


def group(label, values, seeds=None, key="ensemble.accuracy"):
    seeds = range(len(values)) if seeds is None else seeds
    runs = [
        Run(f"{label}/{seed}", {"seed": seed}, {key: value}, 0, 1, 1.0)
        for seed, value in zip(seeds, values, strict=True)
    ]
    return Group(label, tuple(runs), (), {}, {})


def sentence(*groups, measure=ACCURACY):
    return in_words(groups, against_the_best(groups, measure, None), measure, None)


FIRST, SECOND = (0.95, 0.97, 0.96, 0.99), (0.94, 0.90, 0.95, 0.93)


def test_with_the_same_seeds_it_is_the_paired_test():
    (found,) = against_the_best([group("a", FIRST), group("b", SECOND)], ACCURACY, None)
    oracle = stats.ttest_rel(FIRST, SECOND)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()), rel=1e-9)
    assert found.difference == pytest.approx(np.mean(FIRST) - np.mean(SECOND))
    assert found.test == "a t-test paired by seed, 4 pairs"


@pytest.mark.parametrize("seeds", [(0, 1, 2, 4), (4, 5, 6, 7)])
def test_with_other_seeds_it_is_welchs(seeds):
    (found,) = against_the_best([group("a", FIRST), group("b", SECOND, seeds)], ACCURACY, None)
    oracle = stats.ttest_ind(FIRST, SECOND, equal_var=False)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()), rel=1e-9)
    assert found.test == "Welch's t-test, n = 4 and 4"


def test_welchs_of_unequal_sizes_and_one_without_any_spread():
    rng = np.random.default_rng(1)
    for first, second in ((rng.random(3), rng.random(5)), (rng.random(2), rng.random(4)), ([0.5] * 3, rng.random(2))):
        (found,) = against_the_best([group("a", first), group("b", second)], ACCURACY, None)
        means = np.mean(first), np.mean(second)
        parts = np.var(first, ddof=1) / len(first), np.var(second, ddof=1) / len(second)
        freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1))
        t = (means[0] - means[1]) / math.sqrt(sum(parts))
        assert found.p == pytest.approx(2 * stats.t.sf(abs(t), freedom), rel=1e-9)


def test_several_are_corrected_by_holm():
    rng = np.random.default_rng(2)
    values = [0.9 - 0.01 * index + 0.01 * rng.random(5) for index in range(5)]
    groups = [group(str(index), each) for index, each in enumerate(values)]
    raw = [stats.ttest_rel(values[0], each).pvalue for each in values[1:]]
    order = np.argsort(raw)
    expected, highest = [0.0] * 4, 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (4 - rank) * raw[index]))
        expected[index] = highest
    found = against_the_best(groups, ACCURACY, None)
    assert [each.p for each in found] == pytest.approx(expected, rel=1e-8)
    assert found[0].test == "a t-test paired by seed, 5 pairs, Holm-corrected for 4 tests"


def test_one_that_cannot_be_tested_is_not_corrected_for():
    found = against_the_best([group("a", FIRST), group("b", SECOND), group("c", (0.1,))], ACCURACY, None)
    assert found[0].p == pytest.approx(stats.ttest_rel(FIRST, SECOND).pvalue, rel=1e-10)
    assert (found[1].p, found[1].verdict) == (None, "not known")


def test_what_is_more_than_noise_is_called_best():
    first, second = (0.95, 0.96, 0.97), (0.90, 0.912, 0.918)
    assert sentence(group("schedule=sgdr", first), group("schedule=constant", second)) == (
        "Best by accuracy of the ensemble: schedule=sgdr, 96.00 ± 1.00 % (n=3); "
        "next: schedule=constant, 91.00 ± 0.92 % (n=3). The difference is more than noise: "
        "+5.00 points, 95 % interval +4.50 to +5.50 points, p < 0.001 by a t-test paired by seed, 3 pairs."
    )


def test_what_is_within_noise_is_called_so():
    told = sentence(group("a", (0.95, 0.97)), group("b", (0.94, 0.96), (2, 3)))
    assert told == (
        "Highest accuracy of the ensemble: a, 96.00 ± 1.41 % (n=2); next: b, 95.00 ± 1.41 % (n=2). "
        "The difference is within noise: +1.00 points, 95 % interval -5.08 to +7.08 points, "
        "p = 0.55 by Welch's t-test, n = 2 and 2. That is no evidence that they are equal."
    )


def test_of_a_loss_less_is_better():
    told = sentence(
        group("a", (0.10, 0.12), key="ensemble.nll"), group("b", (0.50, 0.53), key="ensemble.nll"), measure=NLL
    )
    assert told.startswith("Best by NLL of the ensemble: a, 0.1100 ± 0.0141 (n=2); next: b, 0.5150 ± 0.0212 (n=2). ")
    assert "more than noise: -0.4050, 95 % interval -0.4685 to -0.3415, p = 0.0079 by" in told


@pytest.mark.parametrize(("first", "second", "who"), [((0.99,), (0.1,), "a"), ((0.99, 0.98, 0.97), (0.1,), "b")])
def test_of_one_run_nothing_is_claimed(first, second, who):
    told = sentence(group("a", first), group("b", second))
    assert told.startswith("Highest accuracy of the ensemble: a, ")
    assert told.endswith(
        f"is more than noise is not known: {who} is one run; train with more seeds, as in -m seed=0,1,2."
    )
    assert "Best" not in told


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Of 480 samples, each time two more.
        ((0.9916666666666667, 0.9895833333333334, 0.99375), (0.9875, 0.9854166666666667, 0.9895833333333334)),
        ((0.5, 0.5), (0.5, 0.5)),
        ((0.9, 0.9, 0.9), (0.8, 0.8)),
    ],
)
def test_without_spread_nothing_is_claimed(first, second):
    told = sentence(group("a", first), group("b", second))
    assert "is not known: without any spread there is nothing to hold it against (" in told


def test_what_is_not_finite_is_not_compared():
    told = sentence(group("a", FIRST), group("b", (0.5, math.nan, 0.6, 0.7)))
    assert told.endswith("is not known: of b it is not finite.")
    assert (
        sentence(group("a", (math.nan,)), group("b", (math.nan,))) == "No group has a finite accuracy of the ensemble."
    )


def test_one_group_has_nothing_to_be_compared_with():
    told = "Accuracy of the ensemble: sgdr, 91.00 ± 1.41 % (n=2). One group, nothing to compare it with."
    assert sentence(group("sgdr", (0.90, 0.92))) == told


def test_where_some_runs_never_reach_the_target_the_rest_is_no_sample():
    runs = tuple(Run(f"a/{seed}", {"seed": seed}, {}, 0, 1, 1.0) for seed in range(2))
    never = Group("never", runs, (), {}, {})
    measure = MEASURES["steps_to_target"]
    (found,) = against_the_best([never, never], measure, 0.9)
    assert (found.p, found.test) == (None, "2 of 2 of never have no such figure")


def test_by_chance_alone_it_is_wrong_as_rarely_as_it_says():
    rng = np.random.default_rng(3)
    trials, wrong = 2000, 0
    for _ in range(trials):
        one, other = rng.normal(0.9, 0.01, 4), rng.normal(0.9, 0.01, 4)
        (found,) = against_the_best([group("a", one), group("b", other)], ACCURACY, None)
        wrong += found.verdict == "worse"
    assert 0.035 < wrong / trials < 0.065
