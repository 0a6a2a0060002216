"""What range tests say about the run to train next: a table, sentences, and the command."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.table import Table

from lightning_lr import RangeTest
from lightning_lr.range_test.suggestions import smooth

from .schema import places

_OF_THE_TEST = ("range_test", "over")

# Where the lowest loss is no reason to take a value.
_UNDECIDED = {
    "weight_decay": "Weight decay is for data that are not trained on: the training loss does not choose it.",
    "batch_size": "After as many updates a larger batch has seen more of the data: the loss does not choose it.",
}


def command(said: Sequence[str], overrides: Mapping[str, str]) -> str:
    """Return the command that trains as the test did, with what it found.

    Args:
        said: The overrides that the test was started with. Those of the test alone are left out.
        overrides: What the test adds to them, or puts in their place.

    Example:
        >>> command(["schedule=one_cycle", "range_test.steps=50", "schedule.max_lr=auto"], {"schedule.max_lr": "0.21"})
        'python -m recipes.train schedule=one_cycle schedule.max_lr=0.21'
    """
    keys = {override: override.lstrip("+~").partition("=")[0] for override in said}
    kept = [each for each, key in keys.items() if key not in overrides and key.partition(".")[0] not in _OF_THE_TEST]
    new = [f"{key}={value}" for key, value in overrides.items()]
    return shlex.join([*places.command("train"), *kept, *new])


def shown(value: float | None) -> str:
    """Return a figure with the two digits that a range test is good for."""
    return "-" if value is None else f"{value:.2g}"


@dataclass(frozen=True)
class Reach:
    """How far each run of a test got.

    Args:
        lowest: Each run's lowest smoothed loss.
        limits: The rate at which each diverged; infinite where it did not up to the last.
    """

    lowest: tuple[float, ...]
    limits: tuple[float, ...]

    @classmethod
    def of(cls, found: RangeTest) -> Reach:
        """Read it off the runs; one that was stopped has not shown how far it goes, and does not count."""
        lrs, weight = found.settings.lrs, found.settings.weight
        runs = [run for run in found.runs if run.losses and run.ended != "stopped"]
        return cls(
            tuple(min(smooth(run.losses, weight)) for run in runs),
            tuple(lrs[len(run.losses) - 1] if run.ended == "diverged" else math.inf for run in runs),
        )


def table(name: str, found: Mapping[str, RangeTest]) -> Table:
    """Return the table of several tests, a row each.

    Args:
        name: What they differ in.
        found: The tests by their labels, ``name=value``.
    """
    runs = max(len(test.runs) for test in found.values())
    each = f", {runs} runs each: lowest to highest" if runs > 1 else ""
    answers = Table(title=f"LR range tests{each}", title_justify="left", title_style="bold")
    for heading in (name.replace("_", " "), "max_lr", "base_lr", "fixed_lr", "lowest loss", "diverges at"):
        answers.add_column(heading, justify="right")
    for label, test in found.items():
        reach = Reach.of(test)
        answers.add_row(
            label.partition("=")[2],
            *map(shown, (test.max_lr, test.base_lr, test.fixed_lr)),
            _spread([f"{loss:.3g}" for loss in sorted(reach.lowest)]),
            _spread(["never" if limit == math.inf else f"{limit:.2g}" for limit in sorted(reach.limits)]),
        )
    return answers


def comparison(found: Mapping[str, RangeTest]) -> list[str]:
    """Return which value reaches the lowest loss and which tolerates the largest rate, or that it cannot be told.

    A difference is one where every run of one value is beyond every run of all the others.

    Args:
        found: The tests by their labels.
    """
    reaches = {label: Reach.of(test) for label, test in found.items()}
    if min(len(reach.lowest) for reach in reaches.values()) < 2:
        return ["One run of each: a difference may be that of the order of the data; range_test.repeats=3 tells."]
    lines = [_sentence("reaches the lowest loss", {label: reach.lowest for label, reach in reaches.items()})]
    # Negated: the lower one is the better one in both.
    limits = {label: tuple(-limit for limit in reach.limits) for label, reach in reaches.items()}
    if all(limit == -math.inf for each in limits.values() for limit in each):
        return [*lines, "None diverged: pass a larger range_test.max_lr to see which tolerates the largest rate."]
    return [*lines, _sentence("tolerates the largest rate", limits)]


def choice(name: str | None, found: Mapping[str, RangeTest]) -> tuple[str, list[str]]:
    """Return the labels of the tests whose rates to train with, after what there is to say about it.

    Args:
        name: What the tests differ in; None for a single one.
        found: The tests by their labels.
    """
    # All rates of a test can be told, or none.
    told = [label for label, test in found.items() if test.max_lr is not None]
    if not told:
        return "There is no rate to train with; what to do about it stands above.", []
    if name is None:
        return "To train with what was found:", told
    if name in _UNDECIDED:
        return f"{_UNDECIDED[name]} To train with each:", told
    lowest = {label: Reach.of(test).lowest for label, test in found.items()}
    if min(map(len, lowest.values())) > 1:
        first, *ties = _leaders(lowest)
        if not ties and first in told:
            return f"To train with {first}:", [first]
    return "None is better beyond doubt. To train with each:", told


def _sentence(does: str, values: Mapping[str, tuple[float, ...]]) -> str:
    first, *ties = _leaders(values)
    runs = len(values[first])
    if not ties:
        return f"{first} {does}: each of its {runs} runs is beyond every run of the others."
    rest = [label for label in values if label != first and label not in ties]
    beyond = f"; each run of {first} is beyond those of {_and(rest)}" if rest else ""
    overlapping = [label for label in values if label not in rest]
    return f"Which {does} cannot be told: runs of {_and(overlapping)} overlap{beyond}."


def _leaders(values: Mapping[str, tuple[float, ...]]) -> list[str]:
    """The label with the lowest mean, then those with a run that is no worse than its worst."""
    first = min(values, key=lambda label: fmean(values[label]))
    worst = max(values[first])
    return [first, *(label for label in values if label != first and min(values[label]) <= worst)]


def _and(labels: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))


def _spread(sorted_figures: Sequence[str]) -> str:
    if not sorted_figures:
        return "-"
    low, high = sorted_figures[0], sorted_figures[-1]
    return low if low == high else f"{low} - {high}"
