"""What a comparison looks like in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from .grouping import Group
from .measures import MEASURES, Measure
from .study import Study

# In two tables, for all in one is twice as wide as a terminal.
_SCORES = ("ensemble.accuracy", "last.accuracy", "ensemble.nll", "ensemble.ece")
_COSTS = ("steps", "seconds", "steps_to_target", "seconds_to_target")


def tables(study: Study) -> list[Table]:
    """Return the table of scores and that of what they cost, the best group first.

    A figure is the mean over seeds, with its standard deviation where there are several.
    """
    # What the order is by is in it, whatever it is.
    scores = [*_SCORES, *({study.measure.key} - {*_SCORES, *_COSTS})]
    title = f"Test scores, mean ± standard deviation over seeds; by {study.measure.name}"
    first = _table(title, study, scores, with_standing=True)
    costs = [key for key in _COSTS if key in {each.key for each in study.measures()}]
    second = _table("What they cost", study, costs, with_standing=False)
    return [first, second]


def cell(study: Study, group: Group, measure: Measure) -> str:
    """Return a group's figure as it is shown; that of a part of its runs says of how many."""
    found = study.summary(group, measure)
    if measure.key.endswith("_to_target") and 0 < found.n < found.runs:
        return f"{measure.spread(found)} ({found.n} of {found.runs})"
    if measure.key == "steps_to_target" and not found.n and any(run.curves.accuracy for run in group.runs):
        return f"0 of {found.runs}"
    return measure.spread(found)


def _table(title: str, study: Study, keys: Sequence[str], *, with_standing: bool) -> Table:
    made = Table(title=Text(title), title_justify="left", title_style="bold")
    made.add_column("group", overflow="fold", min_width=14)
    made.add_column("n", justify="right", no_wrap=True)
    if with_standing:
        made.add_column("against the first" if len(study.groups) > 1 else "")
    else:
        made.add_column("members", justify="right")
    measures = [MEASURES[key] for key in keys]
    for measure in measures:
        made.add_column(measure.heading, justify="right")
    for place, (group, standing) in enumerate(zip(study.groups, study.standings, strict=True)):
        beside = standing if with_standing else members(group)
        # As text: a label in brackets would be taken for a style.
        cells = [group.label, str(len(group.runs)), beside, *(cell(study, group, measure) for measure in measures)]
        made.add_row(*map(Text, cells), style="bold" if place == 0 and len(study.groups) > 1 else "")
    return made


def members(group: Group) -> str:
    """Return how many members the ensembles of a group have."""
    counts = sorted({run.members for run in group.runs})
    return "-".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
