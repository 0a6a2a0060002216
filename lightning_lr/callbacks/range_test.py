"""An LR range test before a fit, or in the middle of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, cast

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info

from lightning_lr.arguments import require_int
from lightning_lr.range_test.measure import range_test_within
from lightning_lr.range_test.readings import Mode, Run, Settings
from lightning_lr.range_test.result import RangeTest


class LRRangeTest(Callback):
    """Runs an LR range test in a fit, on its data, with its options and on all of its processes, and leaves no trace.

    The fit goes on as if the test had not been: see `lr_range_test`. A policy with ``"auto"`` in the same trainer takes
    its rates from this test. A run that is resumed has the results of its checkpoint and does not test again;
    ``fast_dev_run`` does not test.

    Args:
        min_lr: See `lr_range_test`; so are the arguments that are not described here.
        max_lr: Learning rate of the last update.
        steps: Number of optimizer updates.
        mode: ``"exponential"`` or ``"linear"``.
        smoothing: How much each reading is averaged with those around it, in [0, 1).
        early_stop_threshold: More than so many times the lowest loss ends the test; None to go on.
        momentum: Momentum to test with; None for that of an ``"auto"`` policy where its rate is highest, else for the
            optimizer's own.
        repeats: How many times to run it.
        optimizer: Index of the optimizer; needed where the module has several.
        at_epochs: Before which epochs to test; 0 is the start of the fit. Later ones show how the bounds move, from the
            weights of the moment and with an optimizer built anew.

    Attributes:
        result: The last `RangeTest` of this fit; None before the first.
        results: All of them, by epoch.

    Raises:
        TypeError, ValueError: If an argument makes no sense; at fit start, if no loss can be read.

    Example:
        >>> from lightning_lr import SGDR
        >>> trainer = pl.Trainer(
        ...     callbacks=[LRRangeTest(max_lr=1.0, repeats=3), SGDR(max_lr="auto", cycles=5)],
        ...     max_epochs=50, accelerator="cpu", logger=False,
        ... )
    """

    def __init__(
        self,
        *,
        min_lr: float = 1e-6,
        max_lr: float = 10.0,
        steps: int = 100,
        mode: Mode = "exponential",
        smoothing: float = Settings.smoothing,
        early_stop_threshold: float | None = 4.0,
        momentum: float | None = None,
        repeats: int = 1,
        optimizer: int | None = None,
        at_epochs: Iterable[int] = (0,),
    ) -> None:
        # What makes no sense is refused now, not when the fit starts.
        self.settings = Settings(
            min_lr=min_lr,
            max_lr=max_lr,
            steps=steps,
            mode=mode,
            smoothing=smoothing,
            early_stop_threshold=early_stop_threshold,
            momentum=momentum,
            optimizer=optimizer,
        )
        self.repeats = require_int("repeats", repeats, at_least=1)
        if not isinstance(at_epochs, Iterable):
            raise TypeError(f"at_epochs={at_epochs!r}: not a sequence of epochs; pass ({at_epochs!r},)")
        self.at_epochs = tuple(require_int("at_epochs", epoch, at_least=0) for epoch in at_epochs)
        self.optimizer = optimizer
        self.results: dict[int, RangeTest] = {}

    @property
    def result(self) -> RangeTest | None:
        """The last test of this fit."""
        return self.results[max(self.results)] if self.results else None

    @property
    def state_key(self) -> str:
        """What the results are kept under in a checkpoint."""
        return f"{type(self).__qualname__}[optimizer={self.optimizer or 0}]"

    def measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> RangeTest:
        """Return the test from the start of this fit; run it now, where that has not been done.

        Args:
            trainer: In ``on_fit_start``.
            pl_module: The module that it trains.
        """
        return self._measure(trainer, pl_module, 0)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget the fit before; a checkpoint is read after this."""
        if stage == "fit":
            self.results = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Test before the fit."""
        # Of a run that is resumed the first result is there.
        if 0 in self.at_epochs and not self.results and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.measure(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Test before a later epoch."""
        epoch = trainer.current_epoch
        if epoch and epoch in self.at_epochs and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._measure(trainer, pl_module, epoch)

    def __getstate__(self) -> dict[str, Any]:
        # Lightning hangs `log` and `log_dict` on a callback, and they hold the module.
        return {name: value for name, value in self.__dict__.items() if name not in ("log", "log_dict")}

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured."""
        return {
            "results": {
                epoch: {"settings": asdict(found.settings), "runs": [asdict(run) for run in found.runs]}
                for epoch, found in self.results.items()
            }
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what the run that is resumed has measured."""
        self.results = {
            epoch: RangeTest(Settings(**saved["settings"]), tuple(Run(**run) for run in saved["runs"]))
            for epoch, saved in state_dict["results"].items()
        }

    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int) -> RangeTest:
        if epoch not in self.results:
            settings = self.settings
            if settings.momentum is None:
                settings = replace(settings, momentum=self._momentum_of_cycle(trainer))
            found = range_test_within(trainer, pl_module, settings, self.repeats)
            self.results[epoch] = found
            rank_zero_info(str(found))
        return self.results[epoch]

    def _momentum_of_cycle(self, trainer: pl.Trainer) -> float | None:
        """What the policy that waits for this test will have where its rate is highest."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            auto = getattr(callback, "auto", None)
            if auto is not None and (callback.optimizer or 0) == (self.optimizer or 0):
                return cast("float | None", auto.momentum)
        return None
