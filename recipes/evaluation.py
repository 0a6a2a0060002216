"""What the last model, each snapshot and their ensemble are worth on the test set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl

from lightning_lr import SnapshotEnsemble, Snapshots

from .terminal import tracked


@dataclass(frozen=True)
class Score:
    """Metrics over the test set, each sample counted once.

    Args:
        accuracy: Share of samples that are told right, in [0, 1].
        nll: Mean negative log-likelihood, in nats.
        ece: Expected calibration error, in [0, 1].
    """

    accuracy: float
    nll: float
    ece: float


@dataclass(frozen=True)
class Member:
    """A snapshot's score, with the cycle that it ended and the updates applied until then."""

    cycle: int
    step: int
    score: Score


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run; without snapshots `members` is empty and the ensemble is the last model alone."""

    last: Score
    members: tuple[Member, ...]
    ensemble: Score


def evaluate(
    trainer: pl.Trainer, module: pl.LightningModule, datamodule: pl.LightningDataModule, snapshots: Snapshots | None
) -> Evaluation:
    """Test the module as it is, every snapshot, and the ensemble of them all; every process takes part."""

    def score(members: Snapshots | list[Any]) -> Score:
        (metrics,) = trainer.test(SnapshotEnsemble(module, members), datamodule=datamodule, verbose=False)
        return Score(*(float(metrics[f"test/{name}"]) for name in ("accuracy", "nll", "ece")))

    with _apart(trainer):
        # An ensemble of one is that one, tested in the same way as the others: each sample once under DDP too.
        last = score([module])
        if snapshots is None or len(snapshots) == 0:
            return Evaluation(last, (), last)
        members = tuple(
            Member(row.cycle, row.step, score([snapshots.load(index)]))
            for index, row in enumerate(tracked(list(snapshots), "Testing"))
        )
        return Evaluation(last, members, score(snapshots))


def samples(trainer: pl.Trainer, datamodule: pl.LightningDataModule) -> int:
    """Return how many samples the last test was on: all, but where ``limit_test_batches`` cuts it.

    Args:
        trainer: After the test.
        datamodule: What was tested on.
    """
    loader = datamodule.test_dataloader()
    batches = sum(trainer.num_test_batches) * trainer.world_size
    return int(min(len(loader.dataset), batches * loader.batch_size))


@contextmanager
def _apart(trainer: pl.Trainer) -> Iterator[None]:
    """Without the training's bar and logger: the metrics of six models have the same names."""
    callbacks, loggers = trainer.callbacks, trainer.loggers  # type: ignore[attr-defined]
    trainer.callbacks, trainer.loggers = [], []  # type: ignore[attr-defined]
    try:
        yield
    finally:
        trainer.callbacks, trainer.loggers = callbacks, loggers  # type: ignore[attr-defined]
