"""Several learning rate range tests in one frame: what a momentum, a weight decay or a batch size changes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from lightning_lr.plots.axes import (
    height_at,
    logarithmic,
    quantity,
    reached,
    reading_marker,
    require_readings,
    set_losses,
    set_rates,
    written,
)
from lightning_lr.plots.frame import BLACK, GREY, PALETTE, figure_for, save, style

if TYPE_CHECKING:
    from lightning_lr.range_test.result import RangeTest

_COLORS = (*PALETTE, BLACK, GREY)
_DASHES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (5, 1.5)),
    (0, (1, 1.2)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (10, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (2, 2.5)),
    (0, (8, 1.5, 2, 1.5)),
)
_MARKERS = "osD^v<>p"
_WIDTH = 60  # characters in a line


def plot_range_tests(found: Mapping[str, RangeTest], path: str | Path, *, title: str | None = None) -> Path:
    """Draw several curves of loss against learning rate in one frame, each with a mark at its `max_lr`.

    The readings are faint, the smoothed curves are on top. Up to eight are told apart by colour and by dashes; beyond
    that the colours come again with other dashes. The axes are as in `plot_range_test`: what leaves the picture is what
    climbs far above the highest level that a loss fell from.

    Args:
        found: What each range test found, by what it is called in the legend: ``"momentum=0.9"``.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        title: Stands above the panel.

    Returns:
        The path written.

    Raises:
        ValueError: If there is no test, one has no reading, or the ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    References:
        Smith, L. N. A disciplined approach to neural network hyper-parameters: Part 1. arXiv:1803.09820.

    Example:
        >>> import tempfile
        >>> from lightning_lr.range_test.result import RangeTest
        >>> from lightning_lr.range_test.readings import Run, Settings
        >>> settings = Settings(0.001, 1.0, steps=4, smoothing=0.0)
        >>> tests = {
        ...     "momentum=0.9": RangeTest(settings, [Run((2.0, 1.9, 0.5, 7.0), "complete")]),
        ...     "momentum=0.8": RangeTest(settings, [Run((2.0, 2.0, 0.7, 0.6), "complete")]),
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_range_tests(tests, folder + "/momenta.png").name
        'momenta.png'
    """
    if not found:
        raise ValueError("found={}: nothing to draw; give range tests by what each is to be called")
    for label, test in found.items():
        require_readings(f"found[{label!r}]", test)
    tests = list(found.values())
    log = logarithmic(tests)

    figure = figure_for(path, height=4.2 + 0.1 * len(tests))
    panel = figure.subplots()
    style(panel, quantity(tests))
    extent = [*chain(*map(reached, tests)), *(test.max_lr for test in tests if test.max_lr is not None)]
    set_rates(panel, min(extent), max(extent), log=log)
    set_losses(panel, tests)
    for index, (name, test) in enumerate(found.items()):
        count = len(_COLORS)
        color, dash, marker = _COLORS[index % count], _DASHES[(index + index // count) % count], _MARKERS[index % count]
        for run in test.runs:
            rates, dot = test.settings.lrs[: len(run.losses)], reading_marker(run.losses)
            panel.plot(rates, run.losses, color=color, linewidth=0.7, alpha=0.3, marker=dot, markersize=3)
        label = fill(f"{name}: no max_lr" if test.max_lr is None else f"{name}: max_lr={written(test.max_lr)}", _WIDTH)
        # Matplotlib leaves out of a legend what begins with an underscore.
        (line,) = panel.plot(test.lrs, test.smoothed, color=color, linestyle=dash, linewidth=1.8, label=f" {label}")
        if test.max_lr is not None:
            line.set(marker=marker, markersize=8.5, markeredgecolor="white", markevery=[])  # that of the legend
            (mark,) = panel.plot(test.max_lr, height_at(test, test.max_lr, log=log), marker, color=color, zorder=3)
            mark.set(markersize=8.5, markeredgecolor="white")
    xlabel = "learning rate (log scale)" if log else "learning rate"
    return save(figure, path, [panel], title, xlabel=xlabel, handlelength=5.0)
