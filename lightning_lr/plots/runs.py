"""Many runs in one frame: what each kind of run did, over its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_lr.plots.frame import BLACK, GREY, LOG_FROM, PALETTE, figure_for, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

Series = Sequence[tuple[float, float]]
"""Pairs of place and value, in order of places."""

QUANTITIES = {"loss": "validation loss", "lr": "learning rate", "accuracy": "validation accuracy (%)"}
"""What can be drawn, a panel each from top to bottom, and what its axis is called."""

_COLORS = (*PALETTE, BLACK)
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (1, 1.2), (6, 1.5, 1, 1.5), (10, 2), (3, 1, 1, 1, 1, 1))
_MARKED_TO = 40  # readings of a line; more are not marked one by one
_WIDTH = 60  # characters in a line of the legend
_LINE = 0.18  # inches of a line of the legend
_START = 0.25  # share of a run in which it need not be seen how bad it was
_NARROWEST = 1.0  # points of accuracy that the axis spans at least


class Look(NamedTuple):
    """How a kind of run is drawn, wherever it is: its colour, and the lengths of its dashes in line widths."""

    color: str
    dashes: tuple[float, ...]


def look(index: int) -> Look:
    """Return how the kind of run at this place in the picture is drawn.

    Colours and dashes come again, but not both together, up to 42.

    Example:
        >>> look(0), look(1).color
        (Look(color='#0072B2', dashes=()), '#D55E00')
    """
    # Seven colours and six kinds of dashes: they have no divisor in common.
    return Look(_COLORS[index % len(_COLORS)], _DASHES[index % len(_DASHES)])


def plot_runs(
    groups: Mapping[str, Sequence[Mapping[str, Series]]],
    path: str | Path,
    *,
    against: str = "optimizer updates",
    target: float | None = None,
    title: str | None = None,
) -> Path:
    """Draw validation loss, learning rate and validation accuracy of several kinds of run, a panel each.

    The line of a kind is the mean of its runs, the band around it goes from the lowest to the highest of them: it says
    how much seeds make, and is no interval of confidence. Between its readings a run is taken to go straight; where one
    of them has begun and another not, or no more, there is no mean. Loss and learning rate are on a logarithmic axis
    where what they span asks for it, and the axis of accuracies begins where the worst kind is after its first quarter.

    Args:
        groups: The runs of each kind, by what it is called in the legend: of each run the pairs of place and value of
            ``loss``, ``lr`` and ``accuracy`` (a share), or of some of them.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        against: What the places are, with its unit; it is the name of the axis.
        target: An accuracy (a share) to be marked.
        title: Stands above the panels.

    Returns:
        The path written.

    Raises:
        ValueError: If there is no finite value to draw, a quantity is not known, or the ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> import tempfile
        >>> runs = [{"accuracy": [(10, 0.80), (20, 0.91)]}, {"accuracy": [(10, 0.84), (20, 0.90)]}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_runs({"sgdr": runs}, folder + "/curves.png", target=0.9).name
        'curves.png'
    """
    for label, runs in groups.items():
        for run in runs:
            if unknown := [name for name in run if name not in QUANTITIES]:
                raise ValueError(f"groups[{label!r}]: {unknown[0]!r} is not known; give {', '.join(QUANTITIES)}")
    kinds = {
        quantity: {label: [list(run[quantity]) for run in runs if run.get(quantity)] for label, runs in groups.items()}
        for quantity in QUANTITIES
    }
    shown = [
        quantity
        for quantity, found in kinds.items()
        if any(math.isfinite(value) for runs in found.values() for run in runs for _, value in run)
    ]
    if not shown:
        raise ValueError(f"groups of {len(groups)}: nothing to draw, no value is finite; give runs that have logged")

    labels = [fill(_called(label, runs), _WIDTH) for label, runs in groups.items()]
    lines = sum(label.count("\n") + 1 for label in labels)
    height = 1.1 + (2.1 if len(shown) > 1 else 3.0) * len(shown) + _LINE * lines / 2
    figure = figure_for(path, height=height)
    panels = list(figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0])
    for panel, quantity in zip(panels, shown, strict=True):
        style(panel, QUANTITIES[quantity])
        bands = [_band(runs, 100.0 if quantity == "accuracy" else 1.0) for runs in kinds[quantity].values()]
        for index, (label, band) in enumerate(zip(labels, bands, strict=True)):
            _draw(panel, band, index, f" {label}")  # what begins with an underscore is left out of a legend
        drawn = [band for band in bands if band is not None]
        if quantity == "accuracy":
            _set_accuracies(panel, drawn, target)
        else:
            _set_scale(panel, drawn, QUANTITIES[quantity], magnitudes=quantity == "lr")
    return save(figure, path, panels, title, xlabel=against, columns=3, handlelength=3.2)


class _Band(NamedTuple):
    """The mean of several runs and how far they lie apart, at the places of them all."""

    places: NDArray[Any]
    mean: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    runs: int
    read: bool  # whether each run was read at each of the places


def _called(label: str, runs: Sequence[Mapping[str, Series]]) -> str:
    broken = sum(not all(math.isfinite(value) for series in run.values() for _, value in series) for run in runs)
    return f"{label} (n={len(runs)}{f', {broken} not finite' if broken else ''})"


def _band(runs: Sequence[Series], factor: float) -> _Band | None:
    """A run that breaks takes the mean with it, from there on: without it, the mean would be that of the lucky ones."""
    import numpy as np  # comes with matplotlib; the core has no need of it

    if not runs:
        return None
    places = np.unique([place for run in runs for place, _ in run])
    rows = []
    for run in runs:
        x, y = np.asarray(run, dtype=float).T
        # A straight line to what is infinite is none.
        rows.append(np.interp(places, x, np.where(np.isfinite(y), factor * y, np.nan), left=np.nan, right=np.nan))
    values = np.stack(rows)
    return _Band(
        places, values.mean(0), values.min(0), values.max(0), len(runs), all(len(run) == len(places) for run in runs)
    )


def _draw(panel: Axes, band: _Band | None, index: int, label: str) -> None:
    color, dashes = look(index)
    few = band is not None and len(band.places) <= _MARKED_TO and band.read
    # Of a kind without such a reading, a line without a point: the legend is the same in all panels.
    (line,) = panel.plot(
        band.places if band else [], band.mean if band else [], color=color, linewidth=1.6, label=label
    )
    line.set(linestyle=(0, dashes), marker="o" if few else "", markersize=3, zorder=3)
    if band is not None and band.runs > 1:
        panel.fill_between(band.places, band.low, band.high, color=color, alpha=0.15, linewidth=0, zorder=2)


def _set_scale(panel: Axes, bands: Sequence[_Band], name: str, *, magnitudes: bool) -> None:
    """Logarithmic where a linear axis would flatten what matters.

    Of losses that is all of them. A learning rate goes down to nothing in any schedule: of rates it is the highest of
    each kind that must be seen side by side.
    """
    import numpy as np

    means = [band.mean[np.isfinite(band.mean)] for band in bands]
    means = [mean for mean in means if len(mean)]
    panel.yaxis.set_major_formatter("{x:.9g}")
    if not means:
        return
    looked_at = [mean.max() for mean in means] if magnitudes else [*np.concatenate(means)]
    if min(looked_at) > 0 and max(looked_at) > LOG_FROM * min(looked_at):
        from matplotlib.ticker import LogLocator, NullFormatter

        panel.set_yscale("log")
        panel.set_ylabel(f"{name}\n(log scale)", fontsize=10)
        panel.yaxis.set_major_locator(
            LogLocator(subs=(1.0, 2.0, 5.0) if max(looked_at) < 200 * min(looked_at) else (1.0,))
        )
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_formatter("{x:.9g}")
        if magnitudes:  # the ends of schedules, far below, would take most of the axis
            panel.set_ylim(min(looked_at) / LOG_FROM, 2 * max(looked_at))


def _set_accuracies(panel: Axes, bands: Sequence[_Band], target: float | None) -> None:
    """From where the worst kind is after its first quarter: what they differ in at the end is to be seen."""
    import numpy as np

    seen = [band.mean[band.places >= band.places[0] + _START * (band.places[-1] - band.places[0])] for band in bands]
    ends = [mean[np.isfinite(mean)] for mean in seen]
    ends = [mean for mean in ends if len(mean)] or [band.mean[np.isfinite(band.mean)] for band in bands]
    low, high = min(mean.min() for mean in ends if len(mean)), max(mean.max() for mean in ends if len(mean))
    if target is not None:
        low, high = min(low, 100 * target), max(high, 100 * target)
        name = f"target: {100 * target:.4g} %"
        panel.axhline(100 * target, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, label=name)
    if high - low < _NARROWEST:
        low = high - _NARROWEST
    margin = 0.08 * (high - low)
    panel.set_ylim(low - margin, high + margin)
    panel.yaxis.set_major_formatter("{x:.9g}")
