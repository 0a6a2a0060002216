from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from lightning_lr.report import EnsembleReport
from lightning_lr.report.advice import advice


def report(split, readings, target, **settings):
    count, samples = readings.shape[:2]
    names = tuple(f"member {m}" for m in range(count))
    identity = tuple(f"{split}{sample}".encode() for sample in range(samples))
    return EnsembleReport(readings, target, names, (None,) * count, identity, **settings)


def classes(split, chances, **settings):
    """A report of binary decisions, from each member's probability of what is right."""
    right = torch.tensor(chances)
    return report(
        split, torch.stack((right, 1 - right), dim=-1).log(), torch.zeros(right.shape[1:], dtype=torch.long), **settings
    )


def test_an_ensemble_that_gains():
    # Alone each is wrong in 10 of 40 samples, and never two in the same: together they are right.
    chances = [[0.3 if 10 * m <= sample < 10 * m + 10 else 0.9 for sample in range(40)] for m in range(3)]
    found = advice(classes("val", chances), classes("test", chances))
    assert (found.m, found.of, found.cost, found.use) == (3, 3, 3, 3)
    assert found.gain == 25.0
    assert found.p == stats.binomtest(0, 10).pvalue == 2 / 1024
    assert found.significant
    assert found.sentence == str(found)
    assert found.sentence == (
        "use the last 3 of 3: +25.0 points at three times the cost (75.0 % to 100.0 % of 40 samples, p = 0.002)"
    )


def test_a_gain_that_may_be_chance():
    chances = [[0.9] * 37 + [0.45] * 3, [0.6] * 3 + [0.45] * 2 + [0.7] * 35]
    found = advice(classes("val", chances), classes("test", chances))
    assert found.m == 2
    assert found.gain == pytest.approx(5.0)
    assert not found.significant
    assert found.use == 1
    assert found.p == 0.5
    assert found.sentence.startswith("one model is as ")
    assert "+5.0 points at twice the cost, within noise (95.0 % to 100.0 % of 40 samples, p = 0.5)" in found.sentence


def test_better_probabilities_are_not_kept_back():
    chances = [[0.9] * 30, [0.6 + 0.001 * sample for sample in range(30)]]
    found = advice(classes("val", chances), classes("test", chances))
    assert not found.significant
    assert found.sentence.startswith(
        "one model is as often right: the last 2 of 2 give +0.0 points at twice the cost, within"
    )
    assert "; the ensemble's probabilities are better: NLL 0." in found.sentence


def test_one_that_is_better_alone_where_it_is_fitted_is_compared_all_the_same():
    # Which m is best may be noise: the comparison is made where it is told.
    chances = [[0.05] * 10, [0.2] * 10, [0.9] * 10]
    fit, told = classes("val", chances), classes("test", chances)
    assert fit.select_last_m().how == "last 1 of 3"
    found = advice(fit, told)
    assert (found.m, found.cost, found.use) == (2, 2, 1)
    assert found.gain == 0.0
    assert found.sentence.startswith(
        "one model is as often right: the last 2 of 3 give +0.0 points at twice the cost, within"
    )
    assert "; the ensemble's probabilities are worse: NLL 0.1054 to 0.5978, p " in found.sentence


def test_one_member():
    found = advice(classes("val", [[0.9]]), classes("test", [[0.9]]))
    assert (found.m, found.of, found.use, found.significant) == (1, 1, 1, False)
    assert found.sentence == "one model is as good: there is no other"


def test_what_was_best_on_one_split_may_lose_on_the_other():
    good = [[0.3 if 10 * m <= sample < 10 * m + 10 else 0.9 for sample in range(40)] for m in range(2)]
    bad = [[0.05] * 40, [0.6] * 40]
    found = advice(classes("val", good), classes("test", bad))
    assert found.m == 2
    assert found.gain == -100.0
    assert found.significant
    assert found.use == 1
    assert found.sentence.startswith("one model is better: the last 2 of 2 give -100.0 points at twice the cost (")


def test_labels_of_a_sample_are_not_samples():
    # 20 samples of 3 labels: the ensemble mends one label of each.
    one = torch.full((20, 3), 0.9)
    two = one.clone()
    two[:, 0] = 0.2 + 0.01 * torch.arange(20)
    right = torch.stack((one, two))
    readings, target = torch.stack((1 - right, right), dim=-1).log(), torch.ones(20, 3, dtype=torch.long)
    found = advice(*(report(split, readings, target, task="multilabel") for split in ("val", "test")))
    assert found.gain == pytest.approx(100 / 3, abs=1e-4)
    assert "of 20 samples" in found.sentence
    assert found.p < 1e-4


def test_regression_by_the_squared_error():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(100, generator=generator)
    means = target + torch.randn(3, 100, generator=generator)
    readings = torch.stack((means, torch.ones_like(means)), dim=-1)
    fit, told = (report(split, readings, target, task="regression") for split in ("val", "test"))
    found = advice(fit, told)
    one, many = (means[-1] - target).square().double(), (means[-found.m :].mean(dim=0) - target).square().double()
    assert found.m == 3
    assert found.p == pytest.approx(stats.ttest_rel(one.numpy(), many.numpy()).pvalue, rel=1e-3)
    assert found.gain == pytest.approx(100 * float(1 - many.mean() / one.mean()), rel=1e-4)
    assert found.sentence.startswith(
        f"use the last 3 of 3: -{found.gain:.1f} % squared error at three times the cost ("
    )
    assert "on 100 samples, p " in found.sentence


def test_a_member_that_is_broken_on_the_other_split():
    good = [[0.3 if 10 * m <= sample < 10 * m + 10 else 0.9 for sample in range(40)] for m in range(2)]
    told = classes("test", good)
    told.readings[0, 3] = math.nan
    with pytest.raises(ValueError, match=r"^member 0: its predictions are not all numbers; make the ensemble without"):
        advice(classes("val", good), told)
