"""What the configuration of each optimizer may hold; see `recipes.schema`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class SGD:
    """Stochastic gradient descent. Without `lr`, which the schedule owns."""

    _target_: str = "torch.optim.SGD"
    _partial_: bool = True
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False


SCHEMAS: dict[str, type] = {"sgd": SGD}
