"""Tasks: what a network's outputs mean, and how predictions of that kind are scored.

A task reads what `forward` returned into one canonical form, the *reading* that pools take (`pooling`),
and says of what came out of a pool what to show, what a target for it is, and how good it was.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor
from torchmetrics import Metric

from lightning_lr.arguments import require_choice, require_int, require_number
from lightning_lr.ensemble.pooling import POOLINGS, Pool
from lightning_lr.ensemble.tasks.labels import Labels
from lightning_lr.ensemble.tasks.multiclass import Multiclass
from lightning_lr.ensemble.tasks.regression import Regression

TASKS = ("multiclass", "binary", "multilabel", "regression")
OUTPUTS = ("logits", "log_probs", "probs")


class Task(Protocol):
    """What outputs mean.

    Attributes:
        name: One of `TASKS`.
        num_classes: Classes or labels; None until the first output has told.
        pooling: How members are pooled; of a regression "mean_prob", the mean.
        temperature: T of ``p^(1/T)``, after pooling; None is 1.
    """

    name: str
    num_classes: int | None
    pooling: str
    temperature: float | None

    def read(self, out: Any, member: int = 0) -> Tensor:
        """Read what `forward` returned, in float32 at least.

        Args:
            out: The output of one member.
            member: Which member that was. The values of each member's first output are looked at, those of later ones
                are not: that would make the CPU wait for the device at each batch.

        Raises:
            TypeError: If it is not a floating-point tensor (regression: or a pair of them).
            ValueError: If its shape or its values are not those of the task and of `outputs`.
        """

    def pool(self, *, uncertainty: bool = False) -> Pool:
        """Return an empty pool for readings."""

    def show(self, pooled: Tensor) -> Tensor:
        """Return of a pool's result what a user wants to see, in the shape that `forward` returns."""

    def target(self, target: Any, pooled: Tensor) -> Tensor:
        """Return a batch's target in canonical form: int64, for regression floating-point; one for each prediction.

        Raises:
            ValueError: If it is no target for these predictions.
        """

    def metrics(self, pooled: Tensor) -> dict[str, Metric]:
        """Return new metrics of a whole data set, on the device of `pooled`."""

    def scores(self, pooled: Tensor, target: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Return what each of the metrics is updated with: ``(scores of the samples (N,),)``, but for ``ece``.

        Args:
            pooled: What came out of a pool.
            target: What `target` returned.
        """

    def evaluate(self, pooled: Tensor, target: Tensor) -> dict[str, float]:
        """Return the metrics of a whole data set at once, from predictions that were kept."""


def task_named(
    name: str,
    *,
    outputs: str = "logits",
    num_classes: int | None = None,
    pooling: str = "mean_prob",
    temperature: float | None = None,
) -> Task:
    """Make the task of that name.

    ==============  ======================================================  =====================  ==================
    task            `forward` returns                                       reading                metrics
    ==============  ======================================================  =====================  ==================
    ``multiclass``  (N, C): one of C classes                                (N, C)                 accuracy, nll,
    ``binary``      (N,) or (N, 1): yes or no                               (N, 2) or (N, 1, 2)    brier, ece
    ``multilabel``  (N, L): yes or no for each of L labels                  (N, L, 2)
    ``regression``  (N,) or (N, D): means; or a pair (means, variances)     (N, 2) or (N, D, 2)    mse, mae, nll
    ==============  ======================================================  =====================  ==================

    Accuracy is micro, nll in nats. The Brier score of several classes goes from 0 to 2, of yes or no from 0 to 1. The
    calibration error has 15 equal bins and the l1 norm: of the top probability, or of all probabilities of yes. Labels
    are averaged, so are the dimensions of a regression.

    Args:
        name: One of `TASKS`.
        outputs: What `forward` returns: "logits", "log_probs" or "probs" (binary, multilabel: of yes).
        num_classes: C, or L; None takes it from the first output.
        pooling: How members are pooled, one of `lightning_lr.ensemble.pooling.POOLINGS`.
        temperature: T of ``p^(1/T)``, after pooling; None is 1.

    Raises:
        ValueError: If an argument is out of range, or means nothing for this task.
        TypeError: If a number is none.

    Example:
        >>> import torch
        >>> task = task_named("binary")
        >>> members = task.pool()
        >>> members.add(task.read(torch.tensor([0.0, 2.0])))
        >>> members.add(task.read(torch.tensor([0.0, -2.0])))
        >>> task.show(members.pooled())
        tensor([0.5000, 0.5000])
    """
    require_choice("task", name, TASKS)
    require_choice("outputs", outputs, OUTPUTS)
    require_choice("pooling", pooling, POOLINGS)
    if temperature is not None:
        temperature = require_number("temperature", temperature, above=0.0)
    if num_classes is not None:
        require_int("num_classes", num_classes, at_least=1 if name == "multilabel" else 2)
    if name == "regression":
        _refuse_for_regression(outputs, num_classes, pooling, temperature)
        return Regression()
    if name == "multiclass":
        return Multiclass(outputs, num_classes, pooling, temperature)
    if name == "binary" and num_classes not in (None, 2):
        raise ValueError(f'num_classes={num_classes}: task="binary" has two; pass None, or task="multiclass"')
    return Labels(name, outputs, 2 if name == "binary" else num_classes, pooling, temperature)


def _refuse_for_regression(outputs: str, num_classes: int | None, pooling: str, temperature: float | None) -> None:
    # The defaults pass: they are what regression does, too.
    for argument, value, default in (
        ("outputs", outputs, "logits"),
        ("num_classes", num_classes, None),
        ("pooling", pooling, "mean_prob"),
        ("temperature", temperature, None),
    ):
        if value != default:
            raise ValueError(
                f'{argument}={value!r}: means nothing for task="regression", whose members\' means are averaged; '
                "leave it out"
            )
