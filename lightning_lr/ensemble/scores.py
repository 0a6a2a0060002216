"""What predictions are worth: proper scores of each sample, and how far probabilities are from frequencies.

>>> probs, target = torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([1, 0])
>>> negative_log_likelihood(probs, target), brier_score(probs, target)
(tensor([0.2877, 0.6931]), tensor([0.1250, 0.5000]))
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_lr.arguments import require_int

ECE_BINS = 15


def entropy(probs: Tensor) -> Tensor:
    """Entropy of each row in nats, ``−Σ_c p_c ln p_c``.

    Args:
        probs: Probabilities, (N, …, C).

    Example:
        >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor([0.6931, 0.0000])
    """
    each: Tensor = torch.special.entr(probs)
    return each.sum(dim=-1)


def negative_log_likelihood(probs: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of each sample in nats, ``−ln p_target``.

    The probability is clamped at the smallest normal float32: a certain and wrong sample costs 87.3 and not infinity, a
    certain and right one 0.

    Args:
        probs: Probabilities, (N, …, C).
        target: Class indices, (N, …), int64.

    Example:
        >>> negative_log_likelihood(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([1, 0]))
        tensor([0.0000, 0.6931])
    """
    chosen = probs.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    # `0 −`, because the minus sign alone makes −0 of what a certain and right sample costs.
    return 0.0 - chosen.clamp_min(torch.finfo(torch.float32).tiny).log()


def brier_score(probs: Tensor, target: Tensor) -> Tensor:
    """Brier score of each sample, ``Σ_c (p_c − [c = target])²``, from 0 to 2.

    G. W. Brier, *Verification of forecasts expressed in terms of probability*, Monthly Weather Review 78, 1950.

    Args:
        probs: Probabilities, (N, C).
        target: Class indices, (N,).

    Example:
        >>> brier_score(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([0, 0]))
        tensor([2.0000, 0.5000])
    """
    onehot = nn.functional.one_hot(target, probs.shape[1]).to(probs.dtype)
    return (probs - onehot).square().sum(dim=1)


def binary_brier_score(probs: Tensor, target: Tensor) -> Tensor:
    """Brier score of each yes or no, ``(p − y)²``, from 0 to 1: half of what `brier_score` says of two classes.

    Args:
        probs: Probabilities of yes, of any shape.
        target: 0 or 1, in the same shape.

    Example:
        >>> binary_brier_score(torch.tensor([0.0, 0.5]), torch.tensor([1, 1]))
        tensor([1.0000, 0.2500])
    """
    return (probs - target).square()


def gaussian_nll(mean: Tensor, variance: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution in nats, ``½ (ln 2πσ² + (y − μ)²/σ²)``, each element.

    The variance is clamped at 1e-6, as `torch.nn.functional.gaussian_nll_loss` does: a member that says nothing of its
    noise has none, and would be infinitely sure.

    Args:
        mean: μ, of any shape.
        variance: σ², in the same shape.
        target: y, in the same shape.

    Example:
        >>> gaussian_nll(torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([2.0]))
        tensor([2.9189])
    """
    return nn.functional.gaussian_nll_loss(mean, target, variance, full=True, eps=1e-6, reduction="none")


@dataclass(frozen=True)
class Bin:
    """A bar of a reliability diagram: the predictions from `low` to `high`.

    Attributes:
        low: The least probability that falls into it.
        high: The first that does not; the last bin holds 1 too.
        confidence: Mean of the probabilities in it.
        share: How many of them came true, 0 to 1.
        count: How many they are.
    """

    low: float
    high: float
    confidence: float
    share: float
    count: int


def reliability(probs: Tensor, hits: Tensor, bins: int = ECE_BINS) -> tuple[Bin, ...]:
    """Reliability diagram: how often what was held this likely came true.

    M. H. DeGroot and S. E. Fienberg, *The Comparison and Evaluation of Forecasters*, The Statistician 32, 1983.

    Args:
        probs: Probabilities, of any shape: of the predicted class, or of yes.
        hits: Whether it came true, in the same shape.
        bins: How many bins of equal width there are.

    Returns:
        The bins with at least one prediction, the lowest first.

    Raises:
        ValueError: If there is no bin.

    Example:
        >>> for bar in reliability(torch.tensor([0.25, 0.75, 1.0]), torch.tensor([False, True, False]), bins=2):
        ...     print(bar)
        Bin(low=0.0, high=0.5, confidence=0.25, share=0.0, count=1)
        Bin(low=0.5, high=1.0, confidence=0.875, share=0.5, count=2)
    """
    require_int("bins", bins, at_least=1)
    # float64, so that a bin's mean is that of its predictions; on the CPU, which has it everywhere.
    probs, hits = (values.detach().flatten().cpu().double().contiguous() for values in (probs, hits))
    edges = torch.linspace(0, 1, bins + 1, dtype=probs.dtype)
    index = (torch.bucketize(probs, edges, right=True) - 1).clamp_(0, bins - 1)
    count = torch.bincount(index, minlength=bins)
    confidence = torch.bincount(index, weights=probs, minlength=bins) / count
    share = torch.bincount(index, weights=hits, minlength=bins) / count
    rows = zip(
        edges[:-1].tolist(), edges[1:].tolist(), confidence.tolist(), share.tolist(), count.tolist(), strict=True
    )
    return tuple(Bin(*row) for row in rows if row[-1] > 0)
