"""Work that one process does for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import lightning.pytorch as pl

_T = TypeVar("_T")


def on_rank_zero(trainer: pl.Trainer, work: Callable[[], _T]) -> _T:
    """Work on rank 0 and tell every rank the outcome: a failure that one keeps to itself is a hang of the others.

    Args:
        trainer: Every one of its processes has to come here.
        work: What rank 0 does.

    Raises:
        RuntimeError: On the other ranks, if the work failed; rank 0 raises what it raised.
    """
    value, error = None, None
    if trainer.is_global_zero:
        try:
            value = work()
        except Exception as caught:
            error = caught
    value, failure = trainer.strategy.broadcast((value, None if error is None else f"{type(error).__name__}: {error}"))
    if error is not None:
        raise error
    if failure is not None:
        raise RuntimeError(f"rank 0 failed: {failure}")
    return cast(_T, value)
