"""Where cycles begin and end, counted in integers.

No float takes part: two well-known libraries use a logarithm here, and land on the trough where a restart should be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, chain, repeat


@dataclass(frozen=True)
class Cycle:
    """A half-open range of optimizer updates: ``start <= update < end``.

    Args:
        index: Place in the order of cycles, from 0.
        start: First update of the cycle.
        end: First update after it; the number of updates applied when the cycle is over.
        complete: False where the run ends before the cycle would.
        peak: Update at which the cycle's way up is over; not before ``end`` where the cycle is cut on its way up. None
            is its start.

    Example:
        >>> Cycle(index=1, start=50, end=100).shifted(10)
        Cycle(index=1, start=60, end=110, complete=True, peak=None)
    """

    index: int
    start: int
    end: int
    complete: bool = True
    peak: int | None = field(default=None, compare=False)

    def shifted(self, by: int) -> Cycle:
        """Return the cycle so many updates later."""
        return replace(
            self, start=self.start + by, end=self.end + by, peak=None if self.peak is None else self.peak + by
        )


def proportional(total_steps: int, cycles: int, cycle_mult: float) -> list[int]:
    """Return the ends of ``cycles`` cycles that share the updates out in proportion to ``cycle_mult**i``.

    The end of cycle ``i`` is ``floor(N * (1 + m + ... + m**i) / (1 + m + ... + m**(M-1)))``.

    Raises:
        ValueError: If a cycle would be left without an update.

    Example:
        >>> proportional(total_steps=70, cycles=3, cycle_mult=2)
        [10, 30, 70]
    """
    if cycles > total_steps:
        raise ValueError(
            f"cycles={cycles!r}: more cycles than updates ({total_steps}); ask for fewer cycles or train for longer"
        )
    mult = _exact(cycle_mult)
    if mult == 1:
        return [total_steps * (index + 1) // cycles for index in range(cycles)]
    # The weights m**i times den**(M-1), so that they are integers.
    weight = mult.denominator ** (cycles - 1)
    weights = [weight]
    for _ in range(cycles - 1):
        weight = weight * mult.numerator // mult.denominator
        weights.append(weight)
    whole = sum(weights)
    ends = [total_steps * share // whole for share in accumulate(weights)]
    # The first cycle is the shortest.
    if ends[0] == 0:
        needed = -(-whole // weights[0])
        # Python does not write an int of thousands of digits, and nobody trains for so long.
        remedy = f" or train for {needed} updates or more" if needed < 10**12 else ""
        raise ValueError(
            f"cycles={cycles!r}: with cycle_mult={cycle_mult!r} the first cycle gets no update of {total_steps}; "
            f"ask for fewer cycles{remedy}"
        )
    return ends


def lengthening(total_steps: int, first: int, cycle_mult: float) -> Iterator[int]:
    """Yield the lengths ``round(first * cycle_mult**i)`` of cycles until they cover the updates.

    Example:
        >>> list(lengthening(total_steps=20, first=3, cycle_mult=2))
        [3, 6, 12]
    """
    mult = _exact(cycle_mult)
    lengths = repeat(first) if mult == 1 else chain([first], _rounded_powers(first, mult))
    covered = 0
    for length in lengths:
        yield length
        covered += length
        if covered >= total_steps:
            return


def _rounded_powers(first: int, mult: Fraction) -> Iterator[int]:
    numerator, denominator = first, 1
    while True:
        numerator, denominator = numerator * mult.numerator, denominator * mult.denominator
        # By now no power is half way between two integers: 512 bits tell it from its neighbours as well as all would.
        spare = max(0, denominator.bit_length() - 512)
        numerator, denominator = numerator >> spare, denominator >> spare
        whole, rest = divmod(numerator, denominator)
        # Python's `round`: the nearest integer, and of two that are as near the even one.
        yield whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


def _exact(cycle_mult: float) -> Fraction:
    # 1.1 is meant as 11/10, not as the binary fraction nearest to it.
    return Fraction(str(cycle_mult))
