"""The clock of a fit: it runs while the fit does, and goes on where a checkpoint left it."""

from __future__ import annotations

from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from recipes import stopwatch
from recipes.building import build_task
from recipes.log import MetricsFile
from recipes.metrics import read
from recipes.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    return now


class Tick(Callback):
    """A second an update, and a hundred where there is none."""

    def __init__(self, now):
        self.now = now

    def on_fit_start(self, *_):
        self.now[0] += 100.0

    def on_train_batch_end(self, *_):
        self.now[0] += 1.0


def test_is_started_and_stopped(clock):
    watch = Stopwatch()
    assert watch.seconds == 0.0
    watch.on_train_start(None, None)
    clock[0] = 107.0
    assert watch.seconds == 7.0
    assert watch.state_dict() == {"seconds": 7.0, "readings": []}
    watch.on_train_end(None, None)
    clock[0] = 200.0
    assert watch.seconds == 7.0


def test_goes_on_where_the_checkpoint_left_it(clock):
    watch = Stopwatch()
    watch.load_state_dict({"seconds": 30.0, "readings": [[17, 12.5]]})
    clock[0] = 500.0
    assert watch.seconds == 30.0
    watch.on_train_start(None, None)
    clock[0] = 502.5
    watch.on_exception(None, None, KeyboardInterrupt())
    clock[0] = 900.0
    assert watch.seconds == 32.5
    assert watch.readings == [(17, 12.5)]


def test_is_read_at_each_validation_of_the_fit_and_leaves_the_metrics_alone(clock, composed, tmp_path):
    module, datamodule = build_task(composed("schedule=constant", "schedule.lr=0.1"))
    module.optimizer = partial(torch.optim.SGD, lr=0.1)
    watch = Stopwatch()
    trainer = pl.Trainer(
        max_epochs=3,
        limit_train_batches=4,
        limit_val_batches=1,
        accelerator="cpu",
        devices=1,
        logger=MetricsFile(tmp_path),
        callbacks=[watch, Tick(clock)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=datamodule)
    assert watch.readings == [(4, 4.0), (8, 8.0), (12, 12.0)]
    # Lightning numbers a validation after the update before it, from 0; `recipes.comparison` adds the one.
    assert [step for step, _ in read(tmp_path)["val/accuracy"]] == [3, 7, 11]
    assert set(read(tmp_path)) == {"epoch", "val/loss", "val/accuracy"}
    clock[0] += 1000.0
    trainer.validate(module, datamodule=datamodule, verbose=False)
    assert watch.seconds == 12.0
    assert len(watch.readings) == 3
