"""One learning rate range test: which rate to take, and why to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from lightning_lr.plots.axes import (
    height_at,
    logarithmic,
    quantity,
    reached,
    reading_marker,
    require_readings,
    set_losses,
    set_rates,
    written,
)
from lightning_lr.plots.frame import BLACK, BLUE, GREY, SKY, VERMILLION, figure_for, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.text import Text

    from lightning_lr.range_test.result import RangeTest

_CHOSEN = {"base_lr": (VERMILLION, "dashed"), "max_lr": (VERMILLION, "solid"), "fixed_lr": (BLACK, "dashdot")}
# Name, shade and ink: those of the palette, as light and as dark as a background and its name need.
_PHASES = (
    ("too low", "#EFEFEF", "#5A5A5A"),
    ("the loss falls", "#E0F1EB", "#006B4F"),
    ("too high", "#FBE6DA", "#9A4300"),
)
_BEGINS = 0.1  # share of its fall that the loss has lost where the second phase begins

_CURVE, _ROW, _AROUND, _LINE = 3.5, 0.2, 1.3, 0.155  # inches: the panel, a rule, what stands around, a line of a note
_NOTE_WIDTH = 105  # characters in a line


def plot_range_test(found: RangeTest, path: str | Path, *, title: str | None = None) -> Path:
    """Draw the loss against the learning rate, with what every rule makes of it.

    The readings are faint, the smoothed curve is on top. Three phases are shaded: too low, until a tenth of the fall is
    lost; the loss falls; too high, from the minimum on. The rates to use stand above. Each rule has a row below, with
    its spread over the repeats; what speaks against trusting them is written under it.

    The rates' axis is logarithmic unless the test was linear. A loss that climbs far above the level that it fell from
    leaves the picture; the losses' axis is logarithmic where that level is over 20 times the minimum and no reading is
    0 or below.

    Args:
        found: What a range test found.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        title: Stands above the panel.

    Returns:
        The path written.

    Raises:
        ValueError: If the test has no reading, or the ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    References:
        Smith, L. N. Cyclical Learning Rates for Training Neural Networks. WACV 2017.

    Example:
        >>> import tempfile
        >>> from lightning_lr.range_test.result import RangeTest
        >>> from lightning_lr.range_test.readings import Run, Settings
        >>> found = RangeTest(Settings(0.001, 1.0, steps=4, smoothing=0.0), [Run((2.0, 1.9, 0.5, 7.0), "complete")])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_range_test(found, folder + "/lr_range.png").name
        'lr_range.png'
    """
    require_readings("found", found)
    rules = dict(sorted(found.suggestions.items(), key=lambda rule: rule[1]))
    bands = {rule: found.bands[rule] for rule in rules if rule in found.bands}
    chosen = {name: rate for name in _CHOSEN if (rate := getattr(found, name)) is not None}
    notes = [line for note in found.reliability for line in wrap(f"• {note}", _NOTE_WIDTH, subsequent_indent="   ")]
    heights = [_CURVE, _ROW * (len(rules) + 1)] if rules else [_CURVE]
    drawn, noted = sum(heights) + _AROUND, _LINE * len(notes) + 0.1 if notes else 0.0

    whole = figure_for(path, height=drawn + noted)
    figure: Figure | SubFigure = whole
    if notes:
        figure, below = whole.subfigures(2, 1, squeeze=False, height_ratios=[drawn, noted])[:, 0]
        below.text(0.02, 1.0, "\n".join(notes), fontsize=8.5, va="top", linespacing=1.3, parse_math=False)
    panels = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    panel, log = panels[0], logarithmic([found])
    style(panel, quantity([found]))
    extent = [*reached(found), *rules.values(), *chosen.values(), *chain(*bands.values())]
    set_rates(panel, min(extent), max(extent), log=log)
    set_losses(panel, [found])

    _draw_curves(panel, found)
    rows = [_shade_phases(panels, found), _mark_chosen(panels, chosen)]
    if rules:
        taken = {chosen[name]: _CHOSEN[name][0] for name in ("max_lr", "fixed_lr") if name in chosen}
        _list_rules(panels[1], rules, bands, taken)
        for rate in rules.values():
            dot = {"color": taken.get(rate, BLUE), "zorder": 3}
            panel.plot(rate, height_at(found, rate, log=log), "o", markersize=5, **dot)
    xlabel = "learning rate (log scale)" if log else "learning rate"
    return save(whole, path, panels, title, xlabel=xlabel, within=figure, rows=rows, columns=5)


def _draw_curves(panel: Axes, found: RangeTest) -> None:
    repeats = len(found.runs)
    if repeats > 1:
        for index, run in enumerate(found.runs):
            label = f"each of {repeats} repeats" if index == 0 else None
            rates = found.settings.lrs[: len(run.losses)]
            panel.plot(rates, run.losses, color=GREY, linewidth=0.7, alpha=0.35, label=label)
    label, dot = "each reading" if repeats == 1 else "their mean", reading_marker(found.losses)
    panel.plot(found.lrs, found.losses, color=SKY, linewidth=0.9, alpha=0.7, marker=dot, markersize=3, label=label)
    panel.plot(found.lrs, found.smoothed, color=BLUE, linewidth=2.0, label="smoothed")


def _shade_phases(panels: Sequence[Axes], found: RangeTest) -> list[Text]:
    """Shade the phases of a loss that fell, and return their names: of one that never fell there is none to tell."""
    if not found.suggestions:
        return []
    first, lowest = found.smoothed[0], min(found.smoothed)
    begins = next(
        rate for rate, loss in zip(found.lrs, found.smoothed, strict=True) if loss <= first + _BEGINS * (lowest - first)
    )
    left, right = panels[0].get_xlim()
    borders = [left, begins, found.lrs[found.smoothed.index(lowest)], right]
    names = []
    for (name, shade, ink), (start, end) in zip(_PHASES, pairwise(borders), strict=True):
        # Where the readings end at the minimum, nothing is known of what comes after.
        if start == end or start == found.lrs[-1]:
            continue
        for panel in panels:
            panel.axvspan(start, end, color=shade, linewidth=0, zorder=-2)
        middle = (start * end) ** 0.5 if panels[0].get_xscale() == "log" else (start + end) / 2
        text = panels[0].text(middle, 0.02, name, transform=panels[0].get_xaxis_transform(), fontsize=9, color=ink)
        # On its shade, so that no line runs through the name.
        text.set(ha="center", va="bottom", bbox={"facecolor": shade, "edgecolor": "none", "pad": 1.5})
        names.append(text)
    return names


def _mark_chosen(panels: Sequence[Axes], chosen: dict[str, float]) -> list[Text]:
    """Draw the rates to use through all panels, and return their names, which stand above."""
    panel = panels[0]
    at_top = panel.get_xaxis_transform()
    if not chosen:
        panel.set_title("no learning rate can be told from this curve", fontsize=10, color=GREY, fontweight="bold")
        return []
    if "base_lr" in chosen and "max_lr" in chosen:
        ends = [chosen["base_lr"], chosen["max_lr"]]
        (bar,) = panel.plot(ends, [1, 1], transform=at_top, color=VERMILLION, linewidth=6, label="for a cycle")
        bar.set(clip_on=False, solid_capstyle="butt")
    for each in panels:
        for name, rate in chosen.items():
            color, dash = _CHOSEN[name]
            label = "for no cycle" if name == "fixed_lr" and each is panel else None
            each.axvline(rate, color=color, linestyle=dash, linewidth=1.6, label=label)
    tabs = []
    for name, rate in sorted(chosen.items(), key=lambda each: each[1]):
        text = panel.text(rate, 1.03, f"{name}={written(rate)}", transform=at_top, fontsize=10, fontweight="bold")
        text.set(ha="center", va="bottom", color=_CHOSEN[name][0])
        tabs.append(text)
    return tabs


def _list_rules(
    table: Axes, rules: dict[str, float], bands: dict[str, tuple[float, float]], taken: dict[float, str]
) -> None:
    """A row a rule, below the curve on the same axis: minimum/3 and minimum/4 would lie on each other there."""
    style(table, "")
    table.set_ylim(len(rules) - 0.4, -0.6)
    table.set_yticks(range(len(rules)), [*rules])
    table.tick_params(axis="y", length=0)
    table.spines["left"].set_visible(False)
    to_the_right = table.get_yaxis_transform()
    for row, (rule, rate) in enumerate(rules.items()):
        color, value = taken.get(rate, BLUE), written(rate)
        if rule in bands:
            value += "  ({} to {})".format(*map(written, bands[rule]))
            table.plot(bands[rule], [row, row], color=color, linewidth=6, alpha=0.35, solid_capstyle="butt")
        table.plot(rate, row, "o", color=color, markersize=5, zorder=3)
        text = table.text(1.015, row, value, transform=to_the_right, fontsize=9, va="center")
        if rate in taken:
            text.set(color=color, fontweight="bold")
