"""Scores against values by hand, torch, torchmetrics and scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from lightning_lr.ensemble.scores import (
    Bin,
    binary_brier_score,
    brier_score,
    entropy,
    gaussian_nll,
    negative_log_likelihood,
    reliability,
)

PROBS = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])
TARGET = torch.tensor([0, 2, 2])


def random_probs(samples, classes, seed=0, dtype=torch.float64):
    rows = torch.randn(samples, classes, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return (2 * rows).softmax(1)


def random_classes(samples, classes, seed=1):
    return torch.randint(classes, (samples,), generator=torch.Generator().manual_seed(seed))


def test_by_hand():
    # -ln 0.5; a certain and wrong sample costs what the smallest normal float32 does; a certain and right one nothing.
    assert negative_log_likelihood(PROBS, TARGET).tolist() == pytest.approx([0.693147, 87.336544, 0.0], abs=1e-5)
    # 0.5^2 + 2 * 0.25^2; 0.1^2 + 0.9^2 + 1.
    assert brier_score(PROBS, TARGET).tolist() == pytest.approx([0.375, 1.82, 0.0])
    # 0.5 ln 2 + 2 * 0.25 ln 4; -(0.1 ln 0.1 + 0.9 ln 0.9).
    assert entropy(PROBS).tolist() == pytest.approx([1.039721, 0.325083, 0.0])


def test_a_perfect_predictor():
    certain = torch.eye(4)
    nll, brier = (score(certain, torch.arange(4)) for score in (negative_log_likelihood, brier_score))
    assert nll.tolist() == brier.tolist() == [0.0] * 4
    assert not torch.signbit(nll).any()
    # What many report as NLL, cross-entropy of probabilities, is not 0 there, and not the NLL anywhere.
    assert torch.nn.functional.cross_entropy(certain, torch.arange(4)).item() == pytest.approx(
        math.log(1 + 3 / math.e), abs=1e-6
    )


def test_the_worst_predictor():
    assert brier_score(torch.eye(2), torch.tensor([1, 0])).tolist() == [2.0, 2.0]
    assert binary_brier_score(torch.tensor([0.0, 1.0]), torch.tensor([1, 0])).tolist() == [1.0, 1.0]


def test_likelihood_is_that_of_sklearn_and_torch():
    logits = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    target = random_classes(50, 7)
    ours = negative_log_likelihood(logits.softmax(1), target)
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(logits, target, reduction="none"))
    expected = log_loss(target.numpy(), logits.softmax(1).numpy(), labels=range(7))
    assert ours.mean().item() == pytest.approx(expected)


def test_likelihood_of_labels_is_binary_cross_entropy():
    logits = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    target = torch.randint(2, (20, 5), generator=torch.Generator().manual_seed(4))
    probs = torch.stack((1 - logits.sigmoid(), logits.sigmoid()), dim=-1)
    torch.testing.assert_close(
        negative_log_likelihood(probs, target),
        torch.nn.functional.binary_cross_entropy(logits.sigmoid(), target.double(), reduction="none"),
    )


def test_brier_score_of_two_classes_is_twice_that_of_sklearn():
    probs, target = random_probs(40, 2), random_classes(40, 2)
    expected = brier_score_loss(target.numpy(), probs[:, 1].numpy())
    assert binary_brier_score(probs[:, 1], target).mean().item() == pytest.approx(expected)
    assert brier_score(probs, target).mean().item() == pytest.approx(2 * expected)


def test_entropy_is_that_of_torch():
    probs = random_probs(30, 6)
    torch.testing.assert_close(entropy(probs), torch.distributions.Categorical(probs).entropy())
    # Of the last dimension, whatever stands before it.
    torch.testing.assert_close(entropy(probs.reshape(5, 6, 6)), entropy(probs).reshape(5, 6))


def test_a_normal_distribution_by_hand():
    mean, variance, target = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 4.0, 0.0]), torch.tensor([2.0, 1.0, 0.0])
    half_log_two_pi = 0.918939
    expected = [half_log_two_pi + 2, half_log_two_pi + math.log(2), half_log_two_pi + 0.5 * math.log(1e-6)]
    assert gaussian_nll(mean, variance, target).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_normal_distribution_is_that_of_torch():
    generator = torch.Generator().manual_seed(5)
    mean, target = torch.randn(2, 30, 3, dtype=torch.float64, generator=generator)
    variance = torch.rand(30, 3, dtype=torch.float64, generator=generator) + 0.1
    expected = -torch.distributions.Normal(mean, variance.sqrt()).log_prob(target)
    torch.testing.assert_close(gaussian_nll(mean, variance, target), expected)


# ---- reliability


def ece_of(bars):
    samples = sum(bar.count for bar in bars)
    return sum(bar.count / samples * abs(bar.confidence - bar.share) for bar in bars)


def test_reliability_by_hand():
    probs = torch.tensor([[0.05, 0.30], [0.35, 0.95]])
    hits = torch.tensor([[0, 1], [0, 1]])
    assert reliability(probs, hits, bins=4) == (
        Bin(0.0, 0.25, pytest.approx(0.05), 0.0, 1),
        Bin(0.25, 0.5, pytest.approx(0.325), 0.5, 2),
        Bin(0.75, 1.0, pytest.approx(0.95), 1.0, 1),
    )


def test_edges_of_bins():
    bars = reliability(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([True, True, True]), bins=2)
    assert [(bar.low, bar.high, bar.count) for bar in bars] == [(0.0, 0.5, 1), (0.5, 1.0, 2)]


def test_reliability_of_nothing():
    assert reliability(torch.zeros(0), torch.zeros(0, dtype=torch.bool)) == ()


def test_reliability_of_one_column():
    # torch warns of a stride once in a process, and then in whichever test is first.
    torch.set_warn_always(True)
    try:
        bars = reliability(PROBS.double()[:, 0], TARGET == 0, bins=2)
    finally:
        torch.set_warn_always(False)
    assert [(bar.count, bar.share) for bar in bars] == [(2, 0.0), (1, 1.0)]


def test_no_bin():
    with pytest.raises(ValueError, match=r"^bins=0: out of range; pass an int of at least 1$"):
        reliability(torch.ones(1), torch.ones(1), bins=0)


@given(seed=st.integers(0, 10_000), samples=st.integers(1, 60), bins=st.integers(1, 20))
def test_its_bars_make_up_the_calibration_error_of_torchmetrics(seed, samples, bins):
    probs, target = random_probs(samples, 3, seed), random_classes(samples, 3, seed + 1)
    top, choice = probs.max(dim=1)
    expected = multiclass_calibration_error(probs, target, num_classes=3, n_bins=bins).item()
    assert ece_of(reliability(top, choice == target, bins)) == pytest.approx(expected, abs=1e-6)
    yes, hits = probs[:, 0].contiguous(), (target == 0).long()
    expected = binary_calibration_error(yes, hits, n_bins=bins).item()
    bars = reliability(yes, hits, bins)
    assert ece_of(bars) == pytest.approx(expected, abs=1e-6)
    assert sum(bar.count for bar in bars) == samples
    assert all(bar.low <= bar.confidence <= bar.high for bar in bars)
