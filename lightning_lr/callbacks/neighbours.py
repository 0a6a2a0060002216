"""Lightning's callbacks that a schedule has to get along with."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch.callbacks import BackboneFinetuning, Callback, EarlyStopping
from lightning.pytorch.utilities import rank_zero_warn

from lightning_lr.schedules.cycles import Cycle


def warn_of_restarts(callbacks: Sequence[Callback], owner: str, cycles: Sequence[Cycle]) -> None:
    """Warn of an `EarlyStopping` that may take a restart for the end."""
    if len(cycles) > 1 and any(isinstance(callback, EarlyStopping) for callback in callbacks):
        longest = max(cycle.end - cycle.start for cycle in cycles)
        rank_zero_warn(
            f"EarlyStopping beside {owner}: a restart makes the metric worse for a while; give it a patience that "
            f"covers a cycle of {longest} updates, or leave it out and take the best checkpoint"
        )


def sets_lr_each_epoch(callbacks: Sequence[Callback], owner: str) -> bool:
    """Tell whether a callback sets the LR of a group anew at each epoch, and warn that it will not count."""
    found = any(isinstance(callback, BackboneFinetuning) for callback in callbacks)
    if found:
        rank_zero_warn(
            f"BackboneFinetuning beside {owner}: the backbone begins with the share of the learning rate that it is "
            f"given when it is unfrozen, and follows {owner} from there on; lambda_func and should_align have no effect"
        )
    return found
