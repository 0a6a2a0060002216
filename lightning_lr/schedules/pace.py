"""Where on its curve a run is: update for update, or at another pace after a resume with another length."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from lightning_lr.durations import Horizon
from lightning_lr.schedules.cycles import Cycle


@dataclass(frozen=True)
class Pace:
    """From updates applied to a position on the curve: ``position + (n - step) * rate``.

    Args:
        curve: The length of the curve.
        step: Updates applied when this pace began.
        position: Where on the curve that was.
        rate: How far along the curve an update goes.

    Example:
        >>> position = Pace(Horizon(100)).stretched(step=50, total_steps=200).bind()
        >>> [position(step) for step in (50, 125, 199)]
        [50.0, 75.0, 99.66666666666667]
    """

    curve: Horizon
    step: int = 0
    position: Fraction = Fraction(0)
    rate: Fraction = Fraction(1)

    def bind(self) -> Callable[[int], float]:
        """Return the function from updates to positions; past the end of the curve, to that of its last update."""
        total = self.curve.total_steps
        if self.rate == 1 and self.position == self.step:
            return lambda step: step if step < total else total - 1

        def position(step: int) -> float:
            exactly = self._exactly(step)
            return float(exactly) if exactly < total else total - 1

        return position

    def cycles(self, cycles: tuple[Cycle, ...]) -> tuple[Cycle, ...]:
        """Turn cycles of the curve into cycles of the run."""
        return tuple(
            replace(
                cycle,
                start=self._first_at(cycle.start),
                end=self._first_at(cycle.end),
                peak=None if cycle.peak is None else self._first_at(cycle.peak),
            )
            for cycle in cycles
        )

    def stretched(self, step: int, total_steps: int) -> Pace:
        """Spread what is left of the curve over what is left of a run; a finished curve stays at its end.

        Args:
            step: Updates applied so far.
            total_steps: The run's new length.
        """
        position, left = self._exactly(step), total_steps - step
        if left <= 0 or position >= self.curve.total_steps:
            return self
        return Pace(self.curve, step, position, (self.curve.total_steps - position) / left)

    def state_dict(self) -> dict[str, Any]:
        """Return it as numbers that any checkpoint can hold."""
        return {
            "curve": [self.curve.total_steps, self.curve.steps_per_epoch],
            "step": self.step,
            "position": list(self.position.as_integer_ratio()),
            "rate": list(self.rate.as_integer_ratio()),
        }

    @staticmethod
    def from_state_dict(state: dict[str, Any]) -> Pace:
        """Return the one that was saved."""
        return Pace(Horizon(*state["curve"]), state["step"], Fraction(*state["position"]), Fraction(*state["rate"]))

    def _exactly(self, step: int) -> Fraction:
        return self.position + (step - self.step) * self.rate

    def _first_at(self, position: int) -> int:
        return self.step + math.ceil((position - self.position) / self.rate)
