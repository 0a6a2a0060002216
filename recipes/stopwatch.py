"""How long a fit has taken, read at each validation: what accuracy is held against beside updates."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback


class Stopwatch(Callback):
    """Times a fit, validation included.

    Its state is in the checkpoint. Of a run that was resumed, what was lost between the checkpoint and the stop does
    not count, and what went before does.

    What it reads is not logged: the metrics of a run are the same whenever it is run, and seconds are not.

    Example:
        >>> Stopwatch().seconds
        0.0
    """

    def __init__(self) -> None:
        self.readings: list[tuple[int, float]] = []
        """At each validation, the optimizer updates and the seconds before its end."""
        self._before = 0.0
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """Of the fit by now; after it, of all of it."""
        return self._before + (0.0 if self._began is None else time.perf_counter() - self._began)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start. What comes before is loading."""
        self._began = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read it; that of a check before the fit does not count."""
        if self._began is not None:
            self.readings.append((trainer.global_step, self.seconds))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop, after an exception too."""
        self._stop()

    def _stop(self) -> None:
        self._before, self._began = self.seconds, None

    def state_dict(self) -> dict[str, Any]:
        """The time by now, and what was read."""
        return {"seconds": self.seconds, "readings": [[*each] for each in self.readings]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._before = float(state_dict["seconds"])
        self.readings = [(int(step), float(seconds)) for step, seconds in state_dict["readings"]]
