"""Accuracy along a run: the picture that several claims share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from benchmarks.cells import Outcome
from lightning_lr.plots.frame import DASHES, GREY, PALETTE, figure_for, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P")


def accuracy_curve(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Return the validation accuracy in percent after each epoch: its mean and standard deviation over the seeds."""
    epochs = min(len(each.val_accuracy) for each in outcomes)
    at = [[100 * each.val_accuracy[epoch] for each in outcomes] for epoch in range(epochs)]
    return {
        "epochs": list(range(1, epochs + 1)),
        "mean": [round(fmean(values), 3) for values in at],
        "sd": [round(stdev(values), 3) if len(values) > 1 else 0.0 for values in at],
    }


def heading(setting: str) -> str:
    """Return the name of a setting in two lines: three panels stand side by side."""
    return setting.replace(" (", "\n(")


def side_by_side(
    path: Path, settings: Iterable[str], *, height: float, quantity: str, xlabel: str, sharey: bool = False
) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel a setting, named; the first one has the name of the quantity.

    Args:
        path: Of the picture.
        settings: From left to right.
        height: In inches.
        quantity: Of the vertical axis, with its unit.
        xlabel: Of the horizontal one.
        sharey: Whether the panels have one vertical axis.
    """
    settings = list(dict.fromkeys(settings))
    figure = figure_for(path, height=height)
    panels = figure.subplots(1, len(settings), squeeze=False, sharey=sharey)[0]
    for panel, setting in zip(panels, settings, strict=True):
        style(panel, quantity if panel is panels[0] else "")
        panel.set_title(heading(setting), fontsize=10)
        panel.set_xlabel(xlabel, fontsize=10)
    return figure, dict(zip(settings, panels, strict=True))


def draw_accuracy(
    rows: Sequence[dict[str, Any]], path: Path, title: str, targets: Mapping[str, float] | None = None
) -> None:
    """Draw the curve of each row, a panel a setting; the band is one standard deviation to either side.

    Args:
        rows: With ``setting``, ``schedule`` and ``curve``.
        path: Of the picture.
        title: Above it.
        targets: Of each setting: a level, in percent.
    """
    settings = (row["setting"] for row in rows)
    figure, panels = side_by_side(path, settings, height=3.6, quantity="validation accuracy %", xlabel="epochs")
    for setting, panel in panels.items():
        mine = [row for row in rows if row["setting"] == setting]
        for index, row in enumerate(mine):
            curve, colour = row["curve"], PALETTE[index % len(PALETTE)]
            low, high = ([m + sign * s for m, s in zip(curve["mean"], curve["sd"], strict=True)] for sign in (-1, 1))
            panel.fill_between(curve["epochs"], low, high, color=colour, alpha=0.15, linewidth=0)
            label = row.get("label", row["schedule"])
            panel.plot(curve["epochs"], curve["mean"], color=colour, linestyle=DASHES[index % 4], label=label)
        if targets:
            panel.axhline(targets[setting], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), label="target")
        # The first epochs of all lie far below, and would press the rest into a line.
        ends = [value for row in mine for value in row["curve"]["mean"][len(row["curve"]["mean"]) // 8 :]]
        highest = max(max(row["curve"]["mean"]) for row in mine)
        panel.set_ylim(min(ends) - 0.5, highest + 0.12 * (highest - min(ends)) + 0.5)
    save(figure, path, [*panels.values()], title, xlabel="epochs")


Points = Mapping[str, Mapping[str, tuple[float, float]]]
"""By row and series: mean and standard deviation."""


def draw_points(groups: Mapping[str, Points], path: Path, title: str, quantity: str) -> None:
    """Draw means with their standard deviations, a panel a setting; the panels have the same rows.

    Args:
        groups: By setting.
        path: Of the picture.
        title: Above it.
        quantity: With its unit.
    """
    rows = list(next(iter(groups.values())))
    series = list(next(iter(groups.values()))[rows[0]])
    apart = 0.7 / len(series)
    height = 1.5 + len(rows) * (0.25 + 0.13 * len(series))
    figure, panels = side_by_side(path, groups, height=height, quantity="", xlabel=quantity, sharey=True)
    for setting, panel in panels.items():
        points = groups[setting]
        for index, name in enumerate(series):
            heights = [-row + (0.5 - (index + 0.5) / len(series)) * apart * len(series) for row in range(len(rows))]
            means, sds = zip(*(points[row][name] for row in rows), strict=True)
            look = {"fmt": MARKERS[index], "color": PALETTE[index], "capsize": 3, "markersize": 5}
            panel.errorbar(means, heights, xerr=sds, label=name, **look)
        panel.set_yticks([-row for row in range(len(rows))], rows)
        for row in range(len(rows) - 1):
            panel.axhline(-row - 0.5, color="#E4E4E4", linewidth=0.7)
        panel.set_ylim(-len(rows) + 0.4, 0.6)
        panel.grid(visible=False, axis="y")
        panel.margins(x=0.1)
    save(figure, path, [*panels.values()], title, xlabel=quantity)
