"""Whether one predictor is better than another on the same samples, or only luckier."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mcnemar(won: int, lost: int) -> float:
    """Return the p-value of McNemar's exact test: how probable so uneven a split of the differing samples is by chance.

    Samples on which both are right, or both wrong, say nothing of which is better.

    Q. McNemar, *Note on the sampling error of the difference between correlated proportions or percentages*,
    Psychometrika 12, 1947.

    Args:
        won: Samples that only the first has right.
        lost: Samples that only the second has right.

    Example:
        >>> mcnemar(1, 7)
        0.0703125
    """
    flips = won + lost
    # In whole numbers, which have no last digit to lose.
    term = tail = 1
    for k in range(min(won, lost)):
        term = term * (flips - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << flips))


def paired_t(differences: Tensor) -> float:
    """Return the p-value of the paired t-test, two-sided: how probable so large a mean difference is by chance.

    1 where there are no two samples, or no difference in any.

    Student, *The probable error of a mean*, Biometrika 6, 1908.

    Args:
        differences: Of the first's score and the second's, a sample each, (N,).

    Example:
        >>> round(paired_t(torch.tensor([1.0, 2.0, 3.0, 4.0])), 4)
        0.0305
    """
    differences = differences.double()
    freedom = len(differences) - 1
    mean, spread = float(differences.mean()), float(differences.std()) if freedom > 0 else 0.0
    if freedom < 1 or mean == 0.0:
        return 1.0
    t = abs(mean) / spread * math.sqrt(freedom + 1) if spread > 0 else math.inf
    return _beyond(t, freedom)


def _beyond(t: float, freedom: int) -> float:
    """Share of Student's distribution beyond ±t: with t = √ν tan θ, of its density cos^(ν−1) θ."""
    # Where that has fallen below e^-800 there is nothing left to add up.
    end = min(math.pi / 2, math.sqrt(1600.0 / freedom))
    angles = torch.linspace(0.0, end, 200_001, dtype=torch.float64)
    start = math.atan2(t, math.sqrt(freedom))
    if start >= end:
        return 0.0
    tail = torch.linspace(start, end, 200_001, dtype=torch.float64)
    power = freedom - 1
    return float(torch.trapezoid(tail.cos().pow(power), tail) / torch.trapezoid(angles.cos().pow(power), angles))
