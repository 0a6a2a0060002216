"""The contract of a schedule, and the shapes that schedules are made of.

A `Curve` bound to a `Horizon` is a function from optimizer updates to a float. A curve is a frozen dataclass: it can be
compared, hashed, pickled and asked for any update in any order.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from numbers import Real
from typing import Literal, TypeAlias

from lightning_lr.arguments import require_choice, require_number, require_one_of
from lightning_lr.durations import Duration, Horizon, parse, require_length
from lightning_lr.schedules.cycles import Cycle

Values: TypeAlias = Callable[[float], float]
"""A bound curve: from an update, counted from 0 and below the horizon, to the value that it uses.

A run that was stretched asks for positions between two updates."""

Shape: TypeAlias = Literal["cos", "linear", "exp"]


class Curve(ABC):
    """One hyper-parameter over a run; `bind` is all that a new curve has to define.

    Example:
        >>> class Halving(Curve):
        ...     def bind(self, horizon):
        ...         return lambda step: 0.1 / 2**step
        >>> [Halving().at(step, Horizon(4)) for step in range(3)]
        [0.1, 0.05, 0.025]
    """

    @abstractmethod
    def bind(self, horizon: Horizon) -> Values:
        """Resolve every duration; the function that comes back takes updates ``0 <= step < total_steps``.

        Raises:
            ValueError: If the curve does not fit the horizon.
        """

    @property
    def cyclic(self) -> bool:
        """Whether the curve has cycles, whatever the horizon."""
        return False

    def cycles(self, horizon: Horizon) -> tuple[Cycle, ...]:
        """Return the cycles within the horizon, in order; none where the curve has none."""
        return ()

    def at(self, step: int, horizon: Horizon) -> float:
        """Return the value that update ``step`` uses; past the horizon the last value holds.

        Args:
            step: Optimizer updates applied so far.
            horizon: The length of the run.

        Raises:
            ValueError: If ``step`` is negative or the curve does not fit the horizon.
        """
        if step < 0:
            raise ValueError(f"step={step!r}: updates are counted from 0; pass 0 or more")
        return _bound(self, horizon)(min(step, horizon.total_steps - 1))


@lru_cache(maxsize=64)
def _bound(curve: Curve, horizon: Horizon) -> Values:
    return curve.bind(horizon)


@dataclass(frozen=True)
class Flat(Curve):
    """The same value at every update.

    Example:
        >>> Flat(0.1).at(7, Horizon(10))
        0.1
    """

    value: float

    def __post_init__(self) -> None:
        require_number("value", self.value)

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        value = float(self.value)
        return lambda step: value


@dataclass(frozen=True)
class Anneal(Curve):
    r"""From one value to another along a half cosine, a line or an exponential.

    With ``p`` the share of the way at update ``t`` of ``T``:

    - ``"cos"``: ``end + (start - end)/2 * (1 + cos(pi * p))``
    - ``"linear"``: ``start + (end - start) * p``
    - ``"exp"``: ``start * (end / start)**p``

    Args:
        start: Value that the curve starts from.
        end: Value that it goes to.
        shape: One of the three above.
        reaches: Which of the two values the curve takes. ``"start"``: ``p = t/T``, so that the next curve begins where
            this one would have ended. ``"both"``: ``p = t/(T-1)``. ``"neither"``: ``p = (t+1)/(T+1)``, for a warm-up
            that wastes no update at 0 and leaves the peak to what follows.

    Raises:
        ValueError: If a value is not finite, the shape is unknown, or ``"exp"`` has a value that is not positive.

    Example:
        >>> [round(Anneal(1.0, 0.0).at(step, Horizon(4)), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """

    start: float
    end: float
    shape: Shape = "cos"
    reaches: Literal["start", "both", "neither"] = "start"

    def __post_init__(self) -> None:
        require_number("start", self.start)
        require_number("end", self.end)
        require_choice("shape", self.shape, ("cos", "linear", "exp"))
        require_choice("reaches", self.reaches, ("start", "both", "neither"))
        if self.shape == "exp":
            require_number("start", self.start, above=0.0)
            require_number("end", self.end, above=0.0)

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        start, end, cos, power = float(self.start), float(self.end), math.cos, math.pow
        low, high = min(start, end), max(start, end)
        first = 1 if self.reaches == "neither" else 0
        # One update has no way to go: it takes the start.
        last = max(1, horizon.total_steps + {"start": 0, "both": -1, "neither": 1}[self.reaches])
        half_turn = math.pi / last

        # Weighted means, not `start + (end - start) * p`: they hit both ends exactly; the bounds catch the last ulp.
        # A stretched run asks for positions after the last update: a curve that has reached its end there stays at it.
        # Conditions and not `min` and `max`, whose calls would cost more than the cosine.
        def cosine(step: float) -> float:
            at = step + first
            weight = (1.0 + cos(half_turn * (at if at < last else last))) / 2.0
            value = start * weight + end * (1.0 - weight)
            return value if low <= value <= high else low if value < low else high

        def linear(step: float) -> float:
            at = step + first
            weight = at / last if at < last else 1.0
            value = start * (1.0 - weight) + end * weight
            return value if low <= value <= high else low if value < low else high

        def exponential(step: float) -> float:
            at = step + first
            weight = at / last if at < last else 1.0
            value = power(start, 1.0 - weight) * power(end, weight)
            return value if low <= value <= high else low if value < low else high

        return {"cos": cosine, "linear": linear, "exp": exponential}[self.shape]


@dataclass(frozen=True)
class Staircase(Curve):
    """A value that is multiplied by a factor again and again: ``initial * factor**k``.

    With ``every``, ``k = step // every``; with ``milestones``, ``k`` counts those that ``step`` has reached.

    Args:
        initial: Value at update 0.
        factor: What each step multiplies by, positive.
        every: Length of a stair.
        milestones: Where the value changes, as durations from the start, in order.

    Raises:
        ValueError: If not exactly one of ``every`` and ``milestones`` is given, or one of them makes no sense.

    Example:
        >>> [Staircase(1.0, 0.5, milestones=("50%", "75%")).at(step, Horizon(8)) for step in range(8)]
        [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    initial: float
    factor: float = 0.1
    every: Duration | None = None
    milestones: tuple[Duration, ...] | None = None

    def __post_init__(self) -> None:
        require_number("initial", self.initial)
        require_number("factor", self.factor, above=0.0)
        require_one_of("every", self.every, "milestones", self.milestones)
        if self.every is not None:
            require_length("every", self.every)
        for milestone in self.milestones or ():
            require_length("milestones", milestone)
        if self.milestones is not None:
            object.__setattr__(self, "milestones", tuple(self.milestones))
            if not self.milestones:
                raise ValueError("milestones=[]: there is nothing to step at; give one or more durations")
            # Amounts in one unit can be compared before the horizon is known; the rest is checked when it is.
            amounts = [parse(milestone) for milestone in self.milestones]
            if any(unit == later_unit and amount >= later for (amount, unit), (later, later_unit) in pairwise(amounts)):
                self._refuse_order()

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        if self.every is not None:
            length = max(1, horizon.updates(self.every, "every"))
            stairs: Sequence[int] = range(length, horizon.total_steps, length)
        else:
            stairs = [max(1, horizon.updates(milestone, "milestones")) for milestone in self.milestones or ()]
            if any(stair >= later for stair, later in pairwise(stairs)):
                self._refuse_order(f" (updates {stairs})")
        initial, factor = float(self.initial), float(self.factor)
        steepest = bisect_right(stairs, horizon.total_steps - 1)
        try:
            factor**steepest
        except OverflowError:
            raise ValueError(f"factor={self.factor!r}: {steepest} times over it is no float; pass at most 1") from None
        return lambda step: initial * factor ** bisect_right(stairs, step)

    def _refuse_order(self, resolved: str = "") -> None:
        raise ValueError(
            f"milestones={list(self.milestones or ())!r}{resolved}: out of order; each must come after the one before"
        )


@dataclass(frozen=True)
class Function(Curve):
    """A plain function of the update.

    Args:
        function: Takes the number of updates applied so far and returns the value.

    Raises:
        TypeError: If it cannot be called.

    Example:
        >>> Function(lambda step: 0.1 / (1 + step)).at(4, Horizon(10))
        0.02
    """

    function: Callable[[int], float]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function={self.function!r}: not callable; pass a function from update to value")

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        function = self.function
        return lambda step: float(function(int(step)))


def as_curve(argument: str, value: object) -> Curve:
    """Take a number for a `Flat` curve, a function for a `Function`, and a curve for itself.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is a negative number.

    Example:
        >>> as_curve("lr", 0.1)
        Flat(value=0.1)
    """
    if isinstance(value, Curve):
        return value
    if isinstance(value, Real):
        return Flat(require_number(argument, value, at_least=0.0))
    if callable(value):
        return Function(value)
    raise TypeError(f"{argument}={value!r}: not a schedule; pass a number, a function of the update, or a curve")
