"""One of C classes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError

from lightning_lr.ensemble.batches import described
from lightning_lr.ensemble.scores import ECE_BINS, brier_score, negative_log_likelihood
from lightning_lr.ensemble.tasks.base import WIDE, Classification, means
from lightning_lr.ensemble.tasks.refusals import not_a_tensor, other_columns

# Rows count as probabilities when their sums are this near to 1: bfloat16 keeps eight bits, so its rows miss by 0.002.
_SUM_TOLERANCE = 5e-3


class Multiclass(Classification):
    """Readings (N, C) of outputs (N, C)."""

    name = "multiclass"

    def read(self, out: Any, member: int = 0) -> Tensor:
        """Log-probabilities, (N, C)."""
        if not isinstance(out, Tensor) or not out.is_floating_point():
            raise TypeError(not_a_tensor(out, "of shape (N, C)"))
        if out.ndim != 2 or out.shape[1] != self.num_classes:
            self._take_classes(out)
        # Half precision would lose the tail of the distribution, and with it the NLL.
        rows: Tensor = out if out.dtype in WIDE else out.float()
        if member not in self._known:
            self._check(rows, member)
        if self.outputs == "probs":
            return (rows / rows.sum(dim=-1, keepdim=True)).log()
        # Of log-probabilities it only takes away what rounding had the sum of their row off 1.
        return rows.log_softmax(-1)

    def _take_classes(self, out: Tensor) -> None:
        if out.ndim != 2 or out.shape[1] < 2:
            one = '; for one column pass task="binary"' if out.ndim == 1 or out.shape[1:] == (1,) else ""
            raise ValueError(
                f"module: its forward returned shape {tuple(out.shape)}; return (N, C), C classes of 2 or more{one}"
            )
        if self.num_classes is not None:
            raise ValueError(other_columns(self.num_classes, out, "columns"))
        self.num_classes = out.shape[1]

    def _tells(self, out: Tensor, member: int) -> bool:
        if len(out) == 0:
            return False
        totals = out.exp().sum(dim=1) if self.outputs == "log_probs" else out.sum(dim=1)
        in_range = self.outputs == "log_probs" or bool((out >= 0).all())
        distributions = in_range and bool(((totals - 1).abs() < _SUM_TOLERANCE).all())
        if self.outputs == "logits" and distributions:
            raise ValueError(
                'outputs="logits": the rows that the module returned are non-negative and sum to 1, which makes them '
                'probabilities; pass outputs="probs", or return logits from forward'
            )
        if self.outputs != "logits" and not distributions:
            raise ValueError(
                f'outputs="{self.outputs}": the rows that the module returned do not sum to 1 as probabilities; '
                'pass outputs="logits" if they are scores before softmax'
            )
        return True

    def show(self, pooled: Tensor) -> Tensor:
        """Probabilities, (N, C)."""
        return pooled

    def target(self, target: Any, pooled: Tensor) -> Tensor:
        """Class indices, (N,)."""
        samples, classes = pooled.shape
        numbers = isinstance(target, Tensor) and not (target.is_floating_point() or target.is_complex())
        if not numbers or target.shape != (samples,):
            raise ValueError(
                f"target={described(target)}: not one class index a sample; "
                f"give an integer tensor of shape ({samples},), by unpack= if need be"
            )
        index: Tensor = target.long()
        if samples > 0 and not 0 <= int(index.min()) <= int(index.max()) < classes:
            raise ValueError(
                f"target={int(index.min())}..{int(index.max())}: outside of the module's {classes} classes; "
                f"give class indices from 0 to {classes - 1}"
            )
        return index

    def metrics(self, pooled: Tensor) -> dict[str, Metric]:
        """``accuracy`` (micro), ``nll``, ``brier`` and ``ece``."""
        ece = MulticlassCalibrationError(pooled.shape[1], n_bins=ECE_BINS, norm="l1", validate_args=False)
        return {**means(pooled, "accuracy", "nll", "brier"), "ece": ece.to(pooled.device)}

    def scores(self, pooled: Tensor, target: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Scores of the samples, (N,); for ``ece`` probabilities and target."""
        return {
            "accuracy": (pooled.argmax(dim=1) == target,),
            "nll": (negative_log_likelihood(pooled, target),),
            "brier": (brier_score(pooled, target),),
            "ece": (pooled, target),
        }
