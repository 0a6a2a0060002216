"""One optimizer, one owner: who else may not write to what a schedule writes to."""

from __future__ import annotations

from collections.abc import Iterable

import lightning.pytorch as pl
from torch.optim import Optimizer


def refuse_other_owners(trainer: pl.Trainer, index: int, owner: object, schedules: Iterable[object]) -> None:
    """Refuse a second owner of the same optimizer.

    Args:
        trainer: In ``on_fit_start`` or later.
        index: Index of the optimizer.
        owner: The schedule that asks.
        schedules: Every schedule of the trainer, with the ``optimizer`` that its user gave.

    Raises:
        RuntimeError: If the module returns a scheduler for this optimizer, or another schedule writes to it.
    """
    name, optimizer = type(owner).__name__, trainer.optimizers[index]
    for config in trainer.lr_scheduler_configs:
        if _owned_by(config.scheduler) is optimizer:
            raise RuntimeError(
                f"lr_scheduler={type(config.scheduler).__name__}: the module's configure_optimizers returns it for "
                f"optimizer {index}, which {name} writes to as well; return the optimizer alone, or remove {name}"
            )
    for other in schedules:
        if other is not owner and (getattr(other, "optimizer", None) or 0) == index:
            raise RuntimeError(
                f"optimizer={index}: both {name} and {type(other).__name__} write to it; keep one of them "
                "(Schedule takes lr, momentum and weight_decay together)"
            )


def _owned_by(scheduler: object) -> Optimizer | None:
    # A `SequentialLR` or `ChainedScheduler` has the attribute as well; other schedulers are held to it by Lightning.
    return getattr(scheduler, "optimizer", None)
