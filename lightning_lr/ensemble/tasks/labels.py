"""Yes or no, once for a sample or for each of L labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import BinaryCalibrationError

from lightning_lr.ensemble.scores import ECE_BINS, binary_brier_score, negative_log_likelihood
from lightning_lr.ensemble.tasks.base import WIDE, Classification, means, of_each_sample
from lightning_lr.ensemble.tasks.refusals import not_a_tensor, other_columns, shaped

# How far half precision may take a probability out of its range.
_TOLERANCE = 5e-3

# So many different logits that all lie between 0 and 1 are probabilities; of fewer it may be chance.
_TELLING = 8


class Labels(Classification):
    """Readings (..., 2), no and yes, of outputs (...), of yes."""

    def __init__(
        self, name: str, outputs: str, num_classes: int | None, pooling: str, temperature: float | None
    ) -> None:
        super().__init__(outputs, num_classes, pooling, temperature)
        self.name = name
        # Of each member, the values of outputs that all lay between 0 and 1.
        self._within: dict[int, set[float]] = {}

    def read(self, out: Any, member: int = 0) -> Tensor:
        """Log-probabilities of no and yes, in a dimension after those of the output."""
        if not isinstance(out, Tensor) or not out.is_floating_point():
            raise TypeError(not_a_tensor(out, "of shape " + ("(N,) or (N, 1)" if self.name == "binary" else "(N, L)")))
        self._check_shape(out)
        # Half precision would lose the tail of the distribution, and with it the NLL.
        yes: Tensor = out if out.dtype in WIDE else out.float()
        if member not in self._known:
            self._check(yes, member)
        if self.outputs == "logits":
            # The logarithm of a sigmoid near 1 keeps its digits in this form, and loses them in that of a softmax.
            return nn.functional.logsigmoid(torch.stack((-yes, yes), dim=-1))
        # Rounding may take a probability a little out of its range, and the logarithm of what is left to NaN.
        if self.outputs == "probs":
            yes = yes.clamp(0.0, 1.0)
            return torch.stack((1 - yes, yes), dim=-1).log()
        yes = yes.clamp_max(0.0)
        return torch.stack((yes.expm1().neg().log(), yes), dim=-1)

    def _check_shape(self, out: Tensor) -> None:
        if self.name == "binary":
            if out.ndim == 1 or (out.ndim == 2 and out.shape[1] == 1):
                return
            raise ValueError(
                f"module: its forward returned shape {tuple(out.shape)}; return (N,) or (N, 1), "
                'or pass task="multiclass" for one column a class'
            )
        if out.ndim != 2 or out.shape[1] < 1:
            raise ValueError(f"module: its forward returned shape {tuple(out.shape)}; return (N, L), a column a label")
        if self.num_classes is None:
            self.num_classes = out.shape[1]
        if out.shape[1] != self.num_classes:
            raise ValueError(other_columns(self.num_classes, out, "columns, one a label"))

    def _tells(self, out: Tensor, member: int) -> bool:
        if self.outputs == "logits":
            if not bool(((out >= 0) & (out <= 1)).all()):
                return True
            # Over the batches, each of which may be small.
            within = self._within.setdefault(member, set())
            within.update(out.flatten().tolist())
            if len(within) >= _TELLING:
                raise ValueError(
                    'outputs="logits": all that the module returned lies between 0 and 1, as probabilities do; pass '
                    'outputs="probs", or return logits from forward (if they are: their logsigmoid, with '
                    'outputs="log_probs")'
                )
            return False
        probs = out.exp() if self.outputs == "log_probs" else out
        if not bool(((probs >= -_TOLERANCE) & (probs <= 1 + _TOLERANCE)).all()):
            raise ValueError(
                f'outputs="{self.outputs}": what the module returned does not lie between 0 and 1 as probabilities; '
                'pass outputs="logits" if it is scores before sigmoid'
            )
        return out.numel() > 0

    def show(self, pooled: Tensor) -> Tensor:
        """Probability of yes, in the output's shape."""
        # A view would keep the other half in memory for as long as someone keeps what was predicted.
        return pooled[..., 1].contiguous()

    def target(self, target: Any, pooled: Tensor) -> Tensor:
        """0 or 1, in the output's shape."""
        labels = shaped(target, pooled.shape[:-1], "0 or 1 for each prediction")
        wrong = (labels != 0) & (labels != 1)
        if bool(wrong.any()):
            raise ValueError(f"target={float(labels[wrong][0]):g}: neither 0 nor 1; give 1 where a label holds, else 0")
        return labels.long()

    def metrics(self, pooled: Tensor) -> dict[str, Metric]:
        """``accuracy`` (micro), ``nll``, ``brier`` and ``ece``."""
        ece = BinaryCalibrationError(n_bins=ECE_BINS, norm="l1", validate_args=False)
        return {**means(pooled, "accuracy", "nll", "brier"), "ece": ece.to(pooled.device)}

    def scores(self, pooled: Tensor, target: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Scores of the samples, (N,), labels averaged; for ``ece`` all probabilities of yes and their targets."""
        yes = pooled[..., 1].contiguous()
        return {
            "accuracy": (of_each_sample(((yes > 0.5) == target).to(pooled.dtype)),),
            "nll": (of_each_sample(negative_log_likelihood(pooled, target)),),
            "brier": (of_each_sample(binary_brier_score(yes, target)),),
            "ece": (yes.flatten(), target.flatten()),
        }
