"""What constructors refuse, in one form of words: ``argument=value: what is wrong; what to do instead``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real


def require_number(
    argument: str,
    value: object,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> float:
    """Refuse what is not a finite number within the bounds; return it as a float.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not finite or out of bounds.

    Example:
        >>> require_number("pct_start", 1.5, above=0.0, below=1.0)
        Traceback (most recent call last):
        ValueError: pct_start=1.5: out of range; pass a number above 0 and below 1
    """
    bounds = [
        f"{words} {bound:g}"
        for words, bound in (("above", above), ("of at least", at_least), ("below", below), ("of at most", at_most))
        if math.isfinite(bound)
    ]
    remedy = f"pass a {'' if bounds else 'finite '}number {' and '.join(bounds)}".rstrip()
    # A bool is an int to Python, and no hyper-parameter; numpy's scalars are as good as a float.
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument}={value!r}: not a number; {remedy}")
    try:
        number = float(value)
    except OverflowError:  # an int or a fraction beyond every float
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{argument}={value!r}: not finite; {remedy}")
    if not (above < number < below and at_least <= number <= at_most):
        raise ValueError(f"{argument}={value!r}: out of range; {remedy}")
    return number


def require_int(argument: str, value: object, *, at_least: int) -> int:
    """Refuse what is not an int of at least so much.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is too small.

    Example:
        >>> require_int("cycles", 0, at_least=1)
        Traceback (most recent call last):
        ValueError: cycles=0: out of range; pass an int of at least 1
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument}={value!r}: not an int; pass an int of at least {at_least}")
    if value < at_least:
        raise ValueError(f"{argument}={value!r}: out of range; pass an int of at least {at_least}")
    return value


def require_choice(argument: str, value: object, choices: Sequence[object]) -> None:
    """Refuse what is not one of the choices.

    Raises:
        ValueError: If it is none of them.

    Example:
        >>> require_choice("anneal_strategy", "cosine", ("cos", "linear"))
        Traceback (most recent call last):
        ValueError: anneal_strategy='cosine': unknown; pass 'cos' or 'linear'
    """
    if value not in choices:
        raise ValueError(f"{argument}={value!r}: unknown; pass {' or '.join(map(repr, choices))}")


def require_order(smaller: str, value: float, larger: str, other: float) -> None:
    """Refuse two bounds that are the wrong way round.

    Raises:
        ValueError: If the first is above the second.

    Example:
        >>> require_order("min_lr", 0.2, "max_lr", 0.1)
        Traceback (most recent call last):
        ValueError: min_lr=0.2: above max_lr=0.1; pass a min_lr of at most max_lr
    """
    if value > other:
        raise ValueError(f"{smaller}={value!r}: above {larger}={other!r}; pass a {smaller} of at most {larger}")


def require_one_of(first: str, value: object, second: str, other: object) -> None:
    """Refuse two arguments of which not exactly one is given.

    Raises:
        ValueError: If both are given, or neither.

    Example:
        >>> require_one_of("cycles", 5, "cycle", "10ep")
        Traceback (most recent call last):
        ValueError: cycles=5, cycle='10ep': they exclude each other; pass exactly one of them
    """
    if (value is None) == (other is None):
        wrong = "one of them is needed" if value is None else "they exclude each other"
        raise ValueError(f"{first}={value!r}, {second}={other!r}: {wrong}; pass exactly one of them")
