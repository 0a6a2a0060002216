"""How much the members of an ensemble differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lr.plots.frame import BLACK, figure_for, save
from lightning_lr.plots.names import member_names
from lightning_lr.plots.quantities import amount

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERS_TO = 10  # members; in more, the numbers would lie on each other
_TICKS = 12  # at most, in more members not each is named
_NAME_WIDTH = 24  # characters
_EMPTY = "#F0F0F0"  # a cell that says nothing


def plot_diversity(
    disagreement: Sequence[Sequence[float]],
    correlation: Sequence[Sequence[float]],
    names: Sequence[str],
    path: str | Path,
    *,
    shares: bool = True,
    title: str | None = None,
) -> Path:
    """Draw for each pair of members how often they disagree, and how their errors correlate.

    The darker a cell, the more the two differ, in both panels: what an ensemble gains comes from there. Up to ten
    members the numbers stand in the cells. A member is like itself: the diagonal is empty. So is the cell of a pair
    whose value is not finite, as the correlation is where a member makes no error.

    Args:
        disagreement: Share of the samples on which two members predict different classes, (M, M).
        correlation: Correlation of two members' errors, (M, M).
        names: What the M members are called, the oldest first.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        shares: Whether the disagreement is that; if not, it is the root of the mean squared difference of two members'
            predictions, as of a regression.
        title: Stands above the panels.

    Returns:
        The path written.

    Raises:
        ValueError: If there are fewer than two members, a matrix has not a row and a column each, or the ending is no
            picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     names, path = ["snapshot-000", "snapshot-001"], folder + "/diversity.png"
        ...     plot_diversity([[0.0, 0.04], [0.04, 0.0]], [[1.0, 0.7], [0.7, 1.0]], names, path).name
        'diversity.png'
    """
    count = len(names)
    if count < 2:
        raise ValueError(f"names={list(names)}: no pair of members to compare; give at least two members")
    for argument, matrix in (("disagreement", disagreement), ("correlation", correlation)):
        if len(matrix) != count or any(len(row) != count for row in matrix):
            shape = f"{len(matrix)} rows of {sorted({len(row) for row in matrix})}"
            raise ValueError(f"{argument} of {shape}, names of {count} members: lengths differ; give a cell a pair")
    cells = [_between(disagreement, 100.0 if shares else 1.0), _between(correlation, 1.0)]

    figure = figure_for(path, height=4.4)
    panels = figure.subplots(1, 2)
    panels[0].set_title("disagreement", fontsize=10, fontweight="bold")
    panels[1].set_title("correlation of errors", fontsize=10, fontweight="bold")
    # White is no diversity at all; little correlation is as dark as much disagreement.
    unit, form = ("share of samples (%)", "{:.1f}".format) if shares else ("RMS distance (target units)", amount)
    _draw_matrix(figure, panels[0], cells[0], "Blues", (0.0, max(_finite(cells[0]), default=1.0) or 1.0), unit, form)
    _draw_matrix(
        figure, panels[1], cells[1], "Blues_r", (min([*_finite(cells[1]), 0.999]), 1.0), "coefficient", "{:.2f}".format
    )
    every = math.ceil(count / _TICKS)
    shown = range(0, count, every)
    called = member_names(names, _NAME_WIDTH)
    # The name behind the number, which stands alone on the other axes.
    numbered = [str(index) if called[index] == str(index) else f"{called[index]}   {index}" for index in shown]
    panels[0].set_yticks(shown, numbered, parse_math=False)
    panels[1].set_yticks(shown, map(str, shown))
    for panel in panels:
        panel.set_xticks(shown, map(str, shown))
        panel.set_xlabel("member", fontsize=10)
    return save(figure, path, panels[-1:], title, xlabel="member")


def _between(matrix: Sequence[Sequence[float]], scale: float) -> list[list[float]]:
    """The cells of pairs; that of a member and itself is nan."""
    return [
        [math.nan if row == column else scale * float(value) for column, value in enumerate(values)]
        for row, values in enumerate(matrix)
    ]


def _finite(cells: list[list[float]]) -> list[float]:
    return [value for row in cells for value in row if math.isfinite(value)]


def _draw_matrix(
    figure: Figure,
    panel: Axes,
    cells: list[list[float]],
    colors: str,
    limits: tuple[float, float],
    unit: str,
    form: Callable[[float], str],
) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    count = len(cells)
    lowest, highest = limits
    image = panel.imshow(cells, cmap=colormaps[colors].with_extremes(bad=_EMPTY), vmin=lowest, vmax=highest)
    panel.tick_params(labelsize=8, length=0)
    panel.spines[:].set_visible(False)
    if _finite(cells):
        bar = figure.colorbar(image, ax=panel, orientation="horizontal", shrink=0.9, aspect=30, ticks=MaxNLocator(5))
        bar.set_label(f"{unit}; darker: more diverse", fontsize=9)
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
    if count > _NUMBERS_TO:
        return
    for row, values in enumerate(cells):
        for column, value in enumerate(values):
            if row != column:
                words = form(value) if math.isfinite(value) else "-"
                red = image.cmap((value - lowest) / (highest - lowest))[
                    0
                ]  # the less of it is in a blue, the darker it is
                text = panel.text(column, row, words, ha="center", va="center", fontsize=9 if count <= 7 else 7)
                text.set_color("white" if red < 0.2 else BLACK)
