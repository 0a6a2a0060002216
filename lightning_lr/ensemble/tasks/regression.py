"""A number, or several, with or without what the network says of its noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_lr.ensemble.pooling import MomentPool, Pool
from lightning_lr.ensemble.scores import gaussian_nll
from lightning_lr.ensemble.tasks.base import WIDE, Scored, means, of_each_sample
from lightning_lr.ensemble.tasks.refusals import not_a_tensor, shaped


class Regression(Scored):
    """Readings (..., 2), mean and variance, of outputs (...), of means or a pair of means and variances."""

    name = "regression"
    num_classes: int | None = None
    pooling = "mean_prob"
    temperature: float | None = None

    def read(self, out: Any, member: int = 0) -> Tensor:
        """Mean and variance, in a dimension after those of the output; without a variance it is 0."""
        pair = isinstance(out, list | tuple) and len(out) == 2
        for part in out if pair else (out,):
            if not isinstance(part, Tensor) or not part.is_floating_point():
                raise TypeError(not_a_tensor(part, "of shape (N,) or (N, D), or a pair of them: mean and variance"))
        mean, variance = out if pair else (out, torch.zeros_like(out))
        if mean.ndim == 0 or mean.shape != variance.shape:
            shapes = f"{tuple(mean.shape)}" + (f" and {tuple(variance.shape)}" if pair else "")
            raise ValueError(
                f"module: its forward returned shape {shapes}; return (N,) or (N, D), "
                "or mean and variance in one such shape"
            )
        if pair and member not in self._known:
            self._check(variance, member)
        reading = torch.stack((mean, variance), dim=-1)
        return reading if reading.dtype in WIDE else reading.float()

    def _tells(self, out: Tensor, member: int) -> bool:
        if bool((out < 0).any()):
            raise ValueError(
                f"module: its forward returned a variance of {float(out.min()):g}; return one of 0 or more "
                "(the exp of its logarithm, or a softplus)"
            )
        return out.numel() > 0

    def pool(self, *, uncertainty: bool = False) -> Pool:
        """Return an empty pool; mean and variance are all that it gathers, and always."""
        return MomentPool()

    def show(self, pooled: Tensor) -> Tensor:
        """Mean, in the output's shape."""
        # A view would keep the variance in memory for as long as someone keeps what was predicted.
        return pooled[..., 0].contiguous()

    def target(self, target: Any, pooled: Tensor) -> Tensor:
        """Numbers, in the mean's shape."""
        return shaped(target, pooled.shape[:-1], "one number for each that is predicted").to(pooled.dtype)

    def metrics(self, pooled: Tensor) -> dict[str, Metric]:
        """``mse``, ``mae`` and ``nll``."""
        return means(pooled, "mse", "mae", "nll")

    def scores(self, pooled: Tensor, target: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Scores of the samples, (N,), dimensions averaged."""
        mean, variance = pooled.unbind(-1)
        error = mean - target
        return {
            "mse": (of_each_sample(error.square()),),
            "mae": (of_each_sample(error.abs()),),
            "nll": (of_each_sample(gaussian_nll(mean, variance, target)),),
        }
