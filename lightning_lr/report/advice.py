"""How many members to run, in plain words: chosen on one split, told on another, compared sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from lightning_lr.ensemble.tasks import task_named
from lightning_lr.report.significance import mcnemar, paired_t

if TYPE_CHECKING:
    from lightning_lr.report.ensemble_report import EnsembleReport

_LEVEL = 0.05
_TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times", 6: "six times"}


@dataclass(frozen=True)
class Advice:
    """What the best ensemble of the last members is worth beside the last member alone.

    Args:
        m: Members in it: the last m.
        of: Members there are.
        gain: Accuracy that it gains, in percentage points; of a regression, mean squared error that it takes away, in
            percent. Negative where it loses.
        cost: Forward passes of it, where one model takes 1.
        significant: Whether so large a difference is less probable than 5 % by chance.
        p: How probable it is.
        sentence: What to do, and why, in one line.
    """

    m: int
    of: int
    gain: float
    cost: int
    significant: bool
    p: float
    sentence: str

    @property
    def use(self) -> int:
        """Of the last members, how many to run: m where they are right more often, else 1."""
        return self.m if self.significant and self.gain > 0 else 1

    def __str__(self) -> str:
        return self.sentence


def advice(fit: EnsembleReport, told: EnsembleReport) -> Advice:
    """Say how many members to run.

    The m, of 2 or more, is the best one on the first split, by the NLL (of a regression, by the squared error). On the
    other the last m are compared with the last member alone, sample by sample: the accuracy by McNemar's exact test; a
    share of several labels, the squared error and the NLL by the paired t-test.

    Args:
        fit: Report of a validation split.
        told: Report of a test split.

    Raises:
        ValueError: If the two share samples, are not of one ensemble, or a member is broken.

    Example:
        >>> import torch
        >>> from lightning_lr.report.ensemble_report import EnsembleReport
        >>> def report(split, p):  # a member's probability of what is right, for each of 12 samples
        ...     readings = torch.stack([torch.tensor(p), 1 - torch.tensor(p)], dim=-1).log()
        ...     samples = tuple(f"{split}{i}".encode() for i in range(12))
        ...     return EnsembleReport(readings, torch.zeros(12, dtype=torch.long), ("old", "new"), (1, 2), samples)
        >>> p = [[0.9] * 6 + [0.4] * 6, [0.4] * 6 + [0.9] * 6]
        >>> print(advice(report("val", p), report("test", p)))
        use the last 2 of 2: +50.0 points at twice the cost (50.0 % to 100.0 % of 12 samples, p = 0.031)
    """
    fitted = fit.select_last_m(at_least=2)
    pooled = told.pooled(fitted)
    m, members = sum(weight > 0 for weight in fitted.member_weights), len(told.names)
    if m == 1:
        return Advice(1, 1, 0.0, 1, False, 1.0, "one model is as good: there is no other")
    for name in told.names[-m:]:
        if name in told.broken:
            raise ValueError(f"{name}: its predictions are not all numbers; make the ensemble without what is broken")
    task = task_named(told.task)
    alone = task.pool()
    alone.add(told.readings[-1])
    one = {name: each[0].double() for name, each in task.scores(alone.pooled(), told.target).items()}
    many = {name: each[0].double() for name, each in task.scores(pooled, told.target).items()}
    if told.task == "regression":
        p = paired_t(one["mse"] - many["mse"])
        before, after = float(one["mse"].mean()), float(many["mse"].mean())
        gain = 100 * (before - after) / before if before > 0 else 0.0
        numbers = f"{before:.4g} to {after:.4g} on {len(told)} samples, {_shown(p)}"
        what = f"{-gain:+.1f} % squared error"
    else:
        p = _difference(many["accuracy"] - one["accuracy"])
        before, after = float(one["accuracy"].mean()), float(many["accuracy"].mean())
        gain = 100 * (after - before)
        numbers = f"{100 * before:.1f} % to {100 * after:.1f} % of {len(told)} samples, {_shown(p)}"
        what = f"{gain:+.1f} points"
    significant = p < _LEVEL
    who, cost = f"the last {m} of {members}", f"{_TIMES.get(m, f'{m} times')} the cost"
    if significant and gain > 0:
        sentence = f"use {who}: {what} at {cost} ({numbers})"
    elif significant:
        sentence = f"one model is better: {who} give {what} at {cost} ({numbers})"
    else:
        sentence = f"one model is as good: {who} give {what} at {cost}, within noise ({numbers})"
        if told.task != "regression":
            sentence = _with_probabilities(sentence, one["nll"], many["nll"])
    return Advice(m, members, gain, m, significant, p, sentence)


def _difference(gains: Tensor) -> float:
    """How probable it is by chance that one is right so much more often."""
    if not bool((gains == gains.round()).all()):
        return paired_t(gains)  # of several labels a sample
    return mcnemar(int((gains > 0).sum()), int((gains < 0).sum()))


def _with_probabilities(sentence: str, one: Tensor, many: Tensor) -> str:
    """Models can be equally often right, and not equally sure of it."""
    p = paired_t(one - many)
    if p >= _LEVEL:
        return sentence
    before, after = float(one.mean()), float(many.mean())
    words = "better" if after < before else "worse"
    sentence = sentence.replace("one model is as good", "one model is as often right", 1)
    return f"{sentence}; the ensemble's probabilities are {words}: NLL {before:.4g} to {after:.4g}, {_shown(p)}"


def _shown(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"
