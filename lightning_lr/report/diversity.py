"""How different the members of an ensemble are: an ensemble of equals is no better than one of them.

Readings and targets are those of `lightning_lr.report.selection`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def disagreement(readings: Tensor, target: Tensor) -> list[list[float]]:
    """Share of the predictions in which two members decide differently, (M, M).

    Of a regression, the root of the mean squared difference of their means. NaN beside a member that gave one.

    S. Fort et al., *Deep Ensembles: A Loss Landscape Perspective*, 2019, https://arxiv.org/abs/1912.02757.

    Args:
        readings: Of each member, (M, N, …, C).
        target: Of each sample, (N, …); its type tells classes from numbers.

    Example:
        >>> readings = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.3, 0.7]]]).log()
        >>> disagreement(readings, torch.tensor([0, 0]))
        [[0.0, 0.5], [0.5, 0.0]]
    """
    if target.is_floating_point():
        means = readings[..., 0].flatten(1).double()
        return [[float((one - other).square().mean().sqrt()) for other in means] for one in means]
    decisions = _known(readings, readings.argmax(dim=-1))
    # A product with NaN is NaN, a comparison is not.
    return [[float(((one != other) + 0.0 * one * other).mean()) for other in decisions] for one in decisions]


def correlation(readings: Tensor, target: Tensor) -> list[list[float]]:
    """Correlation of two members' errors, (M, M): an error is 1 where a decision is wrong, and 0 where it is right.

    Of a regression, an error is how far the mean is off. NaN for a member that errs always alike, or never.

    L. Kuncheva and C. Whitaker, *Measures of Diversity in Classifier Ensembles*, Machine Learning 51, 2003.

    Args:
        readings: Of each member, (M, N, …, C).
        target: Of each sample, (N, …); its type tells classes from numbers.

    Example:
        >>> readings = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.3, 0.7]]]).log()
        >>> correlation(readings, torch.tensor([0, 1]))
        [[1.0, nan], [nan, nan]]
    """
    if target.is_floating_point():
        errors = (readings[..., 0].double() - target).flatten(1)
    else:
        errors = _known(readings, readings.argmax(dim=-1) != target)
    centred = errors - errors.mean(dim=1, keepdim=True)
    norms = centred.square().sum(dim=1).sqrt()
    correlations = (centred @ centred.T / (norms[:, None] * norms)).clamp(-1.0, 1.0)
    # With itself, exactly: by rounding it is less on some machines.
    itself = correlations.diagonal()
    itself.masked_fill_(~itself.isnan(), 1.0)
    matrix: list[list[float]] = correlations.tolist()
    return matrix


def _known(readings: Tensor, each: Tensor) -> Tensor:
    """The decisions, or the errors, of each member, (M, samples); NaN where the prediction is."""
    return each.double().masked_fill(readings.isnan().any(dim=-1), torch.nan).flatten(1)
