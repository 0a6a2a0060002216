"""What a forward pass leaves in a module, and how it is cleared away.

Members that take turns in one module must not find what the one before them left: a cache of something that was
computed from its weights, a counter, a buffer that was written to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from lightning_lr import undo

_CONTAINERS = (dict, list, set, deque)
# Hooks and the like, of which nothing is the module author's.
_PLUMBING = set(vars(nn.Module())) - {"_parameters", "_buffers", "_modules"}


class Leftovers:
    """Clears away what forward passes leave in a module's attributes, in the containers among them and in tensors.

    Parts of torch's own keep nothing between passes and are passed over. So are the state dict's tensors: who puts
    others into the module sees to them.

    Args:
        module: As it is now is how it is to be found again.

    Example:
        >>> net = nn.Sequential()
        >>> class Counter(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.calls, self.seen = 0, []
        ...
        ...     def forward(self, x):
        ...         self.calls += 1
        ...         self.seen.append(x)
        ...         return x
        >>> counter = Counter()
        >>> leftovers = Leftovers(counter)
        >>> _ = counter(1.0)
        >>> leftovers.clear()
        >>> counter.calls, counter.seen
        (0, [])
    """

    def __init__(self, module: nn.Module, beside: Iterable[Tensor] = ()) -> None:
        # No forward pass writes to a parameter, and copies of them would be a second set of weights.
        passed_over = {id(tensor) for tensor in [*beside, *module.parameters()]}
        self._attributes: list[tuple[Any, Collection[Any], undo.Undo]] = []
        self._tensors: list[tuple[Tensor, int, Tensor]] = []
        seen: set[int] = set()
        for part in module.modules():
            for buffer in part._buffers.values():
                self._guard(buffer, passed_over)
            if _keeps_nothing(part):
                continue
            state = vars(part)
            self._attributes.append((state, tuple(state.values()), undo.attributes(part)))
            for name, value in state.items():
                if name not in _PLUMBING:
                    for held in _held(value, seen):
                        self._guard(held, passed_over)
                        if isinstance(held, _CONTAINERS):
                            back = undo.items(held) if isinstance(held, dict) else undo.elements(held)
                            self._attributes.append((held, tuple(_values(held)), back))

    def __bool__(self) -> bool:
        """Whether there is anything to put back."""
        return any(
            len(thing) != len(before) or not all(map(is_, _values(thing), before))
            for thing, before, _ in self._attributes
        ) or any(tensor._version != version for tensor, version, _ in self._tensors)

    def clear(self) -> None:
        """Put everything back that has changed."""
        for thing, before, back in self._attributes:
            # The quick look first: this runs after each member, and as a rule nothing has changed.
            if len(thing) != len(before) or not all(map(is_, _values(thing), before)):
                back()
        for index, (tensor, version, before) in enumerate(self._tensors):
            if tensor._version != version:
                with torch.no_grad():
                    tensor.copy_(before)
                self._tensors[index] = tensor, tensor._version, before

    def _guard(self, value: object, passed_over: set[int]) -> None:
        if isinstance(value, Tensor) and id(value) not in passed_over and not value.is_inference():
            passed_over.add(id(value))
            with torch.inference_mode(False):
                self._tensors.append((value, value._version, value.detach().clone()))


def _keeps_nothing(part: nn.Module) -> bool:
    # A lazy layer becomes another class on its first batch, for good. Hooks put things into torch's own: pruning does.
    hooked = part._forward_pre_hooks or part._forward_hooks
    return isinstance(part, LazyModuleMixin) or (type(part).__module__.startswith("torch.nn.") and not hooked)


def _values(thing: Any) -> Collection[Any]:
    return thing.values() if isinstance(thing, dict) else thing


def _held(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the containers and tensors that an attribute holds, itself among them."""
    if id(value) in seen or not isinstance(value, (*_CONTAINERS, tuple, Tensor)):
        return
    seen.add(id(value))
    yield value
    if not isinstance(value, Tensor):
        for inner in list(_values(value)):
            yield from _held(inner, seen)
