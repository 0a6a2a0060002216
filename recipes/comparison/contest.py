"""Whether one kind of run is better than another, or its seeds were only luckier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import stdev, variance

from .grouping import Group, seeds_of
from .measures import Measure, summary

ALPHA = 0.05
"""How improbable a difference must be by chance alone, to be called more than noise."""

_ALIKE = 1e-12  # relative; differences no further apart than this have no spread


@dataclass(frozen=True)
class Contest:
    """One group against the best.

    Args:
        label: Of the group.
        difference: The best's mean less this one's.
        low: Lower end of the 95 % interval of the difference; nan without a test.
        high: Its upper end.
        p: How probable so large a difference is by chance; after Holm, where the best is held against several. None
            where there is no test.
        test: Which test it was, or why there is none, in words.
    """

    label: str
    difference: float
    low: float = math.nan
    high: float = math.nan
    p: float | None = None
    test: str = ""

    @property
    def verdict(self) -> str:
        """In two words: worse, within noise, or not known."""
        if self.p is None:
            return "not known"
        return "worse" if self.p < ALPHA else "within noise"


def against_the_best(groups: Sequence[Group], measure: Measure, target: float | None) -> list[Contest]:
    """Hold the first of some groups against each of the others.

    Where both have the same seeds, by the paired t-test over seeds; else by Welch's t-test, which does not ask for
    equal variances. Holm's correction is for as many tests as there are: among many groups, some are lucky.

    B. L. Welch, *The generalization of "Student's" problem when several different population variances are involved*,
    Biometrika 34, 1947. S. Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of
    Statistics 6, 1979.

    Args:
        groups: The best first.
        measure: What they are held against each other by.
        target: The validation accuracy to be reached.
    """
    if not groups:
        return []
    best, *others = groups
    return _holm([_contest(best, other, measure, target) for other in others])


def in_words(groups: Sequence[Group], contests: Sequence[Contest], measure: Measure, target: float | None) -> str:
    """Return which group is best, and whether its lead over the next is more than noise.

    Of one run, nothing is claimed.

    Args:
        groups: The best first.
        contests: Of the best against each of the others.
        measure: What they were held against each other by.
        target: The validation accuracy to be reached.
    """
    first = summary(groups[0], measure, target)
    if not math.isfinite(first.mean):
        return f"No group has a finite {measure.name}."
    leader = f"{groups[0].label}, {measure.told(first)}"
    if not contests:
        return f"{measure.name[0].upper()}{measure.name[1:]}: {leader}. One group, nothing to compare it with."
    following = f"next: {groups[1].label}, {measure.told(summary(groups[1], measure, target))}"
    against, extreme = contests[0], "Highest" if measure.more_is_better else "Lowest"
    lead = measure.difference(against.difference)
    if against.p is None:
        doubt = f"Whether that difference ({lead}) is more than noise is not known: {against.test}."
        return f"{extreme} {measure.name}: {leader}; {following}. {doubt}"
    low = measure.difference(against.low).partition(" ")[0]
    interval = f"95 % interval {low} to {measure.difference(against.high)}"
    how = f"{lead}, {interval}, p {_p(against.p)} by {against.test}"
    if against.verdict == "worse":
        return f"Best by {measure.name}: {leader}; {following}. The difference is more than noise: {how}."
    equal = "That is no evidence that they are equal."
    return f"{extreme} {measure.name}: {leader}; {following}. The difference is within noise: {how}. {equal}"


def _contest(best: Group, other: Group, measure: Measure, target: float | None) -> Contest:
    first, second = (summary(group, measure, target) for group in (best, other))
    contest = Contest(other.label, first.mean - second.mean)
    for group, found in ((best, first), (other, second)):
        if found.n < found.runs:
            return replace(contest, test=f"{found.runs - found.n} of {found.runs} of {group.label} have no such figure")
        if found.n < 2:
            return replace(contest, test=f"{group.label} is one run; train with more seeds, as in -m seed=0,1,2")
        if not math.isfinite(found.mean):
            return replace(contest, test=f"of {group.label} it is not finite")
    samples = [found.values for found in (first, second)]
    # Decided by the seeds, before a figure is looked at.
    if [seeds_of(run) for run in best.runs] == [seeds_of(run) for run in other.runs]:
        return _paired(contest, *samples)
    return _welch(contest, *samples)


def _paired(contest: Contest, first: Sequence[float], second: Sequence[float]) -> Contest:
    differences = [a - b for a, b in zip(first, second, strict=True)]
    error = stdev(differences) / math.sqrt(len(differences))
    name = f"a t-test paired by seed, {len(differences)} pairs"
    return _tested(contest, name, error, len(differences) - 1, [*first, *second])


def _welch(contest: Contest, first: Sequence[float], second: Sequence[float]) -> Contest:
    parts = [variance(values) / len(values) for values in (first, second)]
    below = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    freedom = sum(parts) ** 2 / below if below > 0 else 0.0
    name = f"Welch's t-test, n = {len(first)} and {len(second)}"
    return _tested(contest, name, math.sqrt(sum(parts)), freedom, [*first, *second])


def _tested(contest: Contest, name: str, error: float, freedom: float, values: Sequence[float]) -> Contest:
    # Test accuracies are counted in whole samples: three equal differences are no rarity, and no proof of precision.
    if error <= _ALIKE * max(map(abs, values)):
        return replace(contest, test=f"without any spread there is nothing to hold it against ({name})")
    from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped]

    half = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(contest.difference) / error))
    return replace(contest, low=contest.difference - half, high=contest.difference + half, p=p, test=name)


def _holm(contests: Sequence[Contest]) -> list[Contest]:
    tested = sorted((contest.p, index) for index, contest in enumerate(contests) if contest.p is not None)
    corrected, highest = list(contests), 0.0
    for rank, (p, index) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        among = f", Holm-corrected for {len(tested)} tests" if len(tested) > 1 else ""
        corrected[index] = replace(contests[index], p=highest, test=f"{contests[index].test}{among}")
    return corrected


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-3 else "< 0.001"
