"""The loss of a run."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lr.plots.frame import (
    BLUE,
    LOG_FROM,
    SKY,
    VERMILLION,
    figure_for,
    mark_cycles,
    require_finite,
    save,
    style,
)

if TYPE_CHECKING:
    from lightning_lr.schedules.cycles import Cycle

_SMOOTHED_FROM = 20  # fewer readings are read one by one


def plot_loss(
    train: Iterable[tuple[float, float]],
    path: str | Path,
    *,
    validation: Iterable[tuple[float, float]] | None = None,
    cycles: Sequence[Cycle] = (),
    title: str | None = None,
) -> Path:
    """Draw the loss of a run against optimizer updates.

    The readings are drawn faint, their centred moving mean over one fiftieth of them (at least five) on top, each cycle
    by itself. The loss axis is logarithmic where the mean spans a factor of 20 and no reading is 0 or below.

    Args:
        train: Pairs of update and training loss, in order.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        validation: Pairs of update and validation loss.
        cycles: Cycles whose ends are marked; a cut one has none.
        title: Stands above the panel.

    Returns:
        The path written.

    Raises:
        ValueError: If there is no finite loss to draw, or the ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_loss([(0, 2.3), (1, 1.1), (2, 0.7)], folder + "/loss.png", validation=[(2, 0.8)]).name
        'loss.png'
    """
    readings, held_out = list(train), None if validation is None else list(validation)
    losses = [loss for _, loss in readings]
    require_finite("train", losses)
    if held_out is not None:
        require_finite("validation", [loss for _, loss in held_out])

    figure = figure_for(path, height=4.0)
    panel = figure.subplots()
    steps = [step for step, _ in readings]
    broken = sum(not math.isfinite(loss) for loss in losses)
    shown = losses
    note = f", {broken} not finite" if broken else ""
    if len(readings) < _SMOOTHED_FROM:
        panel.plot(steps, losses, color=BLUE, linewidth=1.6, marker="o", markersize=4, label=f"training{note}")
    else:
        window = max(5, len(readings) // 50) | 1
        # Each cycle by itself: a mean over a restart would climb before it.
        borders = sorted({0, len(steps), *(bisect_left(steps, cycle.end) for cycle in cycles if cycle.complete)})
        shown = [mean for a, b in pairwise(borders) for mean in _moving_mean(losses[a:b], window)]
        panel.plot(steps, losses, color=SKY, linewidth=0.8, alpha=0.55, label=f"training, each reading{note}")
        for a, b in pairwise(borders):
            label = f"training, mean of {window} readings" if a == 0 else None
            panel.plot(steps[a:b], shown[a:b], color=BLUE, linewidth=1.8, label=label)
    if held_out is not None:
        panel.plot(
            [step for step, _ in held_out],
            [loss for _, loss in held_out],
            color=VERMILLION,
            linewidth=1.0,
            marker="o",
            markersize=4.5,
            label="validation",
        )
        shown = [*shown, *(loss for _, loss in held_out)]
    mark_cycles(panel, cycles, label=True)
    style(panel, "loss")
    finite = [loss for loss in shown if math.isfinite(loss)]
    positive = all(loss > 0 for loss in (*losses, *finite) if math.isfinite(loss))
    if positive and max(finite) > LOG_FROM * min(finite):
        panel.set_yscale("log")
        panel.set_ylabel("loss (log scale)", fontsize=10)
    return save(figure, path, [panel], title)


def _moving_mean(series: Sequence[float], window: int) -> list[float]:
    """Centred mean of the finite values in each window, which is cut at both ends."""
    import numpy as np  # comes with matplotlib; the core has no need of it

    values = np.asarray(series, dtype=float)
    finite, ones = np.isfinite(values), np.ones(window)
    # Not by a running sum: one loss of 1e30 would stay in it as rounding for the rest of the run.
    total = np.convolve(np.where(finite, values, 0.0), ones, mode="full")[window // 2 :][: len(values)]
    count = np.convolve(finite.astype(float), ones, mode="full")[window // 2 :][: len(values)].round()
    mean: list[float] = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0).tolist()
    return mean
