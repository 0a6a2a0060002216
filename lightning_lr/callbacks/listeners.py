"""What other callbacks are told of a schedule's cycles.

A callback that has one of these methods is called, on every process:

- ``on_cycle_start(trainer, pl_module, schedule, cycle)``: the cycle's first update is next, and its values are written
- ``on_cycle_peak(...)``: the update with the cycle's highest learning rate is next, and its values are written
- ``on_cycle_end(...)``: the cycle's last update is applied, and `schedule.current` still shows what it used

``schedule.step`` tells how many updates are applied. `trainer.global_step` may be one behind: Lightning counts an
update after the optimizer's step, and these are called from within it.

>>> from lightning.pytorch.callbacks import Callback
>>> class Announce(Callback):
...     def on_cycle_start(self, trainer, pl_module, schedule, cycle):
...         print(f"cycle {cycle.index}: updates {cycle.start} to {cycle.end - 1}")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from lightning_lr.schedules.cycles import Cycle

Calls: TypeAlias = dict[int, list[tuple[Callable[..., None], Cycle]]]


class Listeners:
    """The callbacks of a trainer that want to know, and when.

    Args:
        trainer: Whose callbacks are told.
        pl_module: Is handed on.
        schedule: Is handed on.
        cycles: The schedule's, in updates of the run.
    """

    def __init__(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, schedule: Callback, cycles: tuple[Cycle, ...]
    ) -> None:
        self._context = (trainer, pl_module, schedule)
        self._starts = self._calls("on_cycle_start", [(cycle.start, cycle) for cycle in cycles])
        # A run that is over before a peak never comes to it.
        peaks = [(cycle.start if cycle.peak is None else cycle.peak, cycle) for cycle in cycles]
        self._peaks = self._calls("on_cycle_peak", [(peak, cycle) for peak, cycle in peaks if peak < cycle.end])
        self._ends = self._calls("on_cycle_end", [(cycle.end, cycle) for cycle in cycles])
        self.steps = self._starts.keys() | self._peaks.keys() | self._ends.keys()

    def reached(self, step: int) -> None:
        """Tell of a start and a peak: what update ``step`` is to use is written."""
        self._call(self._starts, step)
        self._call(self._peaks, step)

    def ended(self, step: int) -> None:
        """Tell of an end: ``step`` updates are applied, and nothing new is written yet."""
        self._call(self._ends, step)

    def _calls(self, hook: str, moments: list[tuple[int, Cycle]]) -> Calls:
        callbacks = self._context[0].callbacks  # type: ignore[attr-defined]
        calls: Calls = {}
        for callback in callbacks:
            if hasattr(callback, hook):
                # Several cycles may share a moment, where a resume has squeezed them.
                for step, cycle in moments:
                    calls.setdefault(step, []).append((getattr(callback, hook), cycle))
        return calls

    def _call(self, calls: Calls, step: int) -> None:
        for method, cycle in calls.get(step, ()):
            method(*self._context, cycle)
