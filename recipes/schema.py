"""What a run's configuration may hold, and of which type: each group's YAML extends one of these.

Written out by hand, for composing must import neither torch nor lightning: `--cfg`, `--help` and completion answer at
once, and a value of the wrong type is refused before anything is loaded. A test holds each class against the signature
of its `_target_`, so that the two cannot drift apart.

The defaults are the target's own. What a run prefers to them stands in `conf`, with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from recipes import policies
from recipes.policies import AUTO, Rate


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


@dataclass
class RangeTest:
    """The range test of `recipes.find_lr`. Without `optimizer`: a recipe has one."""

    _target_: str = "lightning_lr.lr_range_test"
    _partial_: bool = True
    min_lr: float = 1e-6
    max_lr: float = 10.0
    steps: int = 100
    mode: str = "exponential"
    smoothing: float = 0.75
    early_stop_threshold: float | None = 4.0
    momentum: float | None = None
    repeats: int = 1


@dataclass
class Over:
    """What several curves differ in: a list for one of them, or none at all."""

    momentum: list[float] | None = None
    weight_decay: list[float] | None = None
    batch_size: list[int] | None = None


@dataclass
class FindLR(Train):
    """A whole run of `recipes.find_lr`: what a training run has, so that its command line is understood here too."""

    range_test: RangeTest = field(default_factory=RangeTest)
    over: Over = field(default_factory=Over)


@dataclass
class Ensemble:
    """A whole run of `recipes.ensemble`.

    `snapshots` is a folder, a file or a list of files; the rest is told by `recipes.run_folder` and `recipes.told`.
    """

    seed: int = 0
    threads: int | None = None
    device: str = "auto"
    data: Any = MISSING
    model: Any = MISSING
    snapshots: Any = MISSING
    ckpt_weights: str | None = None
    last_m: int | None = None
    pooling: str = "mean_prob"
    member_weights: list[float] | None = None
    temperature: float | None = None
    lines: int | None = None
    average: str | None = None
    export: str | None = None


SCHEMAS: dict[str, type] = {
    "schema/data/digits": Digits,
    "schema/model/small_cnn": SmallCNN,
    "schema/optimizer/sgd": SGD,
    "schema/schedule/sgdr": policies.SGDR,
    "schema/schedule/one_cycle": policies.OneCycle,
    "schema/schedule/step_decay": policies.StepDecay,
    "schema/schedule/constant": policies.Constant,
    "schema/schedule/exponential_decay": policies.ExponentialDecay,
    "schema/schedule/cosine": policies.CosineAnnealing,
    "schema/schedule/wsd": policies.WarmupStableDecay,
    "schema/schedule/reduce_on_plateau": policies.ReduceOnPlateau,
    "schema/schedule/cyclic": policies.CyclicLR,
    "schema/trainer": Trainer,
    "schema/train": Train,
    "schema/find_lr": FindLR,
    "schema/ensemble": Ensemble,
}


def register() -> None:
    """Make the schemas known to Hydra.

    In a group of their own: beside the YAML files they would be listed as options where somebody mistypes one.
    """
    store = ConfigStore.instance()
    for path, schema in SCHEMAS.items():
        group, name = path.rsplit("/", 1)
        store.store(group=group, name=name, node=schema)


def rates(schedule: DictConfig) -> list[str]:
    """Return the arguments of a schedule that are learning rates which a range test can tell."""
    return [name for name, kind in get_type_hints(OmegaConf.get_type(schedule)).items() if kind == Rate]


def check(config: DictConfig) -> None:
    """Refuse what Hydra itself lets pass: keys that no schema has, which ``+key=value`` adds, and words for a rate.

    Raises:
        ValueError: If there is one.
    """
    for prefix, node in [("", config), *((f"{key!s}.", node) for key, node in config.items())]:
        if not isinstance(node, DictConfig):
            continue
        schema = OmegaConf.get_type(node)
        if not is_dataclass(schema):
            continue
        types, known = get_type_hints(schema), [each.name for each in fields(schema)]
        for key in map(str, node):
            if key not in known:
                options = ", ".join(name for name in known if not name.startswith("_"))
                raise ValueError(f"{prefix}{key}: there is no such option; choose from {options}")
            if types[key] == Rate and isinstance(node[key], str) and node[key] != AUTO:
                raise ValueError(
                    f"{prefix}{key}={node[key]!r}: neither a number nor {AUTO}; "
                    f"pass a number above 0, or {AUTO} for a range test before the fit"
                )
