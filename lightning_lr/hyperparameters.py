"""The hyper-parameters in an optimizer's param groups: found, written, and watched.

The names are ``lr``, ``momentum`` (the key of that name, or ``betas[0]``) and ``weight_decay``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class HyperParameter:
    """One hyper-parameter in every param group of one optimizer.

    One value for all groups keeps their ratios: group ``g`` gets ``value * built_g / max(built)``, with the values that
    the optimizer was built with. Momentum has no ratios. Where weight decay is 0 in every group there are none either.
    A group that is added later is treated the same way.

    What was written is remembered, so that a change by anybody else is seen. A tensor is written in place and watched
    by its version counter: to read it would wait for the device.

    Args:
        name: ``"lr"``, ``"momentum"`` or ``"weight_decay"``.
        optimizer: Whose param groups to write, as it was built.
        without: What to do where the optimizer has no momentum, for the error.

    Raises:
        ValueError: If a param group has no such hyper-parameter or has momentum 0, or every group has LR 0.

    Example:
        >>> weights, bias = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.AdamW([{"params": [weights]}, {"params": [bias], "lr": 0.05}], lr=0.1)
        >>> lr = HyperParameter("lr", optimizer)
        >>> lr.spread(1.0)
        >>> [group["lr"] for group in optimizer.param_groups]
        [1.0, 0.5]
        >>> optimizer.param_groups[1]["lr"] = 0.3
        >>> lr.changed()
        1
    """

    def __init__(
        self, name: str, optimizer: Optimizer, without: str = "leave it alone with cycle_momentum=False"
    ) -> None:
        self.name = name
        self._without = without
        self.written: list[float] = []
        self._optimizer = optimizer
        self._in_betas = name == "momentum" and "betas" in optimizer.param_groups[0]
        # Where there are tensors: each group's, and its version at the last write. None stands for floats everywhere.
        self._watched: list[tuple[Any, int]] | None = None
        # Whether every group gets the same value.
        self._alike = False
        built = [self._built(index, group) for index, group in enumerate(optimizer.param_groups)]
        # A group that is added later is to find in the defaults what the optimizer was built with.
        defaults = optimizer.defaults
        if ("betas" if self._in_betas else name) in defaults and isinstance(self._get(defaults), Tensor):
            self._put(defaults, self._get(defaults).clone())
        # The value that has ratio 1; 0 stands for "no ratios".
        self._reference = 0.0 if name == "momentum" else max(built)
        # Now, not at the first write: by then a checkpoint or a finder may have put other values there.
        self._ratios = [self._ratio(value) for value in built]
        if name == "lr" and self._reference == 0.0:
            raise ValueError(
                f"lr=0: {type(optimizer).__name__} was built with it in every param group, which leaves no ratio to "
                "keep; build it with a positive lr"
            )

    def spread(self, value: float) -> None:
        """Set every param group by its ratio to the largest."""
        groups = self._optimizer.param_groups
        if len(groups) > len(self._ratios):
            added = range(len(self._ratios), len(groups))
            self._ratios += [self._ratio(self._built(index, groups[index])) for index in added]
        self.write(self.shares(value))

    def shares(self, value: float) -> list[float]:
        """Return what each param group gets of one value for all."""
        return [value * ratio for ratio in self._ratios]

    def write(self, values: list[float]) -> None:
        """Set every param group, each to a value of its own.

        Args:
            values: One value a group.

        Raises:
            ValueError: If there are more or fewer.
        """
        groups = self._optimizer.param_groups
        if len(groups) != len(self.written):
            self.refuse_count(len(values))
            self._look_at_groups()
        if self._watched is not None:
            self._watched = [self._fill(group, value) for group, value in zip(groups, values, strict=True)]
        elif self._in_betas:
            for group, value in zip(groups, values, strict=True):
                group["betas"] = (value, *group["betas"][1:])
        else:
            name = self.name
            for group, value in zip(groups, values, strict=True):
                group[name] = value
        self.written = values

    def refuse_count(self, count: int) -> None:
        """Refuse values that are not one a param group.

        Raises:
            ValueError: If there are more or fewer.
        """
        groups = len(self._optimizer.param_groups)
        if count != groups:
            raise ValueError(
                f"{self.name}=[...]: a list of {count} for the {groups} param groups of "
                f"{type(self._optimizer).__name__}; give one a group, or a single one for all"
            )

    def changed(self) -> int | None:
        """Return the index of the first param group whose value somebody else has changed since the last write."""
        written = self.written
        # Groups that were added since are not among those written: nobody has changed them.
        groups = self._optimizer.param_groups[: len(written)]
        if self._watched is not None:
            for index, (group, (held, version)) in enumerate(zip(groups, self._watched, strict=True)):
                found = self._get(group)
                if found is not held or (isinstance(found, Tensor) and found._version != version):
                    return index
            return None
        if self._in_betas:
            values = [group["betas"][0] for group in groups]
        else:
            name = self.name
            values = [group[name] for group in groups]
        for index, (held, value) in enumerate(zip(values, written, strict=True)):
            if held is not value and (held.__class__ is not float or held != value):
                return index
        return None

    def exchange(self, value: float) -> int | None:
        """Do what `changed` and then `spread` do, in one pass over floats: every update of a training comes here.

        Returns:
            What `changed` returns; where that is a group, it still holds what somebody else put there.
        """
        groups, written, name = self._optimizer.param_groups, self.written, self.name
        if self._watched is not None or self._in_betas or len(groups) != len(written):
            index = self.changed()
            if index is None:
                self.spread(value)
            return index
        # Groups mostly share one value: then there is nothing to multiply.
        values = [value] * len(groups) if self._alike else [value * ratio for ratio in self._ratios]
        for group, before, after in zip(groups, written, values):  # noqa: B905 - `strict` costs a tenth
            held = group[name]
            if held is not before and (held.__class__ is not float or held != before):
                return next(index for index, each in enumerate(groups) if each is group)
            group[name] = after
        self.written = values
        return None

    def found(self, index: int) -> Any:
        """Return what a param group holds now."""
        return self._get(self._optimizer.param_groups[index])

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on with the same ratios."""
        return {"reference": self._reference, "ratios": list(self._ratios)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the ratios of an earlier run."""
        self._reference, self._ratios = state["reference"], list(state["ratios"])

    def _get(self, group: dict[str, Any]) -> Any:
        return group["betas"][0] if self._in_betas else group[self.name]

    def _put(self, group: dict[str, Any], value: Any) -> None:
        if self._in_betas:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group[self.name] = value

    def _fill(self, group: dict[str, Any], value: float) -> tuple[Any, int]:
        held = self._get(group)
        if isinstance(held, Tensor):
            with torch.no_grad():
                held.fill_(value)
            return held, held._version
        self._put(group, value)
        return value, 0

    def _look_at_groups(self) -> None:
        # torch puts the one tensor of its defaults into every group that has none of its own: it cannot hold a value a
        # group.
        groups, defaults = self._optimizer.param_groups, self._optimizer.defaults
        taken = {id(value) for value in (*defaults.values(), *defaults.get("betas", ()))}
        for group in groups:
            held = self._get(group)
            if isinstance(held, Tensor) and id(held) in taken:
                self._put(group, held.clone())
            taken.add(id(self._get(group)))
        self._alike = all(ratio == 1.0 for ratio in self._ratios)
        self._watched = [] if any(isinstance(self._get(group), Tensor) for group in groups) else None

    def _ratio(self, built: float) -> float:
        return built / self._reference if self._reference else 1.0

    def _built(self, index: int, group: dict[str, Any]) -> float:
        optimizer = type(self._optimizer).__name__
        if self.name == "momentum":
            if not self._in_betas and not float(group.get("momentum", 0.0)):
                raise ValueError(
                    f"momentum={group.get('momentum')!r}: {optimizer} has no momentum in param group {index}; build it "
                    f"with one, or {self._without}"
                )
        elif self.name not in group:
            raise ValueError(
                f"{self.name}=None: {optimizer} has none in param group {index}; leave it out of the schedule"
            )
        return float(self._get(group))
