"""When a metric has stopped to improve: the rule of `ReduceOnPlateau`, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lightning_lr.arguments import require_choice, require_int, require_number


@dataclass(frozen=True)
class Standing:
    """What the readings so far have led to.

    Args:
        best: The best reading; None before there was one.
        bad: Readings in a row that did not improve on it.
        resting: Readings of the cooldown that are left.
        scale: What the first rate is multiplied by.
    """

    best: float | None = None
    bad: int = 0
    resting: int = 0
    scale: float = 1.0


@dataclass(frozen=True)
class PlateauRule:
    """How a reading changes the standing; the arguments are those of `ReduceOnPlateau`.

    Example:
        >>> rule, standing = PlateauRule(patience=1), Standing()
        >>> for loss in (-1.0, -0.5, -0.5):
        ...     standing = rule.after(standing, loss)
        >>> standing
        Standing(best=-1.0, bad=0, resting=0, scale=0.1)
    """

    mode: Literal["min", "max"] = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0

    def __post_init__(self) -> None:
        require_choice("mode", self.mode, ("min", "max"))
        require_number("factor", self.factor, above=0.0, below=1.0)
        require_int("patience", self.patience, at_least=0)
        require_number("threshold", self.threshold, at_least=0.0)
        require_int("cooldown", self.cooldown, at_least=0)

    def improves(self, reading: float, best: float | None) -> bool:
        """Tell whether a reading is better than the best one by more than the threshold."""
        sign = 1.0 if self.mode == "min" else -1.0
        now, before = sign * reading, math.inf if best is None else sign * best
        if math.isinf(before):
            return now < before
        # A product, as torch writes it, and not `before - threshold * abs(before)`: the two round differently.
        return now < before * (1.0 - math.copysign(self.threshold, before))

    def after(self, standing: Standing, reading: float) -> Standing:
        """Return the standing after one more reading."""
        best, bad, resting = standing.best, standing.bad + 1, standing.resting
        if self.improves(reading, best):
            best, bad = reading, 0
        if resting:
            bad, resting = 0, resting - 1
        if bad > self.patience:
            return Standing(best, 0, self.cooldown, standing.scale * self.factor)
        return Standing(best, bad, resting, standing.scale)
