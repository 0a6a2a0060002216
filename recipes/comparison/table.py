"""What a comparison looks like in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from .grouping import Group
from .measures import MEASURES, Measure
from .study import Study

# In two tables, each as wide as a terminal of 80 columns.
_SCORES = ("ensemble.accuracy", "last.accuracy", "ensemble.nll")
_REST = ("ensemble.ece", "steps", "seconds", "fit_seconds", "steps_to_target", "seconds_to_target")


def tables(study: Study) -> list[Table]:
    """Return the table of scores, and that of calibration and cost, the best group first.

    A figure is the mean over seeds, with its standard deviation where there are several.
    """
    # What the order is by is in it, whatever it is.
    first = [*_SCORES, *({study.measure.key} - {*_SCORES, *_REST})]
    there = {measure.key for measure in study.measures()}
    second = [key for key in _REST if key in there]
    if "fit_seconds" in there:
        second.remove("seconds")
    title = f"Test scores, mean ± standard deviation over seeds, by {study.measure.name}"
    return [
        _table(title, study, "against the first", study.standings, first),
        _table("Calibration and cost", study, "members", [members(group) for group in study.groups], second),
    ]


def cell(study: Study, group: Group, measure: Measure) -> str:
    """Return a group's figure as it is shown; that of a part of its runs says of how many."""
    found = study.summary(group, measure)
    if measure.key.endswith("_to_target") and 0 < found.n < found.runs:
        return f"{measure.spread(found)} ({found.n} of {found.runs})"
    if measure.key == "steps_to_target" and not found.n and any(run.curves.accuracy for run in group.runs):
        return f"0 of {found.runs}"
    return measure.spread(found)


def _table(title: str, study: Study, heading: str, beside: Sequence[str], keys: Sequence[str]) -> Table:
    made = Table(title=Text(title), title_justify="left", title_style="bold")
    made.add_column("group", overflow="fold", min_width=12)
    made.add_column("n", justify="right", no_wrap=True)
    made.add_column(heading)
    measures = [MEASURES[key] for key in keys]
    for measure in measures:
        made.add_column(measure.heading, justify="right")
    for place, (group, word) in enumerate(zip(study.groups, beside, strict=True)):
        # As text: a label in brackets would be taken for a style.
        cells = [group.label, str(len(group.runs)), word, *(cell(study, group, measure) for measure in measures)]
        made.add_row(*map(Text, cells), style="bold" if place == 0 and len(study.groups) > 1 else "")
    return made


def members(group: Group) -> str:
    """Return how many members the ensembles of a group have."""
    counts = sorted({run.members for run in group.runs})
    return "-".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
