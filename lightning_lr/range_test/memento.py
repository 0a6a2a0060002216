"""Everything that a trial run may change in its objects, noted before it and put back after it.

The objects that can be reached from a few roots are walked once. Of each the contents are noted, and restored in the
object itself: whoever holds it still holds it. Weights, optimizer states and other tensors are copied; the large arrays
of a data set are not, for a data set reads them.
"""

from __future__ import annotations

import functools
import gc
import io
import random
import sys
import threading
import types
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from multiprocessing.sharedctypes import SynchronizedBase
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from lightning_lr import undo
from lightning_lr.undo import Undo

_SHARED_FROM = 1 << 20  # bytes; a data set's arrays from this size on are shared, not copied
_CHECKED_UP_TO = 1 << 28  # bytes; of shared arrays up to this size it is found out whether somebody wrote into them

_ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis), type(NotImplemented), type}
    | {types.BuiltinFunctionType, types.ModuleType, torch.dtype, torch.device, torch.Size, torch.layout}
)
# What belongs to the run around, or to the system: trainers, loggers, workers, locks, processes.
_NOT_OURS = (type, Enum, np.dtype, np.generic, pl.Trainer, Strategy, Logger, _BaseDataLoaderIter)
_NOT_OURS_IN = {"threading", "_thread", "queue", "_queue", "multiprocessing", "concurrent", "asyncio", "socket"}
_NOT_OURS_IN |= {"subprocess", "logging", "weakref", "pathlib", "re", "tqdm", "rich"}
_DATA = (Dataset, DataLoader, Sampler, pl.LightningDataModule)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
# Of these libraries the classes keep nothing that a training changes.
_NO_USERS_CLASSES = sys.stdlib_module_names | {
    "torch",
    "torchvision",
    "torchmetrics",
    "lightning",
    "numpy",
    "lightning_utilities",
}
_CACHE = type(functools.lru_cache(lambda: None))


