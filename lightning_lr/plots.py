"""Every picture of the project. Matplotlib is imported here, when one is drawn, and nowhere else.

A figure is an object of its own: pyplot's current figure, its backend and its windows are left as the user has them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lr.arguments import require_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lightning_lr.cycles import Cycle

# Okabe & Ito's palette, told apart by colour-blind readers too: https://jfly.uni-koeln.de/color/
_BLUE, _VERMILLION, _GREEN, _PURPLE, _ORANGE, _SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
_PALETTE = (_BLUE, _VERMILLION, _GREEN, _PURPLE, _ORANGE, _SKY)
_GREY = "#6B6B6B"
_DASHES = ("solid", "dashed", "dashdot", "dotted")

_DPI = 144
_WIDTH = 7.5  # inches
_LOG_FROM = 20.0  # a linear axis flattens the lower half of a curve that spans more
_SMOOTHED_FROM = 20  # fewer readings are read one by one


def plot_schedule(
    values: Mapping[str, Sequence[float]],
    path: str | Path,
    *,
    cycles: Sequence[Cycle] = (),
    steps_per_epoch: float | None = None,
    title: str | None = None,
) -> Path:
    """Draw hyper-parameters against optimizer updates, one panel a kind, with the cycles' ends.

    Args:
        values: One value an optimizer update, by name: ``lr``, ``momentum``, ``weight_decay``; ``lr[0]``, ``lr[1]`` for
            several param groups, which share a panel.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        cycles: Cycles whose ends are marked; a cut one has none.
        steps_per_epoch: Optimizer updates an epoch; with it a second axis counts epochs.
        title: Stands above the panels.

    Returns:
        The path written.

    Raises:
        ValueError: If there is no finite value to draw, lengths differ, or the ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_schedule({"lr": [0.1, 0.05, 0.1, 0.05]}, folder + "/schedule.png", steps_per_epoch=2).name
        'schedule.png'
    """
    if not values:
        raise ValueError("values={}: nothing to draw; give one value an optimizer update, by name")
    for name, series in values.items():
        _require_finite(f"values[{name!r}]", series)
    lengths = {name: len(series) for name, series in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"values of {lengths} updates: lengths differ; give each one value an update of the same run")
    if steps_per_epoch is not None:
        require_number("steps_per_epoch", steps_per_epoch, above=0)
    kinds: dict[str, list[str]] = {}
    for name in values:
        kinds.setdefault(name.partition("[")[0], []).append(name)

    figure = _figure(path, height=1.1 + 1.9 * len(kinds))
    panels = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
    for index, (panel, (kind, names)) in enumerate(zip(panels, kinds.items(), strict=True)):
        for group, name in enumerate(names):
            steps, series = _held(values[name], cycles)
            panel.plot(
                steps,
                series,
                # Groups may hold the same values: a thin dashed line over a thick solid one shows both.
                color=_PALETTE[(index + group) % len(_PALETTE)],
                linestyle=_DASHES[group % len(_DASHES)],
                linewidth=max(2.6 - 0.6 * group, 1.2) if len(names) > 1 else 1.6,
                label=name if len(names) > 1 else None,
            )
        _mark(panel, cycles, label=index == 0)
        _style(panel, "learning rate" if kind == "lr" else kind.replace("_", " "))
        # Without the power of ten that matplotlib sets apart, which would lie on the axis of epochs.
        panel.yaxis.set_major_formatter("{x:g}")
        everything = {value for name in names for value in values[name]}
        if len(everything) == 1 and (value := everything.pop()) > 0:
            panel.set_ylim(0, 1.25 * value)
    if steps_per_epoch is not None:
        per_epoch = float(steps_per_epoch)
        epochs = panels[0].secondary_xaxis("top", functions=(lambda x: x / per_epoch, lambda x: x * per_epoch))
        epochs.set_xlabel("epochs", fontsize=10)
        epochs.tick_params(labelsize=9)
    return _save(figure, path, panels, title)


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
    _require_finite("train", losses)
    if held_out is not None:
        _require_finite("validation", [loss for _, loss in held_out])

    figure = _figure(path, height=4.0)
    panel = figure.subplots()
    steps = [step for step, _ in readings]
    broken = sum(not math.isfinite(loss) for loss in losses)
    shown = losses
    note = f", {broken} not finite" if broken else ""
    if len(readings) < _SMOOTHED_FROM:
        panel.plot(steps, losses, color=_BLUE, linewidth=1.6, marker="o", markersize=4, label=f"training{note}")
    else:
        window = max(5, len(readings) // 50) | 1
        # Each cycle by itself: a mean over a restart would climb before it.
        borders = sorted({0, len(steps), *(bisect_left(steps, cycle.end) for cycle in cycles if cycle.complete)})
        shown = [mean for a, b in pairwise(borders) for mean in _moving_mean(losses[a:b], window)]
        panel.plot(steps, losses, color=_SKY, linewidth=0.8, alpha=0.55, label=f"training, each reading{note}")
        for a, b in pairwise(borders):
            label = f"training, mean of {window} readings" if a == 0 else None
            panel.plot(steps[a:b], shown[a:b], color=_BLUE, linewidth=1.8, label=label)
    if held_out is not None:
        panel.plot(
            [step for step, _ in held_out],
            [loss for _, loss in held_out],
            color=_VERMILLION,
            linewidth=1.0,
            marker="o",
            markersize=4.5,
            label="validation",
        )
        shown = [*shown, *(loss for _, loss in held_out)]
    _mark(panel, cycles, label=True)
    _style(panel, "loss")
    finite = [loss for loss in shown if math.isfinite(loss)]
    positive = all(loss > 0 for loss in (*losses, *finite) if math.isfinite(loss))
    if positive and max(finite) > _LOG_FROM * min(finite):
        panel.set_yscale("log")
        panel.set_ylabel("loss (log scale)", fontsize=10)
    return _save(figure, path, [panel], title)


def _require_finite(argument: str, series: Sequence[float]) -> None:
    if len(series) == 0:
        raise ValueError(f"{argument}=[]: nothing to draw; give at least one value")
    if not any(math.isfinite(value) for value in series):
        raise ValueError(
            f"{argument}: nothing to draw, none of its {len(series)} values is finite; see where the run diverged"
        )


def _held(series: Sequence[float], cycles: Sequence[Cycle]) -> tuple[list[float], list[float]]:
    """The curve with each update's value held until the next one begins where a cycle ends; there it is broken.

    Joined up, a restart would look like a steep climb, and hide the line that marks it.
    """
    ends = {cycle.end for cycle in cycles if cycle.complete} | {len(series)}
    steps: list[float] = []
    values: list[float] = []
    for step, value in enumerate(series):
        steps.append(step)
        values.append(value)
        if step + 1 in ends:
            steps += [step + 1, math.nan]
            values += [value, math.nan]
    return steps, values


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


def _figure(path: str | Path, *, height: float) -> Figure:
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


def _mark(panel: Axes, cycles: Sequence[Cycle], *, label: bool) -> None:
    ends = [cycle.end for cycle in cycles if cycle.complete]
    for index, end in enumerate(ends):
        name = "cycle end" if label and index == 0 else None
        panel.axvline(end, color=_GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0, label=name)


def _style(panel: Axes, quantity: str) -> None:
    panel.set_ylabel(quantity, fontsize=10)
    panel.tick_params(labelsize=9)
    panel.grid(visible=True, color="#E4E4E4", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.02)


def _save(
    figure: Figure, path: str | Path, panels: Any, title: str | None, *, xlabel: str = "optimizer updates"
) -> Path:
    panels[-1].set_xlabel(xlabel, fontsize=10)
    figure.align_ylabels(list(panels))
    if title is not None:
        figure.suptitle(title, fontsize=12)
    entries = [pair for panel in panels for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    if entries:
        handles, labels = zip(*entries, strict=True)
        # Below the panels: inside, it would lie on the data of one run or another.
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4), fontsize=9, frameon=False)
    figure.savefig(path)
    return Path(path)
