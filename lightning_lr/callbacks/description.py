"""What a schedule will do in the fit of this trainer and this module, in words, before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.core.optimizer import _init_optimizers_and_lr_schedulers
from lightning.pytorch.utilities.seed import isolate_rng
from torch.optim import Optimizer

from lightning_lr.callbacks.horizon import horizon_of
from lightning_lr.callbacks.ownership import optimizer_of
from lightning_lr.cycles import Cycle
from lightning_lr.durations import Horizon
from lightning_lr.writer import Writer

if TYPE_CHECKING:
    from lightning_lr.callbacks.schedule import Schedule

_SHOWN = 8


def describe(
    schedule: Schedule,
    trainer: pl.Trainer,
    pl_module: pl.LightningModule,
    train_dataloaders: Any = None,
    datamodule: pl.LightningDataModule | None = None,
) -> str:
    """Tell the run's length, the cycles, each param group's peak, and what happens on a resume.

    The data are attached and counted and the optimizers built as `fit` would; it does all of that anew, and the random
    generators are put back. ``prepare_data`` and ``setup`` of the data module are called once more than in a fit.

    Args:
        schedule: Which schedule.
        trainer: That will run the fit.
        pl_module: The module that it will train.
        train_dataloaders: As for `fit`.
        datamodule: As for `fit`.

    Raises:
        TypeError, ValueError: If the fit would be refused for these reasons.
    """
    with isolate_rng():
        trainer.strategy.connect(pl_module)
        trainer._data_connector.attach_data(pl_module, train_dataloaders=train_dataloaders, datamodule=datamodule)
        if datamodule is not None:
            datamodule.prepare_data()
            datamodule.setup("fit")
        horizon = horizon_of(trainer, schedule.total_steps)
        trainer.strategy.optimizers, _ = _init_optimizers_and_lr_schedulers(pl_module)
        index = optimizer_of(trainer, schedule.optimizer, type(schedule).__name__)
        optimizer = trainer.optimizers[index]
        lines = [_run(type(schedule).__name__, index, optimizer, horizon)]
        lines += [f"  {line}" for line in _peaks(schedule, optimizer, horizon)]
        lines += [
            f"  {line}" for line in _cycles(schedule.cycles(horizon.total_steps, horizon.steps_per_epoch), horizon)
        ]
        lines.append(f"  resumed from a checkpoint: {_RESUMED[schedule.on_new_horizon]}")
        # Nothing of this is the fit's: that builds its own.
        trainer.strategy.optimizers = []
    return "\n".join(lines)


_RESUMED = {
    None: "goes on at the next update; a run of another length is refused",
    "keep": "goes on at the next update; in a run of another length the old curve goes on, then its last value holds",
    "stretch": "goes on at the next update; in a run of another length the rest of the curve fills the rest of it",
}


def _run(name: str, index: int, optimizer: Optimizer, horizon: Horizon) -> str:
    length = f"{horizon.total_steps} updates"
    if horizon.steps_per_epoch is not None:
        epochs = horizon.total_steps / horizon.steps_per_epoch
        length += f", {horizon.steps_per_epoch} an epoch, {epochs:g} epochs"
    return f"{name} for optimizer {index} ({type(optimizer).__name__}): {length}"


def _peaks(schedule: Schedule, optimizer: Optimizer, horizon: Horizon) -> list[str]:
    writer = Writer(schedule.curves, optimizer, type(schedule).__name__)
    lines = []
    for name, columns in schedule.columns(horizon).items():
        highest = writer.shares(name, [max(column) for column in columns])
        lowest = writer.shares(name, [min(column) for column in columns])
        lines += [
            f"{name} of param group {group}: from {low:.3g} to {high:.3g}"
            for group, (low, high) in enumerate(zip(lowest, highest, strict=True))
        ]
    return lines


def _cycles(cycles: tuple[Cycle, ...], horizon: Horizon) -> list[str]:
    if not cycles:
        return ["no cycles"]
    lines = [_cycle(cycle, horizon) for cycle in cycles]
    if len(lines) > _SHOWN:
        hidden = len(lines) - _SHOWN + 1
        lines[_SHOWN - 2 : -1] = [f"... {hidden} more ..."]
    return lines


def _cycle(cycle: Cycle, horizon: Horizon) -> str:
    words = f"cycle {cycle.index}: updates {cycle.start} to {cycle.end - 1}"
    if horizon.steps_per_epoch is not None:
        start, end = (step / horizon.steps_per_epoch for step in (cycle.start, cycle.end))
        words += f", epochs {start:g} to {end:g}"
    return words if cycle.complete else f"{words}, cut by the end of the run"
