"""Accuracy, processor seconds and lines of all contenders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from lightning_lr.plots.frame import BLUE, GREY, VERMILLION, figure_for, save, style

_ROW, _AROUND, _GAP = 0.36, 1.5, 0.9  # inches a row and around all; rows between kinds
_NAME = 34  # characters in a line


def draw(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Draw one block of rows a kind, of the first data set that was measured and of the others below it.

    Args:
        rows: As `peers_report.summary` gives them.
        path: The picture.
    """
    places, titles = _places(rows)
    height = max(places) + 1
    figure = figure_for(path, height=_AROUND + _ROW * height)
    panels = list(figure.subplots(1, 3, sharey=True, width_ratios=(1.6, 1, 0.8)))
    for place, row in zip(places, rows, strict=True):
        _row(panels, place, row)
    accuracy, seconds, lines = panels
    for panel, name in zip(panels, ("accuracy, %", "CPU seconds", "lines added"), strict=True):
        style(panel, "")
        panel.set_xlabel(name, fontsize=10)
    seconds.set_xlim(left=0)
    lines.set_xlim(left=0)
    accuracy.set_ylim(height - 0.4, -0.9)
    accuracy.set_yticks(places, ["\n".join(wrap(row["contender"], _NAME)) for row in rows], fontsize=8)
    for place, title in titles:
        accuracy.text(0.0, place, title, fontsize=8.5, fontweight="bold", transform=accuracy.get_yaxis_transform())
    n = max(len(row["seeds"]) for row in rows)
    title = f"Ours beside the peers: same data, network, updates; n = {n}, mean and standard deviation"
    return save(figure, path, panels[-1:], title, xlabel="lines added")


def _places(rows: Sequence[dict[str, Any]]) -> tuple[list[float], list[tuple[float, str]]]:
    places: list[float] = []
    titles = []
    next_place, before, data = 0.0, None, {row["data"] for row in rows}
    for row in rows:
        block = (row["data"], row["kind"])
        if block != before:
            next_place += _GAP if before else 0.2
            titles.append((next_place - 0.55, row["kind"] if len(data) == 1 else f"{row['kind']}: {row['data']}"))
            before = block
        places.append(next_place)
        next_place += 1
    return places, titles


def _row(panels: Sequence[Any], place: float, row: dict[str, Any]) -> None:
    accuracy, seconds, lines = panels
    colour, name = (BLUE, "ours") if row["ours"] else (VERMILLION, "others")
    if "accuracy" in row:
        found = row["accuracy"]
        accuracy.plot(found.each, [place] * len(found.each), "o", color=GREY, markersize=2.5, alpha=0.5, zorder=2)
        spread = 0.0 if len(found.each) == 1 else found.sd
        accuracy.errorbar(found.mean, place, xerr=spread, fmt="o", color=colour, markersize=5, capsize=2.5, label=name)
        seconds.barh(place, row["cpu_seconds"].mean, height=0.55, color=colour)
    else:
        accuracy.text(0.02, place, "no network", fontsize=8, va="center", transform=accuracy.get_yaxis_transform())
    lines.barh(place, row["lines"].added, height=0.55, color=colour)
