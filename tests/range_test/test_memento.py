"""What a memento puts back, and that it is put into the objects themselves."""

from __future__ import annotations

import copy
import functools
import gc
import io
import itertools
import multiprocessing
import random
import threading
from array import array
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.data import _replace_dunder_methods
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_lr.range_test.memento import Memento
from tests.fingerprint import describe, differences


class Slots:
    __slots__ = ("__hidden", "empty", "given")

    def __init__(self) -> None:
        self.given, self.__hidden = [1], 2

    def change(self) -> None:
        self.given.append(2)
        self.given, self.empty, self.__hidden = None, 3, 4


class MoreSlots(Slots):
    __slots__ = "own"


@dataclass(frozen=True)
class Frozen:
    items: list[int] = field(default_factory=lambda: [1])


class Stubborn:
    """An object that lets nobody set, and hides what it has."""

    def __init__(self) -> None:
        self.__dict__["held"] = [1]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("nobody compares me")

    __hash__ = None  # type: ignore[assignment]


class Ordered(dict):
    """A dict that makes something else of what it is given."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, ("seen", value))


class Counted:
    total = 0
    names: list[str] = []  # noqa: RUF012 - that is the point


def counting() -> Any:
    calls, unset = [0], None

    def count(by: list[int] = [1]) -> int:  # noqa: B006 - that is the point
        nonlocal unset
        unset = calls
        calls[0] += by[0]
        by[0] += 1
        count.last = calls[0]
        return calls[0]

    return count


def fill(thing: Any, *values: Any) -> Any:
    thing.extend(values)
    return thing


def moved_to_end(mapping: OrderedDict[str, int]) -> None:
    mapping.move_to_end("a")


CHANGES: dict[str, tuple[Any, Any]] = {
    "list": (lambda: [1, [2]], lambda it: (it[1].append(3), it.clear())),
    "nested tuple": (lambda: ([1], ({"a": [2]},)), lambda it: (it[0].append(3), it[1][0]["a"].append(4))),
    "list of pairs": (lambda: [("a", 1), ("b", [2])], lambda it: (it[1][1].append(3), it.reverse())),
    "dict": (lambda: {"a": 1, "b": [2]}, lambda it: (it.pop("a"), it["b"].append(3), it.update(a=1))),
    "OrderedDict": (lambda: OrderedDict(a=1, b=2), moved_to_end),
    "defaultdict": (lambda: defaultdict(list), lambda it: it[1].append(2)),
    "Counter": (lambda: Counter("aab"), lambda it: it.update("c")),
    "UserDict": (lambda: UserDict(a=[1]), lambda it: (it["a"].append(2), it.update(b=3))),
    "dict with a will": (lambda: fill_dict(Ordered()), lambda it: it.clear()),
    "set": (lambda: {1, 2}, lambda it: (it.discard(1), it.add(3))),
    "deque": (lambda: deque([1, 2], maxlen=2), lambda it: it.append(3)),
    "bytearray": (lambda: bytearray(b"ab"), lambda it: it.extend(b"c")),
    "array": (lambda: array("d", [1.0]), lambda it: it.append(2.0)),
    "frozen dataclass": (Frozen, lambda it: it.items.append(2)),
    "slots": (Slots, lambda it: it.change()),
    "slots of a base": (MoreSlots, lambda it: (it.change(), setattr(it, "own", 1))),
    "stubborn": (Stubborn, lambda it: (it.held.append(2), it.__dict__.update(more=3))),
    "tensor": (lambda: torch.ones(3), lambda it: it.zero_()),
    "view": (lambda: torch.ones(3)[1:], lambda it: it.zero_()),
    "tensor of another memory": (lambda: torch.ones(3), lambda it: setattr(it, "data", torch.zeros(2))),
    "tensor of another type": (lambda: torch.ones(3), lambda it: setattr(it, "data", torch.ones(3).double())),
    "shared tensor": (lambda: torch.ones(3).share_memory_(), lambda it: it.zero_()),
    "bool tensor": (lambda: torch.tensor([True, False]), lambda it: it.logical_not_()),
    "parameter": (lambda: nn.Parameter(torch.ones(3)), lambda it: it.requires_grad_(False)),
    "gradient": (lambda: nn.Parameter(torch.ones(3)), lambda it: it.sum().backward()),
    "module": (lambda: nn.Linear(2, 1).eval(), lambda it: (it.train(), it.register_buffer("b", torch.zeros(1)))),
    "buffer": (lambda: nn.BatchNorm1d(2), lambda it: it(torch.randn(4, 2))),
    "hook": (lambda: nn.Linear(2, 1), lambda it: it.register_forward_hook(print)),
    "hook of a tensor": (lambda: nn.Parameter(torch.ones(3)), lambda it: it.register_hook(print)),
    "lazy layer": (lambda: nn.LazyLinear(2), lambda it: it(torch.ones(1, 3))),
    "part": (lambda: nn.Sequential(nn.Linear(2, 1)), lambda it: it.append(nn.ReLU())),
    "ndarray": (lambda: np.ones(3), lambda it: it.fill(0)),
    "ndarray of objects": (lambda: np.array([[1], None], dtype=object), lambda it: it[0].append(2)),
    "masked array": (lambda: np.ma.array([1.0, 2.0], mask=[0, 1]), lambda it: it.__setitem__(0, np.ma.masked)),
    "torch.Generator": (lambda: torch.Generator().manual_seed(1), lambda it: torch.rand(1, generator=it)),
    "numpy's Generator": (lambda: np.random.default_rng(1), lambda it: it.random()),
    "numpy's BitGenerator": (lambda: np.random.PCG64(1), lambda it: it.random_raw()),
    "numpy's RandomState": (lambda: np.random.RandomState(1), lambda it: it.rand()),
    "numpy's RandomState, halfway": (lambda: np.random.RandomState(1), lambda it: it.randn()),
    "random.Random": (lambda: random.Random(1), lambda it: it.gauss(0, 1)),
    "file in memory": (lambda: io.BytesIO(b"abc"), lambda it: it.read(1)),
    "thread local": (threading.local, lambda it: setattr(it, "count", 1)),
    "partial": (lambda: functools.partial(fill, [1]), lambda it: it(2)),
    "bound method": (lambda: [1].append, lambda it: it(2)),
}


def fill_dict(thing: Ordered) -> Ordered:
    thing["a"] = 1
    return thing


@pytest.mark.parametrize("again", [False, True], ids=["once", "and again"])
@pytest.mark.parametrize("kind", CHANGES)
def test_it_puts_back(kind, again):
    build, change = CHANGES[kind]
    held = [build()]
    if kind == "bound method":
        held.append(held[0].__self__)
    before = describe(identity=True, held=held)
    memento = Memento({"held": held})
    for _ in range(1 + again):
        change(held[0])
        assert kind == "frozen dataclass" or differences(before, describe(identity=True, held=held))
        held[0] = None
        memento.restore()
        assert differences(before, describe(identity=True, held=held)) == []


@pytest.mark.parametrize("kind", CHANGES)
def test_where_nothing_has_changed_nothing_does(kind):
    held = CHANGES[kind][0]()
    before = describe(identity=True, held=held)
    memento = Memento({"held": held})
    assert memento.beyond == []
    memento.restore()
    assert differences(before, describe(identity=True, held=held)) == []


def test_a_spawn_is_taken_back():
    generator, other = np.random.default_rng(1), np.random.default_rng(1)
    memento = Memento({"generator": generator})
    generator.spawn(3)
    memento.restore()
    assert generator.spawn(1)[0].random() == other.spawn(1)[0].random()
    assert generator.random() == other.random()


def test_a_closure_and_its_function():
    count = counting()
    memento = Memento({"count": count})
    assert (count(), count()) == (1, 3)
    memento.restore()
    assert not hasattr(count, "last")
    assert (count(), count()) == (1, 3)


def test_a_class():
    memento = Memento({"counted": Counted()})
    Counted.total += 1
    Counted.names.append("a")
    Counted.more = 2
    memento.restore()
    assert (Counted.total, Counted.names, hasattr(Counted, "more")) == (0, [], False)


def test_what_processes_share():
    value, values = multiprocessing.Value("i", 3), multiprocessing.Array("d", [1.0, 2.0])
    bare = multiprocessing.RawValue("i", 4)
    memento = Memento({"value": value, "values": values, "bare": bare})
    value.value, values[1] = 5, 6.0
    memento.restore()
    assert (value.value, values[:]) == (3, [1.0, 2.0])


def test_a_cache_that_was_empty_is_emptied_and_another_one_stays():
    empty, filled = (functools.lru_cache(lambda key: [key]) for _ in range(2))
    first = filled(1)
    memento = Memento({"empty": empty, "filled": filled})
    empty(1)
    memento.restore()
    assert empty.cache_info().currsize == 0
    assert filled(1) is first


def test_an_alias_stays_one():
    shared = [1]
    one, other = {"shared": shared}, UserDict(shared=shared)
    memento = Memento({"one": one, "other": other})
    shared.append(2)
    one["shared"] = [3]
    memento.restore()
    assert one["shared"] is other["shared"] is shared
    assert shared == [1]


def test_two_views_of_one_memory():
    whole = torch.arange(4.0)
    parts = [whole[:2], whole[1:3]]
    memento = Memento({"parts": parts})
    whole.zero_()
    memento.restore()
    assert [part.tolist() for part in parts] == [[0.0, 1.0], [1.0, 2.0]]
    assert whole.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_circle():
    held: list[Any] = [1]
    held.append({"held": held})
    memento = Memento({"held": held})
    held[1].clear()
    memento.restore()
    assert held[1]["held"] is held


def test_an_optimizer():
    network = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        network(torch.ones(3, 2)).sum().backward()
        optimizer.step()

    step()
    before = describe(identity=True, network=network, optimizer=optimizer)
    memento = Memento({"network": network, "optimizer": optimizer})
    step()
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.state.clear()
    memento.restore()
    assert differences(before, describe(identity=True, network=network, optimizer=optimizer)) == []


def test_another_trial_goes_on_with_the_random_numbers():
    held = {"rng": random.Random(1), "list": [1]}
    memento = Memento(held)
    first = held["rng"].random()
    held["list"].append(2)
    memento.restore(again=True)
    assert held["list"] == [1]
    assert held["rng"].random() != first
    memento.restore()
    assert held["rng"].random() == first


@pytest.mark.parametrize("stream", [lambda: (i for i in range(3)), lambda: iter([1, 2]), lambda: itertools.count()])
def test_a_stream_is_named(stream):
    class Reads(Dataset[Any]):
        def __init__(self) -> None:
            self.parts = {"source": stream()}

    # In a fit Lightning notes a loader's arguments in the loader, and they come first.
    with _replace_dunder_methods(DataLoader, "dataset"):
        noted = DataLoader(Reads())
    for loader in (DataLoader(Reads()), noted):
        memento = Memento({"loader": loader})
        assert len(memento.beyond) == 1
        assert "loader.dataset.parts['source']" in memento.beyond[0]


class Large(Dataset[Any]):
    def __init__(self, samples: Any) -> None:
        self.samples, self.small, self.seen = samples, copy.copy(samples[:2]) + 0.0, []

    def __len__(self) -> int:
        return len(self.samples)


@pytest.mark.parametrize("samples", [torch.zeros(1 << 20), np.zeros(1 << 20)], ids=["torch", "numpy"])
def test_a_large_array_of_a_data_set_is_shared_and_who_writes_into_it_is_named(samples):
    dataset = Large(samples)
    memento = Memento({"dataset": dataset})
    assert memento.written_into() == []
    dataset.samples[3] = dataset.small[1] = 1.0
    dataset.seen.append(1)
    memento.restore()
    assert dataset.samples is samples
    assert dataset.samples[3] == 1.0
    assert (dataset.small[1], dataset.seen) == (0.0, [])
    assert memento.written_into() == ["dataset.samples"]


def test_what_a_module_holds_is_copied_however_large():
    module = nn.Module()
    module.large = torch.zeros(1 << 20)
    memento = Memento({"module": module})
    module.large += 1
    memento.restore()
    assert float(module.large.sum()) == 0.0


def test_what_belongs_to_the_system_is_let_be():
    held = [
        threading.Lock(),
        threading.Event(),
        random.SystemRandom(),
        multiprocessing.Lock(),
        type,
        Counted,
        itertools,
    ]
    memento = Memento({"held": held})
    memento.restore()
    assert memento.beyond == []


def test_garbage_is_collected_afterwards_as_before():
    Memento({"list": [1]})
    assert gc.isenabled()
    gc.disable()
    try:
        Memento({"list": [1]})
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_more_can_be_noted_later():
    first, second = [1], [2]
    memento = Memento({"first": first})
    first.append(3)
    memento.add({"first": first, "second": second})
    second.append(4)
    memento.restore()
    assert (first, second) == ([1], [2])


def test_workers_that_wait_are_there_again():
    loader = DataLoader(Large(torch.zeros(4)))
    waiting = loader._iterator = iter([1])
    memento = Memento({"loader": loader})
    assert loader._iterator is None
    memento.restore()
    assert loader._iterator is waiting
