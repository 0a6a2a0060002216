"""What every task refuses, in the same words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_lr.ensemble.batches import described


def not_a_tensor(out: object, remedy: str) -> str:
    """Say that `forward` returned something else than floating-point numbers."""
    what = f"a tensor of {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
    return f"module: its forward returned {what}; return a floating-point tensor {remedy}"


def other_columns(num_classes: int, out: Tensor, columns: str) -> str:
    """Say that `forward` returned another number of columns than was agreed."""
    return (
        f"num_classes={num_classes}: the module's forward returned {out.shape[1]} {columns}; "
        "pass that number, or None to infer it"
    )


def shaped(target: Any, shape: torch.Size, missing: str) -> Tensor:
    """Return a target in this shape, where (N,) and (N, 1) are the same.

    Raises:
        ValueError: If it is no tensor of real numbers in that shape; broadcast, it would be another question.
    """
    if isinstance(target, Tensor) and not target.is_complex():
        own = target.shape
        if own in (shape, (*shape, 1)) or (*own, 1) == shape:
            return target.reshape(shape)
    raise ValueError(
        f"target={described(target)}: not {missing}; give a tensor of shape {tuple(shape)}, by unpack= if need be"
    )
