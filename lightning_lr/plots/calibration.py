"""Whether predicted probabilities come true as often as they say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from lightning_lr.plots.frame import DASHES, GREY, PALETTE, figure_for, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lightning_lr.ensemble.scores import Bin

_MARKERS = "osD^vP"
_FEW = 10  # samples of a bin whose share says little
_Z = 1.96  # of the normal distribution's middle 95 %
_WIDTH = 60  # characters in a line of the legend
_AROUND, _LINE = 5.8, 0.18  # inches: the panels and what stands around, a line of the legend


def plot_calibration(diagrams: Mapping[str, Sequence[Bin]], path: str | Path, *, title: str | None = None) -> Path:
    """Draw a reliability diagram: in each bin of predicted probability, how often the prediction came true.

    On the diagonal it does so as often as it says; below, the model is overconfident. The error in the legend is
    ``ECE = Σ_b (n_b / N) |share_b − confidence_b|``. A bin's bar is Wilson's 95 % interval of its share. That of a few
    samples says little: its point is hollow, and not on the line. The samples of each bin are counted in the panel
    below; empty bins are left out.

    Args:
        diagrams: Bins by the name of the diagram: ``{"before": bins, "temperature 1.4": bins}``.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        title: Stands above the panels.

    Returns:
        The path written.

    Raises:
        ValueError: If there is no diagram, one has no sample, or the ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    References:
        Guo, C., et al. On Calibration of Modern Neural Networks. ICML 2017.

    Example:
        >>> import tempfile
        >>> from lightning_lr.ensemble.scores import Bin
        >>> bins = [Bin(0.5, 0.75, 0.7, 0.6, 10), Bin(0.75, 1.0, 0.9, 0.85, 40)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_calibration({"before": bins}, folder + "/calibration.png").name
        'calibration.png'
    """
    if not diagrams:
        raise ValueError("diagrams={}: nothing to draw; give the bins of each diagram by its name")
    for name, bins in diagrams.items():
        if not any(each.count for each in bins):
            raise ValueError(f"diagrams[{name!r}]: nothing to draw, no bin has a sample; give bins of a data set")

    full = {name: [each for each in bins if each.count] for name, bins in diagrams.items()}
    labels = [fill(f"{name}: ECE {100 * _ece(bins):.2f} %", _WIDTH) for name, bins in full.items()]
    figure = figure_for(path, height=_AROUND + _LINE * sum(label.count("\n") + 1 for label in labels))
    panel, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.6, 1])
    style(panel, "observed share (%)")
    style(below, "samples\n(log scale)")
    (diagonal,) = panel.plot([0, 100], [0, 100], color=GREY, label="as often as predicted; below: overconfident")
    diagonal.set(linestyle="dashed", linewidth=1.2, zorder=1)
    for index, (label, bins) in enumerate(zip(labels, full.values(), strict=True)):
        _draw_shares(panel, bins, f" {label}", index)
        _draw_counts(below, bins, index, len(full))
    if any(each.count < _FEW for bins in full.values() for each in bins):
        (hollow,) = panel.plot([], [], "o", color=GREY, label=f"fewer than {_FEW} samples")
        hollow.set(markersize=6, markerfacecolor="white")
    panel.set_xlim(-2, 102)
    panel.set_ylim(-3, 103)
    below.set_yscale("log")
    below.set_ylim(bottom=0.7)  # one sample is seen too
    return save(figure, path, [panel, below], title, xlabel="predicted probability (%)", columns=2)


def _draw_shares(panel: Axes, bins: Sequence[Bin], label: str, index: int) -> None:
    """A point a bin with its interval; those that say little are hollow, and the line does not go after them."""
    color, marker = PALETTE[index % len(PALETTE)], _MARKERS[index % len(_MARKERS)]
    low, high = zip(*map(_interval, bins), strict=True)
    panel.vlines([100 * each.confidence for each in bins], low, high, color=color, linewidth=1.2, alpha=0.45)
    few, many = [each for each in bins if each.count < _FEW], [each for each in bins if each.count >= _FEW]
    for each, name in ((many, label), (few, None)):
        (line,) = panel.plot([100 * bar.confidence for bar in each], [100 * bar.share for bar in each], label=name)
        line.set(color=color, marker=marker, markersize=6, linestyle="none", zorder=3)
        if name is None:
            line.set(markerfacecolor="white")
        else:
            line.set(linestyle=DASHES[index % len(DASHES)], linewidth=1.6, markeredgecolor="white")


def _draw_counts(below: Axes, bins: Sequence[Bin], index: int, diagrams: int) -> None:
    """A bar a bin, beside those of the other diagrams."""
    for each in bins:
        width = 100 * (each.high - each.low) * 0.9 / diagrams
        left = 50 * (each.low + each.high) + (index - diagrams / 2) * width
        below.bar(left, each.count, width, align="edge", color=PALETTE[index % len(PALETTE)], linewidth=0)


def _ece(bins: Sequence[Bin]) -> float:
    samples = sum(each.count for each in bins)
    return math.fsum(each.count * abs(each.share - each.confidence) for each in bins) / samples


def _interval(of: Bin) -> tuple[float, float]:
    """Wilson's score interval of a bin's share, in percent: where all or none came true it is wider than nothing."""
    shrink = 1 + _Z**2 / of.count
    middle = of.share + _Z**2 / (2 * of.count)
    half = _Z * math.sqrt(of.share * (1 - of.share) / of.count + _Z**2 / (4 * of.count**2))
    return 100 * (middle - half) / shrink, 100 * (middle + half) / shrink
