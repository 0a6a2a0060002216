"""What the tests of the callbacks fit: a module that records what its optimizer holds, its data, and a bare trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset, TensorDataset


def sgd(lr: Any = 0.5, **options: Any) -> Callable[[pl.LightningModule], Optimizer]:
    return lambda module: torch.optim.SGD(module.parameters(), lr=lr, **options)


def two_groups(**weight: Any) -> Callable[[pl.LightningModule], Optimizer]:
    """SGD with the bias at a tenth of the weight's LR."""
    return lambda module: torch.optim.SGD(
        [{"params": [module.layer.weight], **weight}, {"params": [module.layer.bias], "lr": 0.05}], lr=0.5
    )


def record_updates(optimizer: Optimizer, records: list[dict[str, float]]) -> None:
    """Note, right before each step, what the first param group holds."""

    def note(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        records.append(held_by(optimizer))

    optimizer.register_step_pre_hook(note)


def held_by(optimizer: Optimizer, group: int = 0) -> dict[str, float]:
    held = optimizer.param_groups[group]
    values = {"lr": float(held["lr"])}
    if "betas" in held:
        values["momentum"] = float(held["betas"][0])
    elif "momentum" in held:
        values["momentum"] = float(held["momentum"])
    return values


class Recording(pl.LightningModule):
    """A linear model that notes LR and momentum in every `training_step` and before every step of its optimizer.

    Each update sees data of its own, drawn from its number: so that a run which was killed in the middle of an epoch
    goes on with the data that it would have had.
    """

    def __init__(self, build: Callable[[pl.LightningModule], Optimizer] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(2, 1)
        self.build = build or sgd()
        self.at_forward: list[dict[str, float]] = []
        self.at_update: list[dict[str, float]] = []

    def loss(self) -> Tensor:
        inputs = torch.randn(4, 2, generator=torch.Generator().manual_seed(self.trainer.global_step))
        return (self.layer(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer = self.trainer.optimizers[0]
        self.at_forward.append(held_by(optimizer))
        return self.loss()

    def configure_optimizers(self) -> Any:
        self.built = self.build(self)
        record_updates(self.built, self.at_update)
        return self.built

    @property
    def lrs(self) -> list[float]:
        return [held["lr"] for held in self.at_update]


class EveryGroup(Callback):
    """Notes the LR of every param group before each update."""

    def __init__(self) -> None:
        self.lrs: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        self.lrs.append([float(group["lr"]) for group in optimizer.param_groups])


class CycleEnds(Callback):
    """Notes each cycle's end as it is told of it: the update, the cycle, and the LR that the update used."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, float]] = []

    def on_cycle_end(self, trainer: Any, pl_module: Any, schedule: Any, cycle: Any) -> None:
        self.told.append((schedule.step, cycle.index, schedule.current["lr"][0]))


class StopBefore(Callback):
    """Raises before an update, as an interrupted run would; the checkpoint is of the moment after the one before."""

    def __init__(self, update: int, checkpoint: str | Path | None = None) -> None:
        self.update, self.checkpoint = update, checkpoint

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.checkpoint is not None and trainer.global_step == self.update:
            trainer.save_checkpoint(self.checkpoint)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.update:
            raise InterruptedError(f"stopped before update {self.update}")


class Stream(IterableDataset):
    """So many samples, of a length that nobody is told."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __iter__(self) -> Any:
        return iter(torch.zeros(self.samples, 1))


def loader(batches: int) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.zeros(batches, 1)))


def stream(batches: int) -> DataLoader[Any]:
    return DataLoader(Stream(batches))


def trainer(*callbacks: Callback, **options: Any) -> pl.Trainer:
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(callbacks=list(callbacks), **{**quiet, **options})


def fit(*callbacks: Callback, module: pl.LightningModule | None = None, batches: int = 10, **options: Any) -> Any:
    """Fit the module for one epoch of ten batches, unless told otherwise, and return it."""
    module = Recording() if module is None else module
    if "max_steps" not in options and "max_time" not in options:
        options.setdefault("max_epochs", 1)
    trainer(*callbacks, **options).fit(module, loader(batches))
    return module


def stop(
    policy: Callback, at: int, *callbacks: Callback, module: Any = None, ckpt_path: Any = None, **options: Any
) -> Path:
    """Fit two epochs of ten batches until an exception comes before an update; return the checkpoint of that moment."""
    checkpoint = Path(f"stopped-{at}.ckpt")
    run = trainer(policy, *callbacks, StopBefore(at, checkpoint), **{"max_epochs": 2, **options})
    with pytest.raises(InterruptedError):
        run.fit(Recording() if module is None else module, loader(10), ckpt_path=ckpt_path)
    return checkpoint


def resume(policy: Callback, checkpoint: str | Path, *callbacks: Callback, module: Any = None, **options: Any) -> Any:
    """Go on from a checkpoint with a new policy, module and trainer; return the module."""
    module = Recording() if module is None else module
    trainer(policy, *callbacks, **{"max_epochs": 2, **options}).fit(module, loader(10), ckpt_path=checkpoint)
    return module
