"""The loss on the straight line between the weights of two members."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lr.plots.frame import (
    BLUE,
    GREY,
    LOG_FROM,
    VERMILLION,
    figure_for,
    save,
    style,
)
from lightning_lr.plots.names import member_names
from lightning_lr.plots.quantities import amount

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from lightning_lr.weight_space.basin import Line

_GAP = 0.6  # between lines that do not share a member, in lengths of a line
_SPELT_OUT_TO = 4  # lines; above more, a barrier is a number alone
_NAMED_TO = 8  # lines; above more, only the highest barrier is written
_TICKS = 20  # at most
_ACROSS = 5.5  # inches of the panel between its first and its last member
_NAME_WIDTH = 30  # characters
_LETTER = 0.08  # inches
_ROUNDING = 1e-9


def plot_lines(lines: Sequence[Line], path: str | Path, *, title: str | None = None) -> Path:
    """Draw the loss along the straight lines between neighbouring members' weights, side by side.

    At α between two members the weights are ``(1 − α) θ_first + α θ_second``. The barrier is what the loss climbs above
    the straight line between its values at the two ends; where there is none, the two lie in one basin and their
    weights may be averaged. Each barrier is marked, its height stands above; of more than eight lines the highest. The
    loss axis is logarithmic where the losses span a factor of 20 and all are above 0.

    Args:
        lines: What `loss_along_line` returned, in order; where one ends at the member that the next begins with, they
            are joined.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        title: Stands above the panel.

    Returns:
        The path written.

    Raises:
        ValueError: If there is no line, or the ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    References:
        Frankle, J., et al. Linear Mode Connectivity and the Lottery Ticket Hypothesis. ICML 2020.

    Example:
        >>> import tempfile
        >>> from lightning_lr.weight_space.basin import Line
        >>> line = Line((0.0, 0.5, 1.0), (0.30, 0.75, 0.20), ("snapshot-000", "snapshot-001"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_lines([line], folder + "/lines.png").name
        'lines.png'
    """
    if not lines:
        raise ValueError("lines=[]: nothing to draw; give at least one line between two members")
    starts = [0.0]
    for line, following in pairwise(lines):
        starts.append(starts[-1] + (1.0 if line.names[1] == following.names[0] else 1.0 + _GAP))

    names = _names(starts, lines)
    longest = max(map(len, names.values()))
    upright = _LETTER * longest > _ACROSS * min(b - a for a, b in pairwise(names)) / (starts[-1] + 1)
    figure = figure_for(path, height=4.4 + _LETTER * longest if upright else 4.4)
    panel = figure.subplots()
    style(panel, "validation loss")
    losses = [loss for line in lines for loss in line.losses if math.isfinite(loss)]
    top = max(losses)
    panel.yaxis.set_major_formatter("{x:.9g}")
    if min(losses) > 0 and top > LOG_FROM * min(losses):
        panel.set_yscale("log")
        panel.set_ylabel("validation loss (log scale)", fontsize=10)
    for start, line in zip(starts, lines, strict=True):
        _draw_line(panel, start, line, top, fine=len(lines) > _NAMED_TO)
    barriers = _name_barriers(panel, starts, lines)
    panel.set_xticks([*names], [*names.values()], parse_math=False, rotation="vertical" if upright else "horizontal")
    margin = 0.04 * (starts[-1] + 1)
    panel.set_xlim(-margin, starts[-1] + 1 + margin)
    xlabel = "on the straight line between the weights of neighbours"
    return save(figure, path, [panel], title, xlabel=xlabel, rows=[barriers], columns=4)


def _draw_line(panel: Axes, start: float, line: Line, top: float, *, fine: bool) -> None:
    """The losses, the straight line that they are held against, and how far they climb above it."""
    places = [start + alpha for alpha in line.alphas]
    straight = [line.chord(alpha) for alpha in line.alphas]
    (dashes,) = panel.plot(places, straight, color=GREY, linestyle="dashed", label="straight line between the ends")
    dashes.set(linewidth=1.1, zorder=1)
    panel.plot(
        places, line.losses, color=BLUE, linewidth=1.0 if fine else 1.8, marker="" if fine else ".", label="loss"
    )
    ends = [places[0], places[-1]], [line.losses[0], line.losses[-1]]
    (members,) = panel.plot(*ends, "o", color=BLUE, label="members", zorder=3)
    members.set(markersize=3.5 if fine else 7.5, markeredgecolor="white", markeredgewidth=0.3 if fine else 1.0)
    if _height(line) > 0:
        foot = line.chord(line.barrier_at)
        # One without an end goes as high as the picture.
        rise, place = [foot, min(foot + line.barrier, top)], start + line.barrier_at
        (mark,) = panel.plot([place, place], rise, color=VERMILLION, label="barrier", zorder=2.5)
        mark.set(linewidth=1.2 if fine else 2.4, solid_capstyle="butt")


def _name_barriers(panel: Axes, starts: Sequence[float], lines: Sequence[Line]) -> list[Text]:
    """Write how high each is above the panel; the highest stands out."""
    heights = [_height(line) for line in lines]
    highest, many = heights.index(max(heights)), len(lines) > _NAMED_TO
    before = "highest barrier " if many else "barrier " if len(lines) <= _SPELT_OUT_TO else ""
    names = []
    for index in [highest] if many else range(len(lines)):
        text = panel.text(starts[index] + 0.5, 1.02, f"{before}{amount(heights[index])}", color=VERMILLION)
        text.set(transform=panel.get_xaxis_transform(), fontsize=9.5, ha="center", va="bottom")
        text.set_fontweight("bold" if index == highest else "normal")
        names.append(text)
    return names


def _height(line: Line) -> float:
    """The barrier; what rounding makes of a loss that does not climb is none."""
    return line.barrier if line.barrier > _ROUNDING * max(map(abs, (line.losses[0], line.losses[-1]))) else 0.0


def _names(starts: Sequence[float], lines: Sequence[Line]) -> dict[float, str]:
    """What the members are called, by their places; not all of many."""
    names = {start + end: line.names[end] for start, line in zip(starts, lines, strict=True) for end in (0, 1)}
    called = dict(zip(names, member_names([*names.values()], _NAME_WIDTH), strict=True))
    return {place: called[place] for place in [*names][:: math.ceil(len(names) / _TICKS)]}
