"""What tasks have in common: how readings are pooled, and how scores become metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from lightning_lr.ensemble.pooling import ClassPool, Pool

WIDE = (torch.float32, torch.float64)


class Scored(ABC):
    """A task whose metrics gather the scores of samples."""

    def __init__(self) -> None:
        # Members of which an output was looked at.
        self._known: set[int] = set()

    @abstractmethod
    def metrics(self, pooled: Tensor) -> dict[str, Metric]:
        """Return new metrics of a whole data set."""

    @abstractmethod
    def scores(self, pooled: Tensor, target: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Return what each of them is updated with."""

    def evaluate(self, pooled: Tensor, target: Tensor) -> dict[str, float]:
        """Return the metrics of a whole data set at once."""
        metrics, updates = self.metrics(pooled), self.scores(pooled, target)
        for name, metric in metrics.items():
            metric.update(*updates[name])
        return {name: float(metric.compute()) for name, metric in metrics.items()}

    def _check(self, out: Tensor, member: int) -> None:
        # While a graph is recorded there are no values.
        if not torch.compiler.is_compiling() and self._tells(out, member):
            self._known.add(member)

    @abstractmethod
    def _tells(self, out: Tensor, member: int) -> bool:
        """Refuse wrong values; tell whether there were enough of them to know."""


class Classification(Scored):
    """A task whose readings are log-probabilities."""

    def __init__(self, outputs: str, num_classes: int | None, pooling: str, temperature: float | None) -> None:
        super().__init__()
        self.outputs, self.num_classes = outputs, num_classes
        self.pooling, self.temperature = pooling, temperature

    def pool(self, *, uncertainty: bool = False) -> Pool:
        """Return an empty pool."""
        return ClassPool(self.pooling, self.temperature, uncertainty)


def means(pooled: Tensor, *names: str) -> dict[str, Metric]:
    """Metrics that are means over samples; accuracy too, since torchmetrics' own takes no batch of nothing."""
    # Sums over a whole test set; a device without float64 keeps them in float32.
    wide = torch.float32 if pooled.device.type == "mps" else torch.float64
    # "disable" keeps a NaN: a broken member shows in the result and is not averaged away.
    # The dtype last: `.to` sets it back to torch's default one, in which a metric casts what it is given.
    return {name: MeanMetric(nan_strategy="disable").to(pooled.device).set_dtype(wide) for name in names}


def of_each_sample(scores: Tensor) -> Tensor:
    """Mean of each sample over its labels or dimensions, (N,)."""
    return scores if scores.ndim == 1 else scores.flatten(1).mean(dim=1)
