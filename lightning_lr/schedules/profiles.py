"""Curves of whole runs: the peak of 1cycle, the trapezoid of warm-up and decay, triangular cycles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from lightning_lr.arguments import require_choice, require_number
from lightning_lr.durations import Duration, Horizon, parse, require_length
from lightning_lr.schedules.composition import Join
from lightning_lr.schedules.curves import Anneal, Curve, Flat, Shape, Values
from lightning_lr.schedules.cycles import Cycle

Mode: TypeAlias = Literal["triangular", "triangular2", "exp_range"]


@dataclass(frozen=True)
class Peak(Curve):
    """Up to a peak and down again, once: the curve of 1cycle.

    The peak is at update ``p = max(0, floor(pct_start * N + 0.5) - 1)`` of ``N``, the end at update ``N - 1``. With
    ``three_phase`` the curve is back at its start at update ``2 * p`` and goes on to its end from there. Where two of
    these fall on one update, the peak comes before the end, and the end before the return to the start.

    Args:
        start: Value at update 0.
        peak: Value at update ``p``.
        end: Value at update ``N - 1``.
        pct_start: Share of the run that rises, in (0, 1); at most 0.5 with ``three_phase``.
        shape: Of every phase, as in `Anneal`.
        three_phase: Whether to fall as steeply as it rose, and then further down.

    Raises:
        ValueError: If ``pct_start`` is out of its range, or a value or the shape is refused by `Anneal`.

    Example:
        >>> [round(Peak(0.1, 1.0, 0.0, shape="linear").at(step, Horizon(10)), 3) for step in range(10)]
        [0.1, 0.55, 1.0, 0.857, 0.714, 0.571, 0.429, 0.286, 0.143, 0.0]
    """

    start: float
    peak: float
    end: float
    pct_start: float = 0.3
    shape: Shape = "cos"
    three_phase: bool = False

    def __post_init__(self) -> None:
        require_number("pct_start", self.pct_start, above=0.0, below=1.0)
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(
                f"pct_start={self.pct_start!r}: with three_phase=True the way down mirrors the way up; pass at most 0.5"
            )
        Anneal(self.start, self.peak, self.shape)
        Anneal(self.peak, self.end, self.shape)

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        last = horizon.total_steps - 1
        peak = self._peak(horizon)
        if peak == last:
            knots = [(0, self.start), (peak, self.peak)]
        elif self.three_phase and 0 < 2 * peak < last:
            knots = [(0, self.start), (peak, self.peak), (2 * peak, self.start), (last, self.end)]
        else:
            knots = [(0, self.start), (peak, self.peak), (last, self.end)]
        # A peak at update 0 leaves nothing to rise, and nothing to return to.
        ways = [(knot, after) for knot, after in pairwise(knots) if knot[0] < after[0]]
        if not ways:
            return Flat(self.peak).bind(horizon)
        curves = [Anneal(before[1], after[1], self.shape) for before, after in ways[:-1]]
        curves.append(Anneal(ways[-1][0][1], ways[-1][1][1], self.shape, reaches="both"))
        if len(curves) == 1:
            return curves[0].bind(horizon)
        return Join(tuple(curves), tuple(before[0] for before, _ in ways[1:])).bind(horizon)

    @property
    def cyclic(self) -> bool:  # noqa: D102
        return True

    def cycles(self, horizon: Horizon) -> tuple[Cycle, ...]:  # noqa: D102
        return (Cycle(0, 0, horizon.total_steps, peak=self._peak(horizon)),)

    def _peak(self, horizon: Horizon) -> int:
        return max(0, math.floor(self.pct_start * horizon.total_steps + 0.5) - 1)


@dataclass(frozen=True)
class Trapezoid(Curve):
    """Up in a line, level, and down in a line.

    Update ``t`` of a rise of ``W`` has ``peak * (t + 1)/(W + 1)``; update ``t`` of a fall of ``D``, which ends with the
    run, ``peak + (end - peak) * t/D``.

    Args:
        peak: The level.
        end: Value that the fall goes towards.
        warmup: Duration of the rise; 0 for none.
        decay: Duration of the fall; 0 for none.

    Raises:
        TypeError, ValueError: If an argument makes no sense, or (when bound) the two are longer than the run.

    Example:
        >>> [round(Trapezoid(1.0, 0.0, 1, "40%").at(step, Horizon(5)), 2) for step in range(5)]
        [0.5, 1.0, 1.0, 1.0, 0.5]
    """

    peak: float
    end: float
    warmup: Duration
    decay: Duration

    def __post_init__(self) -> None:
        require_number("peak", self.peak)
        require_number("end", self.end)
        parse(self.warmup, "warmup")
        parse(self.decay, "decay")

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        total = horizon.total_steps
        # What was asked for at all gets one update at least.
        rise, fall = (
            max(horizon.updates(duration, argument), int(parse(duration)[0] > 0))
            for argument, duration in (("warmup", self.warmup), ("decay", self.decay))
        )
        if rise + fall == total + 1 and fall > 1 and self._shares() <= 100:
            # Two shares that fill the run, both rounded up: no run is too short for half and half.
            fall -= 1
        if rise + fall > total:
            raise ValueError(
                f"warmup={self.warmup!r}, decay={self.decay!r}: {rise} and {fall} updates in a run of {total}; "
                "shorten them or train for longer"
            )
        parts = [
            (rise, Anneal(0.0, self.peak, "linear", "neither")),
            (total - rise - fall, Flat(self.peak)),
            (fall, Anneal(self.peak, self.end, "linear")),
        ]
        curves = [curve for length, curve in parts if length]
        if len(curves) == 1:
            return curves[0].bind(horizon)
        ends = [end for (length, _), end in zip(parts, (rise, total - fall, total), strict=True) if length]
        return Join(tuple(curves), tuple(ends[:-1])).bind(horizon)

    def _shares(self) -> float:
        durations = [parse(duration) for duration in (self.warmup, self.decay)]
        return float(sum(amount for amount, _ in durations)) if all(unit == "%" for _, unit in durations) else math.inf


@dataclass(frozen=True)
class Triangles(Curve):
    """Up and down in lines, again and again, with peaks that may sink.

    Cycle ``k`` has ``up + down`` updates. At its update ``r`` the value is ``base + (peak - base) * s * x``, with
    ``x = r/up`` on the way up and ``(up + down - r)/down`` on the way down, and ``s`` by mode: 1 (``"triangular"``),
    ``2**-k`` (``"triangular2"``) or ``gamma**step`` (``"exp_range"``).

    Args:
        base: Value at the start of each cycle.
        peak: Value of the first peak.
        up: Duration of the way up.
        down: Duration of the way down; None for that of the way up.
        mode: How the peaks sink.
        gamma: Factor of an update in mode ``"exp_range"``.

    Raises:
        TypeError, ValueError: If an argument makes no sense.

    Example:
        >>> [Triangles(0.0, 1.0, 2, mode="triangular2").at(step, Horizon(8)) for step in range(8)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]
    """

    base: float
    peak: float
    up: Duration
    down: Duration | None = None
    mode: Mode = "triangular"
    gamma: float = 1.0

    def __post_init__(self) -> None:
        require_number("base", self.base)
        require_number("peak", self.peak)
        require_length("step_size_up", self.up)
        if self.down is not None:
            require_length("step_size_down", self.down)
        require_choice("mode", self.mode, ("triangular", "triangular2", "exp_range"))
        require_number("gamma", self.gamma, above=0.0, at_most=1.0)
        if self.gamma != 1.0 and self.mode != "exp_range":
            raise ValueError(f'gamma={self.gamma!r}: mode={self.mode!r} has no use for it; pass mode="exp_range"')

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        up, down = self._sides(horizon)
        base, peak, gamma, mode = float(self.base), float(self.peak), float(self.gamma), self.mode
        low, high = min(base, peak), max(base, peak)

        def value(step: float) -> float:
            cycle, at = divmod(step, up + down)
            way = at / up if at <= up else (up + down - at) / down
            if mode == "triangular2":
                way = math.ldexp(way, -int(cycle))
            elif mode == "exp_range":
                way *= math.pow(gamma, step)
            # A weighted mean within bounds, as in `Anneal`: it hits both ends exactly, and never leaves them by an ulp.
            return min(max(base * (1.0 - way) + peak * way, low), high)

        return value

    @property
    def cyclic(self) -> bool:  # noqa: D102
        return True

    def cycles(self, horizon: Horizon) -> tuple[Cycle, ...]:  # noqa: D102
        up, down = self._sides(horizon)
        total = horizon.total_steps
        return tuple(
            Cycle(index, start, min(start + up + down, total), start + up + down <= total, peak=start + up)
            for index, start in enumerate(range(0, total, up + down))
        )

    def _sides(self, horizon: Horizon) -> tuple[int, int]:
        up = max(1, horizon.updates(self.up, "step_size_up"))
        return up, up if self.down is None else max(1, horizon.updates(self.down, "step_size_down"))
