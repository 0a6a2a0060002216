"""What the configuration of each optimizer may hold; see `recipes.schema`.

Without `lr`, which the schedule owns, and without how an update is computed (`foreach`, `capturable`, …), which torch
decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING


@dataclass
class SGD:
    """Stochastic gradient descent, with momentum where that is above 0."""

    _target_: str = "torch.optim.SGD"
    _partial_: bool = True
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    fused: bool | None = None


@dataclass
class Adam:
    """Adam; its weight decay is added to the gradient."""

    _target_: str = "torch.optim.Adam"
    _partial_: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    fused: bool | None = None


@dataclass
class AdamW:
    """Adam with weight decay that does not pass through the gradient."""

    _target_: str = "torch.optim.AdamW"
    _partial_: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2
    amsgrad: bool = False
    fused: bool | None = None


@dataclass
class RMSprop:
    """RMSprop, with momentum where that is above 0."""

    _target_: str = "torch.optim.RMSprop"
    _partial_: bool = True
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False


@dataclass
class Custom:
    """A user's own class, or another of torch's; its arguments are added with `+`."""

    TAKES_MORE: ClassVar[bool] = True

    _target_: str = MISSING
    _partial_: bool = True


SCHEMAS: dict[str, type] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "custom": Custom}
