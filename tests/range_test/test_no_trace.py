"""A fit after a range test, or with one in it, equals a fit without: attributes, tensors, generators, rows, files."""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.nn.parameter import is_lazy

from lightning_lr import LRRangeTest, lr_range_test
from tests import traces
from tests.fingerprint import describe, describe_process, describe_run, differences
from tests.traces import Scene, build

# Eight updates: over the end of an epoch of six, and of most others.
SWEEP: dict[str, Any] = {"min_lr": 1e-4, "max_lr": 0.5, "steps": 8, "early_stop_threshold": None}
QUIET: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}


@pytest.fixture(autouse=True)
def _switches():
    """Undo what `Trainer(deterministic=True)` leaves behind, and a fit's warnings that are no business of ours."""
    environment = dict(os.environ)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        yield
    while traces.opened:
        traces.opened.pop().close()
    torch.use_deterministic_algorithms(False)
    os.environ.clear()
    os.environ.update(environment)


@contextmanager
def own_folder():
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def trainer(found: Scene, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        **{
            **QUIET,
            "max_epochs": 3,
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 1,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(each, pl.callbacks.ModelCheckpoint) for each in found.callbacks)
            or isinstance(found.module, traces.OwnCallbacks),
            "logger": CSVLogger(".", name="log", version=0),
            "callbacks": [*callbacks, *found.callbacks],
            **found.options,
            **options,
        }
    )


def measure(found: Scene, **options: Any) -> Any:
    return lr_range_test(found.module, **found.data, **{**SWEEP, **found.test, **QUIET, **found.options, **options})


