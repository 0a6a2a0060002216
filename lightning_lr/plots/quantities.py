"""What scores are called in a picture, their units, and axes on which they read well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from lightning_lr.plots.frame import LOG_FROM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NARROWEST = 1.0, 0.02  # the least that an axis spans: points of a percentage, else a share of the largest value
_CONTEXT = 4.0  # at most so many times the span of the answer, or nothing would be seen of it
_MARGIN = 0.08
_SLACK = 1e-6  # of rounding in float32


@dataclass(frozen=True)
class Quantity:
    """A score as it is shown."""

    key: str
    name: str
    unit: str = ""
    more_is_better: bool = False

    @property
    def in_percent(self) -> bool:
        """Whether it is a share, shown in percent."""
        return self.unit == "%"

    @property
    def label(self) -> str:
        """The name of its axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def best(self, values: Sequence[float]) -> float:
        """Return the best of the finite ones; nan where there is none."""
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return math.nan
        return max(finite) if self.more_is_better else min(finite)

    def worse(self, value: float, other: float) -> bool:
        """Whether a value is worse than another; nan is not."""
        return value < other if self.more_is_better else value > other

    def written(self, value: float) -> str:
        """Return a value with its unit, as it stands in a sentence."""
        return f"{value:.2f} %" if self.in_percent and math.isfinite(value) else amount(value)

    def difference(self, value: float, other: float) -> str:
        """Return how far a value is from another, with its sign."""
        if self.in_percent:
            return f"{value - other:+.2f} points"
        return f"{'-' if value < other else '+'}{amount(abs(value - other))}"


QUANTITIES = {
    quantity.key: quantity
    for quantity in (
        Quantity("accuracy", "accuracy", "%", more_is_better=True),
        Quantity("mse", "MSE", "target units²"),
        Quantity("mae", "MAE", "target units"),
        Quantity("nll", "NLL", "nats"),
        Quantity("brier", "Brier score"),
        Quantity("ece", "ECE", "%"),
    )
}


def amount(value: float, digits: int = 3) -> str:
    """Return a value of any size in so many significant digits, as people write it.

    Example:
        >>> [amount(value) for value in (0.0, 0.1234, -12.345, 0.0001234, 2.5e6, float("nan"))]
        ['0', '0.123', '-12.3', '1.23e-4', '2.50e6', 'nan']
    """
    if value == 0 or not math.isfinite(value):
        return f"{value + 0.0:g}"  # no -0
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    # With its zeros at the end: values that are compared have as many digits.
    return (
        f"{value:.{max(0, digits - 1 - int(exponent))}f}" if -3 < int(exponent) < 4 else f"{mantissa}e{int(exponent)}"
    )


def quantities_of(argument: str, scores: Mapping[str, float], wanted: Sequence[str]) -> list[Quantity]:
    """Return those of the wanted quantities that there are scores of, by the name that the user knows these by."""
    found = [QUANTITIES[key] for key in wanted if key in scores]
    if not found:
        raise ValueError(f"{argument}={dict(scores)}: nothing to draw; give at least one of {', '.join(wanted)}")
    return found


def values_of(scores: Mapping[str, Mapping[str, object]], quantity: Quantity) -> list[float]:
    """Return a quantity of each dict of scores as it is shown, a share in percent; the keys are for what is refused."""
    values = []
    for name, each in scores.items():
        value = each.get(quantity.key)
        if isinstance(value, bool) or not isinstance(value, Real):
            wrong = "missing" if quantity.key not in each else "not a number"
            raise ValueError(f"{name}[{quantity.key!r}]={value!r}: {wrong}; give the same scores of each")
        number = float(value)
        if quantity.in_percent and (number < -_SLACK or number > 1 + _SLACK):
            raise ValueError(f"{name}[{quantity.key!r}]={value!r}: not a share; give it from 0 to 1")
        values.append(100.0 * number if quantity.in_percent else number)
    return values


def set_limits(panel: Axes, quantity: Quantity, answer: Sequence[float], context: Sequence[float] = ()) -> float | None:
    """Lay a quantity on the vertical axis: the answer whole, and of what stands around it what does not flatten it.

    It is logarithmic where the answer spans a factor of 20 and all are above 0.

    Returns:
        The worst value that is still on the axis, where worse ones are off it; else None.
    """
    shown = [value for value in answer if math.isfinite(value)]
    around = [value for value in context if math.isfinite(value)]
    every = shown + around
    panel.yaxis.set_major_formatter("{x:.9g}")
    if not every:
        panel.set_yticks([])
        return None
    wide = bool(shown) and max(shown) > LOG_FROM * min(shown)
    if wide and not quantity.in_percent and min(every) > 0:
        panel.set_yscale("log")
        panel.set_ylabel(f"{quantity.label}\n(log scale)", fontsize=10)
        margin = (max(every) / min(every)) ** _MARGIN
        panel.set_ylim(min(every) / margin, max(every) * margin)
        return None
    narrowest = _NARROWEST[0] if quantity.in_percent else _NARROWEST[1] * max(map(abs, shown or every)) or 1.0
    low, high = min(every), max(every)
    cut = None
    if shown:
        room = _CONTEXT * max(max(shown) - min(shown), narrowest)
        if quantity.more_is_better and low < max(shown) - room:
            low = cut = max(shown) - room
        if not quantity.more_is_better and high > min(shown) + room:
            high = cut = min(shown) + room
    if high - low < narrowest:
        low, high = (low + high - narrowest) / 2, (low + high + narrowest) / 2
        if quantity.in_percent:  # nothing is below 0 or above 100
            shift = max(0.0, -low) - max(0.0, high - 100.0)
            low, high = low + shift, high + shift
    margin = _MARGIN * (high - low)
    panel.set_ylim(low - margin, high + margin)
    return cut
