"""The policies' formulas, written a second time from the papers and with nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import cos, floor, pi


def harmonic(step: int) -> float:
    return 0.1 / (1 + step)


def half_up(updates: Fraction) -> int:
    return max(1, floor(updates + Fraction(1, 2)))


def cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + cos(pi * share))


def line(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def rise(start: float, end: float, length: int) -> list[float]:
    return [line(start, end, (step + 1) / (length + 1)) for step in range(length)]


def fall(start: float, end: float, length: int, way: Callable[..., float] = cosine) -> list[float]:
    return [way(start, end, step / length) for step in range(length)]


def whole(start: float, end: float, length: int, way: Callable[..., float]) -> list[float]:
    return [way(start, end, step / max(1, length - 1)) for step in range(length)]


def shared(start: int, updates: int, weights: Sequence[Fraction]) -> list[int]:
    """Edges of cycles that share out what is left after ``start``."""
    sums = [Fraction(0), *accumulate(weights)]
    return [start + floor((updates - start) * part / sums[-1]) for part in sums]


def lengths(updates: int, first: int, mult: int) -> list[int]:
    """Edges of cycles of ``first``, ``first * mult``, … updates; the last may be beyond the run."""
    edges = [0]
    while edges[-1] < updates:
        edges.append(edges[-1] + first * mult ** (len(edges) - 1))
    return edges


def restarts(edges: Sequence[int], start: float, end: float, decays: tuple[float, float] = (1, 1)) -> list[float]:
    parts = [
        fall(start * decays[0] ** index, end * decays[1] ** index, later - edge)
        for index, (edge, later) in enumerate(pairwise(edges))
    ]
    return [value for part in parts for value in part]


def steps(updates: int, initial: float, factor: float, marks: Sequence[int]) -> list[float]:
    return [initial * factor ** sum(mark <= step for mark in marks) for step in range(updates)]


def trapezoid(updates: int, peak: float, end: float, up: int, down: int) -> list[float]:
    return rise(0, peak, up) + [peak] * (updates - up - down) + fall(peak, end, down, line)


def triangles(
    updates: int, base: float, peak: float, up: int, down: int, scale: Callable[[int, int], float] = lambda k, t: 1.0
) -> list[float]:
    """Up and down, where the lower of the two lines through each peak is the triangle."""
    size = up + down
    shares = [min(Fraction(step % size, up), Fraction(size - step % size, down)) for step in range(updates)]
    return [base + (peak - base) * float(x) * scale(step // size, step) for step, x in enumerate(shares)]


def peak(
    updates: int, start: float, top: float, end: float, pct: Fraction, way: Callable[..., float], three: bool = False
) -> list[float]:
    at = max(0, floor(pct * updates + Fraction(1, 2)) - 1)
    if three and 0 < 2 * at < updates - 1:
        down = fall(top, start, at, way) + whole(start, end, updates - 2 * at, way)
    else:
        down = whole(top, end, updates - at, way)
    return fall(start, top, at, way) + down


def decays(updates: int, initial: float, final: float) -> list[float]:
    return whole(initial, final, updates, lambda start, end, share: start * (end / start) ** share)


def warm_share(n: int) -> int:
    return half_up(Fraction(n, 4))


def stairs_in_thirds(n: int) -> list[float]:
    thirds = [n * (third + 1) // 3 - n * third // 3 for third in range(3)]
    return [value for length in thirds for value in steps(length, 0.2, 0.5, [half_up(Fraction(length, 2))])]
