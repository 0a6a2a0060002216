"""Curves written into the param groups of one optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch.optim import Optimizer

from lightning_lr.curves import Curve, Values
from lightning_lr.hyperparameters import HyperParameter
from lightning_lr.pace import Pace

Curves: TypeAlias = Mapping[str, Curve | tuple[Curve, ...]]
"""By hyper-parameter: one curve for all param groups, whose ratios are kept, or a tuple of one a group."""


class Writer:
    """Writes the values of curves, and notices when somebody else does.

    Args:
        curves: What to write.
        optimizer: Where to write it, as it was built: the groups' ratios are taken now.

    Raises:
        ValueError: If the optimizer lacks a hyper-parameter, or a tuple has not one curve a param group.
    """

    def __init__(self, curves: Curves, optimizer: Optimizer) -> None:
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
        self._pace = pace
        self._spread: list[tuple[HyperParameter, Values]] = []
        self._apart: list[tuple[HyperParameter, list[Values]]] = []
        for name, curve in self._curves.items():
            if isinstance(curve, tuple):
                self._apart.append((self._parameters[name], [each.bind(pace.curve) for each in curve]))
            else:
                self._spread.append((self._parameters[name], curve.bind(pace.curve)))

    def write(self, step: int) -> None:
        """Write what update ``step`` is to use."""
        position = self._pace.at(step)
        for parameter, value in self._spread:
            parameter.spread(value(position))
        for parameter, values in self._apart:
            parameter.write([value(position) for value in values])

    def has_new_groups(self) -> bool:
        """Tell whether param groups were added since the last write."""
        return len(self._optimizer.param_groups) != len(next(iter(self._parameters.values())).written)

    def current(self) -> dict[str, tuple[float, ...]]:
        """Return what was written last, one value a param group."""
        return {name: tuple(parameter.written) for name, parameter in self._parameters.items()}

    def foreign_change(self) -> str | None:
        """Describe the first value that somebody else has changed since the last write."""
        for name, parameter in self._parameters.items():
            index = parameter.changed()
            if index is not None:
                return f"{name}={parameter.found(index)!r}: param group {index} was given {parameter.written[index]!r}"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the groups' ratios."""
        return {name: parameter.state_dict() for name, parameter in self._parameters.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up the groups' ratios of an earlier run; a hyper-parameter that it did not have keeps its own."""
        for name in self._parameters.keys() & state_dict.keys():
            self._parameters[name].load_state_dict(state_dict[name])
