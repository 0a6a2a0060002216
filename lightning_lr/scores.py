"""What predicted probabilities are worth: scores of each sample, and the metrics that gather them.

>>> probs, target = torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([1, 0])
>>> negative_log_likelihood(probs, target), brier_score(probs, target)
(tensor([0.2877, 0.6931]), tensor([0.1250, 0.5000]))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassCalibrationError

ECE_BINS = 15


def entropy(probs: Tensor) -> Tensor:
    """Entropy of each row in nats, ``−Σ_c p_c ln p_c``.

    Args:
        probs: Probabilities, (N, C).

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
        probs: Probabilities, (N, C).
        target: Class indices, (N,).

    Example:
        >>> negative_log_likelihood(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([1, 0]))
        tensor([0.0000, 0.6931])
    """
    chosen = probs.gather(1, target.unsqueeze(1)).squeeze(1)
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


def metrics_for(probs: Tensor) -> dict[str, Metric]:
    """Return the metrics of a data set: ``accuracy`` (micro), ``nll``, ``brier`` and ``ece``.

    Args:
        probs: Probabilities of a batch, (N, C), which say how many classes there are and on which device.
    """
    # Means over samples, accuracy too, since torchmetrics' own takes no batch of nothing but repeats.
    # Sums over a whole test set; a device without float64 keeps them in float32.
    wide = torch.float32 if probs.device.type == "mps" else torch.float64
    # "disable" keeps a NaN: a broken member shows in the result and is not averaged away.
    metrics: dict[str, Metric] = {
        name: MeanMetric(nan_strategy="disable").set_dtype(wide) for name in ("accuracy", "nll", "brier")
    }
    metrics["ece"] = MulticlassCalibrationError(probs.shape[1], n_bins=ECE_BINS, norm="l1", validate_args=False)
    return {name: metric.to(probs.device) for name, metric in metrics.items()}


def scores(probs: Tensor, target: Tensor) -> dict[str, tuple[Tensor, ...]]:
    """Return what each of those metrics is updated with.

    Args:
        probs: Probabilities, (N, C).
        target: Class indices, (N,).
    """
    return {
        "accuracy": (probs.argmax(dim=1) == target,),
        "nll": (negative_log_likelihood(probs, target),),
        "brier": (brier_score(probs, target),),
        "ece": (probs, target),
    }
