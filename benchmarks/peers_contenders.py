"""The contenders under Lightning: ours, torch's schedules, and Lightning's own callbacks.

The body of each function is what a user writes; `peers_lines` counts it, beside that of `constant`, the plain set-up.
What is returned gives a row of scores a sample, and belongs to the measuring. Imports of a package stand in the body:
they are lines too, and no cell pays for a package that it does not use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SGD = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}


@dataclass
class Task:
    """What every contender is given.

    Args:
        train: Batches of images and classes.
        val: The same, for what has to choose; no contender but `average_weights` looks at it.
        network: Makes the network anew.
        rate: The largest learning rate, of those contenders that do not look for one.
        epochs: Of the run.
        cycles: Of warm restarts.
        trainer: Of Lightning's trainer.
        told: What a contender tells beside the network.
    """

    train: Any
    val: Any
    network: Callable[[], nn.Module]
    rate: float
    epochs: int
    cycles: int
    trainer: dict[str, Any]
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Optimizer updates of the run."""
        return self.epochs * len(self.train)


class Plain(pl.LightningModule):  # noqa: D101  # lines of the user's, who writes no docstring here
    def __init__(self, network: nn.Module, lr: float) -> None:
        super().__init__()
        self.network = network
        self.lr = lr

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr, **SGD)


Scores = Callable[[Tensor], Tensor]


def constant(task: Task) -> Scores:
    module = Plain(task.network(), task.rate)
    trainer = pl.Trainer(max_epochs=task.epochs, **task.trainer)
    trainer.fit(module, task.train)
    return module


def step_decay(task: Task) -> Scores:
    from torch.optim.lr_scheduler import MultiStepLR

    class Decayed(Plain):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            return [optimizer], [MultiStepLR(optimizer, [task.epochs // 2, task.epochs * 3 // 4])]

    module = Decayed(task.network(), task.rate)
    trainer = pl.Trainer(max_epochs=task.epochs, **task.trainer)
    trainer.fit(module, task.train)
    return module


def one_cycle_ours(task: Task) -> Scores:
    from lightning_lr import OneCycle

    module = Plain(task.network(), task.rate)
    trainer = pl.Trainer(max_epochs=task.epochs, callbacks=[OneCycle(task.rate)], **task.trainer)
    trainer.fit(module, task.train)
    return module


def one_cycle_torch(task: Task) -> Scores:
    from torch.optim.lr_scheduler import OneCycleLR

    class Cycled(Plain):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            schedule = OneCycleLR(optimizer, self.lr, total_steps=self.trainer.estimated_stepping_batches)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    module = Cycled(task.network(), task.rate)
    trainer = pl.Trainer(max_epochs=task.epochs, **task.trainer)
    trainer.fit(module, task.train)
    return module


def restarts_ours(task: Task) -> Scores:
    from lightning_lr import SGDR

    module = Plain(task.network(), task.rate)
    trainer = pl.Trainer(max_epochs=task.epochs, callbacks=[SGDR(task.rate, cycles=task.cycles)], **task.trainer)
    trainer.fit(module, task.train)
    return module


def restarts_torch(task: Task) -> Scores:
    from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

    class Restarted(Plain):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            schedule = CosineAnnealingWarmRestarts(optimizer, T_0=task.steps // task.cycles)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    module = Restarted(task.network(), task.rate)
    trainer = pl.Trainer(max_epochs=task.epochs, **task.trainer)
    trainer.fit(module, task.train)
    return module


def finder_ours(task: Task) -> Scores:
    from lightning_lr import OneCycle, lr_range_test

    module = Plain(task.network(), task.rate)
    found = lr_range_test(module, task.train, accelerator="cpu", enable_progress_bar=False)
    trainer = pl.Trainer(max_epochs=task.epochs, callbacks=[OneCycle(found.max_lr)], **task.trainer)
    trainer.fit(module, task.train)
    return telling(task, module, found.max_lr)


def finder_lightning(task: Task) -> Scores:
    from lightning.pytorch.tuner import Tuner
    from torch.optim.lr_scheduler import OneCycleLR

    class Cycled(Plain):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            schedule = OneCycleLR(optimizer, self.lr, total_steps=self.trainer.estimated_stepping_batches)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    module = Cycled(task.network(), task.rate)
    trainer = pl.Trainer(max_epochs=task.epochs, **task.trainer)
    Tuner(trainer).lr_find(module, task.train)
    trainer.fit(module, task.train)
    return telling(task, module, module.lr)


def snapshots_ours(task: Task) -> Scores:
    from lightning_lr import SGDR, SnapshotCheckpoint, SnapshotEnsemble

    module = Plain(task.network(), task.rate)
    callbacks = [SGDR(task.rate, cycles=task.cycles), SnapshotCheckpoint("snapshots")]
    trainer = pl.Trainer(max_epochs=task.epochs, callbacks=callbacks, **task.trainer)
    trainer.fit(module, task.train)
    ensemble = SnapshotEnsemble(module, "snapshots")
    return telling(task, ensemble, task.rate)


def average_ours(task: Task) -> Scores:
    from lightning_lr import SGDR, SnapshotCheckpoint, average_weights

    module = Plain(task.network(), task.rate)
    callbacks = [SGDR(task.rate, cycles=task.cycles), SnapshotCheckpoint("snapshots")]
    trainer = pl.Trainer(max_epochs=task.epochs, callbacks=callbacks, **task.trainer)
    trainer.fit(module, task.train)
    module = average_weights(module, "snapshots", task.train, task.val)
    return telling(task, module, task.rate, averaged=len(module.averaged))


def average_greedy_ours(task: Task) -> Scores:
    from lightning_lr import SGDR, SnapshotCheckpoint, average_weights

    module = Plain(task.network(), task.rate)
    callbacks = [SGDR(task.rate, cycles=task.cycles), SnapshotCheckpoint("snapshots")]
    trainer = pl.Trainer(max_epochs=task.epochs, callbacks=callbacks, **task.trainer)
    trainer.fit(module, task.train)
    module = average_weights(module, "snapshots", task.train, task.val, method="greedy")
    return telling(task, module, task.rate, averaged=len(module.averaged))


def average_lightning(task: Task) -> Scores:
    from lightning.pytorch.callbacks import StochasticWeightAveraging

    module = Plain(task.network(), task.rate)
    callbacks = [StochasticWeightAveraging(swa_lrs=task.rate)]
    trainer = pl.Trainer(max_epochs=task.epochs, callbacks=callbacks, **task.trainer)
    trainer.fit(module, task.train)
    return module


def telling(task: Task, module: Any, rate: float, **more: Any) -> Any:
    task.told |= {"rate": rate, **more}
    return module
