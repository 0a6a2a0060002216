"""The one class that owns the clock and writes hyper-parameters; every named policy stands on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn

from lightning_lr.arguments import require_choice, require_int
from lightning_lr.callbacks.auto import rates_of_fit
from lightning_lr.callbacks.description import RESUMED, describe, refused_horizon, rehearsed
from lightning_lr.callbacks.horizon import horizon_of
from lightning_lr.callbacks.listeners import Listeners
from lightning_lr.callbacks.neighbours import sets_lr_each_epoch, warn_of_restarts
from lightning_lr.callbacks.ownership import refuse_other_owners
from lightning_lr.durations import Horizon
from lightning_lr.schedules.cycles import Cycle
from lightning_lr.schedules.pace import Pace
from lightning_lr.schedules.plan import CurveLike, Plan
from lightning_lr.target import optimizer_of, refuse_foreign_engine
from lightning_lr.updates import after_each_update
from lightning_lr.writer import Writer


class Schedule(Plan, Callback):
    """Any schedule for any hyper-parameter of an optimizer, written before each update.

    The clock counts the updates that the optimizer applied: not batches, not micro-batches, not steps that mixed
    precision skipped. With ``n`` of them applied, the param groups hold ``curve(n)`` from before the forward pass that
    leads to the next update until that update is done.

    One curve for all param groups keeps their ratios: a group gets ``curve(n) * value_group / value_largest``, with the
    values that the optimizer was built with, so that the curve is what the fastest group sees. Momentum has no such
    ratio: every group gets the curve. A list has one curve a param group.

    Other callbacks are told of the cycles: see `lightning_lr.callbacks.listeners`.

    Args:
        lr: Learning rate: a number, a function of the update, a curve, or a list of these, one a param group.
        momentum: The same for ``momentum``, or ``betas[0]`` of an optimizer of Adam's kind.
        weight_decay: The same for weight decay.
        optimizer: Index of the optimizer; needed where the module has several.
        total_steps: Optimizer updates of the run, where Lightning cannot tell (a loader without a length, several
            updates a batch).
        on_new_horizon: What a run does that is resumed with another length. None refuses; ``"keep"`` follows the old
            curve and then holds its last value; ``"stretch"`` goes on from the same share of the way, on a curve of the
            length that ends with the run.

    Raises:
        TypeError, ValueError: If an argument makes no sense; at fit start, if the optimizer lacks a hyper-parameter or
            an LR range test cannot tell what is ``"auto"``; before the first update, if the run's length cannot be told
            or the curve does not fit it.
        RuntimeError: At fit start, if something else owns the optimizer or the strategy's engine steps elsewhere;
            during the fit, if somebody else changes a value between two updates.

    Example:
        >>> from lightning_lr import Anneal
        >>> policy = Schedule(lr=lambda step: 0.1 / (1 + step), weight_decay=Anneal(0.0, 0.5, "linear"))
        >>> policy.preview(total_steps=4)["weight_decay"]
        [0.0, 0.125, 0.25, 0.375]
    """

    def __init__(
        self,
        # Lists first: LightningCLI saves a value by the first type that takes it, and a list is no function's path.
        lr: Sequence[CurveLike] | CurveLike | None = None,
        momentum: Sequence[CurveLike] | CurveLike | None = None,
        weight_decay: Sequence[CurveLike] | CurveLike | None = None,
        *,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        super().__init__(lr, momentum, weight_decay)
        if optimizer is not None:
            require_int("optimizer", optimizer, at_least=0)
        if total_steps is not None:
            require_int("total_steps", total_steps, at_least=1)
        require_choice("on_new_horizon", on_new_horizon, (None, "keep", "stretch"))
        self.optimizer = optimizer
        self.total_steps = total_steps
        self.on_new_horizon = on_new_horizon
        self._forget()

    def _forget(self) -> None:
        self.take({})
        self.step = 0
        self.horizon: Horizon | None = None
        self.optimizer_index: int | None = None
        self._pace: Pace | None = None
        self._restored: dict[str, Any] | None = None
        self._writer: Writer | None = None
        self._cycles_of_run: tuple[Cycle, ...] = ()
        self._contested = False
        self._stop_clock: Callable[[], None] | None = None
        self._before: tuple[int, int] = (0, 0)

    def describe(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        train_dataloaders: Any = None,
        datamodule: pl.LightningDataModule | None = None,
    ) -> str:
        """Tell what this schedule will do in a fit: the run's length, cycles, peaks, and what happens on a resume.

        The data are attached and counted and the optimizers built as `fit` would; it does all of that anew, and the
        random generators are put back. ``prepare_data`` and ``setup`` of the data module are called once more.

        Args:
            trainer: That will run the fit.
            pl_module: The module that it will train.
            train_dataloaders: As for `fit`.
            datamodule: As for `fit`.
        """
        if self.auto is not None and not self.found:
            self.auto.refuse_to_foresee()
        name, resumed = type(self).__name__, RESUMED[self.on_new_horizon]
        with rehearsed(trainer, pl_module, train_dataloaders, datamodule):
            index = optimizer_of(trainer, self.optimizer, name)
            told = describe(self, name, index, trainer.optimizers[index], horizon_of(trainer, self.total_steps))
        return f"{told}\n  resumed from a checkpoint: {resumed}"

    # What other callbacks may read during a fit: beside these, `step` (updates applied so far), `horizon` and
    # `optimizer_index`

    @property
    def current(self) -> dict[str, tuple[float, ...]]:
        """What was written last, one value a param group."""
        return {} if self._writer is None else self._writer.current()

    @property
    def run_cycles(self) -> tuple[Cycle, ...]:
        """The cycles of the run at hand, in updates as `step` counts them."""
        return self._cycles_of_run

    # The run

    @property
    def state_key(self) -> str:
        """What the state is kept under in a checkpoint: policies of two optimizers live in one trainer."""
        return f"{type(self).__qualname__}[optimizer={self.optimizer or 0}]"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget the run before; a checkpoint is read after this."""
        if stage == "fit":
            self._forget()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Settle whose hyper-parameters these are, what the optimizer was built with, and what ``"auto"`` is."""
        name = type(self).__name__
        refuse_foreign_engine(trainer, name)
        self.optimizer_index = optimizer_of(trainer, self.optimizer, name)
        schedules = [callback for callback in trainer.callbacks if isinstance(callback, Schedule)]  # type: ignore[attr-defined]
        refuse_other_owners(trainer, self.optimizer_index, self, schedules)
        optimizer = trainer.optimizers[self.optimizer_index]
        if self.auto is not None:
            # What the optimizer lacks is told before hundreds of batches, not after them.
            Writer(self.provisional(), optimizer, name)
            saved = None if self._restored is None else self._restored.get("found", {})
            self.take(rates_of_fit(self.auto, trainer, pl_module, self.optimizer_index, name, saved))
        self._writer = Writer(self.curves, optimizer, name)

    def prepare(self, trainer: pl.Trainer) -> None:
        """Settle the run's length and its cycles. Called at train start, by whoever needs them first.

        Not earlier: to learn how many batches there are is to build the training loader, and Lightning restores the
        state of a loader only while it builds it.
        """
        if self.horizon is not None:
            return
        assert self._writer is not None
        told = self._length(trainer)
        if self._restored is None:
            pace = self._begin(trainer, told)
        else:
            pace = Pace.from_state_dict(self._restored["pace"])
            before = Horizon(*self._restored["run"])
            if told != before and not trainer.fast_dev_run:  # type: ignore[attr-defined]
                pace = self._on_new_horizon(pace, before, told)
            self._writer.load_state_dict(self._restored["groups"])
        self._writer.follow(pace)
        self._cycles_of_run = pace.cycles(self._leading.cycles(pace.curve))
        callbacks, name = trainer.callbacks, type(self).__name__  # type: ignore[attr-defined]
        warn_of_restarts(callbacks, name, self._cycles_of_run)
        self._contested = sets_lr_each_epoch(callbacks, name)
        self._pace, self.horizon = pace, told

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the first values and start the clock.

        Not earlier: a checkpoint's optimizer state comes after ``on_fit_start``, and would overwrite them.
        """
        assert self.optimizer_index is not None
        assert self._writer is not None
        self.prepare(trainer)
        self._writer.write(self.step)
        self._before = (self.step, trainer.global_step)
        tell = Listeners(trainer, pl_module, self, self.run_cycles)
        tell.reached(self.step)
        optimizer = trainer.optimizers[self.optimizer_index]
        self._stop_clock = after_each_update(optimizer, self._after_update(tell))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take in param groups that a fine-tuning callback has added, and take back one that it has set."""
        assert self._writer is not None
        if self._writer.has_new_groups() or (self._contested and batch_idx == 0):
            self._writer.write(self.step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to have run with a clock that stood still."""
        self._stop()
        # A gradient scaler may have skipped every step of a short run.
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        step, global_step = self._before
        if self.step == step and trainer.global_step > global_step and scaler is None:
            raise RuntimeError(
                f"strategy={type(trainer.strategy).__name__}: {trainer.global_step - global_step} steps were taken and "
                f"{type(self).__name__} has seen none of them; call step() of optimizer {self.optimizer_index}, or use "
                "a strategy that does"
            )

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave no hook behind."""
        self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave no hook behind."""
        self._stop()

    def __getstate__(self) -> dict[str, Any]:
        # What belongs to a fit stays with it: the optimizer, and the `log` and `log_dict` that Lightning hangs on a
        # callback and that hold the module.
        kept = {name: value for name, value in self.__dict__.items() if name not in ("log", "log_dict")}
        return {**kept, "_writer": None, "_stop_clock": None}

    def state_dict(self) -> dict[str, Any]:
        """Return the clock, the horizon, the groups' ratios, and what ``"auto"`` stands for."""
        if self.horizon is None or self._pace is None or self._writer is None:
            # Saved before training began, by a callback that saves on an exception: what was restored still holds.
            return self._restored or {}
        return {
            "step": self.step,
            "run": [self.horizon.total_steps, self.horizon.steps_per_epoch],
            "pace": self._pace.state_dict(),
            "groups": self._writer.state_dict(),
            **({"found": dict(self.found)} if self.found else {}),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the clock, the horizon and the groups' ratios of the run that is resumed."""
        self._restored = state_dict
        self.step = state_dict["step"]

    def _length(self, trainer: pl.Trainer) -> Horizon:
        return horizon_of(trainer, self.total_steps)

    def _begin(self, trainer: pl.Trainer, told: Horizon) -> Pace:
        done = trainer.global_step // len(trainer.optimizers)
        if not done or self.total_steps is not None:
            return Pace(told)
        left = max(1, told.total_steps - done)
        rank_zero_warn(
            f"{type(self).__name__}: the run goes on after {done} updates of which this policy has no record; its "
            f"curve starts now, over the {left} updates that are left"
        )
        return Pace(Horizon(left, told.steps_per_epoch))

    def _on_new_horizon(self, pace: Pace, before: Horizon, now: Horizon) -> Pace:
        if self.on_new_horizon is None:
            raise ValueError(refused_horizon(type(self).__name__, before, now))
        return pace if self.on_new_horizon == "keep" else pace.stretched(self.step, now.total_steps)

    def _after_update(self, tell: Listeners) -> Callable[[], None]:
        assert self._writer is not None
        assert self.horizon is not None
        writer = self._writer
        overrun = self.horizon.total_steps + 1
        # Updates after which there is more to do than to write.
        marks = {overrun, *tell.steps}

        def after_update() -> None:
            self.step = step = self.step + 1
            if step not in marks:
                writer.exchange(step)
                return
            writer.check(step - 1)
            if step == overrun:
                self._warn_of_overrun()
            tell.ended(step)
            writer.write(step)
            tell.reached(step)

        return after_update

    def _warn_of_overrun(self) -> None:
        rank_zero_warn(
            f"{type(self).__name__}: more than the {self.step - 1} updates that its curve was made for; its last value "
            "holds. Where one batch leads to several updates, pass total_steps="
        )

    def _stop(self) -> None:
        if self._stop_clock is not None:
            self._stop_clock()
            self._stop_clock = None
