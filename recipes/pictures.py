"""The pictures of a run, drawn from what its logger wrote: what was used, not what was planned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_lr import Cycle
from lightning_lr.plots import plot_loss, plot_schedule

from .metrics import Series, read

_COLUMN = re.compile(r"lr-.+?(/pg(?P<group>\d+))?(?P<momentum>-momentum)?")


def draw(folder: Path, *, cycles: Sequence[Cycle], steps_per_epoch: int | None, title: str) -> None:
    """Draw ``schedule.png`` and ``loss.png``.

    Args:
        folder: Of the run, with the ``metrics.csv`` of what `LearningRateMonitor` logs; they go there too.
        cycles: Those of the run; their restarts are marked.
        steps_per_epoch: Updates of an epoch.
        title: What stands above both.
    """
    logged = read(folder)
    plot_schedule(
        used(logged),
        folder / "schedule.png",
        cycles=cycles,
        steps_per_epoch=steps_per_epoch,
        title=title,
    )
    plot_loss(logged["train/loss"], folder / "loss.png", validation=logged.get("val/loss"), cycles=cycles, title=title)


def used(logged: Mapping[str, Series]) -> dict[str, list[float]]:
    """Return what the optimizer used at each update, by hyper-parameter, as `plot_schedule` takes it.

    One curve where all param groups share it, as they mostly do; else one a group.

    Args:
        logged: What `LearningRateMonitor` logs among it, under names like ``lr-SGD`` and ``lr-SGD/pg1-momentum``.

    Example:
        >>> used({"lr-SGD/pg1": [(0, 0.1)], "lr-SGD/pg2": [(0, 0.1)], "train/loss": [(0, 2.3)]})
        {'lr': [0.1]}
        >>> used({"lr-SGD/pg1": [(0, 0.1)], "lr-SGD/pg2": [(0, 0.05)]})
        {'lr[0]': [0.1], 'lr[1]': [0.05]}
    """
    groups: dict[str, dict[int, list[float]]] = {}
    for name, series in logged.items():
        column = _COLUMN.fullmatch(name)
        if column is not None:
            hyperparameter = "momentum" if column["momentum"] else "lr"
            groups.setdefault(hyperparameter, {})[int(column["group"] or 1)] = [value for _, value in series]
    curves: dict[str, list[float]] = {}
    for hyperparameter, by_group in groups.items():
        first, *others = (by_group[group] for group in sorted(by_group))
        if all(other == first for other in others):
            curves[hyperparameter] = first
        else:
            curves |= {f"{hyperparameter}[{index}]": values for index, values in enumerate([first, *others])}
    return curves
