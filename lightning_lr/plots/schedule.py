"""What a run will do, or did, to its optimizer's hyper-parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lr.arguments import require_number
from lightning_lr.plots.frame import DASHES, PALETTE, figure_for, mark_cycles, require_finite, save, style

if TYPE_CHECKING:
    from lightning_lr.schedules.cycles import Cycle


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
        require_finite(f"values[{name!r}]", series)
    lengths = {name: len(series) for name, series in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"values of {lengths} updates: lengths differ; give each one value an update of the same run")
    if steps_per_epoch is not None:
        require_number("steps_per_epoch", steps_per_epoch, above=0)
    kinds: dict[str, list[str]] = {}
    for name in values:
        kinds.setdefault(name.partition("[")[0], []).append(name)

    figure = figure_for(path, height=1.1 + 1.9 * len(kinds))
    panels = list(figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0])
    for index, (panel, (kind, names)) in enumerate(zip(panels, kinds.items(), strict=True)):
        for group, name in enumerate(names):
            steps, series = _held(values[name], cycles)
            panel.plot(
                steps,
                series,
                # Groups may hold the same values: a thin dashed line over a thick solid one shows both.
                color=PALETTE[(index + group) % len(PALETTE)],
                linestyle=DASHES[group % len(DASHES)],
                linewidth=max(2.6 - 0.6 * group, 1.2) if len(names) > 1 else 1.6,
                label=name if len(names) > 1 else None,
            )
        mark_cycles(panel, cycles, label=index == 0)
        style(panel, "learning rate" if kind == "lr" else kind.replace("_", " "))
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
    return save(figure, path, panels, title)


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
