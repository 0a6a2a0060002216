"""How one object is put back to what it holds now: each function returns what does it.

Where nothing has changed, nothing is touched.
"""

from __future__ import annotations

import copy
import random
import zlib
from array import array as array_of_numbers
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

Undo: TypeAlias = Callable[[], object]

_MISSING: Any = object()


def items(thing: dict[Any, Any]) -> Undo:
    """Put back a dict's items and their order, past whatever its class makes of `__setitem__`."""
    # An OrderedDict keeps its order beside the dict that it is.
    base: Any = OrderedDict if isinstance(thing, OrderedDict) else dict
    before = list(dict.items(thing))

    def undo() -> None:
        now = list(base.items(thing))
        if _same((part for pair in now for part in pair), [part for pair in before for part in pair]):
            return
        base.clear(thing)
        for key, value in before:
            base.__setitem__(thing, key, value)

    return undo


def attributes(thing: Any) -> Undo:
    """Put back an object's class and attributes, past its `__setattr__`."""
    kind, before = type(thing), dict(thing.__dict__)

    def undo() -> None:
        # A lazy layer changes its class when it learns its shapes.
        if type(thing) is not kind:
            thing.__class__ = kind
        now = thing.__dict__
        if now.keys() != before.keys():
            for name in now.keys() - before.keys():
                del now[name]
        for name, value in before.items():
            if now.get(name, _MISSING) is not value:
                now[name] = value

    return undo


def slots(kind: type) -> list[str]:
    """Name the slots of a class and its bases."""
    names = []
    for base in kind.__mro__:
        declared = base.__dict__.get("__slots__", ())
        for name in (declared,) if isinstance(declared, str) else tuple(declared):
            hidden = name.startswith("__") and not name.endswith("__")
            if name not in ("__dict__", "__weakref__"):
                names.append(f"_{base.__name__.lstrip('_')}{name}" if hidden else name)
    return names


def slot(thing: object, name: str) -> Undo:
    """Put back one slot, filled or empty."""

    def read() -> Any:
        try:
            return getattr(thing, name)
        except (AttributeError, ValueError):  # the second is how an empty cell of a closure says it
            return _MISSING

    before = read()

    def undo() -> None:
        if read() is before:
            return
        if before is _MISSING:
            object.__delattr__(thing, name)
        else:
            object.__setattr__(thing, name, before)

    return undo


def elements(thing: Any) -> Undo:
    """Put back the elements of a list, deque, set or bytearray."""
    before = list(thing)
    refill = "update" if isinstance(thing, set) else "extend"

    def undo() -> None:
        if not _same(thing, before):
            thing.clear()
            getattr(thing, refill)(before)

    return undo


def generator(thing: Any) -> Undo:
    """Put back a random generator of torch, numpy or Python."""
    if isinstance(thing, torch.Generator):
        tensor = thing.get_state()
        return lambda: thing.set_state(tensor)
    if isinstance(thing, np.random.Generator | np.random.BitGenerator):
        bits: Any = thing if isinstance(thing, np.random.BitGenerator) else thing.bit_generator
        state, seed = bits.state, copy.copy(bits.seed_seq)

        def undo() -> None:
            # What it has spawned is counted in its seed, which cannot be written to.
            if getattr(bits.seed_seq, "n_children_spawned", 0) != getattr(seed, "n_children_spawned", 0):
                bits.__setstate__((state, copy.copy(seed)))
            bits.state = state

        return undo
    if isinstance(thing, np.random.RandomState):
        legacy = thing.get_state(legacy=False)
        return lambda: thing.set_state(legacy)
    assert isinstance(thing, random.Random)
    drawn = thing.getstate()
    return lambda: thing.setstate(drawn)


def shared_memory(thing: Any) -> Undo:
    """Put back a value or an array that processes share, of `multiprocessing`."""
    memory = memoryview(thing.get_obj() if hasattr(thing, "get_obj") else thing).cast("B")
    before = bytes(memory)

    def undo() -> None:
        memory[:] = before

    return undo


def numbers(thing: array_of_numbers[Any]) -> Undo:
    """Put back an array of Python's own."""
    before = thing[:]

    def undo() -> None:
        if thing != before:
            thing[:] = before

    return undo


def cache(thing: Any) -> Undo:
    """Empty a cache that was empty."""
    return lambda: None if thing.cache_info().currsize == 0 else thing.cache_clear()


def class_attributes(kind: type) -> Undo:
    """Put back what a class holds beside its methods."""
    before = class_values(kind)

    def undo() -> None:
        now = class_values(kind)
        for name in now.keys() - before.keys():
            delattr(kind, name)
        for name, value in before.items():
            if now.get(name, _MISSING) is not value:
                setattr(kind, name, value)

    return undo


def class_values(kind: type) -> dict[str, Any]:
    """Return what a class holds beside its methods and properties."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not (name.startswith(("__", "_abc_")) or callable(value) or hasattr(value, "__get__"))
    }


def tensor(thing: Tensor) -> Undo:
    """Put back a tensor's memory, gradient and hooks; what stands in the memory is `storage`'s business."""
    if is_lazy(thing):
        kind, empty = type(thing), thing.data

        def dematerialise() -> None:
            if type(thing) is not kind:
                thing.grad = None
                thing.data = empty
                thing.__class__ = kind

        return dematerialise

    held, requires_grad, is_leaf = thing.detach(), thing.requires_grad, thing.is_leaf
    grad = thing.grad if is_leaf else None
    hooks = thing._backward_hooks

    def undo() -> None:
        alike = thing.device == held.device and thing.dtype == held.dtype and thing.layout == held.layout
        if not (alike and (thing.layout != torch.strided or thing.is_set_to(held))):
            # Moved to another device, cast, or given other memory.
            thing.data = held
        if is_leaf:
            if thing.requires_grad != requires_grad:
                thing.requires_grad_(requires_grad)
            if thing.grad is not grad:
                thing.grad = grad
        if thing._backward_hooks is not hooks:
            thing._backward_hooks = hooks

    return undo


def storage_of(thing: Tensor) -> torch.UntypedStorage | None:
    """Return the memory of a plain tensor; of others, such as sparse ones, None."""
    if is_lazy(thing):
        return None
    plain = type(thing.detach()) is Tensor and thing.layout == torch.strided and thing.device.type != "meta"
    return thing.untyped_storage() if plain else None


def storage(thing: torch.UntypedStorage) -> Undo:
    """Put back what stands in a tensor's memory."""
    before = thing.clone()  # type: ignore[no-untyped-call]
    return lambda: thing.copy_(before)


def values(thing: Tensor) -> Undo:
    """Put back the values of a tensor that is not plain."""
    if is_lazy(thing) or thing.device.type == "meta":
        return lambda: None
    held = thing.detach()
    before = held.clone()
    return lambda: held.copy_(before)


def array(thing: np.ndarray[Any, Any]) -> Undo:
    """Put back what stands in an array."""
    before = thing.copy()
    return lambda: np.copyto(thing, before)


def checksum(thing: np.ndarray[Any, Any]) -> int:
    """Return a number that is another one once somebody has written into the array."""
    return zlib.crc32(thing.data.cast("B"))


def _same(now: Iterable[object], before: list[Any]) -> bool:
    present = list(now)
    return len(present) == len(before) and all(a is b for a, b in zip(present, before, strict=True))
