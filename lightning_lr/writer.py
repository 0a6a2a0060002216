"""Curves written into the param groups of one optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

from torch.optim import Optimizer

from lightning_lr.hyperparameters import HyperParameter
from lightning_lr.schedules.curves import Curve, Values
from lightning_lr.schedules.pace import Pace

Curves: TypeAlias = Mapping[str, Curve | tuple[Curve, ...]]
"""By hyper-parameter: one curve for all param groups, whose ratios are kept, or a tuple of one a group."""


class Writer:
    """Writes the values of curves, and notices when somebody else does.

    Args:
        curves: What to write.
        optimizer: Where to write it, as it was built: the groups' ratios are taken now.
        owner: Who writes, for the errors.

    Raises:
        ValueError: If the optimizer lacks a hyper-parameter, or a tuple has not one curve a param group.
    """

    def __init__(self, curves: Curves, optimizer: Optimizer, owner: str) -> None:
        self._owner = owner
        self._curves = curves
        self._optimizer = optimizer
        self._parameters = {name: HyperParameter(name, optimizer) for name in curves}
        for name, curve in curves.items():
            if isinstance(curve, tuple):
                self._parameters[name].refuse_count(len(curve))

    def follow(self, pace: Pace) -> None:
        """Bind the curves; `write` takes updates of this pace from now on.

        Raises:
            ValueError: If a curve does not fit the horizon.
        """
        self._position = pace.bind()
        self._spread: list[tuple[HyperParameter, Values]] = []
        self._apart: list[tuple[HyperParameter, list[Values]]] = []
        for name, curve in self._curves.items():
            parameter = self._parameters[name]
            if isinstance(curve, tuple):
                self._apart.append((parameter, [each.bind(pace.curve) for each in curve]))
            else:
                self._spread.append((parameter, curve.bind(pace.curve)))

    def write(self, step: int) -> None:
        """Write what update ``step`` is to use."""
        position = self._position(step)
        for parameter, value in self._spread:
            parameter.spread(value(position))
        for parameter, values in self._apart:
            parameter.write([value(position) for value in values])

    def exchange(self, step: int) -> None:
        """Refuse a foreign change, and write what update ``step`` is to use.

        Raises:
            RuntimeError: If somebody else has changed a value since the last write.
        """
        position = self._position(step)
        for parameter, value in self._spread:
            index = parameter.exchange(value(position))
            if index is not None:
                self._refuse(parameter, index, step - 1)
        for parameter, values in self._apart:
            self._check(parameter, step - 1)
            parameter.write([value(position) for value in values])

    def check(self, step: int) -> None:
        """Refuse a foreign change of what was written for update ``step``.

        Raises:
            RuntimeError: If somebody else has changed a value since the last write.
        """
        for parameter in self._parameters.values():
            self._check(parameter, step)

    def shares(self, name: str, values: list[float]) -> list[float]:
        """Return what each param group gets of one value for all, or of one a group."""
        return values if isinstance(self._curves[name], tuple) else self._parameters[name].shares(values[0])

    def has_new_groups(self) -> bool:
        """Tell whether param groups were added since the last write."""
        return len(self._optimizer.param_groups) != len(next(iter(self._parameters.values())).written)

    def current(self) -> dict[str, tuple[float, ...]]:
        """Return what was written last, one value a param group."""
        return {name: tuple(parameter.written) for name, parameter in self._parameters.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the groups' ratios."""
        return {name: parameter.state_dict() for name, parameter in self._parameters.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up the groups' ratios of an earlier run; a hyper-parameter that it did not have keeps its own."""
        for name in self._parameters.keys() & state_dict.keys():
            self._parameters[name].load_state_dict(state_dict[name])

    def _check(self, parameter: HyperParameter, step: int) -> None:
        index = parameter.changed()
        if index is not None:
            self._refuse(parameter, index, step)

    def _refuse(self, parameter: HyperParameter, index: int, step: int) -> NoReturn:
        raise RuntimeError(
            f"{parameter.name}={parameter.found(index)!r}: param group {index} was given {parameter.written[index]!r} "
            f"for update {step} by {self._owner}, and somebody else has changed it since; remove the code that sets "
            f"it, or remove {self._owner}"
        )
