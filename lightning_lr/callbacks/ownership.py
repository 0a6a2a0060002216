"""One optimizer, one owner: which optimizer a schedule writes to, and who else may not."""

from __future__ import annotations

from collections.abc import Iterable

import lightning.pytorch as pl
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch.optim import Optimizer


def refuse_foreign_engine(trainer: pl.Trainer, owner: str) -> None:
    """Refuse a strategy whose engine updates the weights without a call of the optimizer's step.

    Raises:
        RuntimeError: If the trainer has such a strategy.
    """
    if isinstance(trainer.strategy, DeepSpeedStrategy):
        raise RuntimeError(
            f"strategy={type(trainer.strategy).__name__}: its engine steps elsewhere, where {owner} cannot count the "
            "updates; use strategy='ddp', or the engine's own scheduler"
        )


def optimizer_of(trainer: pl.Trainer, index: int | None, owner: str) -> int:
    """Return the index of the optimizer that a schedule writes to.

    Args:
        trainer: In ``on_fit_start`` or later.
        index: What the user asked for.
        owner: The schedule's name, for the error.

    Raises:
        ValueError: If there is no such optimizer, or several and the user named none.
    """
    # Where configure_optimizers returns None, Lightning puts an optimizer without param groups in its place.
    count = sum(bool(optimizer.param_groups) for optimizer in trainer.optimizers)
    if index is None and count > 1:
        raise ValueError(f"optimizer=None: {owner} must be told which of {count} optimizers; pass 0 to {count - 1}")
    if (index or 0) >= count:
        there = f"there are {count}, counted from 0" if count else "configure_optimizers returns none"
        raise ValueError(f"optimizer={index!r}: {owner} finds no such optimizer; {there}")
    return index or 0


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
