"""Which optimizer is meant, and whether its updates can be seen."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.strategies import DeepSpeedStrategy


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
