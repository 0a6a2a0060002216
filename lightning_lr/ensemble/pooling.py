"""Pools: what the members of an ensemble say of each sample, folded into one prediction, one member at a time.

A pool takes *readings*. Of a classifier a reading is the logarithm of its probabilities, the classes in the last
dimension; of a regression it is mean and variance, in the last dimension too. What was added is not kept, only running
sums of it: memory does not grow with the number of members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from lightning_lr.arguments import require_choice, require_number
from lightning_lr.ensemble.scores import entropy

POOLINGS = ("mean_prob", "mean_logit", "geometric", "vote")

# ln 0, made finite. What a member holds impossible stays so in the product (exp underflows far above), but a row in
# which each class is impossible to some member does not become 0/0.
_LOG_OF_ZERO = -1e6


class Pool(Protocol):
    """A running pool of readings."""

    def add(self, reading: Tensor, weight: float = 1.0) -> None:
        """Add what one member says.

        Args:
            reading: Log-probabilities (N, …, C), or mean and variance (N, …, 2). Not changed and not kept.
            weight: How much it counts, 0 or more; what all members together weigh is divided out.
        """

    def pooled(self) -> Tensor:
        """Return what the members so far say together: probabilities, or mean and variance, in a reading's shape."""

    def uncertainty(self) -> dict[str, Tensor]:
        """Return how sure they are of it."""


class ClassPool:
    r"""Pool log-probabilities into probabilities.

    - ``mean_prob``: ``Σ_m w_m p_m``.
    - ``mean_logit`` and ``geometric``: ``Π_m p_m^w_m``, made to sum to 1. They are one and the same: a member's logits
      are its log-probabilities up to a constant a row, which softmax takes away.
    - ``vote``: the share of members for which a class is the likeliest one (of two: likelier than not).

    Then, with a temperature, ``p^(1/T)``, made to sum to 1. After the pooling and not before it: members that were
    calibrated one by one are under-confident together (R. Rahaman and A. H. Thiery, *Uncertainty Quantification and
    Deep Ensembles*, NeurIPS 2021, https://arxiv.org/abs/2007.08792).

    Args:
        pooling: One of `POOLINGS`.
        temperature: T, above 0; below 1 sharpens, above 1 flattens. None is 1.
        uncertainty: Whether `uncertainty` will be asked for; it costs a few operations a member.

    Raises:
        ValueError: If the pooling is unknown or the temperature not above 0.

    Example:
        >>> pool = ClassPool("mean_prob")
        >>> pool.add(torch.tensor([[0.25, 0.75]]).log())
        >>> pool.add(torch.tensor([[0.75, 0.25]]).log(), weight=3.0)
        >>> pool.pooled()
        tensor([[0.6250, 0.3750]])
    """

    def __init__(self, pooling: str = "mean_prob", temperature: float | None = None, uncertainty: bool = False) -> None:
        require_choice("pooling", pooling, POOLINGS)
        if temperature is not None:
            temperature = require_number("temperature", temperature, above=0.0)
        self._pooling, self._temperature, self._asked = pooling, temperature, uncertainty
        self._weight = 0.0
        self._equal = True
        self._total: Tensor | None = None
        self._mixture: Tensor | None = None
        self._entropies: Tensor | None = None

    def add(self, reading: Tensor, weight: float = 1.0) -> None:
        """Add a member's log-probabilities, (N, …, C).

        Args:
            reading: Log-probabilities in float32 or float64. Not changed and not kept.
            weight: How much they count; 0 is not at all.

        Raises:
            ValueError: If the weight is negative or no number, or the shape not that of the readings before it.
        """
        if not _counts(reading, self._total, weight):
            return
        self._weight += weight
        self._equal &= weight == 1.0
        if self._pooling == "mean_prob":
            term = reading.exp()
        elif self._pooling == "vote":
            term = _votes(reading)
        else:
            term = reading.clamp_min(_LOG_OF_ZERO)
        if self._asked:
            probs = reading.exp()
            self._entropies = _plus(self._entropies, _entropy(probs), weight)
            if self._pooling != "mean_prob":
                self._mixture = _plus(self._mixture, probs, weight)
        self._total = _plus(self._total, term, weight)

    def pooled(self) -> Tensor:
        """Probabilities, (N, …, C), of the members so far.

        Raises:
            RuntimeError: If none was added.
        """
        total = _of_some(self._total)
        if self._pooling in ("mean_logit", "geometric"):
            return (total / (self._weight * (self._temperature or 1.0))).softmax(-1)
        probs = total / self._weight
        if not self._equal:
            # Weights that are no powers of two may round a sum to above 1, which torchmetrics takes for a logit.
            probs.clamp_(max=1.0)
        if self._temperature in (None, 1.0):
            return probs
        return (probs.log() / self._temperature).softmax(-1)

    def uncertainty(self) -> dict[str, Tensor]:
        r"""How sure the ensemble is, and how much of its doubt is disagreement; in nats, (N,).

        ``entropy`` is H of what `pooled` returns. ``mutual_information`` is ``H(Σ_m w_m p_m) − Σ_m w_m H(p_m)``, from
        the mean of the members' probabilities whatever the pooling, 0 where they agree. Several labels are summed.

        N. Houlsby et al., *Bayesian Active Learning for Classification and Preference Learning*, 2011,
        https://arxiv.org/abs/1112.5745.

        Raises:
            RuntimeError: If no member was added, or the pool not made with ``uncertainty=True``.

        Example:
            >>> pool = ClassPool(uncertainty=True)
            >>> pool.add(torch.tensor([[0.0, 1.0], [0.5, 0.5]]).log())
            >>> pool.add(torch.tensor([[1.0, 0.0], [0.5, 0.5]]).log())
            >>> pool.uncertainty()["mutual_information"]
            tensor([0.6931, 0.0000])
        """
        if not self._asked:
            raise RuntimeError("uncertainty=False: not gathered by this pool; make it with uncertainty=True")
        pooled = self.pooled()
        mixture = _of_some(self._total if self._pooling == "mean_prob" else self._mixture) / self._weight
        disagreement = _entropy(mixture) - _of_some(self._entropies) / self._weight
        # Rounding takes the difference of two equal entropies a little below 0.
        return {"entropy": _entropy(pooled), "mutual_information": disagreement.clamp_min_(0.0)}


