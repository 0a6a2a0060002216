"""The axes of a range test's picture: rates that read well, and losses that an explosion does not flatten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_lr.plots.frame import LOG_FROM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lightning_lr.range_test.result import RangeTest

_FEW_DECADES, _FEW_READINGS = 0.7, 30
_HEADROOM = 0.4  # above the level from which the loss falls, in shares of the fall; a loss that explodes leaves there
_USUAL = 0.95  # share of the readings before the minimum that are in the picture whatever they are
_FOOTROOM = 0.14  # below the lowest reading, for what is written there


def written(rate: float, digits: int = 2) -> str:
    """Return a learning rate as people write it.

    Example:
        >>> [written(rate) for rate in (1e-6, 0.00316, 0.01, 0.0316, 1.0, 31.6, 31600)]
        ['1e-6', '3.2e-3', '0.01', '0.032', '1', '32', '3.2e4']
    """
    mantissa, exponent = f"{rate:.{digits - 1}e}".split("e")
    if -2 <= int(exponent) <= 2:
        return f"{float(f'{mantissa}e{exponent}'):g}"
    return f"{float(mantissa):g}e{int(exponent)}"


def require_readings(argument: str, found: RangeTest) -> None:
    """Refuse a range test without a reading, by the name that the user knows it by."""
    if not found.lrs:
        raise ValueError(f"{argument}.lrs=(): nothing to draw, it ended before its first reading; run the test again")


def quantity(founds: Sequence[RangeTest]) -> str:
    """Return which loss was read."""
    kinds = {"validation loss" if found.settings.validation else "training loss" for found in founds}
    return kinds.pop() if len(kinds) == 1 else "loss"


def logarithmic(founds: Sequence[RangeTest]) -> bool:
    """Whether the rates stand on a logarithmic axis: there, those at even distances would crowd at its end."""
    return any(found.settings.mode == "exponential" for found in founds)


def reading_marker(losses: Sequence[float]) -> str:
    """Return how each reading is marked: few are read one by one."""
    return "o" if len(losses) <= _FEW_READINGS else ""


def reached(found: RangeTest) -> tuple[float, ...]:
    """Return the rates of the longest run: the mean goes as far as the shortest."""
    return found.settings.lrs[: max(len(run.losses) for run in found.runs)]


def set_rates(panel: Axes, lowest: float, highest: float, *, log: bool) -> None:
    """Lay learning rates on the horizontal axis, from a little below the lowest to a little above the highest."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    decades = math.log10(highest / lowest)
    digits = 2 if decades >= _FEW_DECADES else 3
    if log:
        panel.set_xscale("log")
        margin = 10 ** (0.02 * (decades or 1.0))
        panel.set_xlim(lowest / margin, highest * margin)
        panel.xaxis.set_minor_formatter(NullFormatter())
        if decades < _FEW_DECADES:
            # There may be one power of ten in it, or none.
            panel.xaxis.set_major_locator(MaxNLocator(5))
        else:
            panel.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades >= 2 else (1.0, 2.0, 5.0), numticks=12))
    else:
        margin = 0.02 * (highest - lowest or highest)
        panel.set_xlim(lowest - margin, highest + margin)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: written(abs(rate), digits) if rate >= 0 else ""))


def set_losses(panel: Axes, founds: Sequence[RangeTest]) -> None:
    """Lay losses on the vertical axis: all that lie below the level from which the loss fell, and a little above it.

    It is logarithmic where the smoothed losses up to the minimum span a factor of 20 and no reading is 0 or below.
    """
    readings = [loss for found in founds for run in found.runs for loss in run.losses]
    calm: list[float] = []
    lows, levels = [], []
    for found in founds:
        lows.append(min(found.smoothed))
        until = found.smoothed.index(lows[-1]) + 1
        levels.append(max(found.smoothed[:until]))
        calm += [loss for run in found.runs for loss in run.losses[:until]]
    log = min(readings) > 0 and min(lows) > 0 and max(levels) > LOG_FROM * min(lows)

    def scaled(loss: float) -> float:
        return math.log(loss) if log else loss

    # Noise about the level belongs into the picture, a single reading far off does not.
    usual = sorted(calm)[round(_USUAL * (len(calm) - 1))]
    bottom, level = scaled(min(*lows, *readings)), scaled(max(usual, *levels))
    fall = level - bottom
    if not any(found.suggestions for found in founds):  # no fall to measure by
        fall = max(fall, 0.1 * abs(level))
    fall = fall or 1.0
    top = min(scaled(max(*levels, *readings)), level + _HEADROOM * fall)
    height = top - bottom or fall
    limits = bottom - _FOOTROOM * height, top + 0.05 * height
    # Without the power of ten that matplotlib sets apart, which would lie on what stands above.
    panel.yaxis.set_major_formatter("{x:.9g}")
    if log:
        panel.set_yscale("log")
        panel.set_ylabel(f"{panel.get_ylabel()} (log scale)", fontsize=10)
        limits = math.exp(limits[0]), math.exp(limits[1])
    panel.set_ylim(*limits)


def height_at(found: RangeTest, rate: float, *, log: bool) -> float:
    """Return where the line through the smoothed losses stands at a learning rate; nan beyond its ends."""
    import numpy as np  # comes with matplotlib; the core has no need of it

    across = np.log if log else np.asarray
    return float(np.interp(across(rate), across(found.lrs), found.smoothed, left=np.nan, right=np.nan))
