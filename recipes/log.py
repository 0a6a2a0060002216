"""The logger that every run has."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only


class MetricsFile(CSVLogger):
    """Lightning's `CSVLogger`, in the run's folder itself; what led to a checkpoint is on the disk when that is.

    Args:
        save_dir: The folder.
        flush_logs_every_n_steps: How many rows may wait to be written. Lightning would write at every update, and open
            the file for it.
    """

    def __init__(self, save_dir: str | Path, flush_logs_every_n_steps: int = 100) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)
        self._due = False

    @rank_zero_only
    def save(self) -> None:
        """Write what waits, where that is enough or a checkpoint has just been saved."""
        if self._due or len(self.experiment.metrics) >= self._flush_logs_every_n_steps:
            self._due = False
            super().save()

    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:
        """Write all: a run that goes on from the checkpoint does not log it again."""
        super().save()
        # Callbacks come first: what the update itself has logged, the loss, is handed over after this.
        self._due = True

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write all, however the run ended."""
        super().save()
