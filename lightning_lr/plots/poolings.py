"""What each way of making one prediction of many scores, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from lightning_lr.plots.frame import BLUE, LOG_FROM, VERMILLION, figure_for, save, style
from lightning_lr.plots.quantities import QUANTITIES, Quantity, amount, quantities_of, values_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW, _LINE, _AROUND = 0.3, 0.14, 1.2  # inches: a row, a further line of its name, what stands around
_NAME_WIDTH = 22  # characters in a line


def plot_poolings(scores: Mapping[str, Mapping[str, float]], path: str | Path, *, title: str | None = None) -> Path:
    """Draw the scores of several poolings, a row each and a panel a score; the best of each score stands out.

    Args:
        scores: The scores of each pooling, or of what was fitted, by its name: ``accuracy`` and ``ece`` (shares),
            ``nll``, ``brier``; of a regression ``mse``, ``mae``, ``nll``.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        title: Stands above the panels.

    Returns:
        The path written.

    Raises:
        ValueError: If there is no score to draw, one is missing, or the ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> import tempfile
        >>> scores = {"mean_prob": {"accuracy": 0.95, "nll": 0.19}, "vote": {"accuracy": 0.94, "nll": 0.92}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_poolings(scores, folder + "/poolings.png").name
        'poolings.png'
    """
    if not scores:
        raise ValueError("scores={}: nothing to draw; give the scores of each pooling by its name")
    first = next(iter(scores))
    quantities = quantities_of(f"scores[{first!r}]", scores[first], tuple(QUANTITIES))
    named = {f"scores[{name!r}]": each for name, each in scores.items()}
    values = {quantity: values_of(named, quantity) for quantity in quantities}

    names = ["\n".join(wrap(name, _NAME_WIDTH)) for name in scores]
    lines = sum(name.count("\n") + 1 for name in names)
    figure = figure_for(path, height=_AROUND + _ROW * len(names) + _LINE * (lines - len(names)))
    panels = list(figure.subplots(1, len(quantities), sharey=True, squeeze=False)[0])
    for panel, quantity in zip(panels, quantities, strict=True):
        _draw_rows(panel, quantity, values[quantity])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    panels[0].set_yticks(range(len(names)), names, parse_math=False)
    return save(figure, path, panels[-1:], title, xlabel=panels[-1].get_xlabel())


def _draw_rows(panel: Axes, quantity: Quantity, values: list[float]) -> None:
    """A dot a row, with its value at the right, where no dot is."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    style(panel, "")
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.set_title(f"{quantity.label}\n{'more' if quantity.more_is_better else 'less'} is better", fontsize=9.5)
    finite = [value for value in values if math.isfinite(value)]
    best = quantity.best(values)
    for row, value in enumerate(values):
        stands_out = value == best and len(set(finite)) > 1
        color = VERMILLION if stands_out else BLUE
        panel.plot(value, row, "o", color=color, markersize=7 if stands_out else 5.5, zorder=3)
        words = f"{value:.2f}" if quantity.in_percent else amount(value)
        text = panel.text(1.02, row, words, transform=panel.get_yaxis_transform(), fontsize=8.5, va="center")
        if stands_out:
            text.set(color=color, fontweight="bold")
    if not finite:
        panel.set_xticks([])
        return
    low, high = min(finite), max(finite)
    if low > 0 and high > LOG_FROM * low:
        panel.set_xscale("log")
        panel.set_xlim(low / (high / low) ** 0.1, high * (high / low) ** 0.1)
        panel.xaxis.set_major_locator(LogLocator(numticks=4))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("log scale", fontsize=9)
    else:
        margin = 0.12 * (high - low) or (1.0 if quantity.in_percent else 0.02 * abs(high) or 1.0)
        panel.set_xlim(low - margin, high + margin)
        panel.xaxis.set_major_formatter("{x:.9g}")
        panel.xaxis.set_major_locator(MaxNLocator(3 if len(f"{high:.9g}") < 7 else 1, prune="both"))
