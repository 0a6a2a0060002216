"""Figures of several seeds, and what they allow to be said."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Figure:
    """One value a seed, in the order of the seeds."""

    each: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.each)

    @property
    def sd(self) -> float:
        """Of the sample, n - 1 below."""
        return statistics.stdev(self.each) if len(self.each) > 1 else float("nan")

    def told(self, digits: int = 1) -> str:
        return f"{self.mean:.{digits}f} ± {self.sd:.{digits}f}"

    def kept(self, digits: int = 4) -> dict[str, object]:
        """As a result file holds it."""
        each = [round(value, digits) for value in self.each]
        return {"mean": round(self.mean, digits), "sd": round(self.sd, digits), "n": len(each), "each": each}


def percent(shares: Sequence[float]) -> Figure:
    return Figure(tuple(100 * share for share in shares))


@dataclass(frozen=True)
class Difference:
    """Of two figures, seed by seed, with the 95 % interval of its mean by the paired t-test."""

    mean: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether it is more than noise."""
        return self.low > 0 or self.high < 0

    def told(self, digits: int = 1, unit: str = "points") -> str:
        interval = f"95 % interval {self.low:+.{digits}f} to {self.high:+.{digits}f}"
        return f"{self.mean:+.{digits}f} {unit} ({interval})"

    def kept(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 3) for name in ("mean", "low", "high")}


def difference(first: Figure, second: Figure) -> Difference:
    """Return the first less the second."""
    each = [a - b for a, b in zip(first.each, second.each, strict=True)]
    mean = statistics.fmean(each)
    # Of equal differences there is no spread to speak of.
    if len(set(each)) == 1:
        return Difference(mean, mean, mean)
    interval = stats.ttest_1samp(each, 0.0).confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high))


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def tally(outcomes: Mapping[str, Sequence[str]]) -> str:
    """Return what became of a claim: where it was shown, where the opposite, where nothing.

    Args:
        outcomes: What may have happened, in words that a place can follow, and where it did.
    """
    parts = [f"{words} {listed(places)}" for words, places in outcomes.items() if places]
    told = "; ".join(parts)
    return f"{told[0].upper()}{told[1:]}."


def verdict(found: Difference) -> str:
    """Return in a word what a difference shows, more being better."""
    if not found.shown:
        return "no different as far as can be told"
    return "better" if found.mean > 0 else "worse"
