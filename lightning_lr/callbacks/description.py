"""What a schedule will do in a fit, in words, before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.core.optimizer import _init_optimizers_and_lr_schedulers
from lightning.pytorch.utilities.seed import isolate_rng
from torch.optim import Optimizer

from lightning_lr.durations import Horizon
from lightning_lr.schedules.cycles import Cycle
from lightning_lr.schedules.plan import Plan
from lightning_lr.writer import Writer

RESUMED = {
    None: "goes on at the next update; a run of another length is refused",
    "keep": "goes on at the next update; in a run of another length the old curve goes on, then its last value holds",
    "stretch": "goes on at the next update; in a run of another length the rest of the curve fills the rest of it",
}

_SHOWN = 8


@contextmanager
def rehearsed(
    trainer: pl.Trainer,
    pl_module: pl.LightningModule,
    train_dataloaders: Any,
    datamodule: pl.LightningDataModule | None,
) -> Iterator[None]:
    """Have the trainer know its data and its optimizers, as in a fit, for as long as it takes to ask."""
    with isolate_rng():
        trainer.strategy.connect(pl_module)
        trainer._data_connector.attach_data(pl_module, train_dataloaders=train_dataloaders, datamodule=datamodule)
        if datamodule is not None:
            datamodule.prepare_data()
            datamodule.setup("fit")
        trainer.strategy.optimizers, _ = _init_optimizers_and_lr_schedulers(pl_module)
        try:
            yield
        finally:
            # The fit builds its own.
            trainer.strategy.optimizers = []


def describe(plan: Plan, name: str, index: int, optimizer: Optimizer, horizon: Horizon) -> str:
    """Tell the run's length, what each param group gets, and the cycles, a line each.

    Args:
        plan: What is described.
        name: What it is called.
        index: Of the optimizer.
        optimizer: As it was built.
        horizon: Of the run.
    """
    cycles = plan.cycles(horizon.total_steps, horizon.steps_per_epoch)
    details = [*_groups(plan, name, optimizer, horizon), *_cycles(cycles, horizon)]
    return "\n  ".join([_run(name, index, optimizer, horizon), *details])


def refused_horizon(name: str, before: Horizon, now: Horizon) -> str:
    """Tell why a run is not resumed with another length, and what to do.

    Args:
        name: Of the schedule.
        before: The length that it was saved with.
        now: That of the run at hand.
    """
    return (
        f"on_new_horizon=None: {name} was saved in a run of {_length(before)}, and this one has {_length(now)}; pass "
        '"keep" for the old curve and then its last value, or "stretch" to go on from the same share of the way'
    )


def _length(horizon: Horizon) -> str:
    epochs = f", {horizon.steps_per_epoch} an epoch" if horizon.steps_per_epoch else ""
    return f"{horizon.total_steps} updates{epochs}"


def _run(name: str, index: int, optimizer: Optimizer, horizon: Horizon) -> str:
    length = _length(horizon)
    if horizon.steps_per_epoch is not None:
        length += f", {horizon.total_steps / horizon.steps_per_epoch:g} epochs"
    return f"{name} for optimizer {index} ({type(optimizer).__name__}): {length}"


def _groups(plan: Plan, owner: str, optimizer: Optimizer, horizon: Horizon) -> list[str]:
    writer = Writer(plan.curves, optimizer, owner)
    lines = []
    for name, columns in plan.columns(horizon).items():
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
