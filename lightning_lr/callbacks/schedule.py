"""The one class that owns the clock and writes hyper-parameters; every named policy stands on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_lr.arguments import require_choice, require_int
from lightning_lr.callbacks.horizon import horizon_of
from lightning_lr.callbacks.ownership import optimizer_of, refuse_foreign_engine, refuse_other_owners
from lightning_lr.curves import Curve, Values, as_curve
from lightning_lr.cycles import Cycle
from lightning_lr.durations import Horizon
from lightning_lr.hyperparameters import HyperParameter

CurveLike: TypeAlias = Curve | float | Callable[[int], float]
"""A schedule, as users may give it: a curve, a number, or a plain function of the update."""


class Schedule(Callback):
    """Any schedule for any hyper-parameter of an optimizer, written before each update.

    The clock counts the updates that the optimizer applied: not batches, not micro-batches, not steps that mixed
    precision skipped. With ``n`` of them applied, the param groups hold ``curve(n)`` from before the forward pass that
    leads to the next update until that update is done.

    One curve for all param groups keeps their ratios: a group gets ``curve(n) * value_group / value_largest``, with the
    values that the optimizer was built with, so that the curve is what the fastest group sees. Momentum has no such
    ratio: every group gets the curve. A list has one curve a param group.

    Another callback that has a method ``on_cycle_end(trainer, pl_module, schedule, cycle)`` is told when a cycle's last
    update is applied, while `current` still shows what it used.

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
        TypeError, ValueError: If an argument makes no sense; at fit start, if the optimizer lacks a hyper-parameter,
            the run's length cannot be told, or the curve does not fit it.
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
        lr: CurveLike | Sequence[CurveLike] | None = None,
        momentum: CurveLike | Sequence[CurveLike] | None = None,
        weight_decay: CurveLike | Sequence[CurveLike] | None = None,
        *,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        super().__init__()
        given = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.curves = {name: _curves(name, value) for name, value in given.items() if value is not None}
        if not self.curves:
            raise ValueError("lr=None, momentum=None, weight_decay=None: nothing to schedule; pass one of them")
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
        self.step = 0
        self.horizon: Horizon | None = None
        self.optimizer_index: int | None = None
        # The curve's own length, and how far along it the clock's 0 is: they differ from the run's length and from 0
        # only after a resume with another horizon.
        self._curve_horizon: Horizon | None = None
        self._lead = 0
        self._restored: dict[str, Any] | None = None
        self._bound: list[tuple[HyperParameter, list[Values]]] = []
        self._ends: dict[int, Cycle] = {}
        self._hook: RemovableHandle | None = None

    # Seen before it runs

    def preview(self, total_steps: int, steps_per_epoch: int | None = None) -> dict[str, list[float]]:
        """Return what a run of this length will use, one value an update.

        The keys are the names of the hyper-parameters; where there is a list of curves, ``"lr[0]"``, ``"lr[1]"``, ….

        Args:
            total_steps: Optimizer updates of the run.
            steps_per_epoch: Optimizer updates of an epoch, for durations in epochs.
        """
        horizon = Horizon(total_steps, steps_per_epoch)
        columns: dict[str, list[float]] = {}
        for name, curves in self.curves.items():
            for index, curve in enumerate(curves):
                key = name if len(curves) == 1 else f"{name}[{index}]"
                columns[key] = [*map(curve.bind(horizon), range(total_steps))]
        return columns

    def cycles(self, total_steps: int, steps_per_epoch: int | None = None) -> tuple[Cycle, ...]:
        """Return the cycles of a run of this length: the learning rate's, where that is scheduled.

        Args:
            total_steps: Optimizer updates of the run.
            steps_per_epoch: Optimizer updates of an epoch, for durations in epochs.
        """
        return self._cycles(Horizon(total_steps, steps_per_epoch))

    def _cycles(self, horizon: Horizon) -> tuple[Cycle, ...]:
        return next(iter(self.curves.values()))[0].cycles(horizon)

    def plot(self, path: str | Path, total_steps: int, steps_per_epoch: int | None = None) -> Path:
        """Draw what a run of this length will use.

        Args:
            path: Where the picture goes; its ending tells the format.
            total_steps: Optimizer updates of the run.
            steps_per_epoch: Optimizer updates of an epoch, for durations in epochs.
        """
        from lightning_lr.plots import plot_schedule

        return plot_schedule(
            self.preview(total_steps, steps_per_epoch),
            path,
            cycles=self.cycles(total_steps, steps_per_epoch),
            steps_per_epoch=steps_per_epoch,
            title=type(self).__name__,
        )

    # What other callbacks may read during a fit: beside these, `step` (updates applied so far), `horizon` and
    # `optimizer_index`

    @property
    def current(self) -> dict[str, tuple[float, ...]]:
        """What was written last, one value a param group."""
        return {parameter.name: tuple(parameter.written) for parameter, _ in self._bound}

    @property
    def run_cycles(self) -> tuple[Cycle, ...]:
        """The cycles of the run at hand, in updates as `step` counts them."""
        return tuple(self._ends.values())

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
        """Refuse all that can be refused before the first batch."""
        name = type(self).__name__
        refuse_foreign_engine(trainer, name)
        self.optimizer_index = optimizer_of(trainer, self.optimizer, name)
        schedules = [callback for callback in trainer.callbacks if isinstance(callback, Schedule)]  # type: ignore[attr-defined]
        refuse_other_owners(trainer, self.optimizer_index, self, schedules)

        self._bound = []
        optimizer = trainer.optimizers[self.optimizer_index]
        for hyperparameter, curves in self.curves.items():
            parameter = HyperParameter(hyperparameter, optimizer)
            parameter.refuse_count(len(curves))
            self._bound.append((parameter, []))
        self._set_horizon(horizon_of(trainer, self.total_steps))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the first values and start the clock.

        Not earlier: a checkpoint's optimizer state comes after ``on_fit_start``, and would overwrite them.
        """
        assert self.horizon is not None
        assert self.optimizer_index is not None
        done = trainer.global_step // len(trainer.optimizers)
        if done and self._restored is None and self.total_steps is None:
            left = max(1, self.horizon.total_steps - done)
            rank_zero_warn(
                f"{type(self).__name__}: the run goes on after {done} updates of which this policy has no record; its "
                f"curve starts now, over the {left} updates that are left"
            )
            self._set_horizon(Horizon(left, self.horizon.steps_per_epoch))
        self._write()
        self._hook = trainer.optimizers[self.optimizer_index].register_step_post_hook(
            self._after_step(trainer, pl_module)
        )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take in param groups that a fine-tuning callback has added."""
        assert self.optimizer_index is not None
        if len(trainer.optimizers[self.optimizer_index].param_groups) != len(self._bound[0][0].written):
            self._write()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to have run with a clock that stood still."""
        self._stop()
        # A gradient scaler may have skipped every step of a short run.
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if self.step == 0 and trainer.global_step > 0 and scaler is None:
            raise RuntimeError(
                f"strategy={type(trainer.strategy).__name__}: {trainer.global_step} steps were taken and "
                f"{type(self).__name__} has seen none of them; something other than the optimizer's step() updates the "
                "weights, which is not supported"
            )

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave no hook behind."""
        self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave no hook behind."""
        self._stop()

    def __getstate__(self) -> dict[str, Any]:
        # A bound curve is a closure, and a hook holds on to the optimizer: both belong to a fit, not to the policy.
        return {**self.__dict__, "_bound": [], "_hook": None}

    def state_dict(self) -> dict[str, Any]:
        """Return the clock, the horizon and the groups' ratios."""
        if self.horizon is None or self._curve_horizon is None:
            return {}
        return {
            "step": self.step,
            "lead": self._lead,
            "run": [self.horizon.total_steps, self.horizon.steps_per_epoch],
            "curve": [self._curve_horizon.total_steps, self._curve_horizon.steps_per_epoch],
            "groups": {parameter.name: parameter.state_dict() for parameter, _ in self._bound},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the clock, the horizon and the groups' ratios of the run that is resumed."""
        self._restored = state_dict
        self.step = state_dict["step"]

    def _set_horizon(self, now: Horizon) -> None:
        self.horizon, curve, lead = now, now, 0
        if self._restored is not None:
            curve, lead, before = (
                Horizon(*self._restored["curve"]),
                self._restored["lead"],
                Horizon(*self._restored["run"]),
            )
            if now != before:
                curve, lead = self._on_new_horizon(before, now, curve, lead)
            for parameter, _ in self._bound:
                if parameter.name in self._restored["groups"]:
                    parameter.load_state_dict(self._restored["groups"][parameter.name])
        self._curve_horizon, self._lead = curve, lead
        self._bound = [
            (parameter, [each.bind(curve) for each in self.curves[parameter.name]]) for parameter, _ in self._bound
        ]
        self._ends = {
            cycle.end - lead: Cycle(cycle.index, cycle.start - lead, cycle.end - lead, cycle.complete)
            for cycle in self._cycles(curve)
        }

    def _on_new_horizon(self, before: Horizon, now: Horizon, curve: Horizon, lead: int) -> tuple[Horizon, int]:
        if self.on_new_horizon is None:
            raise ValueError(
                f"on_new_horizon=None: {type(self).__name__} was saved in a run of {_words(before)}, and this one has "
                f'{_words(now)}; pass "keep" for the old curve and then its last value, or "stretch" to go on from the '
                "same share of the way"
            )
        left, left_of_curve = now.total_steps - self.step, curve.total_steps - (self.step + lead)
        if self.on_new_horizon == "keep" or left <= 0 or left_of_curve <= 0:
            return curve, lead
        # As long that what is left of the curve takes what is left of the run: left / length = left_of_curve / total.
        length = (2 * left * curve.total_steps + left_of_curve) // (2 * left_of_curve)
        return Horizon(length, now.steps_per_epoch), length - now.total_steps

    def _after_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Callable[..., None]:
        listeners = [
            callback.on_cycle_end
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            if hasattr(callback, "on_cycle_end")
        ]

        # Outside of a compiled `optimizer.step`: a Python counter inside makes it compile again at every update.
        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            # Under a gradient scaler a fused optimizer is called even when its kernel skips the update. The scaler's
            # flag is the one value that is ever read from the device.
            found_inf = getattr(optimizer, "found_inf", None)
            if found_inf is not None and float(found_inf):
                return
            self._refuse_foreign_changes()
            self.step += 1
            if self.step in self._ends:
                for listener in listeners:
                    listener(trainer, pl_module, self, self._ends[self.step])
            self._write()

        return cast("Callable[..., None]", after_step)

    def _write(self) -> None:
        assert self._curve_horizon is not None
        position = min(self.step + self._lead, self._curve_horizon.total_steps - 1)
        for parameter, curves in self._bound:
            parameter.write([values(position) for values in curves])

    def _refuse_foreign_changes(self) -> None:
        for parameter, _ in self._bound:
            index = parameter.changed()
            if index is not None:
                raise RuntimeError(
                    f"{parameter.name}={parameter.found(index)!r}: in param group {index} somebody else changed the "
                    f"{parameter.written[index]!r} that {type(self).__name__} wrote for update {self.step}; remove the "
                    f"code that sets {parameter.name}, or remove {type(self).__name__}"
                )

    def _stop(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


def _curves(name: str, value: CurveLike | Sequence[CurveLike]) -> tuple[Curve, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            raise ValueError(f"{name}=[]: a list has one entry a param group; give one a group, or one for all")
        return tuple(as_curve(name, each) for each in value)
    return (as_curve(name, value),)


def _words(horizon: Horizon) -> str:
    epochs = f", {horizon.steps_per_epoch} an epoch" if horizon.steps_per_epoch else ""
    return f"{horizon.total_steps} updates{epochs}"
