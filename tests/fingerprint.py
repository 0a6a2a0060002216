"""What there is to see of an object and of the process: each attribute, tensor, generator and alias, by its path."""

from __future__ import annotations

import enum
import functools
import hashlib
import io
import logging
import multiprocessing
import operator
import os
import queue
import random
import signal
import sys
import threading
import types
import warnings
import weakref
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.nn.parameter import is_lazy
from torch.utils.data.dataloader import _BaseDataLoaderIter

# Of these their name says all that a comparison may ask for: they are code, or belong to one run.
OPAQUE = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.GeneratorType,
    type,
    weakref.ref,
    threading.Thread,
    type(threading.Lock()),
    type(threading.RLock()),
    queue.Queue,
    logging.Logger,
    pl.Trainer,
    _BaseDataLoaderIter,
    torch.dtype,
    torch.device,
    torch.Size,
    torch.layout,
)
HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")
# What the time of day decides: `ModelCheckpoint`'s.
CLOCKS = ("_last_time_checked",)
PLAIN = (type(None), bool, int, float, complex, bytes, range, slice, enum.Enum)


def describe(identity: bool = False, **roots: Any) -> dict[str, str]:
    """Return one line for everything that can be reached, by its path from a root.

    Two objects that are equal in all that matters have equal descriptions, even in two processes. Who is an alias of
    whom is a part of it.

    Args:
        identity: Tell as well which object it is, and where its memory lies: to see that it is still the same one.
    """
    walk = _Walk(identity)
    for name, root in roots.items():
        walk.see(root, name)
    return walk.lines


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the paths at which two descriptions differ, with what is there."""
    return [
        f"{path}: {before.get(path, 'absent')} -> {after.get(path, 'absent')}"
        for path in [*before, *(path for path in after if path not in before)]
        if before.get(path) != after.get(path)
    ]


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()[:12]


def content(storage: torch.UntypedStorage) -> bytes:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage).cpu().numpy().tobytes()


class _Walk:
    def __init__(self, identity: bool) -> None:
        self.lines: dict[str, str] = {}
        self._identity = identity
        self._seen: dict[Any, str] = {}
        # An object that is gone gives its number to the next one.
        self._kept: list[Any] = []

    def see(self, thing: Any, path: str) -> None:
        if isinstance(thing, PLAIN):
            self.lines[path] = f"{type(thing).__name__} {thing!r}"
        elif isinstance(thing, str | Path):
            self.lines[path] = f"{type(thing).__name__} {str(thing).replace(os.getcwd(), '.')!r}"
        elif isinstance(thing, OPAQUE):
            name = getattr(thing, "__qualname__", None) or type(thing).__qualname__
            self.lines[path] = self._named(name, thing) if not isinstance(thing, types.MethodType) else name
        elif id(thing) in self._seen:
            self.lines[path] = f"is {self._seen[id(thing)]}"
        else:
            if not isinstance(thing, tuple | frozenset):
                self._seen[id(thing)] = path
            self._kept.append(thing)
            self._look(thing, path)

    def _look(self, thing: Any, path: str) -> None:
        name = self._named(type(thing).__qualname__, thing)
        if isinstance(thing, torch.Tensor):
            self._tensor(thing, path, name)
        elif isinstance(thing, np.ndarray):
            bits = b"" if thing.dtype.hasobject else thing.tobytes()
            self.lines[path] = f"{name} {thing.dtype} {thing.shape} {digest(bits)}"
            if thing.dtype.hasobject:
                self._sequence(list(thing.flat), path, self.lines[path])
        elif isinstance(thing, torch.Generator):
            self.lines[path] = f"{name} {digest(thing.get_state().numpy().tobytes())}"
        elif isinstance(thing, np.random.Generator):
            self.lines[path] = f"{name} {digest(repr(thing.bit_generator.state).encode())}"
        elif isinstance(thing, np.random.BitGenerator):
            self.lines[path] = f"{name} {digest(repr(thing.state).encode())}"
        elif isinstance(thing, np.random.RandomState):
            self.lines[path] = f"{name} {digest(repr(thing.get_state(legacy=False)).encode())}"
        elif isinstance(thing, random.SystemRandom):
            self.lines[path] = name
        elif isinstance(thing, random.Random):
            self.lines[path] = f"{name} {digest(repr(thing.getstate()).encode())}"
        elif isinstance(thing, io.IOBase):
            self.lines[path] = f"{name} {'closed' if thing.closed else f'at {thing.tell()}'}"
        elif isinstance(thing, set | frozenset):
            self.lines[path] = f"{name} {sorted(map(repr, thing))}"
        elif isinstance(thing, Mapping):
            self._mapping(thing, path, name)
        elif isinstance(thing, list | tuple | deque | bytearray | array):
            self._sequence(thing, path, name)
        elif isinstance(thing, functools.partial):
            self._sequence([thing.func, thing.args, thing.keywords], path, name)
        elif type(thing).__module__ == "itertools":
            self.lines[path] = repr(thing)
        elif isinstance(thing, Iterator) and not hasattr(thing, "__dict__"):
            self.lines[path] = f"{name} with {operator.length_hint(thing)} left"
        else:
            self.lines[path] = name
        if not type(thing).__module__.startswith(("fsspec", "multiprocessing")):
            self._attributes(thing, path)

    def _named(self, name: str, thing: Any) -> str:
        return f"{name} at {id(thing):x}" if self._identity and not isinstance(thing, tuple | frozenset) else name

    def _tensor(self, thing: torch.Tensor, path: str, name: str) -> None:
        if is_lazy(thing):
            self.lines[path] = f"{name} lazy"
            return
        storage = thing.untyped_storage()
        where = self._seen.setdefault(("storage", storage.data_ptr()), path) if storage.nbytes() else path
        place = f" in {storage.data_ptr():x}" if self._identity else ""
        self.lines[path] = (
            f"{name} {thing.dtype} {tuple(thing.shape)} {thing.stride()} {thing.requires_grad} "
            f"in {where}{place} from {thing.storage_offset()} {digest(content(storage))}"
        )
        if thing.is_leaf:
            self.see(thing.grad, f"{path}.grad")
        self.see(thing._backward_hooks, f"{path}._backward_hooks")

    def _mapping(self, thing: Mapping[Any, Any], path: str, name: str) -> None:
        # Hooks are numbered as they come, through the whole process.
        numbered = path.endswith(HOOKS)
        said = [f"#{i}" if numbered or not isinstance(key, (str, *PLAIN)) else repr(key) for i, key in enumerate(thing)]
        said = [each.replace(os.getcwd(), ".") for each in said]
        self.lines[path] = f"{name} of {said}"
        for key, each in zip(thing, said, strict=True):
            if not numbered and each.startswith("#"):
                self.see(key, f"{path}.keys[{each}]")
            self.see(thing[key], f"{path}[{each}]")

    def _sequence(self, thing: Any, path: str, name: str) -> None:
        self.lines[path] = f"{name} of {len(thing)}"
        for index, each in enumerate(thing):
            self.see(each, f"{path}[{index}]")

    def _attributes(self, thing: Any, path: str) -> None:
        # In whose order they stand matters to nobody.
        for key, value in sorted(getattr(thing, "__dict__", {}).items(), key=lambda item: str(item[0])):
            if key not in CLOCKS:
                self.see(value, f"{path}.{key}")
        for base in type(thing).__mro__:
            slots = base.__dict__.get("__slots__", ())
            for key in [slots] if isinstance(slots, str) else slots:
                if key not in ("__dict__", "__weakref__") and hasattr(thing, key):
                    self.see(getattr(thing, key), f"{path}.{key}")


def describe_run(trainer: pl.Trainer, without: tuple[type, ...] = ()) -> dict[str, str]:
    """Describe what a trainer has done: its progress, optimizers, schedulers, callbacks, loggers and files.

    Args:
        trainer: The trainer, after a fit.
        without: Callbacks that are not compared.
    """
    return describe(
        module=trainer.lightning_module,
        datamodule=trainer.datamodule,
        loader=trainer.train_dataloader,
        val_loader=trainer.val_dataloaders,
        optimizers=trainer.optimizers,
        schedulers=trainer.lr_scheduler_configs,
        callbacks=[callback for callback in trainer.callbacks if not isinstance(callback, without)],
        loggers=trainer.loggers,
        progress=trainer.fit_loop.state_dict(),
        counts=[trainer.global_step, trainer.current_epoch, trainer.estimated_stepping_batches],
        metrics=[dict(trainer.callback_metrics), dict(trainer.logged_metrics), dict(trainer.progress_bar_metrics)],
        stop=[trainer.should_stop, trainer.num_training_batches],
        generators=generators(),
        files=files(),
    )


def generators() -> list[Any]:
    return [torch.get_rng_state(), repr(np.random.get_state(legacy=False)), repr(random.getstate())]


def files() -> dict[str, str]:
    """What lies in the working folder; of a table its text."""
    return {
        str(path): path.read_text() if path.suffix in (".csv", ".yaml", ".txt") else "a file"
        for path in sorted(Path().rglob("*"))
        if path.is_file()
    }


def describe_process() -> dict[str, str]:
    """Describe what a run can leave in its process: what is global in torch and Python."""
    return describe(
        environment=dict(os.environ),
        handlers={str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        filters=[str(each) for each in warnings.filters],
        deterministic=[
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ],
        cudnn=[torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.enabled],
        precision=[str(torch.get_default_dtype()), torch.get_float32_matmul_precision()],
        modes=[torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")],
        anomalies=[torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()],
        threads=torch.get_num_threads(),
        default_device=str(torch.get_default_device()),
        distributed=torch.distributed.is_initialized(),
        workers=len(multiprocessing.active_children()),
        streams=[id(sys.stdout), id(sys.stderr), id(sys.excepthook), id(warnings.showwarning)],
        logging={
            name: [
                logging.getLogger(name).level,
                len(logging.getLogger(name).handlers),
                len(logging.getLogger(name).filters),
            ]
            for name in (
                "",
                "lightning",
                "lightning.pytorch",
                "lightning.fabric",
                "lightning.pytorch.utilities.rank_zero",
            )
        },
        hooks=[
            len(torch.nn.modules.module._global_forward_hooks),
            len(torch.nn.modules.module._global_forward_pre_hooks),
        ],
        folder=os.getcwd(),
        generators=generators(),
        files=files(),
    )