class MomentPool:
    r"""Pool means and variances: those of the mixture of the members' distributions.

    ``μ = Σ_m w_m μ_m`` and ``σ² = Σ_m w_m σ²_m + Σ_m w_m (μ_m − μ)²``: what the members say of the noise, and how far
    they are from each other. The second sum is updated as in D. H. D. West, *Updating mean and variance estimates: an
    improved method*, CACM 1979, since the difference of two large squares would cancel.

    B. Lakshminarayanan et al., *Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles*, NeurIPS
    2017, https://arxiv.org/abs/1612.01474.

    Example:
        >>> pool = MomentPool()
        >>> pool.add(torch.tensor([[1.0, 0.5]]))
        >>> pool.add(torch.tensor([[3.0, 1.5]]))
        >>> pool.pooled()
        tensor([[2., 2.]])
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._mean: Tensor | None = None
        self._noise: Tensor | None = None
        self._spread: Tensor | None = None

    def add(self, reading: Tensor, weight: float = 1.0) -> None:
        """Add a member's mean and variance, (N, …, 2).

        Args:
            reading: Mean and variance in the last dimension. Not changed and not kept.
            weight: How much they count; 0 is not at all.

        Raises:
            ValueError: If the weight is negative or no number, or the shape not that of the readings before it.
        """
        mean, variance = reading.unbind(-1)
        if not _counts(mean, self._mean, weight):
            return
        self._weight += weight
        if self._mean is None or self._noise is None or self._spread is None:
            self._mean, self._noise, self._spread = mean.clone(), variance * weight, torch.zeros_like(mean)
            return
        step = mean - self._mean
        self._mean.add_(step, alpha=weight / self._weight)
        self._spread.addcmul_(step, mean - self._mean, value=weight)
        self._noise.add_(variance, alpha=weight)

    def pooled(self) -> Tensor:
        """Mean and variance, (N, …, 2), of the members so far.

        Raises:
            RuntimeError: If none was added.
        """
        return torch.stack((_of_some(self._mean), self._variance()), dim=-1)

    def uncertainty(self) -> dict[str, Tensor]:
        """``mean`` and ``variance`` of the mixture, each in the shape that `forward` returns."""
        return {"mean": _of_some(self._mean).clone(), "variance": self._variance()}

    def _variance(self) -> Tensor:
        return (_of_some(self._noise) + _of_some(self._spread)) / self._weight


def pool(
    readings: Tensor | Sequence[Tensor],
    weights: Sequence[float] | None = None,
    pooling: str = "mean_prob",
    temperature: float | None = None,
) -> Tensor:
    """Pool the log-probabilities of all members at once, as `ClassPool` does.

    Args:
        readings: (M, N, …, C), or a sequence of M of (N, …, C).
        weights: One for each member; what they sum to is divided out. None: they all count the same.
        pooling: One of `POOLINGS`.
        temperature: T of ``p^(1/T)``; None is 1.

    Returns:
        Probabilities, (N, …, C).

    Raises:
        ValueError: If an argument is out of range.
        RuntimeError: If there is no member of a weight above 0.

    Example:
        >>> pool(torch.tensor([[[0.5, 0.5]], [[0.8, 0.2]]]).log(), pooling="geometric")
        tensor([[0.6667, 0.3333]])
    """
    if weights is not None and len(weights) != len(readings):
        raise ValueError(
            f"weights={list(weights)}: {len(weights)} for {len(readings)} members; pass one for each member"
        )
    running = ClassPool(pooling, temperature)
    for reading, weight in zip(readings, weights or [1.0] * len(readings), strict=True):
        running.add(reading, weight)
    return running.pooled()


def _counts(reading: Tensor, before: Tensor | None, weight: float) -> bool:
    """Refuse what cannot be added; tell whether it counts at all."""
    if before is not None and reading.shape != before.shape:
        raise ValueError(
            f"reading=shape {tuple(reading.shape)}: the readings before it have {tuple(before.shape)}; "
            "give those of members with one kind of output, for one batch"
        )
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight={weight!r}: out of range; pass a finite number of at least 0")
    return weight > 0


def _plus(total: Tensor | None, term: Tensor, weight: float) -> Tensor:
    # In place, into what no one else holds; and by `add` alone where weights are equal: at a batch of 1 every
    # multiplication is seen beside a small network.
    if total is None:
        return term if weight == 1.0 else term.mul_(weight)
    return total.add_(term) if weight == 1.0 else total.add_(term, alpha=weight)


def _votes(reading: Tensor) -> Tensor:
    top, choice = reading.max(dim=-1, keepdim=True)
    # NaN stays NaN: a broken member shows in the result, and does not vote for some class.
    return torch.zeros_like(reading).scatter_(-1, choice, torch.where(top.isnan(), top, 1.0))


def _entropy(probs: Tensor) -> Tensor:
    each = entropy(probs)
    return each if each.ndim == 1 else each.flatten(1).sum(dim=1)


def _of_some(total: Tensor | None) -> Tensor:
    if total is None:
        raise RuntimeError("weights: no reading of a weight above 0 was added; add one before asking for the result")
    return total
