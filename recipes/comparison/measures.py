"""What runs are measured by: each a number a run, with its unit and which way is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import cast

from .grouping import Group
from .reading import Run

_ROUNDING = 1e-6  # what is logged is a float32: 0.975 is read as 0.97499999


@dataclass(frozen=True)
class Measure:
    """Something that a run is measured by.

    Args:
        key: What it is called in files and on the command line.
        name: What it is called in a sentence.
        heading: What it is called above a column.
        digits: Behind the point, as it is shown.
        share: Whether it is a share, shown in percent.
        more_is_better: Whether it is.
        unit: Behind a number in a sentence; that of a share is told here.
    """

    key: str
    name: str
    heading: str
    digits: int = 0
    share: bool = False
    more_is_better: bool = False
    unit: str = ""

    def of(self, run: Run, target: float | None) -> float | None:
        """Return the figure of a run; None where it has none, as a run that never reaches the target."""
        if self.key in run.scores:
            return run.scores[self.key]
        if self.key in ("steps_to_target", "seconds_to_target"):
            return None if target is None else getattr(reach(run, target), self.key.partition("_")[0])
        value = getattr(run, self.key)
        return None if value is None else float(value)

    def written(self, value: float) -> str:
        """Return a figure as it stands below its heading.

        Example:
            >>> MEASURES["ensemble.accuracy"].written(0.98765), MEASURES["steps"].written(680.0)
            ('98.77', '680')
        """
        return f"{100 * value if self.share else value:.{self.digits}f}"

    def difference(self, value: float) -> str:
        """Return a difference of two figures as it stands in a sentence.

        Example:
            >>> MEASURES["ensemble.accuracy"].difference(-0.0125), MEASURES["seconds"].difference(3.0)
            ('-1.25 points', '+3.0 s')
        """
        return f"{100 * value if self.share else value:+.{self.digits}f}{' points' if self.share else self.unit}"

    def spread(self, found: Summary) -> str:
        """Return a mean with its standard deviation, where there is one; a dash where there is no figure."""
        if not found.n:
            return "-"
        mean = self.written(found.mean)
        # Runs of one length are the rule, and no measurement.
        without = found.sd is None or (self.key == "steps" and found.sd == 0)
        return mean if without else f"{mean} ± {self.written(cast(float, found.sd))}"

    def told(self, found: Summary) -> str:
        """Return the same in a sentence: with its unit and n."""
        n = f"n={found.n}" if found.n == found.runs else f"{found.n} of {found.runs}"
        return f"{self.spread(found)}{' %' if self.share else self.unit} ({n})"


MEASURES = {
    measure.key: measure
    for measure in (
        Measure("ensemble.accuracy", "accuracy of the ensemble", "ensemble %", 2, share=True, more_is_better=True),
        Measure("last.accuracy", "accuracy of the last model", "last model %", 2, share=True, more_is_better=True),
        Measure("ensemble.nll", "NLL of the ensemble", "NLL", 4),
        Measure("last.nll", "NLL of the last model", "NLL of the last", 4),
        Measure("ensemble.ece", "ECE of the ensemble", "ECE %", 2, share=True),
        Measure("last.ece", "ECE of the last model", "ECE of the last %", 2, share=True),
        Measure("steps", "number of updates", "updates", unit=" updates"),
        Measure("seconds", "time of the whole run", "seconds", 1, unit=" s"),
        Measure("fit_seconds", "time of the fit", "seconds of fit", 1, unit=" s"),
        Measure("steps_to_target", "number of updates to the target", "updates to target", unit=" updates"),
        Measure("seconds_to_target", "time to the target", "seconds to target", 1, unit=" s"),
    )
}


@dataclass(frozen=True)
class Reach:
    """When a run first got to an accuracy: optimizer updates, and seconds of the fit where these were logged."""

    steps: float | None
    seconds: float | None


def reach(run: Run, target: float) -> Reach:
    """Return after how many updates a validation first told the target, or more.

    Args:
        run: What is asked.
        target: A validation accuracy, a share.
    """
    for step, accuracy in run.curves.accuracy:
        if accuracy >= target - _ROUNDING:
            return Reach(step, dict(run.curves.seconds).get(step))
    return Reach(None, None)


def target_of_all(groups: Iterable[Group]) -> float | None:
    """Return the highest validation accuracy that every run reached, in whole tenths of a percent; None without any.

    At a higher one, not every run could be asked when it got there.
    """
    runs = [run for group in groups for run in group.runs if run.curves.accuracy]
    bests = [max((value for _, value in run.curves.accuracy if math.isfinite(value)), default=0.0) for run in runs]
    return math.floor(1000 * (min(bests) + _ROUNDING)) / 1000 if bests else None


@dataclass(frozen=True)
class Summary:
    """Figures of several runs in short.

    Args:
        values: Of each run that has one.
        runs: How many runs there are.
    """

    values: tuple[float, ...]
    runs: int

    @property
    def n(self) -> int:
        """How many runs have a figure."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Of those; nan where there is none, or one is nan: a run that diverged is not left out of it."""
        return _or_nan(fmean, self.values)

    @property
    def sd(self) -> float | None:
        """Standard deviation of a sample, with n - 1 below; None of one run, which has none."""
        return _or_nan(stdev, self.values) if self.n > 1 else None

    @property
    def low(self) -> float:
        """The lowest."""
        return _or_nan(min, self.values)

    @property
    def high(self) -> float:
        """The highest."""
        return _or_nan(max, self.values)


def summary(group: Group, measure: Measure, target: float | None) -> Summary:
    """Return the figures of a group's runs, in their order, in short."""
    values = [measure.of(run, target) for run in group.runs]
    return Summary(tuple(value for value in values if value is not None), len(values))


def ranked(groups: Sequence[Group], measure: Measure, target: float | None) -> list[Group]:
    """Return groups with the best first: those first of which most runs have a figure at all, and it is finite."""

    def place(group: Group) -> tuple[float, bool, float]:
        found = summary(group, measure, target)
        mean = -found.mean if measure.more_is_better else found.mean
        return -found.n / found.runs, not math.isfinite(mean), mean if math.isfinite(mean) else 0.0

    return sorted(groups, key=place)


def _or_nan(of: Callable[[Sequence[float]], float], values: Sequence[float]) -> float:
    return of(values) if values and all(map(math.isfinite, values)) else math.nan
