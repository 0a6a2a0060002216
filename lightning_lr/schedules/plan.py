"""What a schedule will do to an optimizer's hyper-parameters, seen before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from lightning_lr.durations import Horizon
from lightning_lr.schedules.auto import Auto
from lightning_lr.schedules.curves import Curve, as_curve
from lightning_lr.schedules.cycles import Cycle

CurveLike: TypeAlias = Curve | float | Callable[[int], float]
"""A schedule, as users may give it: a curve, a number, or a plain function of the update."""


class Plan:
    """Curves by hyper-parameter: the pure half of a `Schedule`.

    Args:
        lr: Learning rate: a number, a function of the update, a curve, or a list of these, one a param group.
        momentum: The same for momentum.
        weight_decay: The same for weight decay.

    Raises:
        TypeError, ValueError: If there is nothing to schedule, or something is no curve.
    """

    def __init__(
        self,
        lr: CurveLike | Sequence[CurveLike] | None = None,
        momentum: CurveLike | Sequence[CurveLike] | None = None,
        weight_decay: CurveLike | Sequence[CurveLike] | None = None,
    ) -> None:
        given = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.curves = {name: _curves(name, value) for name, value in given.items() if value is not None}
        if not self.curves:
            raise ValueError("lr=None, momentum=None, weight_decay=None: nothing to schedule; pass one of them")
        self.auto = lr if isinstance(lr, Auto) else None
        self.found: dict[str, float] = {}
        """What ``"auto"`` stood for in the last fit, by argument; empty before it, and where nothing is ``"auto"``."""

    def provisional(self) -> dict[str, Curve | tuple[Curve, ...]]:
        """Return the curves with stand-ins for what ``"auto"`` has yet to tell: right in kind and number."""
        return self.curves if self.auto is None else {**self.curves, "lr": _curves("lr", self.auto.stand_in())}

    def take(self, found: Mapping[str, float]) -> None:
        """Put rates in the place of every ``"auto"``; none, to wait for the next ones.

        Args:
            found: By argument.

        Raises:
            ValueError: If a rate does not go with the others.
        """
        if self.auto is not None:
            rates = self.auto.resolve(found) if found else self.auto
            self.curves = {**self.curves, "lr": _curves("lr", rates)}
        self.found = dict(found)

    def preview(self, total_steps: int, steps_per_epoch: int | None = None) -> dict[str, list[float]]:
        """Return what a run of this length will use, one value an update.

        The keys are the names of the hyper-parameters; where there is a list of curves, ``"lr[0]"``, ``"lr[1]"``, ….

        Args:
            total_steps: Optimizer updates of the run.
            steps_per_epoch: Optimizer updates of an epoch, for durations in epochs.
        """
        named: dict[str, list[float]] = {}
        for name, columns in self.columns(Horizon(total_steps, steps_per_epoch)).items():
            if isinstance(self.curves[name], Curve):
                named[name] = columns[0]
            else:
                named |= {f"{name}[{index}]": column for index, column in enumerate(columns)}
        return named

    def columns(self, horizon: Horizon) -> dict[str, list[list[float]]]:
        """Return the values of each hyper-parameter: a column for all param groups, or one a group."""
        return {
            name: [
                [*map(curve.bind(horizon), range(horizon.total_steps))]
                for curve in ([curves] if isinstance(curves, Curve) else curves)
            ]
            for name, curves in self.curves.items()
        }

    def cycles(self, total_steps: int, steps_per_epoch: int | None = None) -> tuple[Cycle, ...]:
        """Return the cycles of a run of this length: the learning rate's, where that is scheduled.

        Args:
            total_steps: Optimizer updates of the run.
            steps_per_epoch: Optimizer updates of an epoch, for durations in epochs.
        """
        return self._leading.cycles(Horizon(total_steps, steps_per_epoch))

    @property
    def cyclic(self) -> bool:
        """Whether there are cycles, however long a run is."""
        return self._leading.cyclic

    @property
    def _leading(self) -> Curve:
        first = next(iter(self.curves.values()))
        return first if isinstance(first, Curve) else first[0]

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


def _curves(name: str, value: CurveLike | Sequence[CurveLike]) -> Curve | tuple[Curve, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return as_curve(name, value)
    if not value:
        raise ValueError(f"{name}=[]: a list has one entry a param group; give one a group, or a single one for all")
    return tuple(as_curve(name, each) for each in value)
