"""An LR range test among what else a user has: other callbacks, compiled modules, plain iterables, copies of itself."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import random
import weakref
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
    Timer,
    TQDMProgressBar,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import SGDR, LRRangeTest, OneCycle, RangeTest, lr_range_test
from lightning_lr.range_test.memento import Memento
from lightning_lr.range_test.readings import Settings
from tests.fits import trainer

SWEEP: dict[str, Any] = {"min_lr": 1e-4, "max_lr": 0.5, "steps": 5, "early_stop_threshold": None}
QUIET: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*overfit", "ignore:.*sampler has shuffling", "ignore:Checkpoint directory", "ignore:.*swa_lrs"
)


class Net(pl.LightningModule):
    """Has batch normalisation, dropout, and a tensor that validation makes in inference mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
        self.last: Any = None

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.last = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(self.last, batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def samples(count: int = 48) -> TensorDataset:
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(1))
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


class Data(pl.LightningDataModule):
    def setup(self, stage: str) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def train_dataloader(self) -> Any:
        return DataLoader(samples(), batch_size=8, shuffle=True, generator=self.generator)

    def val_dataloader(self) -> Any:
        return DataLoader(samples(16), batch_size=8)


class Seen(Callback):
    def __init__(self) -> None:
        self.rows: list[Any] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        rates = [(group["lr"], group.get("betas")) for group in trainer.optimizers[0].param_groups]
        self.rows.append((trainer.global_step, trainer.current_epoch, outputs["loss"].item(), rates))


def left_by_a_fit(module: Any, callbacks: list[Callback], test: Callback | None, options: dict[str, Any]) -> list[Any]:
    """Everything that a fit comes to: what each update saw, weights, the optimizer's state, random states."""
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    seen = Seen()
    run = trainer(
        *([test] if test else []), *callbacks, seen, **{"max_epochs": 3, "enable_checkpointing": True, **options}
    )
    run.fit(module, datamodule=Data())
    drawn = [torch.rand(1).item(), random.random(), np.random.rand()]
    state = [[*each["state"].items()] for each in (optimizer.state_dict() for optimizer in run.optimizers)]
    return [seen.rows, run.global_step, run.current_epoch, drawn, module.state_dict(), state]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


