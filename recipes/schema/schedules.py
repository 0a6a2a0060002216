"""What the configuration of each schedule may hold; see `recipes.schema`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from omegaconf import MISSING

Rate: TypeAlias = float | int | str
"""A learning rate, or ``auto``: a range test decides. The int is for ``1``, which a union does not take for a float."""

AUTO = "auto"


@dataclass
class SGDR:
    """Cosine annealing with warm restarts."""

    _target_: str = "lightning_lr.SGDR"
    max_lr: Rate = MISSING
    min_lr: float = 0.0
    cycles: int | None = None
    cycle: int | str | None = None
    cycle_mult: float = 1.0
    max_lr_decay: float = 1.0
    min_lr_decay: float = 1.0
    warmup: int | str = 0
    cycle_momentum: bool = False
    base_momentum: float = 0.85
    max_momentum: float = 0.95
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class OneCycle:
    """Up to a peak and down again, once."""

    _target_: str = "lightning_lr.OneCycle"
    max_lr: Rate = MISSING
    pct_start: float = 0.3
    anneal_strategy: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False
    cycle_momentum: bool = True
    base_momentum: float = 0.85
    max_momentum: float = 0.95
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class StepDecay:
    """Steps down."""

    _target_: str = "lightning_lr.StepDecay"
    initial_lr: Rate = MISSING
    factor: float = 0.1
    every: int | str | None = None
    # Each an int or a string. A list of such a union, iterated, hands out OmegaConf's boxes, not what is in them.
    milestones: list[Any] | None = None
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class Constant:
    """The same learning rate at every update."""

    _target_: str = "lightning_lr.Constant"
    lr: Rate = MISSING
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class ExponentialDecay:
    """The same factor at every update."""

    _target_: str = "lightning_lr.ExponentialDecay"
    initial_lr: Rate = MISSING
    final_lr: float = MISSING
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class CosineAnnealing:
    """Half a cosine down, once."""

    _target_: str = "lightning_lr.CosineAnnealing"
    max_lr: Rate = MISSING
    min_lr: float = 0.0
    warmup: int | str = 0
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class WarmupStableDecay:
    """Up, level, and down."""

    _target_: str = "lightning_lr.WarmupStableDecay"
    max_lr: Rate = MISSING
    warmup: int | str = "5%"
    decay: int | str = "20%"
    min_lr: float = 0.0
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class ReduceOnPlateau:
    """A smaller rate whenever a metric stops to improve."""

    _target_: str = "lightning_lr.ReduceOnPlateau"
    initial_lr: Rate = MISSING
    monitor: str = MISSING
    mode: str = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    optimizer: int | None = None


@dataclass
class CyclicLR:
    """Up and down between two bounds, again and again."""

    _target_: str = "lightning_lr.CyclicLR"
    base_lr: Rate = MISSING
    max_lr: Rate = MISSING
    step_size_up: int | str = "2ep"
    step_size_down: int | str | None = None
    mode: str = "triangular"
    gamma: float = 1.0
    cycle_momentum: bool = True
    base_momentum: float = 0.8
    max_momentum: float = 0.9
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


SCHEMAS: dict[str, type] = {
    "sgdr": SGDR,
    "one_cycle": OneCycle,
    "step_decay": StepDecay,
    "constant": Constant,
    "exponential_decay": ExponentialDecay,
    "cosine": CosineAnnealing,
    "wsd": WarmupStableDecay,
    "reduce_on_plateau": ReduceOnPlateau,
    "cyclic": CyclicLR,
}
