"""Whose cycles a `SnapshotCheckpoint` follows: a policy is known by what it offers, not by its class."""

from __future__ import annotations

from typing import Protocol, cast

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from lightning_lr.schedules.cycles import Cycle


class Policy(Protocol):
    """What a policy offers to whom it concerns; any callback that has `run_cycles` is taken for one."""

    cyclic: bool
    step: int
    optimizer_index: int | None
    current: dict[str, tuple[float, ...]]
    run_cycles: tuple[Cycle, ...]

    def prepare(self, trainer: pl.Trainer) -> None:
        """Settle `run_cycles`, if that has not been done yet."""


def require_cycles(trainer: pl.Trainer) -> None:
    """Refuse a trainer in which no policy has cycles, however long the run may be.

    Raises:
        ValueError: If none has.
    """
    policies = _policies(trainer)
    if not any(policy.cyclic for policy in policies):
        names = ", ".join(type(policy).__name__ for policy in policies)
        raise ValueError(_no_cycles(f"{names} has none" if names else "there is no policy in the trainer"))


def policy_with_cycles(trainer: pl.Trainer, optimizer: int | None) -> Policy:
    """Return the policy whose cycles are followed.

    Args:
        trainer: At train start or later.
        optimizer: Index of the policy's optimizer, where the user gave it.

    Raises:
        ValueError: If no policy has cycles, or several have.
    """
    policies = _policies(trainer)
    for policy in policies:
        # The order of the callbacks is the user's: a policy further down the list has not begun yet.
        policy.prepare(trainer)
    chosen = [policy for policy in policies if optimizer in (None, policy.optimizer_index)]
    cyclic = [policy for policy in chosen if policy.run_cycles]
    if not cyclic:
        names = ", ".join(type(policy).__name__ for policy in chosen)
        of = "" if optimizer is None else f" of optimizer {optimizer}"
        raise ValueError(_no_cycles(f"{names} has none" if names else f"there is no policy{of}"))
    if len(cyclic) > 1:
        names = ", ".join(f"{type(policy).__name__} of optimizer {policy.optimizer_index}" for policy in cyclic)
        raise ValueError(
            f"optimizer={optimizer}: several policies have cycles ({names}); tell SnapshotCheckpoint whose to follow, "
            "such as optimizer=0"
        )
    return cyclic[0]


def largest_lr(trainer: pl.Trainer, policy: Policy) -> float:
    """Return the learning rate of the fastest param group."""
    groups = trainer.optimizers[policy.optimizer_index or 0].param_groups
    return float(max(policy.current.get("lr") or [group["lr"] for group in groups]))


def _policies(trainer: pl.Trainer) -> list[Policy]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [cast(Policy, callback) for callback in callbacks if hasattr(callback, "run_cycles")]


def _no_cycles(why: str) -> str:
    return (
        f"SnapshotCheckpoint: {why}, and a snapshot is taken at the end of a cycle; add a policy that has cycles, such "
        "as SGDR(max_lr=0.1, cycles=5), to Trainer(callbacks=[...]), or remove SnapshotCheckpoint"
    )
