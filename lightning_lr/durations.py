"""Lengths of training: ``500``, ``"500st"``, ``"10ep"`` and ``"30%"``, turned into optimizer updates by a `Horizon`.

>>> horizon = Horizon(total_steps=1000, steps_per_epoch=40)
>>> [horizon.updates(duration) for duration in (500, "500st", "2.5ep", "30%")]
[500, 500, 100, 300]
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeAlias

from lightning_lr.arguments import require_int

Duration: TypeAlias = int | str
"""An int or ``"500st"`` is optimizer updates, ``"10ep"`` epochs, ``"30%"`` a share of the horizon."""

_WRITTEN = re.compile(r"(?P<amount>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>st|ep|%)", re.ASCII)


@dataclass(frozen=True)
class Horizon:
    """How long a run is: what turns a duration into optimizer updates.

    Args:
        total_steps: Optimizer updates of the whole run, at least 1.
        steps_per_epoch: Optimizer updates of one epoch, ``ceil(batches / accumulation)``. None where an epoch has no
            fixed number of them; then a duration in epochs is refused.
        whole: Optimizer updates that a percentage is a share of, where this horizon is a part of a longer one.

    Raises:
        TypeError: If a number is no int.
        ValueError: If a number is below 1.

    Example:
        >>> Horizon(total_steps=100, steps_per_epoch=20).updates("1.5ep")
        30
    """

    total_steps: int
    steps_per_epoch: int | None = None
    whole: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require_int("total_steps", self.total_steps, at_least=1)
        if self.steps_per_epoch is not None:
            require_int("steps_per_epoch", self.steps_per_epoch, at_least=1)

    def updates(self, duration: Duration, argument: str = "duration") -> int:
        """Turn a duration into optimizer updates, rounded half up.

        Raises:
            TypeError, ValueError: If the duration cannot be read, or is in epochs where these have no fixed length.
        """
        amount, unit = parse(duration, argument)
        if unit == "%":
            amount *= Fraction(self.whole or self.total_steps, 100)
        elif unit == "ep":
            if self.steps_per_epoch is None:
                raise ValueError(
                    f"{argument}={duration!r}: an epoch has no fixed number of updates here; give the duration in "
                    'updates ("500st") or as a share of the run ("30%")'
                )
            amount *= self.steps_per_epoch
        return (2 * amount.numerator + amount.denominator) // (2 * amount.denominator)

    def part(self, total_steps: int) -> Horizon:
        """Return the horizon of a part of this one, in which a percentage is still a share of the whole."""
        return replace(self, total_steps=total_steps, whole=self.whole or self.total_steps)


def parse(duration: Duration, argument: str = "duration") -> tuple[Fraction, str]:
    """Read a duration: its exact amount and its unit, ``"st"``, ``"ep"`` or ``"%"``.

    Args:
        duration: An int, or a string in updates, epochs or percent.
        argument: What the user knows the duration as; it is named when the duration is refused.

    Raises:
        TypeError: If it is neither an int nor a string. A float could be a share, epochs or updates.
        ValueError: If the string is not a number with a known unit, the amount is negative or a share is over 100 %.

    Example:
        >>> parse("2.5ep")
        (Fraction(5, 2), 'ep')
    """
    remedy = 'write 500 or "500st" for updates, "10ep" for epochs, "30%" for a share of the run'
    if isinstance(duration, bool) or not isinstance(duration, int | str):
        raise TypeError(f"{argument}={duration!r}: a duration is an int or a string; {remedy}")
    if isinstance(duration, int):
        if duration < 0:
            raise ValueError(f"{argument}={duration!r}: a duration is not negative; {remedy}")
        return Fraction(duration), "st"
    written = _WRITTEN.fullmatch(duration.strip())
    if written is None:
        raise ValueError(f"{argument}={duration!r}: not a duration; {remedy}")
    amount, unit = Fraction(written["amount"]), written["unit"]
    if unit == "st" and amount.denominator != 1:
        raise ValueError(f"{argument}={duration!r}: there is no part of an update; {remedy}")
    if unit == "%" and amount > 100:
        raise ValueError(f"{argument}={duration!r}: a share of the run is at most 100%; {remedy}")
    return amount, unit


def require_length(argument: str, duration: Duration) -> None:
    """Refuse what is no duration, and one of no length.

    Raises:
        TypeError, ValueError: If it cannot be read or is 0.

    Example:
        >>> require_length("cycle", "0ep")
        Traceback (most recent call last):
        ValueError: cycle='0ep': it has no length; pass a duration above 0
    """
    amount, _ = parse(duration, argument)
    if amount == 0:
        raise ValueError(f"{argument}={duration!r}: it has no length; pass a duration above 0")
