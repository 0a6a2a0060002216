"""What a run has logged, read from its folder: one file, and one more for each time that it was resumed."""

from __future__ import annotations

import csv
from pathlib import Path

from .resume import earlier

METRICS = "metrics.csv"

Series = list[tuple[int, float]]
"""Pairs of update and value."""


def read(folder: Path) -> dict[str, Series]:
    """Return each column's values by update; where an update has several, as micro-batches do, the last.

    What was done anew after a resume counts, and not what was done before it.

    Args:
        folder: Of a run.

    Raises:
        FileNotFoundError: If it has logged nothing.
    """
    numbered = (earlier(folder, METRICS, number) for number in range(len(list(folder.glob("metrics-*.csv")))))
    parts = [file for file in (*numbered, folder / METRICS) if file.is_file()]
    if not parts:
        raise FileNotFoundError(f"{folder / METRICS}: not there; this is no run, or one that has logged nothing")
    columns: dict[str, dict[int, float]] = {}
    for part in parts:
        rows = _rows(part)
        begin = min((step for step, _ in rows), default=0)
        for values in columns.values():
            for step in [step for step in values if step >= begin and rows]:
                del values[step]
        for step, row in rows:
            for name, value in row.items():
                columns.setdefault(name, {})[step] = value
    return {name: sorted(values.items()) for name, values in columns.items() if values}


def _rows(file: Path) -> list[tuple[int, dict[str, float]]]:
    with file.open(newline="") as opened:
        read = csv.DictReader(opened)
        return [(int(row.pop("step")), {name: float(value) for name, value in row.items() if value}) for row in read]
