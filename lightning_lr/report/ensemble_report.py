"""`EnsembleReport`: what the members of an ensemble say of a data set, and all that follows from it.

G. Huang et al., *Snapshot Ensembles: Train 1, Get M for Free*, ICLR 2017, https://arxiv.org/abs/1704.00109.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightning_lr.ensemble.pooling import POOLINGS
from lightning_lr.ensemble.scores import Bin, reliability
from lightning_lr.ensemble.tasks import Task, task_named
from lightning_lr.report import diversity, fitting, presentation
from lightning_lr.report.collecting import collect
from lightning_lr.report.fitting import Fitted
from lightning_lr.report.tradeoff import Cost, Restart

if TYPE_CHECKING:
    from lightning_lr.ensemble.snapshot_ensemble import SnapshotEnsemble
    from lightning_lr.report.advice import Advice


@dataclass(frozen=True, eq=False)
class EnsembleReport:
    """What each member says of each sample of one split, and all that follows from it.

    Made by `collect`. The curves (`members`, `last_m`, `so_far`, `poolings`) are of equal weights and no temperature;
    `score` is of the ensemble as it was made, or as it was fitted on another split. Scores are those of `trainer.test`:
    ``accuracy`` (0 to 1), ``nll`` (nats), ``brier`` and ``ece``; of a regression ``mse``, ``mae`` and ``nll``. Where
    one prediction is not a number, all scores of that member and of each ensemble with it are NaN, and `broken` names
    it.

    Args:
        readings: Log-probabilities (M, N, …, C), or mean and variance (M, N, …, 2), the oldest member first.
        target: Class indices (N, …), or the numbers that were to be predicted.
        names: Of the members.
        steps: Optimizer updates of the run by each of them; None where that is not known.
        samples: A digest of each sample's input.
        task: What is predicted, one of `lightning_lr.ensemble.tasks.TASKS`.
        pooling: The ensemble's.
        member_weights: The ensemble's; None is equal ones.
        temperature: The ensemble's; None is 1.
        seconds: Time of one forward pass a sample; see `Cost`.
        batch_size: Samples in the largest batch.
        device: Where the members ran.

    Raises:
        ValueError: If the lengths do not belong together, or there is no member or no sample.
    """

    readings: Tensor = field(repr=False)
    target: Tensor = field(repr=False)
    names: tuple[str, ...]
    steps: tuple[int | None, ...]
    samples: tuple[bytes, ...] = field(repr=False)
    task: str = "multiclass"
    pooling: str = "mean_prob"
    member_weights: tuple[float, ...] | None = None
    temperature: float | None = None
    seconds: float = math.nan
    batch_size: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        members, samples = self.readings.shape[:2]
        if not members or not samples:
            raise ValueError(
                f"readings of {members} members and {samples} samples: nothing to report; give some of both"
            )
        for name, values in {"names": self.names, "steps": self.steps, "member_weights": self.member_weights}.items():
            if values is not None and len(values) != members:
                raise ValueError(f"{name}: {len(values)} for {members} members; give one for each member")
        for name, count in {"target": len(self.target), "samples": len(self.samples)}.items():
            if count != samples:
                raise ValueError(f"{name}: {count} for {samples} samples; give one for each sample")

    @classmethod
    def collect(
        cls,
        ensemble: SnapshotEnsemble,
        dataloader: Iterable[Any],
        *,
        identify: Callable[[Any], Sequence[object]] | None = None,
    ) -> EnsembleReport:
        """Run every member over a data set, once, and keep what it says: M×N×C×4 bytes, for a moment twice that.

        Args:
            ensemble: Its members run on its device, in evaluation mode.
            dataloader: What `trainer.test` would take: batches of inputs and targets.
            identify: ``identify(batch) -> one value a sample``, by which another split is seen to hold the same sample:
                an index, a file name. None takes the bytes of its input. Those change under random augmentation and
                under padding to the batch, and where few inputs are possible, different samples have the same.

        Raises:
            ValueError: If there is no sample, or a target does not fit.
            TypeError: If a batch is no pair, or its samples cannot be told apart.

        Example:
            >>> from torch import nn, randn
            >>> from lightning_lr.ensemble.snapshot_ensemble import SnapshotEnsemble
            >>> ensemble = SnapshotEnsemble(nn.Linear(2, 2), [nn.Linear(2, 2) for _ in range(3)])
            >>> val, test = ([(randn(8, 2), (randn(8) > 0).long())] for _ in range(2))
            >>> fit, told = EnsembleReport.collect(ensemble, val), EnsembleReport.collect(ensemble, test)
            >>> sorted(told.score(fit.fit_weights()))
            ['accuracy', 'brier', 'ece', 'nll']
        """
        collected = collect(ensemble, dataloader, identify)
        return cls(
            **collected._asdict(),
            names=tuple(member.name for member in ensemble.members),
            steps=tuple(member.step for member in ensemble.members),
            task=ensemble.task.name,
            pooling=ensemble.task.pooling,
            member_weights=ensemble.member_weights,
            temperature=ensemble.task.temperature,
            device=str(ensemble.device),
        )

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the members with a prediction that is not a number."""
        # A probability of 0 has an infinite logarithm. A mean is never infinite.
        wrong = ~self.readings.isfinite() if self.task == "regression" else self.readings.isnan()
        return tuple(name for name, each in zip(self.names, wrong.flatten(1).any(dim=1), strict=True) if each)

    def score(self, fitted: Fitted | None = None) -> dict[str, float]:
        """Scores of the ensemble.

        Args:
            fitted: What another split says should be averaged; None is the ensemble as it was made.

        Raises:
            ValueError: If it was fitted on samples that this split holds too, or for other members.
        """
        return self._scores(self.pooled(fitted))

    def pooled(self, fitted: Fitted | None = None) -> Tensor:
        """What the ensemble says: probabilities (N, …, C), or mean and variance (N, …, 2); see `score`."""
        if fitted is None:
            return self._pool(self.member_weights, self.pooling, self.temperature)
        fitted.require_unseen(self.names, self.samples)
        return self._pool(fitted.member_weights, fitted.pooling, fitted.temperature)

    def members(self) -> list[dict[str, float]]:
        """Scores of each member alone, the oldest first."""
        # Whatever the ensemble's pooling: a member that votes leaves no probability but 0 and 1.
        return [scores for member in range(len(self.names)) for scores in self._growing([member], "mean_prob")]

    def last_m(self) -> list[dict[str, float]]:
        """Scores of the ensembles of the last 1, 2, … M members."""
        return list(self._growing(reversed(range(len(self.names))), self.pooling))

    def so_far(self) -> list[Restart]:
        """At each restart, the member taken there and the ensemble so far: one cyclic run gives the whole trade-off."""
        together = self._growing(range(len(self.names)), self.pooling)
        return [Restart(*each) for each in zip(self.steps, self.members(), together, strict=True)]

    def poolings(self) -> dict[str, dict[str, float]]:
        """Scores of all members under each pooling. A regression has but one, the mean."""
        if self.task == "regression":
            return {"mean": self._scores(self._pool(None, self.pooling))}
        return {pooling: self._scores(self._pool(None, pooling)) for pooling in POOLINGS}

    def disagreement(self) -> list[list[float]]:
        """Share of the predictions in which two members differ, (M, M); see `diversity.disagreement`."""
        return diversity.disagreement(self.readings, self.target)

    def correlation(self) -> list[list[float]]:
        """Correlation of two members' errors, (M, M); see `diversity.correlation`."""
        return diversity.correlation(self.readings, self.target)

    def calibration(self, fitted: Fitted | None = None) -> tuple[Bin, ...]:
        """How often what the ensemble held so likely came true; see `lightning_lr.ensemble.scores.reliability`.

        Args:
            fitted: As in `score`.

        Raises:
            ValueError: As in `score`; and for a regression, which has no probabilities.
        """
        if self.task == "regression":
            raise ValueError('task="regression": a mean is no probability; the nll says how good the variances are')
        pooled = self.pooled(fitted)
        if self.task == "multiclass":
            top, decided = pooled.max(dim=-1)
            return reliability(top, decided == self.target)
        return reliability(pooled[..., 1], self.target == 1)

    def cost(self, fitted: Fitted | None = None) -> Cost:
        """What a prediction of the ensemble costs; a member of weight 0 is not run.

        Args:
            fitted: What another split says should be averaged; None is the ensemble as it was made.
        """
        weights = self.member_weights if fitted is None else fitted.member_weights
        passes = len(self.names) if weights is None else sum(weight > 0 for weight in weights)
        return Cost(passes, passes * self.seconds, self.seconds, self.batch_size, self.device)

    def select_last_m(self, pooling: str | None = None, *, at_least: int = 1) -> Fitted:
        """The last m members with equal weights, for the best m; see `lightning_lr.report.selection.select_last_m`.

        Best is what has the lowest NLL on this split; of a regression, the lowest squared error.

        Args:
            pooling: How members are pooled; None is as the ensemble does it.
            at_least: The smallest m that comes into question.

        Raises:
            ValueError: If a member is broken.
        """
        return fitting.select_last_m(self, pooling, at_least)

    def select_greedily(self, pooling: str | None = None, *, rounds: int = 50) -> Fitted:
        """Members picked one by one, with replacement; see `lightning_lr.report.selection.select_greedily`."""
        return fitting.select_greedily(self, pooling, rounds)

    def fit_weights(self, pooling: str | None = None) -> Fitted:
        """The best weights; see `lightning_lr.report.selection.fit_weights`."""
        return fitting.fit_weights(self, pooling)

    def fit_temperature(self, start: Fitted | None = None) -> Fitted:
        """The best temperature, after pooling; see `lightning_lr.report.selection.fit_temperature`.

        Args:
            start: What is pooled, and how; its own temperature is replaced. None is the ensemble as it was made.

        Raises:
            ValueError: If there is no best temperature, or a member is broken; for a regression, which has none.
        """
        return fitting.fit_temperature(self, start)

    def fits(self) -> tuple[Fitted, ...]:
        """All of these: last m, greedy selection, weights, and temperatures of the ensemble and of those weights.

        Temperatures are left out where there is no best one.

        Raises:
            ValueError: If a member is broken.
        """
        return fitting.everything(self)

    def __str__(self) -> str:
        return self.table()

    def table(self, fits: Sequence[Fitted] = ()) -> str:
        """Everything as plain text.

        Args:
            fits: What another split says should be averaged; each as in `score`.
        """
        return presentation.table(self, fits)

    def as_dict(self, fits: Sequence[Fitted] = (), advice: Advice | None = None) -> dict[str, Any]:
        """Everything but the readings, of types that JSON knows; None stands for NaN.

        Args:
            fits: What another split says should be averaged; each as in `score`.
            advice: What `lightning_lr.report.advice.advice` says.
        """
        return presentation.as_dict(self, fits, advice)

    def to_json(self, path: str | Path, fits: Sequence[Fitted] = (), advice: Advice | None = None) -> Path:
        """Write `as_dict` into a JSON file, complete or not at all; an older one there is replaced.

        Args:
            path: The file.
            fits: As in `as_dict`.
            advice: As in `as_dict`.

        Returns:
            The path written.

        Raises:
            FileNotFoundError: If the path's folder is missing.
            IsADirectoryError: If the path is one.
            OSError: If the disk refuses.
        """
        return presentation.write(self, path, fits, advice)

    def plot(self, folder: str | Path, fits: Sequence[Fitted] = ()) -> tuple[Path, ...]:
        """Draw every picture that there is something to draw for, as PNG; an older one of the same name is replaced.

        Args:
            folder: Where to; it is made where it is missing.
            fits: What another split says should be averaged; each as in `score`.

        Returns:
            The paths written.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
        """
        return presentation.draw(self, folder, fits)

    def _task(self, pooling: str = "mean_prob", temperature: float | None = None) -> Task:
        return task_named(self.task, pooling=pooling, temperature=temperature)

    def _pool(self, weights: Sequence[float] | None, pooling: str, temperature: float | None = None) -> Tensor:
        pool = self._task(pooling, temperature).pool()
        for reading, weight in zip(self.readings, weights or [1.0] * len(self.readings), strict=True):
            pool.add(reading, weight)
        return pool.pooled()

    def _growing(self, members: Iterable[int], pooling: str) -> Iterator[dict[str, float]]:
        """Scores after each of these members, with equal weights."""
        pool = self._task(pooling).pool()
        for member in members:
            pool.add(self.readings[member])
            yield self._scores(pool.pooled())

    def _scores(self, pooled: Tensor) -> dict[str, float]:
        broken = bool(pooled.isnan().any())
        scores = self._task().evaluate(pooled.nan_to_num() if broken else pooled, self.target)
        # A row of NaN has an argmax too, and its accuracy would look like that of a poor member.
        return dict.fromkeys(scores, math.nan) if broken else scores
