"""What is seen while a run works: a bar and, at the end, a table. The rest goes to the log in the run's folder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import BatchesProcessedColumn, CustomBarColumn
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import ProgressColumn, TextColumn, track

_T = TypeVar("_T")

# Warnings of Lightning's that are advice for another run than this one.
_BESIDE_THE_POINT = (
    # The data are tensors in memory: a worker would only copy them.
    r".*does not have many workers.*",
    # The folder is the run's own, made by Hydra a moment ago; `run` refuses one that holds another run.
    r"Experiment logs directory .* exists and is not empty.*",
    # The folder of checkpoints is the run's own too.
    r"Checkpoint directory .* exists and is not empty.*",
    # `trainer.accelerator=cpu` says so.
    r"GPU available but not used.*",
    # Lightning 2.6 with torch 2.15: a call of its own to a function that torch has renamed.
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    # Samples that DDP's sampler repeats are counted once: `SnapshotEnsemble` sees to it.
    r"Using `DistributedSampler` with the dataloaders.*",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep off the terminal what is not about this run, as long as it lasts."""
    # Lightning's loggers have handlers of their own and tell nobody else: with Hydra's, lines came twice or not at all.
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    with warnings.catch_warnings():
        for message in _BESIDE_THE_POINT:
            warnings.filterwarnings("ignore", message=message)
        yield


class Bar(RichProgressBar):
    """Lightning's bar, narrow enough for 80 columns with the metrics in it."""

    def __init__(self) -> None:
        # Drawn every ten batches: more often takes the time of training.
        super().__init__(refresh_rate=10)

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """What is done and how far it is."""
        theme = self.theme
        return [
            TextColumn("[progress.description]{task.description}"),
            CustomBarColumn(
                bar_width=24,
                complete_style=theme.progress_bar,
                finished_style=theme.progress_bar_finished,
                pulse_style=theme.progress_bar_pulse,
            ),
            BatchesProcessedColumn(style=theme.batch_progress),
        ]


def tracked(items: Sequence[_T], doing: str) -> Iterator[_T]:
    """Yield the items, with a bar that goes when they are through; on the first process, and in a terminal only."""
    screen, is_first = console(), getattr(rank_zero_only, "rank", 0) == 0
    yield from track(items, doing, console=screen, transient=True, disable=not screen.is_terminal or not is_first)


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """Say what is being done, as long as it lasts; in a terminal only."""
    screen = console()
    if not screen.is_terminal:
        yield
        return
    with screen.status(doing):
        yield


def console() -> Console:
    """Return where the result is printed."""
    return Console(highlight=False)
