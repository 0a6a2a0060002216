"""What a run's configuration may hold, and of which type: each group's YAML extends one of these.

Written out by hand, for composing must import neither torch nor lightning: `--cfg`, `--help` and completion answer at
once, and a value of the wrong type is refused before anything is loaded. A test holds each class against the signature
of its `_target_`, so that the two cannot drift apart.

The defaults are the target's own. What a run prefers to them stands in `conf`, with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf


@dataclass
class Digits:
    """The digits that scikit-learn ships."""

    _target_: str = "recipes.data.digits.Digits"
    batch_size: int = 64
    val_size: int = 240
    test_size: int = 480
    split_seed: int = 2017
    shuffle_seed: int = 0


@dataclass
class SmallCNN:
    """A convolutional network for small images. Without `channels` and `num_classes`, which the data tell."""

    _target_: str = "recipes.models.small_cnn.SmallCNN"
    width: int = 16


@dataclass
class SGD:
    """Stochastic gradient descent. Without `lr`, which the schedule owns."""

    _target_: str = "torch.optim.SGD"
    _partial_: bool = True
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False


@dataclass
class SGDR:
    """Cosine annealing with warm restarts."""

    _target_: str = "lightning_lr.SGDR"
    max_lr: float = MISSING
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
    max_lr: float = MISSING
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
    initial_lr: float = MISSING
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
    lr: float = MISSING
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class ExponentialDecay:
    """The same factor at every update."""

    _target_: str = "lightning_lr.ExponentialDecay"
    initial_lr: float = MISSING
    final_lr: float = MISSING
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class CosineAnnealing:
    """Half a cosine down, once."""

    _target_: str = "lightning_lr.CosineAnnealing"
    max_lr: float = MISSING
    min_lr: float = 0.0
    warmup: int | str = 0
    optimizer: int | None = None
    total_steps: int | None = None
    on_new_horizon: str | None = None


@dataclass
class WarmupStableDecay:
    """Up, level, and down."""

    _target_: str = "lightning_lr.WarmupStableDecay"
    max_lr: float = MISSING
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
    initial_lr: float = MISSING
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
    base_lr: float = MISSING
    max_lr: float = MISSING
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


@dataclass
class Snapshots:
    """One snapshot at the end of each cycle. Without `dirpath`, which is in the run's folder."""

    _target_: str = "lightning_lr.SnapshotCheckpoint"
    keep_last: int | None = None
    save_last_partial: bool = False
    dtype: str | None = None


@dataclass
class Trainer:
    """Lightning's Trainer. Without what a run brings itself: callbacks, logging at every update, folders."""

    _target_: str = "lightning.pytorch.Trainer"
    accelerator: str = "auto"
    strategy: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    precision: int | str | None = None
    max_epochs: int | None = None
    min_epochs: int | None = None
    max_steps: int = -1
    min_steps: int | None = None
    max_time: str | None = None
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    limit_test_batches: int | float | None = None
    overfit_batches: int | float = 0.0
    val_check_interval: int | float | None = None
    check_val_every_n_epoch: int | None = 1
    num_sanity_val_steps: int | None = None
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    deterministic: bool | None = None
    benchmark: bool | None = None
    detect_anomaly: bool = False
    sync_batchnorm: bool = False


@dataclass
class Train:
    """A whole run of `recipes.train`."""

    seed: int = 0
    threads: int | None = None
    data: Any = MISSING
    model: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    snapshots: Snapshots = field(default_factory=Snapshots)
    trainer: Any = MISSING


SCHEMAS: dict[str, type] = {
    "schema/data/digits": Digits,
    "schema/model/small_cnn": SmallCNN,
    "schema/optimizer/sgd": SGD,
    "schema/schedule/sgdr": SGDR,
    "schema/schedule/one_cycle": OneCycle,
    "schema/schedule/step_decay": StepDecay,
    "schema/schedule/constant": Constant,
    "schema/schedule/exponential_decay": ExponentialDecay,
    "schema/schedule/cosine": CosineAnnealing,
    "schema/schedule/wsd": WarmupStableDecay,
    "schema/schedule/reduce_on_plateau": ReduceOnPlateau,
    "schema/schedule/cyclic": CyclicLR,
    "schema/trainer": Trainer,
    "schema/train": Train,
}


def register() -> None:
    """Make the schemas known to Hydra.

    In a group of their own: beside the YAML files they would be listed as options where somebody mistypes one.
    """
    store = ConfigStore.instance()
    for path, schema in SCHEMAS.items():
        group, name = path.rsplit("/", 1)
        store.store(group=group, name=name, node=schema)


def refuse_unknown(config: DictConfig) -> None:
    """Refuse keys that no schema has: Hydra itself lets ``+key=value`` add any.

    Raises:
        ValueError: If there is one.
    """
    for prefix, node in [("", config), *((f"{key!s}.", node) for key, node in config.items())]:
        if not isinstance(node, DictConfig):
            continue
        schema = OmegaConf.get_type(node)
        known = [each.name for each in fields(schema)] if is_dataclass(schema) else list(node)
        for key in node:
            if key not in known:
                options = ", ".join(name for name in known if not name.startswith("_"))
                raise ValueError(f"{prefix}{key!s}: there is no such option; choose from {options}")
