"""What an ensemble gains over its members: by how many of them are in it, and by how long they were trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightning_lr.arguments import require_int
from lightning_lr.plots.frame import BLACK, BLUE, GREY, ORANGE, VERMILLION, figure_for, save, style
from lightning_lr.plots.quantities import Quantity, amount, quantities_of, set_limits, values_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WANTED = ("accuracy", "mse", "nll")
_FEW = 20  # members whose marks are drawn large; as many values fit side by side


def plot_last_m(
    ensembles: Sequence[Mapping[str, float]],
    members: Sequence[Mapping[str, float]],
    path: str | Path,
    *,
    chosen: int | None = None,
    title: str | None = None,
) -> Path:
    """Draw the scores of the ensemble of the last m members against m, with each member alone.

    A panel each for accuracy and negative log-likelihood; of a regression for the mean squared error and the negative
    log-likelihood. Above ``m`` stands the member that joins there: the last one at 1, the oldest at the right. Members
    so far off that they would flatten the curve are marked at the panel's edge, with their value.

    Args:
        ensembles: Scores of the ensemble of the last 1, 2, … M members: ``accuracy`` (a share), ``mse``, ``nll``.
        members: The same scores of each of the M members alone, the oldest first.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        chosen: The m that was decided for.
        title: Stands above the panels.

    Returns:
        The path written.

    Raises:
        TypeError: If ``chosen`` is no int.
        ValueError: If there is no score to draw, one is missing, lengths differ, ``chosen`` is not one of them, or the
            ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    References:
        Huang, G., et al. Snapshot Ensembles: Train 1, get M for free. ICLR 2017.

    Example:
        >>> import tempfile
        >>> members = [{"accuracy": 0.91, "nll": 0.31}, {"accuracy": 0.93, "nll": 0.25}]
        >>> ensembles = [{"accuracy": 0.93, "nll": 0.25}, {"accuracy": 0.95, "nll": 0.19}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_last_m(ensembles, members, folder + "/last_m.png", chosen=2).name
        'last_m.png'
    """
    _require_alike("ensembles", ensembles, "members", members)
    last = len(members)
    if chosen is not None and require_int("chosen", chosen, at_least=1) > last:
        raise ValueError(f"chosen={chosen}: there are {last} members; pass an int of at most {last}")
    words = f"last {chosen} of {last}" if chosen else _all(last)
    figure, panels = _panels_for(
        path,
        range(1, last + 1),
        _Series("ensembles", ensembles, "ensemble of the last m"),
        _Series("members", members, "the member that joins there, alone", backwards=True),
        _Headline((chosen or last) - 1, words, f"chosen: m = {chosen}" if chosen else None),
    )
    panels[-1].set_xticks(_counts(last))
    margin = 0.3 + 0.02 * last
    panels[-1].set_xlim(1 - margin, last + margin)
    return save(figure, path, panels, title, xlabel="m: members in the ensemble, counted from the last one", columns=3)


def plot_training_spent(
    steps: Sequence[int],
    alone: Sequence[Mapping[str, float]],
    together: Sequence[Mapping[str, float]],
    path: str | Path,
    *,
    title: str | None = None,
) -> Path:
    """Draw at each restart of a run what its snapshot scores alone, and what all of them so far score together.

    One cyclic run gives the whole curve of score against training spent. The panels are those of `plot_last_m`.

    Args:
        steps: Optimizer updates that had been made when each of the M snapshots was taken, the oldest first.
        alone: Scores of each snapshot alone: ``accuracy`` (a share), ``mse``, ``nll``.
        together: The same scores of the ensemble of the first 1, 2, … M snapshots.
        path: The picture to write; its ending says the format. An older picture there is replaced.
        title: Stands above the panels.

    Returns:
        The path written.

    Raises:
        TypeError: If a step is no int.
        ValueError: If there is no score to draw, one is missing, lengths differ, the steps do not increase, or the
            ending is no picture format.
        FileNotFoundError: If the path's folder is missing.
        ModuleNotFoundError: If matplotlib is not installed.

    References:
        Huang, G., et al. Snapshot Ensembles: Train 1, get M for free. ICLR 2017.

    Example:
        >>> import tempfile
        >>> alone = [{"accuracy": 0.91, "nll": 0.31}, {"accuracy": 0.93, "nll": 0.25}]
        >>> together = [{"accuracy": 0.91, "nll": 0.31}, {"accuracy": 0.95, "nll": 0.19}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_training_spent([500, 1000], alone, together, folder + "/spent.png").name
        'spent.png'
    """
    _require_alike("alone", alone, "together", together)
    if len(steps) != len(alone):
        raise ValueError(
            f"steps of {len(steps)}, alone of {len(alone)} snapshots: lengths differ; give one step of each"
        )
    before = -1
    for index, step in enumerate(steps):
        if require_int(f"steps[{index}]", step, at_least=0) <= before:
            wrong = f"not above the {before} before it"
            raise ValueError(f"steps[{index}]={step}: {wrong}; give snapshots of one run, the oldest first")
        before = step
    figure, panels = _panels_for(
        path,
        steps,
        _Series("together", together, "all snapshots so far, together"),
        _Series("alone", alone, "the snapshot taken there, alone"),
        _Headline(len(steps) - 1, _all(len(steps))),
    )
    from matplotlib.ticker import EngFormatter, MaxNLocator

    panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    panels[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    panels[-1].set_xlim(0, 1.04 * max(steps[-1], 1))
    return save(figure, path, panels, title, xlabel="training spent (optimizer updates)", columns=3)


class _Series(NamedTuple):
    argument: str
    scores: Sequence[Mapping[str, float]]
    name: str
    backwards: bool = False


class _Headline(NamedTuple):
    """Which ensemble the picture is about, and what it is called."""

    at: int
    words: str
    chosen: str | None = None


def _counts(last: int) -> list[int]:
    """About ten numbers from 1 on that read well; 0 is not among them."""
    step = next(step for power in count(0) for step in (10**power, 2 * 10**power, 5 * 10**power) if last <= 12 * step)
    return [*([1] if step > 2 else []), *range(step, last + 1, step)]


def _all(members: int) -> str:
    return f"all {members}" if members > 1 else "the only one"


def _require_alike(first: str, scores: Sequence[object], second: str, others: Sequence[object]) -> None:
    for argument, each in ((first, scores), (second, others)):
        if len(each) == 0:
            raise ValueError(f"{argument}=[]: nothing to draw; give the scores of at least one member")
    if len(scores) != len(others):
        raise ValueError(
            f"{first} of {len(scores)}, {second} of {len(others)} members: lengths differ; give one dict a member"
        )


def _panels_for(
    path: str | Path, places: Sequence[int], together: _Series, alone: _Series, headline: _Headline
) -> tuple[Figure, list[Axes]]:
    """A panel a quantity, with the ensembles, the members and the best single one."""
    quantities = quantities_of(f"{together.argument}[0]", together.scores[0], _WANTED)
    both = [tuple(_values(series, quantity) for series in (together, alone)) for quantity in quantities]
    if not any(math.isfinite(value) for pair in both for series in pair for value in series):
        raise ValueError(f"{together.argument}: nothing to draw, no score is finite; see where the run diverged")

    figure = figure_for(path, height=1.4 + 2.3 * len(quantities))
    panels = list(figure.subplots(len(quantities), 1, sharex=True, squeeze=False)[:, 0])
    names = [
        series.name + _broken([values[index] for values in both]) for index, series in enumerate((together, alone))
    ]
    small = len(places) > _FEW
    for panel, quantity, (ensembles, members) in zip(panels, quantities, both, strict=True):
        best, score = quantity.best(members), ensembles[headline.at]
        style(panel, quantity.label)
        limit = set_limits(panel, quantity, [*ensembles, best], members)
        if math.isfinite(best):
            panel.axhline(best, color=BLACK, linestyle="dashed", linewidth=1.1, label="best single member", zorder=1)
        (line,) = panel.plot(places, ensembles, color=BLUE, linewidth=1.8, label=names[0])
        line.set(marker="o", markersize=3 if small else 5)
        _mark_members(panel, quantity, places, members, limit, small=small, name=names[1])
        if headline.chosen:
            panel.axvline(places[headline.at], color=VERMILLION, linewidth=1.4, zorder=1)
            (ring,) = panel.plot(places[headline.at], score, "o", color=VERMILLION, label=headline.chosen, zorder=4)
            ring.set(markersize=11, markerfacecolor="none", markeredgewidth=2.0)
        gain = f" ({quantity.difference(score, best)})" if math.isfinite(score) and math.isfinite(best) else ""
        answer = f"{headline.words}: {quantity.written(score)}{gain}"
        panel.set_title(
            answer, loc="left", fontsize=10, fontweight="bold", color=VERMILLION if headline.chosen else BLUE
        )
        panel.set_title(f"best single member: {quantity.written(best)}", loc="right", fontsize=10, color=BLACK)
    return figure, panels


def _broken(series: Sequence[Sequence[float]]) -> str:
    """What the legend adds where scores cannot be drawn; they are those of the same members, in several quantities."""
    broken = sum(not all(map(math.isfinite, scores)) for scores in zip(*series, strict=True))
    return f", {broken} not finite" if broken else ""


def _values(series: _Series, quantity: Quantity) -> list[float]:
    values = values_of({f"{series.argument}[{index}]": each for index, each in enumerate(series.scores)}, quantity)
    return values[::-1] if series.backwards else values


def _mark_members(
    panel: Axes,
    quantity: Quantity,
    places: Sequence[int],
    members: Sequence[float],
    limit: float | None,
    *,
    small: bool,
    name: str,
) -> None:
    """A mark a member; those beyond the limit stand at the panel's edge, with their value where there is room."""
    far = [limit is not None and math.isfinite(value) and quantity.worse(value, limit) for value in members]
    near = [math.nan if off else value for value, off in zip(members, far, strict=True)]
    size = 3.5 if small else 6
    (marks,) = panel.plot(places, near, "D", color=ORANGE, markersize=size, markeredgecolor="white", label=name)
    marks.set(markeredgewidth=0.5, zorder=3)
    if not any(far):
        return
    edge, text, side, marker = (0.04, 0.09, "bottom", "v") if quantity.more_is_better else (0.96, 0.91, "top", "^")
    across = panel.get_xaxis_transform()
    outside = [place for place, off in zip(places, far, strict=True) if off]
    (marks,) = panel.plot(
        outside, [edge] * len(outside), marker, color=ORANGE, transform=across, label=f"{name}, off the axis"
    )
    marks.set(markersize=size, markeredgecolor=GREY, markeredgewidth=0.5, zorder=3)
    free, room = -math.inf, (places[-1] - places[0]) / _FEW
    for place, value, off in zip(places, members, far, strict=True):
        if off and place >= free:
            words = f"{value:.0f}" if quantity.in_percent else amount(value, 2)
            panel.text(place, text, words, transform=across, ha="center", va=side, fontsize=7.5, color=GREY)
            free = place + room