class Memento:
    """The state of everything that can be reached from some roots.

    Persistent workers of a loader have states of their own in their processes, out of reach: they are put aside until
    `restore`, and whoever uses the loader meanwhile gets others. So are the gradients of a fit that is running: a copy
    of them would be one more of the weights.

    Args:
        roots: By the names that a warning gives them.
        data: The names of those whose large arrays are shared, whatever their class: a loader may be any iterable.

    Example:
        >>> network, history = nn.Linear(2, 1), [1.0]
        >>> memento = Memento({"network": network, "history": history})
        >>> _ = network.weight.data.zero_(), history.append(2.0)
        >>> memento.restore()
        >>> bool(network.weight.any()), history
        (True, [1.0])
    """

    def __init__(self, roots: Mapping[str, object], data: Collection[str] = ()) -> None:
        self.beyond: list[str] = []
        """Streams, by name: nothing can put them back."""
        self._seen: dict[int, object] = {}
        self._storages: set[int] = set()
        self._undo: list[Undo] = []
        self._generators: list[Undo] = []
        self._loaders: list[tuple[DataLoader[Any], Any]] = []
        self._with_gradient: list[Tensor] = []
        self._data = data
        self._shared: list[tuple[str, Callable[[], int], int]] = []
        self._open: list[tuple[object, str, bool]] = []
        self.add(roots)
        self._put_aside()

    def add(self, roots: Mapping[str, object]) -> None:
        """Note more; what is known already stays as it was noted."""
        # Data first: what a data set holds is its own, whoever else holds it.
        with _no_garbage_collection():
            for name, root in sorted(
                roots.items(), key=lambda root: root[0] not in self._data and not isinstance(root[1], _DATA)
            ):
                self._visit(root, name, data=name in self._data)
                while self._open:
                    self._note(*self._open.pop())

    def restore(self, *, again: bool = False) -> None:
        """Put everything back.

        Args:
            again: Whether another trial follows: random generators go on from where they are, and workers stay aside.
        """
        self._put_workers_aside()
        for each in self._undo:
            each()
        if again:
            self._put_aside()
            return
        for each in self._generators:
            each()

    def written_into(self) -> list[str]:
        """Name the shared arrays that somebody has written into; they are as they were left."""
        return [name for name, look, before in self._shared if look() != before]

    def _put_aside(self) -> None:
        self._put_workers_aside()
        for tensor in self._with_gradient:
            tensor.grad = None

    def _put_workers_aside(self) -> None:
        for loader, waiting in self._loaders:
            working = loader.__dict__.get("_iterator")
            if working is not None and working is not waiting:
                working._shutdown_workers()
            if "_iterator" in loader.__dict__:
                loader.__dict__["_iterator"] = None

    # Noting

    def _visit(self, child: object, path: str, data: bool) -> None:
        if type(child) not in _ATOMS:
            self._open.append((child, path, data))

    def _note(self, thing: Any, path: str, data: bool) -> None:
        kind = type(thing)
        if id(thing) in self._seen:
            return
        # `multiprocessing` and `threading` have two classes that hold what is the user's.
        if not issubclass(kind, SynchronizedBase | threading.local) and (
            isinstance(thing, _NOT_OURS) or kind.__module__.split(".")[0] in _NOT_OURS_IN
        ):
            return
        # Kept, so that no other object takes its id.
        self._seen[id(thing)] = thing
        if isinstance(thing, _DATA):
            data = True
        elif isinstance(thing, nn.Module | Optimizer):
            data = False

        if isinstance(thing, Tensor):
            self._note_tensor(thing, path, data)
        elif isinstance(thing, np.ndarray):
            self._note_array(thing, path, data)
        elif isinstance(thing, dict):
            self._undo.append(undo.items(thing))
            for key, value in dict.items(thing):
                self._visit(key, f"{path} (key)", data)
                self._visit(value, f"{path}[{key!r}]" if type(key) in _ATOMS else f"{path}[...]", data)
        elif isinstance(thing, list | deque | set | bytearray | tuple | frozenset):
            self._note_sequence(thing, path, data)
        elif isinstance(thing, types.FunctionType | types.MethodType | functools.partial):
            self._note_callable(thing, path, data)
        elif isinstance(thing, SynchronizedBase):
            self._undo.append(undo.shared_memory(thing))
            return
        elif isinstance(thing, array):
            self._undo.append(undo.numbers(thing))
        elif isinstance(thing, _CACHE):
            if not thing.cache_info().currsize:
                self._undo.append(undo.cache(thing))
        elif isinstance(thing, random.SystemRandom):
            return
        elif isinstance(thing, _GENERATORS):
            self._generators.append(undo.generator(thing))
        elif isinstance(thing, io.IOBase):
            self._note_file(thing, path)
        elif isinstance(thing, Iterator) and not hasattr(thing, "__dict__"):
            self.beyond.append(f"{path} ({kind.__name__})")
        if not isinstance(thing, types.FunctionType | functools.partial):
            self._note_attributes(thing, path, data)

    def _note_attributes(self, thing: Any, path: str, data: bool) -> None:
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict):
            if isinstance(thing, DataLoader):
                self._loaders.append((thing, attributes.get("_iterator")))
            self._undo.append(undo.attributes(thing))
            # The last one in is the first one out: what stands first gives its name to what several hold.
            # What Lightning notes of a loader's arguments gives none.
            named = sorted(attributes.items(), key=lambda attribute: attribute[0].startswith("__"))
            for name, value in reversed(named):
                self._visit(value, f"{path}.{name}", data)
        for kind in type(thing).__mro__:
            if id(kind) not in self._seen and kind.__module__.split(".")[0] not in _NO_USERS_CLASSES:
                self._seen[id(kind)] = kind
                self._undo.append(undo.class_attributes(kind))
                for name, value in undo.class_values(kind).items():
                    self._visit(value, f"{kind.__name__}.{name}", data)
        for name in undo.slots(type(thing)):
            self._undo.append(undo.slot(thing, name))
            self._visit(getattr(thing, name, None), f"{path}.{name}", data)

    def _note_sequence(self, thing: Any, path: str, data: bool) -> None:
        if not isinstance(thing, tuple | frozenset):
            self._undo.append(undo.elements(thing))
        if isinstance(thing, bytearray):
            return
        for index, each in enumerate(thing):
            # A million file names with their labels are looked at, and that is all.
            kind = type(each)
            if kind in _ATOMS or (kind is tuple and all(type(part) in _ATOMS for part in each)):
                continue
            self._open.append((each, f"{path}[{index}]", data))

    def _note_callable(self, thing: Any, path: str, data: bool) -> None:
        # A function may count in its closure, its attributes or a mutable default.
        if isinstance(thing, types.FunctionType):
            for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
                self._undo.append(undo.slot(cell, "cell_contents"))
                try:
                    self._visit(cell.cell_contents, f"{path}.{name}", data)
                except ValueError:  # not filled yet
                    continue
            parts: tuple[object, ...] = (thing.__defaults__, thing.__kwdefaults__, thing.__dict__)
        elif isinstance(thing, types.MethodType):
            parts = (thing.__self__, thing.__func__)
        else:
            parts = (thing.func, thing.args, thing.keywords)
        for part in parts:
            self._visit(part, path, data)

    def _note_file(self, file: Any, path: str) -> None:
        if file.closed:
            return
        try:
            position = file.tell() if file.seekable() else None
        except OSError:  # a text file that is being iterated over
            position = None
        if position is None:
            self.beyond.append(f"{path} ({type(file).__name__})")
        else:
            self._undo.append(lambda: None if file.closed else file.seek(position))

    def _note_tensor(self, tensor: Tensor, path: str, data: bool) -> None:
        self._undo.append(undo.tensor(tensor))
        storage = undo.storage_of(tensor)
        if storage is None:
            self._undo.append(undo.values(tensor))
        elif data and storage.nbytes() >= _SHARED_FROM:
            self._shared.append((path, lambda: tensor._version, tensor._version))
        elif storage.data_ptr() not in self._storages or not storage.data_ptr():
            # Views of one another share it.
            self._storages.add(storage.data_ptr())
            self._undo.append(undo.storage(storage))
        if tensor.is_leaf and tensor.grad is not None:
            if tensor.grad._base is None:
                self._with_gradient.append(tensor)
            else:
                # A view of memory that others write into, such as DDP's buckets.
                self._visit(tensor.grad, f"{path}.grad", data)

    def _note_array(self, array: np.ndarray[Any, Any], path: str, data: bool) -> None:
        if array.dtype.hasobject:
            self._visit(list(array.flat), path, data)
        if not array.flags.writeable:
            return
        if not data or array.nbytes < _SHARED_FROM:
            self._undo.append(undo.array(array))
        elif array.nbytes <= _CHECKED_UP_TO and array.flags.c_contiguous and not array.dtype.hasobject:
            self._shared.append((path, functools.partial(undo.checksum, array), undo.checksum(array)))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    # Many small objects are made, none is garbage, and each collection would look at all of them again: four times the
    # duration for a data set of many lists.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
