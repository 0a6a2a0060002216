"""What a comparison looks like in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from .grouping import Group
from .measures import MEASURES, Measure
from .study import Study

# In three tables, each as wide as a terminal of 80 columns.
_SCORES = ("ensemble.accuracy", "last.accuracy")
_CALIBRATION = ("ensemble.nll", "ensemble.ece")
_COST = ("steps", "seconds", "fit_seconds", "steps_to_target", "seconds_to_target")


def tables(study: Study) -> list[Table]:
    """Return the tables of accuracy, of calibration and of cost, the best group first.

    A figure is the mean over seeds, with its standard deviation where there are several.
    """
    # What the order is by is in it, whatever it is.
    scores = [*_SCORES, *({study.measure.key} - {*_SCORES, *_CALIBRATION, *_COST})]
    there = {measure.key for measure in study.measures()}
    cost = [key for key in _COST if key in there]
    if "fit_seconds" in there:
        cost.remove("seconds")
    title = f"Test scores (mean ± sd over seeds), by {study.measure.name}"
    standing = ("against the first", study.standings) if len(study.groups) > 1 else None
    return [
        _table(title, study, standing, scores),
        _table("Calibration", study, ("members", [members(group) for group in study.groups]), _CALIBRATION),
        _table("Cost", study, None, cost),
    ]


def cell(study: Study, group: Group, measure: Measure) -> str:
    """Return a group's figure as it is shown; that of a part of its runs says of how many."""
    found = study.summary(group, measure)
    if measure.key.endswith("_to_target") and 0 < found.n < found.runs:
        return f"{measure.spread(found)} ({found.n} of {found.runs})"
    if measure.key == "steps_to_target" and not found.n and any(run.curves.accuracy for run in group.runs):
        return f"0 of {found.runs}"
    return measure.spread(found)


def _table(title: str, study: Study, beside: tuple[str, Sequence[str]] | None, keys: Sequence[str]) -> Table:
    made = Table(title=Text(title), title_justify="left", title_style="bold")
    # Where a terminal is too narrow, labels are folded, and no number is cut.
    made.add_column("group", overflow="fold")
    made.add_column("n", justify="right", no_wrap=True)
    if beside is not None:
        made.add_column(beside[0], no_wrap=True)
    measures = [MEASURES[key] for key in keys]
    for measure in measures:
        made.add_column(measure.heading.replace(" of", "\nof").replace(" to", "\nto"), justify="right", no_wrap=True)
    for place, group in enumerate(study.groups):
        between = [] if beside is None else [beside[1][place]]
        # As text: a label in brackets would be taken for a style.
        cells = [group.label, str(len(group.runs)), *between, *(cell(study, group, measure) for measure in measures)]
        made.add_row(*map(Text, cells), style="bold" if place == 0 and len(study.groups) > 1 else "")
    return made


def members(group: Group) -> str:
    """Return how many members the ensembles of a group have."""
    counts = sorted({run.members for run in group.runs})
    return "-".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
