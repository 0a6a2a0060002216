"""Which members an ensemble should average, and with which weights: pure functions on what the members said.

Readings are log-probabilities (M, N, …, C) with integer targets (N, …), or, for a regression, mean and variance
(M, N, …, 2) with floating-point targets. Classes are judged by the negative log-likelihood of what is pooled, a
regression by the squared error of the mean. A function sees one split; how good its choice is, another has to tell.

>>> readings = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.5, 0.5], [0.5, 0.5]]]).log()
>>> fit_weights(readings, torch.tensor([0, 0]))
(1.0, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lightning_lr.arguments import require_choice, require_int
from lightning_lr.ensemble.pooling import POOLINGS

_WORST = -math.log(torch.finfo(torch.float32).tiny)  # what a certain and wrong sample costs, as in the scores
_STEPS = 10_000
_TEMPERATURES = (0.01, 100.0)


def select_last_m(readings: Tensor, target: Tensor, pooling: str = "mean_prob", *, at_least: int = 1) -> int:
    """Return the m for which the last m members, equally weighted, are best; the smaller one on a tie.

    Args:
        readings: Of each member, oldest first, (M, N, …, C).
        target: Of each sample, (N, …).
        pooling: How members are pooled; regression knows the mean alone.
        at_least: The smallest m that comes into question; with fewer members it is all of them.

    Raises:
        ValueError: If there is nothing to fit on, or a reading is no number.

    Example:
        >>> readings = torch.tensor([[[0.1, 0.9]], [[0.8, 0.2]], [[0.6, 0.4]]]).log()
        >>> select_last_m(readings, torch.tensor([0]))
        2
    """
    require_int("at_least", at_least, at_least=1)
    judge = _judge(readings, target, pooling)
    total, best, chosen = judge.part(0) * 0.0, math.inf, len(readings)
    for m in range(1, len(readings) + 1):
        total = total + judge.part(len(readings) - m)
        loss = judge.loss(total / m)
        if loss < best and m >= at_least:
            best, chosen = loss, m
    return chosen


def select_greedily(
    readings: Tensor, target: Tensor, pooling: str = "mean_prob", *, rounds: int = 50
) -> tuple[float, ...]:
    """Add, round after round, the member that makes the ensemble best, any of them as often as it helps.

    The result is the best of the ensembles on the way, the smallest on a tie; a member that was picked twice counts
    twice. The oldest member wins a tie: nothing is drawn at random.

    R. Caruana et al., *Ensemble Selection from Libraries of Models*, ICML 2004.

    Args:
        readings: Of each member, oldest first, (M, N, …, C).
        target: Of each sample, (N, …).
        pooling: How members are pooled; regression knows the mean alone.
        rounds: Picks at most.

    Returns:
        The weight of each member, with a sum of 1; exactly 0 for one that was not picked.

    Raises:
        ValueError: If there is nothing to fit on, or a reading is no number.

    Example:
        >>> readings = torch.tensor([[[0.1, 0.9]], [[0.8, 0.2]], [[0.6, 0.4]]]).log()
        >>> select_greedily(readings, torch.tensor([0]))
        (0.0, 1.0, 0.0)
    """
    require_int("rounds", rounds, at_least=1)
    judge = _judge(readings, target, pooling)
    total, picks = judge.part(0) * 0.0, [0] * len(readings)
    best, chosen = math.inf, picks
    for count in range(1, rounds + 1):
        losses = [judge.loss((total + judge.part(m)) / count) for m in range(len(readings))]
        pick = losses.index(min(losses))
        total = total + judge.part(pick)
        picks = [picked + (m == pick) for m, picked in enumerate(picks)]
        if losses[pick] < best:
            best, chosen = losses[pick], picks
    return tuple(picked / sum(chosen) for picked in chosen)


def fit_weights(readings: Tensor, target: Tensor, pooling: str = "mean_prob") -> tuple[float, ...]:
    """Return the weights under which the ensemble is best, over all that are not negative and sum to 1.

    Whatever the pooling, the loss is a convex function of the weights: there is one optimum, and the Frank-Wolfe gap
    says how far away it is at most. Weight is moved from the worst member in use to the best, as far as that helps
    (pairwise Frank-Wolfe), until the gap is below a millionth of the loss. A member that does not help ends at exactly
    0, and need not be run.

    S. Lacoste-Julien and M. Jaggi, *On the Global Linear Convergence of Frank-Wolfe Optimization Variants*, NIPS 2015.

    Args:
        readings: Of each member, oldest first, (M, N, …, C).
        target: Of each sample, (N, …).
        pooling: How members are pooled; regression knows the mean alone.

    Returns:
        The weight of each member.

    Raises:
        ValueError: If there is nothing to fit on, or a reading is no number.

    Example:
        >>> readings = torch.tensor([[[0.9, 0.1], [0.1, 0.9]], [[0.2, 0.8], [0.8, 0.2]]]).log()
        >>> [round(weight, 3) for weight in fit_weights(readings, torch.tensor([0, 0]))]
        [0.429, 0.571]
    """
    judge, members = _judge(readings, target, pooling, slopes=True), range(len(readings))
    weights = [1.0 / len(members)] * len(members)
    for _ in range(_STEPS):
        total = sum((judge.part(m) * weights[m] for m in members if weights[m] > 0), start=judge.part(0) * 0.0)
        slope = judge.slope(total)
        slopes = [_inner(slope, judge.part(m)) for m in members]
        gap = sum(w * s for w, s in zip(weights, slopes, strict=True)) - min(slopes)
        if gap <= 1e-6 * judge.loss(total) + 1e-9:
            break
        best = slopes.index(min(slopes))
        worst = max((m for m in members if weights[m] > 0), key=lambda m: slopes[m])
        move = judge.part(best) - judge.part(worst)
        moved = _root(lambda share: _inner(judge.slope(total + share * move), move), 0.0, weights[worst], accuracy=0.01)  # noqa: B023
        weights[best] += moved
        weights[worst] -= moved
    return tuple(weight / sum(weights) for weight in weights)


def fit_temperature(probs: Tensor, target: Tensor) -> float | None:
    """Return the T for which ``p^(1/T)``, normalised, has the lowest negative log-likelihood.

    That is convex in 1/T. There is no such T where every sample is right, since the likelihood rises for ever as T
    falls to 0, and none where pure chance does better: then it is None. It is None outside of 0.01 to 100, too.

    C. Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017; after pooling: R. Rahaman and A. Thiery,
    *Uncertainty Quantification and Deep Ensembles*, NeurIPS 2021.

    Args:
        probs: Pooled probabilities, (N, …, C).
        target: Class indices, (N, …).

    Raises:
        ValueError: If there is nothing to fit on, or a probability is no number.

    Example:
        >>> probs = torch.tensor([[27.0, 1.0]]).expand(4, 2) / 28
        >>> round(fit_temperature(probs, torch.tensor([0, 0, 0, 1])), 6)
        3.0
    """
    _require_numbers(probs.unsqueeze(0), target, "probs")
    rows = probs.flatten(0, -2).double().log()
    chosen = rows.gather(1, target.flatten().unsqueeze(1))
    # Where the target has probability 0 it keeps it at every temperature.
    rows, chosen = rows[chosen[:, 0].isfinite()], chosen[chosen.isfinite()]
    finite = rows.masked_fill(rows.isinf(), 0.0)

    def slope(log_inverse: float) -> float:
        """Of the loss, by 1/T: the log-probability that is expected less the one that came."""
        expected = ((rows * math.exp(log_inverse)).softmax(dim=1) * finite).sum(dim=1)
        return float((expected - chosen).sum()) / max(len(chosen), 1)

    coldest, hottest = (-math.log(temperature) for temperature in _TEMPERATURES)
    if slope(coldest) <= 0 or slope(hottest) >= 0:
        return None
    return math.exp(-_root(slope, hottest, coldest, accuracy=1e-9))


class _Judge(Protocol):
    """A convex loss of a weighted sum of what the members bring."""

    def part(self, member: int) -> Tensor:
        """What a member brings to the sum."""

    def loss(self, total: Tensor) -> float:
        """Mean over the samples, but for a constant."""

    def slope(self, total: Tensor) -> Tensor:
        """Derivative of the loss by each entry of the sum."""


@dataclass(frozen=True)
class _Mixture:
    """``−ln Σ w_m p_m`` of the target: the rest of a distribution does not matter."""

    logs: Tensor  # (M, samples), −inf for 0
    samples: int

    @classmethod
    def of(cls, logs: Tensor) -> _Mixture:
        # Where no member gives the target a chance, no weight does.
        return cls(logs[:, logs.amax(dim=0) > -math.inf], logs.shape[1])

    def part(self, member: int) -> Tensor:
        # Relative to the best member, for float64 too ends somewhere.
        return (self.logs[member] - self.logs.amax(dim=0)).exp()

    def loss(self, total: Tensor) -> float:
        return float((0.0 - (total.log() + self.logs.amax(dim=0))).clamp_max(_WORST).sum()) / self.samples

    def slope(self, total: Tensor) -> Tensor:
        # Finite, so that what does not move along it comes to 0.
        return (-1.0 / (total * self.samples)).clamp_min(-1e300)


@dataclass(frozen=True)
class _LogMixture:
    """``ln Σ_c exp(z_c) − z_target`` of ``z = Σ w_m ln p_m``."""

    logs: Tensor  # (M, samples, C)
    target: Tensor
    dtype: torch.dtype

    def part(self, member: int) -> Tensor:
        # Finite, where a probability of 0 would forbid its class for any weight but 0.
        return self.logs[member].to(self.dtype).clamp_min(-1e3)

    def loss(self, total: Tensor) -> float:
        losses = torch.nn.functional.cross_entropy(total, self.target, reduction="none")
        return float(losses.clamp_max(_WORST).double().mean())

    def slope(self, total: Tensor) -> Tensor:
        slope = total.softmax(dim=1)
        slope[torch.arange(len(slope)), self.target] -= 1.0
        return slope.div_(len(slope))


@dataclass(frozen=True)
class _SquaredError:
    means: Tensor  # (M, samples)
    target: Tensor

    def part(self, member: int) -> Tensor:
        return self.means[member]

    def loss(self, total: Tensor) -> float:
        return float((total - self.target).square().mean())

    def slope(self, total: Tensor) -> Tensor:
        return 2.0 * (total - self.target) / len(total)


def _judge(readings: Tensor, target: Tensor, pooling: str, *, slopes: bool = False) -> _Judge:
    require_choice("pooling", pooling, POOLINGS)
    _require_numbers(readings, target, "readings")
    if target.is_floating_point():
        means, numbers = readings[..., 0].flatten(1).double(), target.flatten().double()
        # In units of what the members miss it by: what is near 0 is told by that.
        scale = (means - numbers).square().mean().sqrt()
        scale = scale if scale > 0 else torch.ones_like(scale)
        return _SquaredError(means / scale, numbers / scale)
    rows, flat = readings.flatten(1, -2), target.flatten()
    if pooling in ("mean_logit", "geometric"):
        # Every class matters here, which takes time; losses can be told apart in float32, slopes near 0 cannot.
        return _LogMixture(rows, flat, torch.float64 if slopes else rows.dtype)
    if pooling == "vote":
        return _Mixture.of((rows.argmax(dim=-1) == flat).double().log())
    return _Mixture.of(rows.gather(2, flat.expand(len(rows), -1).unsqueeze(2)).squeeze(2).double())


def _require_numbers(readings: Tensor, target: Tensor, argument: str) -> None:
    if target.shape != readings.shape[1:-1]:
        shapes = f"{tuple(readings.shape)} for targets of shape {tuple(target.shape)}"
        raise ValueError(f"{argument} of shape {shapes}: they do not belong together; pass one target a reading")
    if readings.numel() == 0:
        raise ValueError(f"{argument} of shape {tuple(readings.shape)}: nothing to fit on; pass one sample or more")
    broken = [index for index, each in enumerate(readings) if each.isnan().any()]
    if broken:
        raise ValueError(f"{argument}{broken}: not a number in some samples; leave these members out")


def _inner(slope: Tensor, part: Tensor) -> float:
    return float(torch.dot(slope.flatten(), part.flatten()))


def _root(slope: Callable[[float], float], low: float, high: float, *, accuracy: float) -> float:
    """Where a slope that rises from below 0 becomes 0 (regula falsi, Illinois), or the upper end if it does not."""
    at_low, at_high = slope(low), slope(high)
    if at_high <= 0:
        return high
    enough, last = accuracy * abs(at_low), 0
    middle = low
    for _ in range(100):
        # A straight line through a wall says nothing of where it stands.
        cut = (low * at_high - high * at_low) / (at_high - at_low) if at_high < -1e6 * at_low else math.nan
        middle = cut if low < cut < high else (low + high) / 2
        value = slope(middle)
        if abs(value) <= enough or not low < middle < high:
            break
        # The end that stays twice is halved, or the other would creep towards the root.
        if value < 0:
            low, at_low, at_high = middle, value, at_high / 2 if last < 0 else at_high
        else:
            high, at_high, at_low = middle, value, at_low / 2 if last > 0 else at_low
        last = -1 if value < 0 else 1
    return middle
