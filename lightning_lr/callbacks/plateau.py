"""`ReduceOnPlateau`: the one policy that listens to a metric."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NoReturn

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from lightning_lr.arguments import require_order
from lightning_lr.callbacks.schedule import Schedule
from lightning_lr.durations import Horizon
from lightning_lr.schedules.auto import AutoRates, Rates, per_group
from lightning_lr.schedules.curves import Curve, Values
from lightning_lr.schedules.pace import Pace
from lightning_lr.schedules.plateau import PlateauRule, Standing

_Source = Literal["validation", "training"]


class ReduceOnPlateau(Schedule):
    """The same rate until a metric stops to improve, then a smaller one.

    The rate is ``max(initial_lr * factor**k, min_lr)``, with ``k`` the reductions so far. Each new value of the metric
    is a reading. It is better than the best one so far if, in mode ``"min"``, it is below
    ``best - threshold * |best|``; in mode ``"max"``, above ``best + threshold * |best|``: what is worse is never taken
    for better, whatever its sign. After more than ``patience`` readings in a row that are not better, the rate is
    reduced; the ``cooldown`` readings that follow can be better, and do not count if they are not. For a positive
    metric these are the decisions of `torch.optim.lr_scheduler.ReduceLROnPlateau`.

    A reading is taken at the end of each validation that gives the metric, or, where no validation does, at the end of
    each training epoch that does; it is averaged over the processes, so that all of them decide alike. What the policy
    will do depends on the run: it has no preview and no cycles, and needs to know no length.

    Args:
        initial_lr: Learning rate of the first update; a list has one a param group; ``"auto"`` takes the ``fixed_lr``
            of an LR range test.
        monitor: Name of the metric, as the module logs it.
        mode: ``"min"`` for a metric that is to fall, ``"max"`` for one that is to rise.
        factor: What a reduction multiplies by, in (0, 1).
        patience: Readings in a row without improvement that are let pass.
        threshold: Share of the best reading's size that an improvement has to exceed.
        cooldown: Readings after a reduction that do not count as bad.
        min_lr: Where the rate stops to fall; a list has one a param group.
        optimizer: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense.
        RuntimeError: During the fit, if the metric is missing or NaN.

    Example:
        >>> policy = ReduceOnPlateau(0.1, monitor="val/loss", patience=3)
        >>> policy.preview(total_steps=100)
        Traceback (most recent call last):
        RuntimeError: preview: ReduceOnPlateau follows monitor='val/loss', which no one knows before the fit; ...

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", 2015, https://arxiv.org/abs/1512.03385, where the
        rate is divided by 10 when the error plateaus.
    """

    def __init__(
        self,
        initial_lr: AutoRates,
        monitor: str,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: Rates = 0.0,
        *,
        optimizer: int | None = None,
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor={monitor!r}: not a str; pass the name of a metric, such as 'val/loss'")
        if not monitor:
            raise ValueError("monitor='': names no metric; pass the name of one that is logged, such as 'val/loss'")
        self.monitor = monitor
        self._rule = PlateauRule(mode, factor, patience, threshold, cooldown)
        super().__init__(lr=per_group(self._rate, initial_lr=initial_lr, min_lr=min_lr), optimizer=optimizer)

    def _rate(self, initial: float, least: float) -> Curve:
        require_order("min_lr", least, "initial_lr", initial)
        return _RateOfTheMoment(initial, least, self._scale)

    def _forget(self) -> None:
        super()._forget()
        self._standing = Standing()
        self._source: _Source | None = None
        # Who has had the chance to give the metric, and did not.
        self._without: set[_Source] = set()
        self._value_before: Any = None
        self._epoch_has_batches = False
        self._epoch_is_due = False

    def _scale(self) -> float:
        return self._standing.scale

    # What cannot be foreseen

    def preview(self, total_steps: int, steps_per_epoch: int | None = None) -> NoReturn:
        """Refuse: what this policy will do depends on the metric."""
        self._refuse_to_foresee("preview")

    def plot(self, path: str | Path, total_steps: int, steps_per_epoch: int | None = None) -> NoReturn:
        """Refuse: what this policy will do depends on the metric."""
        self._refuse_to_foresee("plot")

    def describe(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: what this policy will do depends on the metric."""
        self._refuse_to_foresee("describe")

    def _refuse_to_foresee(self, asked: str) -> NoReturn:
        raise RuntimeError(
            f"{asked}: {type(self).__name__} follows monitor={self.monitor!r}, which no one knows before the fit; log "
            "what it did with LearningRateMonitor"
        )

    def _length(self, trainer: pl.Trainer) -> Horizon:
        # Nothing here depends on it: a run that never ends will do, and is never resumed with another length.
        return Horizon(sys.maxsize)

    def _begin(self, trainer: pl.Trainer, told: Horizon) -> Pace:
        if done := trainer.global_step // len(trainer.optimizers):
            rank_zero_warn(
                f"{type(self).__name__}: the run goes on after {done} updates of which this policy has no record; it "
                "starts at initial_lr now"
            )
        return Pace(told)

    # The readings

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the first values and start the clock."""
        super().on_train_start(trainer, pl_module)
        self._note_value(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Settle the epoch before, and note the value that is not of this one."""
        self._settle_epoch(trainer)
        self._note_value(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take in param groups that a fine-tuning callback has added."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self._epoch_has_batches = True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the value that is not of this validation."""
        if _is_part_of_fit(trainer):
            self._note_value(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the reading of this validation."""
        if not _is_part_of_fit(trainer) or self._read(trainer, "validation") or self._source is not None:
            return
        first = "validation" not in self._without
        self._without.add("validation")
        self._require(trainer)
        if first and math.isinf(trainer.num_training_batches):
            rank_zero_warn(
                f"monitor={self.monitor!r}: the first validation has not given it, and the end of an epoch of unknown "
                f"length is waited for; {self._remedy(trainer)}"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the reading of this epoch, unless the module has yet to give it."""
        self._epoch_is_due = self._source != "validation"
        self._read_epoch(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the reading that the module has given in its own ``on_train_epoch_end``, for a checkpoint made there."""
        if self._read_epoch(trainer) and "callbacks" in checkpoint:
            checkpoint["callbacks"][self.state_key] = self.state_dict()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Settle the last epoch, and refuse to have listened to a metric that never came."""
        self._settle_epoch(trainer)
        if self._standing.best is None and self._source is None:
            self._refuse_missing(trainer)
        super().on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the clock, the groups' ratios, and what the readings have led to."""
        state = super().state_dict()
        if not state:
            return state
        plateau = {"monitor": self.monitor, "mode": self._rule.mode, **asdict(self._standing)}
        return {**state, "plateau": plateau}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the clock, the groups' ratios, and what the readings had led to."""
        super().load_state_dict(state_dict)
        plateau = dict(state_dict["plateau"])
        listened = plateau.pop("monitor"), plateau.pop("mode")
        self._standing = Standing(**plateau)
        if listened != (self.monitor, self._rule.mode):
            rank_zero_warn(
                f"{type(self).__name__}: the run was saved with monitor={listened[0]!r}, mode={listened[1]!r}, whose "
                "readings do not count any more; its rate is kept"
            )
            self._standing = Standing(scale=self._standing.scale)

    def _note_value(self, trainer: pl.Trainer) -> None:
        self._value_before = trainer.callback_metrics.get(self.monitor)

    def _read_epoch(self, trainer: pl.Trainer) -> bool:
        if self._epoch_is_due and self._read(trainer, "training"):
            self._epoch_is_due = False
            return True
        return False

    def _settle_epoch(self, trainer: pl.Trainer) -> None:
        # The first hook of a callback after the module's own `on_train_epoch_end`, where modules like to log.
        missing = self._epoch_is_due and not self._read_epoch(trainer) and self._source is None
        # An epoch that is resumed at its end ends without the metrics of its batches.
        if missing and self._epoch_has_batches:
            self._without.add("training")
            self._require(trainer)
        self._epoch_is_due = self._epoch_has_batches = False

    def _read(self, trainer: pl.Trainer, source: _Source) -> bool:
        """Take a reading, if there is one; tell whether there was."""
        reading = self._reading(trainer)
        if reading is None:
            return False
        if self._source not in (None, source):
            raise RuntimeError(
                f"monitor={self.monitor!r}: both training and validation log a metric of this name; give the two "
                "different names"
            )
        if math.isnan(reading):
            raise RuntimeError(
                f"monitor={self.monitor!r}: it is nan after {self.step} updates, neither better nor worse than before; "
                "find the cause with Trainer(detect_anomaly=True), or log a metric that is never nan"
            )
        self._source = source
        before, self._standing = self._standing, self._rule.after(self._standing, reading)
        if self._standing.scale != before.scale:
            assert self._writer is not None
            self._writer.check(self.step)
            self._writer.write(self.step)
        return True

    def _reading(self, trainer: pl.Trainer) -> float | None:
        """Return the mean over the processes; None where the metric has no new value."""
        value = trainer.callback_metrics.get(self.monitor)
        # What is still the same object is an older value.
        told = [0.0, 0.0] if value is None or value is self._value_before else [float(value), 1.0]
        device = trainer.strategy.root_device
        # MPS has no float64. A sum: some backends round the mean of ones.
        sums = torch.tensor(told, device=device, dtype=torch.float32 if device.type == "mps" else torch.float64)
        total, given = trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        if 0 < given < trainer.world_size:
            raise RuntimeError(
                f"monitor={self.monitor!r}: only {given:.0f} of {trainer.world_size} processes have given it; log it "
                "on every one of them"
            )
        return total / given if given else None

    # A metric that does not come

    def _require(self, trainer: pl.Trainer) -> None:
        """Refuse to go on where nobody is left who might give the metric."""
        if "training" in self._without and ("validation" in self._without or not trainer.enable_validation):
            self._refuse_missing(trainer)

    def _refuse_missing(self, trainer: pl.Trainer) -> NoReturn:
        raise RuntimeError(f"monitor={self.monitor!r}: no such metric was logged; {self._remedy(trainer)}")

    def _remedy(self, trainer: pl.Trainer) -> str:
        names = ", ".join(sorted(map(repr, trainer.callback_metrics)))
        return f"log it, or pass one of {names}" if names else "log it with self.log, for nothing is logged"


class _RateOfTheMoment(Curve):
    def __init__(self, initial: float, least: float, scale: Callable[[], float]) -> None:
        self._initial, self._least, self._scale = float(initial), float(least), scale

    def bind(self, horizon: Horizon) -> Values:
        initial, least, scale = self._initial, self._least, self._scale
        return lambda step: max(initial * scale(), least)


def _is_part_of_fit(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
