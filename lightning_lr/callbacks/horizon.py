"""How long a fit will be, in updates of one optimizer: what Lightning knows of it, and where it does not."""

from __future__ import annotations

import math

import lightning.pytorch as pl
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from lightning_lr.durations import Horizon

_DRY_RUN_STEPS = 1000


def horizon_of(trainer: pl.Trainer, total_steps: int | None = None) -> Horizon:
    """Return the horizon of the fit that the trainer is about to run, from its first epoch on.

    Not `Trainer.estimated_stepping_batches`: that takes the accumulation of the moment for that of every epoch. In
    manual optimization one update a batch is assumed, for Lightning cannot tell; ``total_steps`` is for all else.

    Args:
        trainer: In ``on_train_start`` or later: this builds the training loader where nobody has built it yet.
        total_steps: Optimizer updates of the whole run, where the user gave them.

    Raises:
        ValueError: If the length cannot be told and ``total_steps`` is not given.
    """
    trainer.fit_loop.setup_data()
    batches = trainer.num_training_batches
    accumulation = _accumulation(trainer)
    factors = {factor for _, factor in accumulation}
    # An epoch has a fixed number of updates only where the loader has a length and the accumulation does not change.
    sized = not math.isinf(batches)
    steps_per_epoch = max(1, math.ceil(batches / factors.pop())) if sized and len(factors) == 1 else None

    if total_steps is None and trainer.fast_dev_run:  # type: ignore[attr-defined]
        # Lightning has cut the run to a few batches: they try the beginning of a curve, for a whole one has no room.
        total_steps = _DRY_RUN_STEPS
    if total_steps is None:
        total_steps = _total_steps(trainer, int(batches) if sized else None, accumulation)
    return Horizon(total_steps, steps_per_epoch)


def _accumulation(trainer: pl.Trainer) -> list[tuple[int, int]]:
    """Return the plan of accumulation: from which epoch on, how many batches an update."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            return sorted(callback.scheduling.items())
    return [(0, trainer.accumulate_grad_batches)]


def _total_steps(trainer: pl.Trainer, batches: int | None, accumulation: list[tuple[int, int]]) -> int:
    remedy = "pass total_steps=, the number of optimizer updates of the run"
    max_epochs, max_steps = trainer.max_epochs, trainer.max_steps
    if max_steps != -1 and len(trainer.optimizers) > 1:
        raise ValueError(
            f"max_steps={max_steps!r}: it counts the steps of all {len(trainer.optimizers)} optimizers; {remedy}"
        )
    limit = math.inf if max_steps == -1 else max_steps
    if max_epochs not in (None, -1) and batches is not None:
        ends = [epoch for epoch, _ in accumulation[1:]] + [max_epochs]
        steps = sum(
            math.ceil(batches / factor) * max(0, min(end, max_epochs) - min(start, max_epochs))
            for (start, factor), end in zip(accumulation, ends, strict=True)
        )
        limit = min(limit, steps)
    if math.isinf(limit):
        unknown = "the training loader has no length" if batches is None else "neither max_epochs nor max_steps is set"
        raise ValueError(f"total_steps=None: the length of the run cannot be told, {unknown}; {remedy}")
    return max(1, int(limit))