def fit(found: Scene, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    run = trainer(found, *callbacks, **options)
    run.fit(found.module, **found.data)
    return run


# Each takes a scene to the end of its fit.


def without(found: Scene) -> pl.Trainer:
    return fit(found)


def function(found: Scene) -> pl.Trainer:
    assert len(measure(found).losses) == SWEEP["steps"]
    return fit(found)


def callback(found: Scene) -> pl.Trainer:
    test = LRRangeTest(**SWEEP, **found.test)
    run = fit(found, test)
    assert len(test.result.losses) == SWEEP["steps"]
    return run


def in_mid_training(found: Scene) -> pl.Trainer:
    test = LRRangeTest(**SWEEP, **found.test, at_epochs=(0, 2))
    run = fit(found, test)
    assert {epoch: len(result.losses) for epoch, result in test.results.items()} == {0: 8, 2: 8}
    return run


def function_twice(found: Scene) -> pl.Trainer:
    assert measure(found).losses == measure(found).losses
    return fit(found)


def repeated(found: Scene) -> pl.Trainer:
    assert len(measure(found, repeats=3).runs) == 3
    return fit(found)


def repeated_in_mid_training(found: Scene) -> pl.Trainer:
    test = LRRangeTest(**SWEEP, **found.test, repeats=2, at_epochs=(1,))
    run = fit(found, test)
    assert len(test.results[1].runs) == 2
    return run


def last_callback(found: Scene) -> pl.Trainer:
    found.callbacks.append(LRRangeTest(**SWEEP, **found.test))
    return fit(found)


def that_raises(found: Scene) -> pl.Trainer:
    with raising(RuntimeError("the user's own"), at=7), pytest.raises(RuntimeError, match=r"^the user's own$"):
        measure(found)
    return fit(found)


def interrupted(found: Scene) -> pl.Trainer:
    with raising(KeyboardInterrupt(), at=7), pytest.raises(KeyboardInterrupt):
        measure(found)
    return fit(found)


@contextmanager
def raising(error: BaseException, at: int):
    """Let the training step raise at one of its calls, by a patch of the class: nothing on an object tells of it."""
    calls, original = itertools.count(1), traces.Net.training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        if next(calls) == at:
            raise error
        return original(self, batch, batch_idx)

    traces.Net.training_step = training_step
    try:
        yield
    finally:
        traces.Net.training_step = original


def outcome(name: str, way: Callable[[Scene], pl.Trainer]) -> dict[str, str]:
    with own_folder():
        run = way(build(name))
        return describe_run(run, without=(LRRangeTest,))


@functools.cache
def reference(name: str) -> dict[str, str]:
    return outcome(name, without)


# In mid-training is at the start of the fit too.
@pytest.mark.parametrize("way", [function, in_mid_training])
@pytest.mark.parametrize("name", [*traces.KEEPS_STATE, *traces.TRAINS])
def test_a_fit_equals_one_without_the_test(name, way):
    assert differences(reference(name), outcome(name, way)) == []


@pytest.mark.slow
@pytest.mark.parametrize("way", [function, callback, in_mid_training, repeated_in_mid_training])
@pytest.mark.parametrize("name", traces.WORKS_APART)
def test_a_fit_with_workers_equals_one_without_the_test(name, way):
    assert differences(reference(name), outcome(name, way)) == []


OTHER_WAYS = [callback, function_twice, repeated, repeated_in_mid_training, last_callback, that_raises, interrupted]


@pytest.mark.parametrize("way", OTHER_WAYS)
@pytest.mark.parametrize("name", traces.EVERYTHING)
def test_however_it_is_called(name, way):
    assert differences(reference(name), outcome(name, way)) == []


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_with_the_momentum_of_a_cycle(name):
    def with_momentum(found: Scene) -> pl.Trainer:
        measure(found, momentum=0.8, mode="linear")
        return fit(found)

    assert differences(reference(name), outcome(name, with_momentum)) == []


# These tests can fail


@pytest.mark.parametrize("name", [*traces.KEEPS_STATE, *traces.EVERYTHING])
def test_weights_and_global_generators_alone_are_not_enough(name):
    # What a finder commonly restores.
    def carelessly(found: Scene) -> pl.Trainer:
        weights = {key: value.clone() for key, value in found.module.state_dict().items() if not is_lazy(value)}
        states = torch.get_rng_state(), np.random.get_state(), random.getstate()
        trainer(found, max_epochs=1, logger=False).fit(found.module, **found.data)
        found.module.load_state_dict(weights, strict=False)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        return fit(found)

    assert differences(reference(name), outcome(name, carelessly))


# The objects themselves


@pytest.mark.parametrize("name", [*traces.KEEPS_STATE, *traces.TRAINS, *traces.EVERYTHING])
def test_every_object_is_itself_as_it_was(name):
    found = build(name)
    before, process = describe(identity=True, scene=found), describe_process()
    measure(found)
    assert differences(before, describe(identity=True, scene=found)) == []
    assert differences(process, describe_process()) == []


@pytest.mark.parametrize("name", ["adam", "cached optimizer", "metrics", "lazy layer", "double", *traces.EVERYTHING])
def test_every_object_of_an_earlier_fit_is_itself_as_it_was(name):
    found = build(name)
    run = fit(found)
    before, process = describe(identity=True, scene=found, optimizers=run.optimizers), describe_process()
    measure(found)
    assert differences(before, describe(identity=True, scene=found, optimizers=run.optimizers)) == []
    assert differences(process, describe_process()) == []


@pytest.mark.parametrize("error", [RuntimeError("the user's own"), KeyboardInterrupt()], ids=["raised", "interrupted"])
@pytest.mark.parametrize("name", [*traces.EVERYTHING, "double", "deterministic", "plain"])
def test_every_object_is_itself_after_an_error(name, error):
    found = build(name)
    before, process = describe(identity=True, scene=found), describe_process()
    with raising(error, at=7), pytest.raises(type(error)) as caught:
        measure(found)
    assert caught.value is error
    assert differences(before, describe(identity=True, scene=found)) == []
    assert differences(process, describe_process()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", traces.WORKS_APART)
def test_no_worker_is_left(name):
    found = build(name)
    before, process = describe(identity=True, scene=found), describe_process()
    measure(found)
    assert differences(before, describe(identity=True, scene=found)) == []
    assert differences(process, describe_process()) == []


@pytest.mark.parametrize("name", ["everything", "validation", "own callbacks", "double"])
def test_a_fit_between_two_tests(name):
    def between(found: Scene) -> pl.Trainer:
        measure(found)
        fit(found, max_epochs=2, logger=False)
        measure(found)
        return fit(found)

    def two_fits(found: Scene) -> pl.Trainer:
        fit(found, max_epochs=2, logger=False)
        return fit(found)

    assert differences(outcome(name, two_fits), outcome(name, between)) == []


def test_a_stop_by_divergence_leaves_no_trace():
    def diverging(found: Scene) -> pl.Trainer:
        options = {**SWEEP, "max_lr": 1e9, "early_stop_threshold": 4.0, "steps": 30}
        result = lr_range_test(found.module, **found.data, **options, **QUIET)
        assert result.runs[0].ended == "diverged"
        return fit(found)

    assert differences(reference("everything"), outcome("everything", diverging)) == []


def test_an_error_within_a_fit_leaves_the_fit_as_it_began():
    # In the first of its epochs there is nothing yet but what the trainer has set up.
    found = build("everything")
    weights = {name: value.clone() for name, value in found.module.state_dict().items()}
    test = LRRangeTest(**SWEEP)
    with raising(RuntimeError("the user's own"), at=7), pytest.raises(RuntimeError, match=r"^the user's own$"):
        fit(found, test)
    assert test.result is None
    assert all(torch.equal(value, weights[name]) for name, value in found.module.state_dict().items())
    assert found.module.calls == 0
    assert found.data["train_dataloaders"].dataset.calls == 0


def test_a_resumed_fit_is_the_same_with_a_test_in_it():
    def resumed(*tests: pl.Callback) -> dict[str, str]:
        with own_folder():
            first = build("everything")
            fit(first, max_epochs=1, logger=False).save_checkpoint("first.ckpt")
            found = build("everything")
            run = trainer(found, *tests)
            run.fit(found.module, **found.data, ckpt_path="first.ckpt")
            return describe_run(run, without=(LRRangeTest,))

    test = LRRangeTest(**SWEEP, at_epochs=(0, 2))
    assert differences(resumed(), resumed(test)) == []
    assert 2 in test.results


# The process


def test_what_is_global_in_torch_stays(monkeypatch):
    set_by_user = [
        (torch.set_default_dtype, torch.float64, torch.float32),
        (torch.set_float32_matmul_precision, "medium", torch.get_float32_matmul_precision()),
        (lambda on: torch.autograd.set_detect_anomaly(on, check_nan=not on), True, False),
        (torch.use_deterministic_algorithms, True, False),
        (lambda on: setattr(torch.backends.cudnn, "benchmark", on), True, False),
    ]
    found = build("plain")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what anomaly detection says of itself
        for put, value, _ in set_by_user:
            put(value)
        try:
            found.module.double()
            found.data["train_dataloaders"].dataset.tensors = tuple(
                each.double() for each in found.data["train_dataloaders"].dataset.tensors
            )
            before = describe_process()
            measure(found, benchmark=False, deterministic=False, detect_anomaly=False)
            assert differences(before, describe_process()) == []
        finally:
            for put, _, value in set_by_user:
                put(value)


def test_handlers_of_signals_stay():
    def own(*_):
        pass

    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    before = [signal.signal(number, own) for number in numbers]
    try:
        measure(build("plain"))
        with raising(KeyboardInterrupt(), at=3), pytest.raises(KeyboardInterrupt):
            measure(build("plain"))
        assert [signal.getsignal(number) for number in numbers] == [own] * 3
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_ctrl_c_itself():
    class Pressed(traces.Net):
        def training_step(self, batch, batch_idx):
            if self.trainer.global_step == 4:
                signal.raise_signal(signal.SIGINT)
            return super().training_step(batch, batch_idx)

    # A shell that starts the tests in the background has them ignore it.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found = traces.scene(Pressed())
        before, process = describe(identity=True, scene=found), describe_process()
        with pytest.raises(KeyboardInterrupt):
            measure(found)
        assert differences(before, describe(identity=True, scene=found)) == []
        assert differences(process, describe_process()) == []
    finally:
        signal.signal(signal.SIGINT, inherited)


def test_from_a_thread():
    found, results = build("plain"), []
    before = describe(identity=True, scene=found)
    thread = threading.Thread(target=lambda: results.append(measure(found)))
    thread.start()
    thread.join()
    assert len(results) == 1
    assert differences(before, describe(identity=True, scene=found)) == []


def test_nothing_is_written(tmp_path):
    found = build("own callbacks")
    (tmp_path / "root").mkdir()
    measure(found, default_root_dir=tmp_path / "root")
    lr_range_test(Splitting(), datamodule=traces.Splits(), **SWEEP, **QUIET)
    assert [*tmp_path.rglob("*")] == [tmp_path / "root"]


class Splitting(traces.Validated):
    pass


# What cannot be put back, and what is too large to copy


def test_a_stream_that_is_used_up_is_named():
    found = traces.scene(dataset=traces.Used(), shuffle=False)
    with pytest.warns(UserWarning, match=r"dataset\.stream.*generator") as told:
        measure(found)
    ours = [str(each.message) for each in told if "range test" in str(each.message)]
    assert len(ours) == 1
    assert "\n" not in ours[0]


def test_what_is_never_touched_is_not_warned_of():
    # Any warning is an error here.
    measure(build("attributes"))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_the_arrays_of_a_data_set_are_not_copied(kind):
    samples = 1 << 21
    array = torch.ones(samples, 32) if kind == "torch" else np.ones((samples, 32), dtype=np.float32)  # 256 MiB

    class Large(torch.utils.data.Dataset):
        def __init__(self):
            self.array, self.nested = array, {"views": [array[:10]]}

        def __len__(self):
            return samples

        def __getitem__(self, index):
            assert self.array is array
            inputs = torch.as_tensor(self.array[index])[: traces.FEATURES]
            return inputs, inputs.sum().reshape(1)

    found = traces.scene(dataset=Large(), shuffle=False)
    measure(found)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    measure(found)
    # A part of one copy, for what the rest of the process takes.
    assert memory("VmHWM") - before < 128 << 10
    assert found.data["train_dataloaders"].dataset.array is array


def memory(kind: str) -> int:
    """Read the process's memory, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1])


def test_a_long_list_of_names_is_looked_at_once():
    class Named(torch.utils.data.Dataset):
        def __init__(self, count):
            self.names = [f"class-{number % 10}/{number}.png" for number in range(count)]
            self.labelled = [(name, index % 10) for index, name in enumerate(self.names)]

        def __len__(self):
            return len(self.names)

        def __getitem__(self, index):
            return torch.full((traces.FEATURES,), float(len(self.names[index]))), torch.ones(1)

    def calls(count: int) -> int:
        seen = itertools.count()
        found = traces.scene(dataset=Named(count), shuffle=False)
        sys.setprofile(lambda frame, event, argument: next(seen) if event == "call" else None)
        try:
            measure(found)
        finally:
            sys.setprofile(None)
        return next(seen)

    calls(100)
    more = calls(100_000) - calls(100)
    # A deep copy takes several a name.
    assert more < 1_000_000
