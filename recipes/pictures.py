"""The pictures of a run, drawn from what its logger wrote: what was used, not what was planned."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from lightning_lr import Cycle
from lightning_lr.plots import plot_loss, plot_schedule

Series = list[tuple[int, float]]
"""Pairs of update and value."""


def draw(metrics: Path, folder: Path, *, cycles: Sequence[Cycle], steps_per_epoch: int | None, title: str) -> None:
    """Draw ``schedule.png`` and ``loss.png``.

    Args:
        metrics: The ``metrics.csv`` of a `CSVLogger`, with what `LearningRateMonitor` logs.
        folder: Where they go.
        cycles: Those of the run; their restarts are marked.
        steps_per_epoch: Updates of an epoch.
        title: What stands above both.
    """
    logged = read(metrics)
    used = {_hyperparameter(name): series for name, series in logged.items() if name.startswith("lr-")}
    plot_schedule(
        {name: [value for _, value in series] for name, series in used.items()},
        folder / "schedule.png",
        cycles=cycles,
        steps_per_epoch=steps_per_epoch,
        title=title,
    )
    plot_loss(logged["train/loss"], folder / "loss.png", validation=logged.get("val/loss"), cycles=cycles, title=title)


def read(metrics: Path) -> dict[str, Series]:
    """Return each column's values by update; where an update has several, as micro-batches do, the last."""
    columns: dict[str, dict[int, float]] = {}
    with metrics.open(newline="") as file:
        for row in csv.DictReader(file):
            step = int(row.pop("step"))
            for name, value in row.items():
                if value:
                    columns.setdefault(name, {})[step] = float(value)
    return {name: sorted(values.items()) for name, values in columns.items()}


def _hyperparameter(column: str) -> str:
    # LearningRateMonitor's names: "lr-SGD" and "lr-SGD-momentum".
    return "momentum" if column.endswith("-momentum") else "lr"
