"""What the configuration of a whole run may hold, and of its trainer; see `recipes.schema`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Snapshots:
    """One snapshot at the end of each cycle. Without `dirpath`, which is in the run's folder."""

    _target_: str = "lightning_lr.SnapshotCheckpoint"
    keep_last: int | None = None
    save_last_partial: bool = False
    dtype: str | None = None


@dataclass
class Checkpoint:
    """What a run that was stopped goes on from. One file, replaced each time; in the run's folder."""

    _target_: str = "lightning.pytorch.callbacks.ModelCheckpoint"
    every_n_train_steps: int | None = None
    every_n_epochs: int | None = None


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
    logger: Any = MISSING
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    resume: str | None = None
    label_smoothing: float = 0.0
    scale_lr: bool = False
    channels_last: bool = False
    compile: bool = False
    decay_all: bool = False


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
