"""What a report's split says should be averaged: choices of `selection`, and what they were made on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lightning_lr.ensemble.tasks import task_named
from lightning_lr.report import selection
from lightning_lr.report.identity import shared

if TYPE_CHECKING:
    from lightning_lr.report.ensemble_report import EnsembleReport

# Two splits of one data set may hold a few equal samples by chance.
_SHARED_AT_MOST = 0.05


@dataclass(frozen=True)
class Fitted:
    """What one split says should be averaged, for `EnsembleReport.score` to tell on another.

    Its first three are arguments of `SnapshotEnsemble`.

    Args:
        member_weights: Of each member, with a sum of 1. One of weight 0 need not be run.
        temperature: T of the pooled probabilities; None leaves them as they are.
        pooling: How members are pooled.
        how: What was done, in words.
        members: Names of the members, the oldest first.
        samples: What it was fitted on: a digest of each sample.
    """

    member_weights: tuple[float, ...]
    temperature: float | None
    pooling: str
    how: str
    members: tuple[str, ...] = field(repr=False)
    samples: frozenset[bytes] = field(repr=False)

    def require_unseen(self, members: Sequence[str], samples: Sequence[bytes]) -> None:
        """Refuse to be told on what it was fitted on, or of other members.

        Raises:
            ValueError: If more than a twentieth of the smaller one of the two splits is in the other, too.
        """
        self.require_same(members)
        if (share := shared(self.samples, frozenset(samples))) > _SHARED_AT_MOST:
            raise ValueError(
                f"fitted={self.how!r}: what it was fitted on and what it is to be told on have {share:.0%} of their "
                "samples in common; collect one report on a validation split and the other on a test split"
            )

    def require_same(self, members: Sequence[str]) -> None:
        """Refuse other members.

        Raises:
            ValueError: If their number or their names are others.
        """
        if tuple(members) != self.members:
            raise ValueError(
                f"fitted={self.how!r}: it is for the {len(self.members)} members {self.members[0]!r} to "
                f"{self.members[-1]!r}, and here are {len(members)}, {members[0]!r} to {members[-1]!r}; collect both "
                "reports from one ensemble"
            )


def select_last_m(report: EnsembleReport, pooling: str | None, at_least: int) -> Fitted:
    """See `EnsembleReport.select_last_m`."""
    pooling, members = _pooling_for(report, pooling), len(report.names)
    m = selection.select_last_m(report.readings, report.target, pooling, at_least=at_least)
    weights = tuple(1.0 / m if index >= members - m else 0.0 for index in range(members))
    return _fitted(report, weights, pooling, f"last {m} of {members}")


def select_greedily(report: EnsembleReport, pooling: str | None, rounds: int) -> Fitted:
    """See `EnsembleReport.select_greedily`."""
    pooling = _pooling_for(report, pooling)
    weights = selection.select_greedily(report.readings, report.target, pooling, rounds=rounds)
    return _fitted(report, weights, pooling, "greedy selection")


def fit_weights(report: EnsembleReport, pooling: str | None) -> Fitted:
    """See `EnsembleReport.fit_weights`."""
    pooling = _pooling_for(report, pooling)
    return _fitted(report, selection.fit_weights(report.readings, report.target, pooling), pooling, "fitted weights")


def fit_temperature(report: EnsembleReport, start: Fitted | None) -> Fitted:
    """See `EnsembleReport.fit_temperature`."""
    if report.task == "regression":
        raise ValueError('task="regression": a mean has no temperature; fit weights, or select members')
    fitted = _with_temperature(report, start)
    if fitted is None:
        raise ValueError(
            f"temperature: none is best on these {len(report)} samples, where all are right or chance does better; fit "
            "on a larger split, or leave it out"
        )
    return fitted


def everything(report: EnsembleReport) -> tuple[Fitted, ...]:
    """See `EnsembleReport.fits`."""
    weights = fit_weights(report, None)
    found = [select_last_m(report, None, 1), select_greedily(report, None, 50), weights]
    if report.task != "regression":
        found += [fitted for start in (None, weights) if (fitted := _with_temperature(report, start)) is not None]
    return tuple(found)


def _with_temperature(report: EnsembleReport, start: Fitted | None) -> Fitted | None:
    pooling = _pooling_for(report, None if start is None else start.pooling)
    equal = (1.0 / len(report.names),) * len(report.names)
    weights, seen = report.member_weights or equal, frozenset(report.samples)
    if start is not None:
        start.require_same(report.names)
        # What was fitted on two splits, one thing on each, has seen both.
        weights, seen = start.member_weights, seen | start.samples
    pool = task_named(report.task, pooling=pooling).pool()
    for reading, weight in zip(report.readings, weights, strict=True):
        # In float64, where what is nearly certain is not yet 1.
        pool.add(reading.double(), weight)
    temperature = selection.fit_temperature(pool.pooled(), report.target)
    if temperature is None:
        return None
    how = f"temperature {temperature:.3g}"
    if start is None:
        return _fitted(report, weights, pooling, how, temperature)
    return replace(start, temperature=temperature, how=f"{start.how}, {how}", samples=seen)


def _fitted(
    report: EnsembleReport, weights: tuple[float, ...], pooling: str, how: str, temperature: float | None = None
) -> Fitted:
    how = how if pooling == report.pooling else f"{how} ({pooling})"
    return Fitted(weights, temperature, pooling, how, report.names, frozenset(report.samples))


def _pooling_for(report: EnsembleReport, pooling: str | None) -> str:
    """The pooling that is fitted for, where there is something to fit on."""
    if broken := report.broken:
        more = f", nor are those of {len(broken) - 1} more" if len(broken) > 1 else ""
        raise ValueError(
            f"{broken[0]}: its predictions are not all numbers{more}; make the ensemble without what is broken"
        )
    if report.task == "regression" and pooling not in (None, report.pooling):
        raise ValueError(f'pooling={pooling!r}: means nothing for task="regression"; leave it out')
    return report.pooling if pooling is None else pooling
