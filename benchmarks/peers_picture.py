"""Error, processor seconds and lines of all contenders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from lightning_lr.plots.frame import BLUE, GREY, VERMILLION, figure_for, save, style

_ROW, _AROUND, _GAP = 0.27, 1.5, 1.0  # inches a row and around all; rows between kinds
_NAME = 36  # characters in a line
_LEAST = 0.05  # percent, where no error at all is drawn on a logarithmic axis


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
    error, seconds, lines = panels
    for panel, name in zip(panels, ("test error, %", "CPU seconds", "lines added"), strict=True):
        style(panel, "")
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        panel.set_xlabel(name, fontsize=10)
    error.set_xscale("log")
    error.set_xticks(*_ticks(rows))
    error.minorticks_off()
    error.set_xlim(left=error.get_xlim()[0] / 1.2)
    seconds.set_xlim(left=0)
    lines.set_xlim(left=0)
    error.set_ylim(height - 0.4, -0.9)
    error.set_yticks(places, ["\n".join(_name(row["contender"])) for row in rows], fontsize=8, linespacing=0.95)
    for place, title in titles:
        # In the first panel's margin, above the names that it is about.
        error.text(
            -0.02,
            place,
            title,
            ha="right",
            va="center",
            fontsize=8.5,
            weight="bold",
            transform=error.get_yaxis_transform(),
        )
    n = max(len(row["seeds"]) for row in rows)
    title = f"Same data, network, optimizer and updates: mean ± sd of {n} seeds"
    return save(figure, path, panels[-1:], title, xlabel="lines added")


def _name(contender: str) -> list[str]:
    """Break a name between what is called and whose it is, where it is long."""
    if len(contender) <= _NAME:
        return [contender]
    called, _, whose = contender.rpartition(", ")
    return [*wrap(f"{called},", _NAME), whose]


def _ticks(rows: Sequence[dict[str, Any]]) -> tuple[list[float], list[str]]:
    errors = [100 - each for row in rows if "accuracy" in row for each in row["accuracy"].each]
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if min(errors) / 2 <= tick <= 2 * max(errors)]
    if len(ticks) > 8:
        ticks = [tick for tick in ticks if tick in (0.1, 1, 10, 100)]
    return ticks, [f"{tick:g}" for tick in ticks]


def _places(rows: Sequence[dict[str, Any]]) -> tuple[list[float], list[tuple[float, str]]]:
    places: list[float] = []
    titles = []
    place, before, data = 0.2, None, {row["data"] for row in rows}
    for row in rows:
        block = (row["data"], row["kind"])
        if block != before:
            place += _GAP if before else 0.0
            titles.append((place - 0.85, row["kind"] if len(data) == 1 else f"{row['kind']}: {row['data']}"))
            before = block
        places.append(place)
        place += 1
    return places, titles


def _row(panels: Sequence[Any], place: float, row: dict[str, Any]) -> None:
    error, seconds, lines = panels
    colour, name = (BLUE, "ours") if row["ours"] else (VERMILLION, "others")
    if "accuracy" in row:
        found = row["accuracy"]
        mean, each = 100 - found.mean, [max(100 - value, _LEAST) for value in found.each]
        error.plot(each, [place] * len(each), "o", color=GREY, markersize=2.5, alpha=0.5, zorder=2)
        spread = 0.0 if len(each) == 1 else found.sd
        # Not below what the axis can show.
        below = min(spread, max(mean - _LEAST, 0.0))
        error.errorbar(
            max(mean, _LEAST), place, xerr=[[below], [spread]], fmt="o", color=colour, markersize=5, capsize=2.5
        )
        seconds.barh(place, row["cpu_seconds"].mean, height=0.55, color=colour)
    else:
        error.text(0.02, place, "no network", fontsize=8, va="center", transform=error.get_yaxis_transform())
    lines.barh(place, row["lines"].added, height=0.55, color=colour, label=name)
