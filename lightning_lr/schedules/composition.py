"""Curves put together: one after the other, scaled, again and again.

>>> warm_restarts = Join((Anneal(0.0, 0.1, "linear"), Repeat(Anneal(0.1, 0.0), cycles=2)), ("20%",))
>>> [round(warm_restarts.at(step, Horizon(10)), 3) for step in range(10)]
[0.0, 0.05, 0.1, 0.085, 0.05, 0.015, 0.1, 0.085, 0.05, 0.015]
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

from lightning_lr.arguments import require_int, require_number, require_one_of
from lightning_lr.durations import Duration, Horizon, require_length
from lightning_lr.schedules.curves import Anneal, Curve, Values, as_curve
from lightning_lr.schedules.cycles import Cycle, lengthening, proportional


@dataclass(frozen=True)
class Join(Curve):
    """Curves one after the other; each begins at its own update 0.

    A percentage inside a part is a share of the whole, as it is outside.

    Args:
        curves: Two or more, in order.
        boundaries: Where the second begins, the third, and so on, as durations from the start; at least one update.
        argument: What the user knows the boundaries as; it is named when they are refused.

    Raises:
        ValueError: If there is not one boundary fewer than curves, or a part is left without an update.

    Example:
        >>> from lightning_lr.schedules.curves import Flat
        >>> [Join((Flat(1.0), Flat(2.0)), ("50%",)).at(step, Horizon(4)) for step in range(4)]
        [1.0, 1.0, 2.0, 2.0]
    """

    curves: tuple[Curve, ...]
    boundaries: tuple[Duration, ...]
    argument: str = field(default="boundaries", repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", tuple(as_curve("curves", curve) for curve in self.curves))
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        if len(self.curves) < 2 or len(self.boundaries) != len(self.curves) - 1:
            raise ValueError(
                f"{self.argument}={list(self.boundaries)!r}: {len(self.curves)} curves were given; "
                "pass two or more curves and one boundary fewer than curves"
            )
        for boundary in self.boundaries:
            require_length(self.argument, boundary)

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        parts = self._parts(horizon)
        starts = [start for start, _, _ in parts]
        bound = [curve.bind(part) for _, curve, part in parts]

        def value(step: float) -> float:
            index = bisect_right(starts, step) - 1
            return bound[index](step - starts[index])

        return value

    @property
    def cyclic(self) -> bool:  # noqa: D102
        return any(curve.cyclic for curve in self.curves)

    def cycles(self, horizon: Horizon) -> tuple[Cycle, ...]:  # noqa: D102
        cycles = [cycle.shifted(start) for start, curve, part in self._parts(horizon) for cycle in curve.cycles(part)]
        return tuple(replace(cycle, index=index) for index, cycle in enumerate(cycles))

    def _parts(self, horizon: Horizon) -> list[tuple[int, Curve, Horizon]]:
        ends = [
            *(max(1, horizon.updates(boundary, self.argument)) for boundary in self.boundaries),
            horizon.total_steps,
        ]
        starts = [0, *ends[:-1]]
        if any(start >= end for start, end in zip(starts, ends, strict=True)):
            given = self.boundaries[0] if self.argument != "boundaries" else list(self.boundaries)
            raise ValueError(
                f"{self.argument}={given!r}: in a run of {horizon.total_steps} updates a part from "
                f"{starts[1:]} on would have none; shorten it or train for longer"
            )
        return [
            (start, curve, horizon.part(end - start))
            for start, end, curve in zip(starts, ends, self.curves, strict=True)
        ]


@dataclass(frozen=True)
class Scale(Curve):
    """A curve times a factor.

    Example:
        >>> from lightning_lr.schedules.curves import Flat
        >>> Scale(Flat(0.5), 0.1).at(0, Horizon(1))
        0.05
    """

    curve: Curve
    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "curve", as_curve("curve", self.curve))
        require_number("factor", self.factor)

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        values, factor = self.curve.bind(horizon), float(self.factor)
        return lambda step: factor * values(step)

    @property
    def cyclic(self) -> bool:  # noqa: D102
        return self.curve.cyclic

    def cycles(self, horizon: Horizon) -> tuple[Cycle, ...]:  # noqa: D102
        return self.curve.cycles(horizon)


@dataclass(frozen=True, init=False)
class Repeat(Curve):
    """A curve again and again: each repetition is a cycle, and begins at the curve's own update 0.

    - ``cycles=M`` shares the horizon of ``N`` out in proportion to ``cycle_mult**i``; with ``cycle_mult=1`` cycle ``i``
      begins at update ``N * i // M``.
    - ``cycle=T`` gives cycle ``i`` ``round(T * cycle_mult**i)`` updates until the horizon is used up; the last one may
      be cut.

    A percentage inside the curve is a share of the cycle.

    Args:
        curve: What each cycle does.
        cycles: How many, at least 1.
        cycle: Length of the first.
        cycle_mult: How much longer each cycle is than the one before, at least 1, fractions allowed.
        start_decay: What a cycle's start is multiplied by after each cycle, above 0 and at most 1.
        end_decay: The same for its end. Where the two differ, ``curve`` must be an `Anneal`: it has a start and an end.

    Raises:
        TypeError: If ``curve`` is no curve, or has no start and end where the decays differ.
        ValueError: If not exactly one of ``cycles`` and ``cycle`` is given, a number is out of its range, or a cycle
            would be left without an update.

    Example:
        >>> from lightning_lr.schedules.curves import Flat
        >>> [cycle.end - cycle.start for cycle in Repeat(Flat(1.0), cycle=1, cycle_mult=2).cycles(Horizon(10))]
        [1, 2, 4, 3]
    """

    curve: Curve
    count: int | None
    first: Duration | None
    cycle_mult: float
    start_decay: float
    end_decay: float

    # Written out, for `cycles` is an argument here and the method of every curve.
    def __init__(
        self,
        curve: Curve,
        *,
        cycles: int | None = None,
        cycle: Duration | None = None,
        cycle_mult: float = 1,
        start_decay: float = 1.0,
        end_decay: float = 1.0,
    ) -> None:
        require_one_of("cycles", cycles, "cycle", cycle)
        if cycles is not None:
            require_int("cycles", cycles, at_least=1)
        if cycle is not None:
            require_length("cycle", cycle)
        require_number("cycle_mult", cycle_mult, at_least=1.0)
        require_number("start_decay", start_decay, above=0.0, at_most=1.0)
        require_number("end_decay", end_decay, above=0.0, at_most=1.0)
        if start_decay != end_decay and not isinstance(curve, Anneal):
            raise TypeError(f"curve={curve!r}: it has no start and end to decay apart; pass an Anneal, or equal decays")
        for name, value in {
            "curve": as_curve("curve", curve),
            "count": cycles,
            "first": cycle,
            "cycle_mult": cycle_mult,
            "start_decay": start_decay,
            "end_decay": end_decay,
        }.items():
            object.__setattr__(self, name, value)

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        ends = self._ends(horizon)
        self._refuse_overtaking(len(ends) - 1)
        kept: tuple[int, int, Values] | None = None

        def value(step: float) -> float:
            nonlocal kept
            # Steps mostly come in order: the cycle at hand is kept, and the answer does not depend on it. One tuple,
            # read once and replaced whole: another thread may ask for another cycle in between.
            current = kept
            if current is None or not current[0] <= step < current[1]:
                index = bisect_right(ends, step)
                start, end = ends[index - 1] if index else 0, ends[index]
                current = kept = (
                    start,
                    end,
                    self._in_cycle(index).bind(Horizon(end - start, horizon.steps_per_epoch)),
                )
            return current[2](step - current[0])

        return value

    @property
    def cyclic(self) -> bool:  # noqa: D102
        return True

    def cycles(self, horizon: Horizon) -> tuple[Cycle, ...]:  # noqa: D102
        total = horizon.total_steps
        return tuple(
            Cycle(index, start, min(end, total), complete=end <= total)
            for index, (start, end) in enumerate(pairwise([0, *self._ends(horizon)]))
        )

    def _ends(self, horizon: Horizon) -> list[int]:
        if self.count is not None:
            return proportional(horizon.total_steps, self.count, self.cycle_mult)
        assert self.first is not None
        first = max(1, horizon.updates(self.first, "cycle"))
        return list(accumulate(lengthening(horizon.total_steps, first, self.cycle_mult)))

    def _refuse_overtaking(self, last: int) -> None:
        first, cycle = self._in_cycle(0), self._in_cycle(last)
        if not (isinstance(first, Anneal) and isinstance(cycle, Anneal)):
            return
        falls = first.start >= first.end
        if (falls and cycle.start < cycle.end) or (not falls and cycle.start > cycle.end):
            raise ValueError(
                f"decays of {self.start_decay!r} and {self.end_decay!r}: by cycle {last} the bounds {first.start:g} "
                f"and {first.end:g} have become {cycle.start:g} and {cycle.end:g} and changed places; let them decay "
                "alike, or start with the lower one lower"
            )

    def _in_cycle(self, index: int) -> Curve:
        if self.start_decay == self.end_decay:
            return self.curve if self.start_decay == 1.0 else Scale(self.curve, self.start_decay**index)
        assert isinstance(self.curve, Anneal)
        return replace(
            self.curve,
            start=self.curve.start * self.start_decay**index,
            end=self.curve.end * self.end_decay**index,
        )
