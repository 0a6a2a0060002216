"""A whole comparison: runs, groups, what was decided, and all that there is to say beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..schema.data import OF_NO_SPLIT
from .contest import Contest, against_the_best, in_words
from .grouping import Group, grouped
from .measures import MEASURES, Measure, Summary, ranked, summary, target_of_all
from .reading import Found, Run


@dataclass(frozen=True)
class Study:
    """What runs say beside each other.

    Args:
        groups: The best first.
        measure: What says which is best.
        target: The validation accuracy that is asked when it was reached; None where no run has logged any.
        chosen: Whether the user chose the target.
        contests: Of the first group against each of the others, in their order.
        found: What was read.
    """

    groups: tuple[Group, ...]
    measure: Measure
    target: float | None
    chosen: bool
    contests: tuple[Contest, ...]
    found: Found

    @classmethod
    def of(cls, found: Found, measure: Measure, target: float | None = None) -> Study:
        """Group, rank and test what was found.

        Raises:
            ValueError: If the measure asks for a target, and no run has logged a validation accuracy.
        """
        groups = grouped(found.runs)
        reached = target_of_all(groups) if target is None else target
        if measure.key.endswith("_to_target") and all(summary(each, measure, reached).n == 0 for each in groups):
            raise ValueError(f"--metric={measure.key}: no run has that; choose another target or measure")
        best_first = ranked(groups, measure, reached)
        contests = against_the_best(best_first, measure, reached)
        return cls(tuple(best_first), measure, reached, target is not None, tuple(contests), found)

    @property
    def verdict(self) -> str:
        """Which group is best, and whether that is more than noise."""
        return in_words(self.groups, self.contests, self.measure, self.target)

    @property
    def size(self) -> str:
        """How much there is: of runs, those that count."""
        runs, groups = sum(len(group.runs) for group in self.groups), len(self.groups)
        return f"{runs} run{'' if runs == 1 else 's'} in {groups} group{'' if groups == 1 else 's'}"

    @property
    def standings(self) -> tuple[str, ...]:
        """Of each group, where it stands against the first."""
        alone = len(self.groups) == 1 or not math.isfinite(self.summary(self.groups[0], self.measure).mean)
        return ("" if alone else "first", *(contest.verdict for contest in self.contests))

    def summary(self, group: Group, measure: Measure) -> Summary:
        """Return a group's figures in short."""
        return summary(group, measure, self.target)

    def measures(self) -> list[Measure]:
        """Return what there are figures of."""
        return [each for each in MEASURES.values() if any(self.summary(group, each).n for group in self.groups)]

    def about_target(self) -> str:
        """Return which target it is, and who set it."""
        if self.target is None:
            return "No run has logged a validation accuracy: there is no target."
        of_all = "set by --target" if self.chosen else "the highest that every run reached; --target sets another"
        return f"The target is {100 * self.target:.4g} % validation accuracy ({of_all})."

    def remarks(self) -> list[str]:
        """Return what a reader must know beside the figures: what does not count, and what may not be comparable."""
        repeats = [(again, counts) for group in self.groups for again, counts in group.duplicates]
        found = self.found
        return [
            *(f"Cannot be used: {line}" for line in found.broken),
            *(f"Not finished: {line}" for line in found.unfinished),
            *(_repeat(again, counts) for again, counts in repeats),
            *found.doubts,
            *self._not_on_the_same_data(),
            *self._members(),
            *_several("device", {run.device for run in found.runs if run.device}, "their seconds are not comparable"),
            *_several_versions(found.runs),
        ]

    def _not_on_the_same_data(self) -> list[str]:
        keys = {key for group in self.groups for key in group.differences if key.startswith("data.")}
        differ = sorted(key.removesuffix("._target_") for key in keys if key.rpartition(".")[2] not in OF_NO_SPLIT)
        if not differ:
            return []
        return [f"The groups differ in {', '.join(differ)}: they may not have been tested on the same samples."]

    def _members(self) -> list[str]:
        """Members cost forward passes, and groups without any are compared as they are."""
        counts = {max(run.members, 1) for group in self.groups for run in group.runs}
        if len(counts) < 2 or not self.measure.key.startswith("ensemble."):
            return []
        return [f"A prediction takes {min(counts)} to {max(counts)} forward passes: ensembles differ in their members."]


def _repeat(again: Run, counts: Run) -> str:
    same = again.scores == counts.scores
    result = "the same result" if same else "another result: the run is not deterministic"
    return f"Counted once: {again.name} repeats {counts.name}, with the same configuration and seed, and {result}."


def _several(what: str, values: set[str], so: str) -> list[str]:
    return [f"The runs had more than one {what} ({', '.join(sorted(values))}): {so}."] if len(values) > 1 else []


def _several_versions(runs: Sequence[Run]) -> list[str]:
    differ = [f"{name} {', '.join(sorted(values))}" for name, values in versions_of(runs).items() if len(values) > 1]
    return [f"The runs were made with several versions: {'; '.join(differ)}."] if differ else []


def versions_of(runs: Sequence[Run]) -> Mapping[str, set[str]]:
    """Return which versions of each package the runs were made with."""
    versions: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.versions.items():
            versions.setdefault(name, set()).add(value)
    return versions
