"""The rate is raised update by update, and the loss is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from lightning_lr.hyperparameters import HyperParameter
from lightning_lr.range_test.readings import Divergence, Ended, Settings
from lightning_lr.target import optimizer_of, refuse_foreign_engine
from lightning_lr.updates import after_each_update

_PATIENCE = 50  # updates that may fail to come before the test gives up


class Sweep(Callback):
    """Writes the next rate before each update, and reads the loss after it.

    Args:
        settings: What to do.
        owner: Who asks for it, for the errors.
        note: Notes objects as they are, to be put back after the test.
        bar: Whether to draw a progress bar.
        epoch: The epoch that samplers and the module are told at the start.
    """

    def __init__(
        self, settings: Settings, owner: str, note: Callable[[dict[str, object]], None], *, bar: bool, epoch: int = 0
    ) -> None:
        self.losses: list[float] = []
        self.ended: Ended = "stopped"
        self.interrupted: KeyboardInterrupt | None = None
        self._settings = settings
        self._owner = owner
        self._note = note
        self._bar = bar
        self._epoch = epoch
        self._diverged = Divergence(settings)
        self._window: list[Tensor] = []
        self._validation: list[Tensor] = []
        self._due = False
        self._updates = 0
        self._read = 0
        self._in_vain = 0
        self._batches = 0
        self._cleanup: list[Callable[[], None]] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the optimizer over."""
        refuse_foreign_engine(trainer, self._owner)
        optimizer = trainer.optimizers[optimizer_of(trainer, self._settings.optimizer, self._owner)]
        # Where the user keeps it out of the module's sight, it is that of the fit too.
        self._note({"optimizers": trainer.optimizers})
        self._lr = HyperParameter("lr", optimizer)
        self._momentum = None
        if self._settings.momentum is not None:
            self._momentum = HyperParameter("momentum", optimizer, without="pass momentum=None")
        if pl_module.automatic_optimization:
            # Whoever schedules in the training to come has no say here; a module that looks for them finds them.
            for config in trainer.lr_scheduler_configs:
                config.interval = "never"
        epochs = trainer.fit_loop.epoch_progress.current
        for count in ("ready", "started", "processed", "completed"):
            setattr(epochs, count, self._epoch)
        self._write()

        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def write(*_: object) -> None:
            self._write()

        # Right before the update, whoever has set another rate in the meantime.
        self._cleanup += [
            optimizer.register_step_pre_hook(write).remove,
            after_each_update(optimizer, self._count),
        ]
        total = len(self._settings.lrs)
        self._progress = tqdm(desc=self._owner, total=total, leave=False, disable=None if self._bar else True)
        self._cleanup.append(self._progress.close)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look whether there is data in it."""
        self._batches = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop where the data is used up: there is none in another epoch."""
        if not self._batches:
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take a micro-batch's loss in, and read the mean of an update's."""
        self._batches += 1
        if self._due:
            raise ValueError(
                f"val_dataloaders: {self._owner} has found no batch in them; give it some, or leave val_dataloaders out"
            )
        loss = _loss(outputs)
        if loss is not None:
            # Lightning hands out a share of the mean over the micro-batches of an update.
            share = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
            self._window.append(loss if share == 1 else loss * share)
        self._in_vain += 1
        stalled = self._in_vain >= _PATIENCE * trainer.accumulate_grad_batches
        if (self._updates == self._read or not self._window) and not stalled:
            return
        updated, self._in_vain, self._read = self._updates > self._read, 0, self._updates
        if not self._window:
            raise ValueError(
                f"training_step=None: {self._owner} has seen no loss in {_PATIENCE} updates; return the loss, or a "
                'dict that has it under "loss"'
            )
        mean = float(trainer.strategy.reduce(_mean(self._window), reduce_op="mean"))
        self._window = []
        if not updated and math.isfinite(mean):
            raise ValueError(
                f"optimizer={self._settings.optimizer!r}: {self._owner} has seen no update in {_PATIENCE} batches; see "
                "whether that optimizer steps"
            )
        if self._settings.validation and math.isfinite(mean):
            self._due = True
        else:
            self._take(trainer, mean)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Take a validation batch's loss in."""
        loss = _loss(args[2] if len(args) > 2 else kwargs.get("outputs"))
        if loss is None:
            raise ValueError(
                f"validation_step=None: {self._owner} with val_dataloaders reads its loss; return the loss, or a dict "
                'that has it under "loss"'
            )
        self._validation.append(loss)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the mean over the validation data, where an update came before it."""
        losses, self._validation = self._validation, []
        if losses and self._due:
            self._due = False
            self._take(trainer, float(trainer.strategy.reduce(_mean(losses), reduce_op="mean")))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Note an interruption, which Lightning turns into the end of the process."""
        if isinstance(exception, KeyboardInterrupt):
            self.interrupted = exception

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Take the bar and the hooks away, however the test ended."""
        for undo in self._cleanup:
            undo()
        # A trainer is a circle: what it holds waits for the garbage collector, and this holds a copy of everything.
        vars(self).pop("_note", None)

    def _write(self) -> None:
        reading = min(len(self.losses), len(self._settings.lrs) - 1)
        self._lr.spread(self._settings.lrs[reading])
        if self._momentum is not None:
            self._momentum.spread(float(self._settings.momentum or 0.0))

    def _count(self) -> None:
        self._updates += 1

    def _take(self, trainer: pl.Trainer, loss: float) -> None:
        if not math.isfinite(loss):
            self.ended, trainer.should_stop = "diverged", True
            return
        self.losses.append(loss)
        self._progress.update()
        if not self._progress.disable:
            self._progress.set_postfix(
                lr=f"{self._settings.lrs[len(self.losses) - 1]:.2g}", loss=f"{loss:.3g}", refresh=False
            )
        self._write()
        if self._diverged(loss):
            self.ended, trainer.should_stop = "diverged", True
        elif len(self.losses) == len(self._settings.lrs):
            self.ended, trainer.should_stop = "complete", True


def _loss(outputs: Any) -> Tensor | None:
    loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
    if not isinstance(loss, Tensor):
        return None
    # A mean in half precision would lose what the readings differ by.
    loss = loss.detach().to(torch.promote_types(loss.dtype, torch.float32))
    return loss.mean() if loss.ndim else loss


def _mean(losses: list[Tensor]) -> Tensor:
    return losses[0] if len(losses) == 1 else torch.stack(losses).mean()