NEIGHBOURS: dict[str, tuple[Any, dict[str, Any]]] = {
    "accumulation": (lambda: [SGDR(0.1, cycles=3)], {"accumulate_grad_batches": 3}),
    "clipping": (lambda: [SGDR(0.1, cycles=3)], {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}),
    "bf16": (lambda: [SGDR(0.1, cycles=3)], {"precision": "bf16-mixed"}),
    "half of the batches": (lambda: [SGDR(0.1, cycles=3)], {"limit_train_batches": 0.5}),
    "overfitting": (lambda: [SGDR(0.1, cycles=3)], {"overfit_batches": 3}),
    "validation within an epoch": (
        lambda: [SGDR(0.1, cycles=3), ModelCheckpoint("best", monitor="val_loss", save_top_k=2)],
        {"val_check_interval": 2},
    ),
    "loaders anew each epoch": (lambda: [SGDR(0.1, cycles=3)], {"reload_dataloaders_every_n_epochs": 1}),
    "max_steps": (lambda: [SGDR(0.1, cycles=3)], {"max_steps": 15, "max_epochs": -1}),
    "max_time": (lambda: [SGDR(0.1, cycles=3)], {"max_time": "00:01:00:00"}),
    "EarlyStopping": (lambda: [EarlyStopping("val_loss", patience=1, min_delta=10.0)], {}),
    "averaged weights": (lambda: [SGDR(0.1, cycles=3), EMAWeightAveraging()], {}),
    "stochastic weight averaging": (lambda: [StochasticWeightAveraging(1e-2, swa_epoch_start=1)], {}),
    "scheduled accumulation": (lambda: [SGDR(0.1, cycles=3), GradientAccumulationScheduler({0: 1, 2: 3})], {}),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_fit_equals_one_without_the_test(name):
    neighbours, options = NEIGHBOURS[name]
    test = LRRangeTest(**SWEEP, at_epochs=(0, 1, 2))
    without = left_by_a_fit(Net(), neighbours(), None, options)
    assert same(left_by_a_fit(Net(), neighbours(), test, options), without)
    assert {0, 1} <= test.results.keys()
    assert all(len(result.losses) == 5 for result in test.results.values())
    # What is compared can differ: another seed of the network is seen.
    other = Net()
    nn.init.ones_(other.net[0].bias)
    assert not same(left_by_a_fit(other, neighbours(), None, options), without)


@pytest.mark.parametrize("how", ["whole", "in place", "a part"])
def test_a_compiled_module(how):
    def compiled() -> Any:
        module = Net()
        if how == "whole":
            return torch.compile(module, backend="eager")
        if how == "a part":
            module.net = torch.compile(module.net, backend="eager")
        else:
            module.compile(backend="eager")
        return module

    options = {"limit_val_batches": 0, "max_epochs": 2}
    without = left_by_a_fit(compiled(), [], None, options)
    module = compiled()
    assert len(lr_range_test(module, datamodule=Data(), **SWEEP, **QUIET).losses) == 5
    assert same(left_by_a_fit(module, [], None, options), without)
    test = LRRangeTest(**SWEEP, at_epochs=(0, 1))
    assert same(left_by_a_fit(compiled(), [], test, options), without)
    assert len(test.results) == 2


def test_in_a_hook_of_training_and_of_validation():
    class Within(Callback):
        def __init__(self) -> None:
            self.found: list[Any] = []

        def look(self, trainer: Any, module: Any) -> None:
            # The test calls no hook of this callback: it is not among its own.
            self.found.append(lr_range_test(module, datamodule=trainer.datamodule, **SWEEP, **QUIET))

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 8:
                self.look(trainer, pl_module)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                self.look(trainer, pl_module)

    within = Within()
    assert same(left_by_a_fit(Net(), [], within, {}), left_by_a_fit(Net(), [], None, {}))
    assert [len(found.losses) for found in within.found] == [5, 5]


# What is kept, and for how long


class Held(Memento):
    """Counts those that are alive."""

    alive: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

    def __init__(self, *given: Any, **named: Any) -> None:
        self.alive.add(self)
        super().__init__(*given, **named)


@pytest.fixture
def mementos(monkeypatch):
    monkeypatch.setattr("lightning_lr.range_test.measure.Memento", Held)
    gc.collect()
    gc.disable()  # it would hide what waits for it
    yield Held.alive
    gc.enable()


def test_the_copy_of_the_weights_goes_with_the_test(mementos):
    lr_range_test(Net(), datamodule=Data(), **SWEEP, **QUIET, repeats=2)
    assert not mementos
    trainer(LRRangeTest(**SWEEP, at_epochs=(0, 1)), max_epochs=2).fit(Net(), datamodule=Data())
    assert not mementos


def test_the_copy_of_the_weights_goes_with_a_test_that_fails(mementos):
    class Fails(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ArithmeticError("the user's own")

    with pytest.raises(ArithmeticError, match=r"^the user's own$"):
        lr_range_test(Fails(), datamodule=Data(), **SWEEP, **QUIET)
    assert not mementos


def copied(memento: Memento) -> int:
    """Bytes in storages of which a copy is kept."""
    cells = [cell.cell_contents for undo in memento._undo for cell in getattr(undo, "__closure__", None) or ()]
    return sum(cell.nbytes() for cell in cells if isinstance(cell, torch.UntypedStorage)) // 2


def test_gradients_of_a_fit_are_put_aside_and_not_copied():
    layer = nn.Linear(100, 100, bias=False)
    bare = copied(Memento({"layer": layer}))
    assert bare == 100 * 100 * 4
    layer(torch.ones(1, 100)).sum().backward()
    gradient, values = layer.weight.grad, layer.weight.grad.clone()
    memento = Memento({"layer": layer})
    assert copied(memento) == bare
    for again in (True, False):
        assert layer.weight.grad is None
        layer(torch.ones(1, 100)).square().sum().backward()
        memento.restore(again=again)
    assert layer.weight.grad is gradient
    assert torch.equal(gradient, values)


def test_a_gradient_in_the_memory_of_others_is_copied():
    layer, bucket = nn.Linear(100, 100, bias=False), torch.ones(100 * 100)
    layer.weight.grad = bucket.view(100, 100)
    memento = Memento({"layer": layer})
    bucket.zero_()
    memento.restore()
    assert bool((layer.weight.grad == 1).all())


class Batches:
    """An iterable of no library's class, that holds its arrays."""

    def __init__(self) -> None:
        self.inputs, self.labels = torch.ones(2**18, 6), torch.zeros(2**18, dtype=torch.long)

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Any:
        return iter([(self.inputs[:8], self.labels[:8])] * 6)


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in a dict"])
def test_the_arrays_of_any_iterable_are_shared(wrapped):
    batches = Batches()
    roots = {"train_dataloaders": {"one": batches} if wrapped else batches, "module": Net()}
    assert copied(Memento(roots, data=["train_dataloaders"])) < 1 << 20 < copied(Memento(roots))


# Copies


COPIES = pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=["copy", "pickle"]
)


@COPIES
def test_a_copy_of_the_callback_has_its_results_and_not_the_module(duplicate):
    test, module = LRRangeTest(**SWEEP, at_epochs=(0, 1)), Net()
    module.unpicklable = lambda: None
    trainer(test, max_epochs=2).fit(module, datamodule=Data())
    other = duplicate(test)
    assert other.results == test.results
    assert (other.settings, other.at_epochs, other.state_key) == (test.settings, (0, 1), test.state_key)
    assert not any(isinstance(getattr(value, "__self__", None), nn.Module) for value in vars(other).values())
    # And it is good for a fit of its own.
    trainer(other, max_epochs=1).fit(Net(), datamodule=Data())
    assert list(other.results) == [0]


@COPIES
def test_a_copy_of_a_result_is_equal(duplicate):
    found = lr_range_test(Net(), datamodule=Data(), **SWEEP, **QUIET)
    other = duplicate(found)
    assert other == found
    assert hash(other) == hash(found)
    assert str(other) == str(found)


def test_a_checkpoint_with_results_holds_plain_values():
    test, saved = LRRangeTest(**SWEEP), io.BytesIO()
    trainer(test, max_epochs=1).fit(Net(), datamodule=Data())
    torch.save(test.state_dict(), saved)
    saved.seek(0)
    other = LRRangeTest()
    other.load_state_dict(torch.load(saved, weights_only=True))
    assert other.results == test.results


# What a user passes


@pytest.mark.parametrize(
    "given", [None, [], Timer(), [Timer()], (Timer(),)], ids=["none", "empty", "one", "list", "tuple"]
)
def test_callbacks_as_a_trainer_takes_them(given):
    assert len(lr_range_test(Net(), datamodule=Data(), callbacks=given, **SWEEP, **QUIET).losses) == 5


@pytest.mark.parametrize(
    "callback",
    [
        SGDR(0.1, cycles=2),
        OneCycle("auto"),
        LRRangeTest(),
        ModelCheckpoint(),
        EarlyStopping("val_loss"),
        LearningRateFinder(),
        TQDMProgressBar(),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_of_the_training_to_come_are_refused(callback):
    with pytest.raises(TypeError, match=rf"^callbacks: {type(callback).__name__} belongs to the training [^\n]*$"):
        lr_range_test(Net(), datamodule=Data(), callbacks=[Timer(), callback], **SWEEP, **QUIET)


@pytest.mark.parametrize(
    ("module", "named"), [(None, "a NoneType"), (Net, "the class Net"), ("net", "a str"), (nn.Linear(1, 1), "a Linear")]
)
def test_what_is_no_module_is_named(module, named):
    with pytest.raises(TypeError, match=rf"^module: {named} and not a LightningModule; [^\n]*$"):
        lr_range_test(module, datamodule=Data(), **SWEEP, **QUIET)


def test_a_single_epoch_is_no_sequence():
    with pytest.raises(TypeError, match=r"^at_epochs=2: not a sequence of epochs; pass \(2,\)$"):
        LRRangeTest(at_epochs=2)  # type: ignore[arg-type]


def test_a_damaged_file_does_not_fill_the_memory(tmp_path):
    with pytest.raises(ValueError, match=r"^steps=1000001: out of range; pass an int of at most 1000000$"):
        Settings(steps=1_000_001)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.json: not JSON \("):
        RangeTest.load(tmp_path / "deep.json")
