"""What a range test is asked for, and what it reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from lightning_lr.arguments import require_choice, require_int, require_number
from lightning_lr.durations import Horizon
from lightning_lr.schedules.curves import Anneal

Mode: TypeAlias = Literal["exponential", "linear"]
Ended: TypeAlias = Literal["complete", "diverged", "stopped"]

# Far beyond any test: a number that a damaged file has is not to fill the memory.
_MOST_STEPS = 1_000_000
_ENDINGS = ("complete", "diverged", "stopped")


@dataclass(frozen=True)
class Settings:
    """What a range test is asked to do.

    Args:
        min_lr: Learning rate of the first reading, positive. That of the param group with the largest one: groups keep
            their ratios.
        max_lr: Learning rate of the last reading, above ``min_lr``.
        steps: Readings, one an optimizer update, at least 3.
        mode: ``"exponential"``: equal factors between readings. ``"linear"``: equal distances.
        smoothing: Weight of a reading a hundredth of the range away (of 100 steps: the next one) against the reading
            itself, at least 0 (none) and below 1. So more steps are less noise, at the same resolution.
        early_stop_threshold: The test ends where the mean over the readings so far is more than this many times its
            lowest, above 1, and above where it started. None: never.
        momentum: What to hold momentum (Adam: beta1) at, at least 0 and below 1. None: as the optimizer has it.
        optimizer: Index of the optimizer that is tested. None: the only one.
        validation: Whether the readings are of the validation loss.

    Raises:
        TypeError, ValueError: If an argument makes no sense.

    Example:
        >>> Settings(min_lr=0.01, max_lr=1.0, steps=3).lrs
        (0.01, 0.1, 1.0)
    """

    min_lr: float = 1e-6
    max_lr: float = 10.0
    steps: int = 100
    mode: Mode = "exponential"
    smoothing: float = 0.75
    early_stop_threshold: float | None = 4.0
    momentum: float | None = None
    optimizer: int | None = None
    validation: bool = False

    def __post_init__(self) -> None:
        min_lr = require_number("min_lr", self.min_lr, above=0.0)
        max_lr = require_number("max_lr", self.max_lr, above=0.0)
        if min_lr >= max_lr:
            raise ValueError(
                f"min_lr={self.min_lr!r}: not below max_lr={self.max_lr!r}; pass a min_lr that is smaller than max_lr"
            )
        if require_int("steps", self.steps, at_least=3) > _MOST_STEPS:
            raise ValueError(f"steps={self.steps!r}: out of range; pass an int of at most {_MOST_STEPS}")
        require_choice("mode", self.mode, ("exponential", "linear"))
        numbers: dict[str, float | None] = {"min_lr": min_lr, "max_lr": max_lr}
        numbers["smoothing"] = require_number("smoothing", self.smoothing, at_least=0.0, below=1.0)
        if self.early_stop_threshold is not None:
            numbers["early_stop_threshold"] = require_number(
                "early_stop_threshold", self.early_stop_threshold, above=1.0
            )
        if self.momentum is not None:
            numbers["momentum"] = require_number("momentum", self.momentum, at_least=0.0, below=1.0)
        if self.optimizer is not None:
            require_int("optimizer", self.optimizer, at_least=0)
        if not isinstance(self.validation, bool):
            raise TypeError(f"validation={self.validation!r}: not a bool; pass True or False")
        # numpy's numbers and fractions would not go into a file.
        for name, number in numbers.items():
            object.__setattr__(self, name, number)
        if len(set(self.lrs)) < self.steps:
            between = f"from min_lr={min_lr!r} to max_lr={max_lr!r}"
            raise ValueError(f"steps={self.steps!r}: more than there are floats {between}; pass a larger max_lr")

    @cached_property
    def lrs(self) -> tuple[float, ...]:
        """The learning rate of each reading; the first is ``min_lr`` and the last ``max_lr`` exactly."""
        curve = Anneal(self.min_lr, self.max_lr, "exp" if self.mode == "exponential" else "linear", "both")
        return tuple(map(curve.bind(Horizon(self.steps)), range(self.steps)))

    @property
    def weight(self) -> float:
        """The `smoothing` from one reading to the next, as `suggestions.smooth` takes it."""
        return math.pow(self.smoothing, 100 / self.steps)


@dataclass(frozen=True)
class Run:
    """One pass through the range.

    Args:
        losses: The loss at each learning rate of the settings, as far as the run went. Finite: a loss that is not ends
            the run and is no reading.
        ended: ``"complete"``: all readings are there. ``"diverged"``: the loss was not finite, or too far above its
            lowest. ``"stopped"``: by something else.

    Raises:
        TypeError, ValueError: If a loss is not a finite number, or the end is unknown.
    """

    losses: tuple[float, ...]
    ended: Ended

    def __post_init__(self) -> None:
        losses = tuple(require_number(f"losses[{index}]", loss) for index, loss in enumerate(self.losses))
        object.__setattr__(self, "losses", losses)
        require_choice("ended", self.ended, _ENDINGS)


class Divergence:
    """Says when the smoothed loss is so many times its lowest, and above where it started.

    Smoothed over the readings so far, and not over those to come as the curve will be: it says so a little late, and
    the curve shows the climb.

    Args:
        settings: With a threshold of None it never says so.

    Example:
        >>> diverged = Divergence(Settings(smoothing=0.0, early_stop_threshold=4.0))
        >>> [diverged(loss) for loss in (1.0, 0.1, 0.9, 1.1)]
        [False, False, False, True]
    """

    def __init__(self, settings: Settings) -> None:
        self._threshold, self._keep = settings.early_stop_threshold, settings.weight
        self._sum = self._weight = 0.0
        self._first: float | None = None
        self._lowest = float("inf")

    def __call__(self, loss: float) -> bool:
        """Take one reading in; return whether the loss has diverged with it."""
        threshold, keep = self._threshold, self._keep
        self._sum = keep * self._sum + (1.0 - keep) * loss
        self._weight = keep * self._weight + (1.0 - keep)
        mean = self._sum / self._weight
        self._first = mean if self._first is None else self._first
        self._lowest = min(self._lowest, mean)
        if threshold is None:
            return False
        # A loss below 0 has no multiple that is worse.
        limit = self._lowest + (threshold - 1.0) * abs(self._lowest)
        return mean > max(limit, self._first)
