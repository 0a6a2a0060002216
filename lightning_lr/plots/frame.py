"""The frame of every picture: figure, palette, style, legend, file. Matplotlib is imported when one is drawn.

A figure is an object of its own: pyplot's current figure, its backend and its windows are left as the user has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from lightning_lr.durable import staged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.text import Text

    from lightning_lr.schedules.cycles import Cycle

# Okabe & Ito's palette, told apart by colour-blind readers too: https://jfly.uni-koeln.de/color/
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
BLACK, GREY = "#1A1A1A", "#6B6B6B"
DASHES = ("solid", "dashed", "dashdot", "dotted")

LOG_FROM = 20.0  # a linear axis flattens the lower half of a curve that spans more

_DPI = 144
_WIDTH = 7.5  # inches
_TITLE_WIDTH, _TITLE_LINE = 70, 0.2  # characters in a line, its height in inches


def require_finite(argument: str, series: Sequence[float]) -> None:
    """Refuse a series without a value that can be drawn, by the name that the user knows it by."""
    if len(series) == 0:
        raise ValueError(f"{argument}=[]: nothing to draw; give at least one value")
    if not any(math.isfinite(value) for value in series):
        raise ValueError(
            f"{argument}: nothing to draw, none of its {len(series)} values is finite; see where the run diverged"
        )


def figure_for(path: str | Path, *, height: float) -> Figure:
    """Return an empty figure, or refuse the path that it is for; the height is in inches."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'matplotlib: not installed, and pictures need it; run pip install "lightning_lr[recipes]"'
        ) from error
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained", facecolor="white")
    target = Path(path)
    # Before anything is drawn; an unknown ending, or none, would be drawn and then written under another name.
    formats = figure.canvas.get_supported_filetypes()
    if target.suffix[1:].lower() not in formats:
        raise ValueError(f"path={str(path)!r}: not the name of a picture; end it in .png, .svg or .pdf")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; make it first")
    return figure


def mark_cycles(panel: Axes, cycles: Sequence[Cycle], *, label: bool) -> None:
    """Draw a line where each cycle ends; a cut one has no end."""
    ends = [cycle.end for cycle in cycles if cycle.complete]
    for index, end in enumerate(ends):
        name = "cycle end" if label and index == 0 else None
        panel.axvline(end, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0, label=name)


def style(panel: Axes, quantity: str) -> None:
    """Give a panel the look of all, and its vertical axis a name."""
    panel.set_ylabel(quantity, fontsize=10)
    panel.tick_params(labelsize=9)
    panel.grid(visible=True, color="#E4E4E4", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.02)


def spread(panel: Axes, names: Sequence[Text]) -> None:
    """Move names that stand in one row apart and into the panel's width, each no further than its neighbours ask for.

    They are in order from left to right, each centred on its place on the panel's horizontal axis. The figure must have
    its layout by then: before that nobody knows how wide the panel is.
    """
    edges = panel.get_window_extent()
    places = [panel.transData.transform((name.get_position()[0], 1.0))[0] for name in names]
    widths = [name.get_window_extent().width + 0.1 * _DPI for name in names]
    end = edges.x0
    for index, width in enumerate(widths):
        places[index] = max(places[index], end + width / 2)
        end = places[index] + width / 2
    start = edges.x1
    for index, width in reversed([*enumerate(widths)]):
        places[index] = min(places[index], start - width / 2)
        start = places[index] - width / 2
    for name, place in zip(names, places, strict=True):
        name.set_x(panel.transData.inverted().transform((place, 0.0))[0])


def save(
    figure: Figure,
    path: str | Path,
    panels: Sequence[Axes],
    title: str | None,
    *,
    xlabel: str = "optimizer updates",
    within: Figure | SubFigure | None = None,
    rows: Sequence[Sequence[Text]] = (),
    columns: int = 4,
    handlelength: float = 2.0,
) -> Path:
    """Add the legend, the title and the name of the shared axis, and write the picture, complete or not at all.

    Args:
        figure: What is written.
        path: Where to.
        panels: Those that share the axis, from top to bottom.
        title: Stands above them.
        xlabel: Name of the shared axis.
        within: The part of the figure that the panels are in, where that is not the whole.
        rows: Names in the first panel, a row each, that are to `spread`.
        columns: Of the legend at most; fewer where they would not fit.
        handlelength: Of a line in the legend, in letters.
    """
    part = within or figure
    panels[-1].set_xlabel(xlabel, fontsize=10)
    part.align_ylabels([panel for panel in panels if panel.get_ylabel()])
    if title is not None:
        lines = [line for paragraph in title.splitlines() for line in wrap(paragraph, _TITLE_WIDTH) or [""]]
        part.suptitle("\n".join(lines), fontsize=12, parse_math=False)
        figure.set_figheight(figure.get_figheight() + _TITLE_LINE * (len(lines) - 1))  # not at the panels' cost
    entries: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)  # what is in several panels is the same thing
    if entries:
        labels, handles = zip(*entries.items(), strict=True)
        look: dict[str, Any] = {"fontsize": 9, "frameon": False, "handlelength": handlelength}
        for ncols in range(min(len(labels), columns), 0, -1):
            # Below the panels: inside, it would lie on the data of one run or another.
            legend = part.legend(handles, labels, loc="outside lower center", ncols=ncols, **look)
            for text in legend.get_texts():
                text.set_parse_math(False)
            if ncols == 1 or legend.get_window_extent().width < part.bbox.width:
                break
            legend.remove()
    if rows and (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        for row in rows:
            spread(panels[0], row)
        figure.set_layout_engine("none")  # it takes as long as the drawing, and would come to the same
    target, picture = Path(path), BytesIO()
    figure.savefig(picture, format=target.suffix[1:].lower())
    with staged(target, picture.getvalue()) as publish:
        publish()
    return target
