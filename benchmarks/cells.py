"""A cell: one training run of the recipe, and what is kept of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from benchmarks.settings import Setting
from lightning_lr import EnsembleReport, SnapshotEnsemble, Snapshots, lr_range_test
from recipes.building import build_task
from recipes.run import Parts, build
from recipes.terminal import quiet
from recipes.train import CONF

FORMAT = 1
"""Another one, and no finished cell counts any more: raise it where a change alters what a cell measures."""


@dataclass(frozen=True)
class Cell:
    """What is run.

    Args:
        setting: Data and network.
        schedule: Overrides that choose it.
        epochs: Of the run; 0 is a range test in its place.
        seed: Of weights and order.
        members: Equal parts of the run at whose ends weights are kept, of a schedule without cycles. 0 keeps those at
            the ends of the schedule's own cycles, or where it has none the last.
        also: Further overrides.
    """

    setting: Setting
    schedule: tuple[str, ...]
    epochs: int
    seed: int
    members: int = 0
    also: tuple[str, ...] = ()

    @property
    def overrides(self) -> tuple[str, ...]:
        """Of the recipe; places still by their names."""
        length = (f"trainer.max_epochs={self.epochs}",) if self.epochs else ()
        return (*self.setting.overrides, *self.also, *self.schedule, *length, f"seed={self.seed}")

    @property
    def key(self) -> str:
        """The same for whatever would give the same figures."""
        told = json.dumps([FORMAT, self.overrides, self.members, torch.__version__])
        return hashlib.sha256(told.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Args:
        steps: Optimizer updates; fewer than planned where the loss was no number any more.
        steps_per_epoch: Of them.
        train_loss: At each update.
        val_accuracy: In [0, 1], after each epoch.
        val: Accuracy and NLL of the last weights on validation data.
        diverged: Whether a training loss was no number.
        seconds: Of the fit, validation included.
        commit: Of the code.
        found: Of a range test: its bounds and its curve.
        readings: Log-probabilities on the test set, (M, N, C), the oldest member first.
        target: Classes of the test set, (N,).
    """

    steps: int = 0
    steps_per_epoch: int = 0
    train_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    val: dict[str, float] = field(default_factory=dict)
    diverged: bool = False
    seconds: float = 0.0
    commit: str = ""
    found: dict[str, Any] = field(default_factory=dict)
    readings: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0), repr=False)
    target: Tensor = field(default_factory=lambda: torch.zeros(0), repr=False)

    @property
    def last(self) -> dict[str, float]:
        """Scores of the last weights on the test set: accuracy, nll, brier and ece."""
        return report([self.readings[-1]], self.target).members()[0]

    @property
    def figures(self) -> dict[str, Any]:
        """All but the two tensors."""
        return {name: value for name, value in asdict(self).items() if name not in ("readings", "target")}


def report(readings: list[Tensor], target: Tensor) -> EnsembleReport:
    """Return what some members say together, the oldest first."""
    names = tuple(f"{index}" for index in range(len(readings)))
    samples = tuple(index.to_bytes(4, "little") for index in range(len(target)))
    return EnsembleReport(torch.stack(readings), target, names, (None,) * len(readings), samples)


def run(cell: Cell, places: Mapping[str, str], commit: str) -> Outcome:
    """Train, and ask every member of every sample of the test set."""
    warnings.simplefilter("ignore")
    said = [override.format(**places) for override in cell.overrides]
    if cell.epochs == 0:
        return _range_test(said, commit)
    # Nothing is drawn, and nothing goes on from a checkpoint: a cell is short.
    said += ["trainer.num_sanity_val_steps=0", "checkpoint.every_n_epochs=10000"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=said)
    with tempfile.TemporaryDirectory() as folder, quiet(), _silent():
        parts = build(config, Path(folder))
        watch = Watch(cell.members)
        parts.trainer.callbacks.insert(0, watch)
        began = time.perf_counter()
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
        seconds = time.perf_counter() - began
        val, test = (
            _readings(parts, watch.weights, loader)
            for loader in (parts.datamodule.val_dataloader(), parts.datamodule.test_dataloader())
        )
    last = report([val.readings[-1]], val.target).members()[0]
    return Outcome(
        steps=parts.policy.step,
        steps_per_epoch=int(parts.trainer.num_training_batches),
        train_loss=[round(loss, 5) for loss in watch.losses],
        val_accuracy=[round(accuracy, 6) for accuracy in watch.accuracies],
        val={name: last[name] for name in ("accuracy", "nll")},
        diverged=watch.diverged,
        seconds=round(seconds, 2),
        commit=commit,
        readings=test.readings,
        target=test.target,
    )


class Watch(pl.Callback):
    """Notes the loss of each update and the accuracy after each epoch, keeps weights, and stops where all is lost."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.weights: list[dict[str, Tensor]] = []
        self.diverged = False
        self.ends: set[int] = set()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        steps = int(trainer.estimated_stepping_batches) if self.members else 0
        self.ends = {steps * part // self.members for part in range(1, self.members + 1)}

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(float(outputs["loss"]))
        if not math.isfinite(self.losses[-1]):
            self.diverged = trainer.should_stop = True
        if len(self.losses) in self.ends:
            self.weights.append({name: value.clone() for name, value in module.state_dict().items()})

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.accuracies.append(float(trainer.callback_metrics["val/accuracy"]))


def _readings(parts: Parts, kept: list[dict[str, Tensor]], loader: Any) -> EnsembleReport:
    """Ask the members, the oldest first; the last is the model as it is now."""
    members: list[Any] = kept
    if not kept and parts.snapshots is not None:
        found = Snapshots(parts.snapshots.dirpath)
        members = [found.load(index) for index in range(len(found))]
    # A cycle that was cut short has no snapshot; the last weights are told of all the same.
    ensemble = SnapshotEnsemble(parts.module, [*members[: -1 if _ends(members, parts.module) else None], parts.module])
    read = EnsembleReport.collect(ensemble.to(parts.trainer.strategy.root_device), loader)
    if read.readings.isfinite().all():
        return read
    # Who says nothing knows nothing: one in as many as there are classes.
    lost = ~read.readings.isfinite().flatten(1).all(dim=1)
    read.readings[lost] = -math.log(read.readings.shape[-1])
    return read


def _ends(members: list[dict[str, Tensor]], module: pl.LightningModule) -> bool:
    """Whether the last member is the module as it is now."""
    return bool(members) and all(
        torch.equal(value, members[-1][name].to(value.device)) for name, value in module.state_dict().items()
    )


def _range_test(said: list[str], commit: str) -> Outcome:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("find_lr", overrides=said)
    with tempfile.TemporaryDirectory() as folder, quiet(), _silent():
        module, datamodule = build_task(config)
        options = {"precision": config.trainer.precision, "default_root_dir": folder, "enable_progress_bar": False}
        began = time.perf_counter()
        found = lr_range_test(
            module, datamodule=datamodule, repeats=3, accelerator=config.trainer.accelerator, **options
        )
    seconds = time.perf_counter() - began
    told = {
        **{name: getattr(found, name) for name in ("base_lr", "max_lr", "fixed_lr")},
        **{name: list(getattr(found, name)) for name in ("lrs", "smoothed", "reliability")},
    }
    return Outcome(seconds=round(seconds, 2), commit=commit, found=told)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
