"""Runs that never were: what `recipes.train` leaves in a folder, written by hand."""

from __future__ import annotations

import copy
import json

import pytest

from recipes.comparison.grouping import grouped
from recipes.comparison.measures import MEASURES
from recipes.comparison.reading import find
from recipes.comparison.study import Study

CONFIG = {
    "seed": 0,
    "data": {"_target_": "recipes.data.digits.Digits", "batch_size": 64, "split_seed": 2017, "shuffle_seed": 0},
    "model": {"_target_": "recipes.models.small_cnn.SmallCNN", "width": 16},
    "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "momentum": 0.9},
    "schedule": {"_target_": "lightning_lr.SGDR", "max_lr": 0.5, "cycles": 5},
    "trainer": {"_target_": "lightning.pytorch.Trainer", "max_epochs": 8},
}
ONE_CYCLE = {"_target_": "lightning_lr.OneCycle", "max_lr": 0.1, "pct_start": 0.3}


def config(seed=0, **changes):
    """The configuration with some values changed: a section anew, or ``schedule__max_lr=0.1``."""
    made = copy.deepcopy(CONFIG)
    made["seed"] = made["data"]["shuffle_seed"] = seed
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            made[section][key] = value
        else:
            made[section] = value
    return made


def result(accuracy=0.9, *, nll=0.3, ece=0.02, last=None, steps=100, seconds=5.0, seed=0, beside=None, **changes):
    """A result.json."""
    last = accuracy if last is None else last
    return {
        "config": config(seed, **changes),
        "versions": {"torch": "2.14.1", "python": "3.11.7"},
        "last": {"accuracy": last, "nll": nll, "ece": ece},
        "members": [],
        "ensemble": {"accuracy": accuracy, "nll": nll, "ece": ece},
        "steps": steps,
        "seconds": seconds,
        "objective": accuracy,
        **(beside or {}),
    }


def metrics(accuracies, per_epoch=10):
    """A metrics.csv: a learning rate and a training loss an update, and a validation an epoch."""
    lines = ["epoch,lr-SGD,lr-SGD-momentum,step,train/loss,val/accuracy,val/loss"]
    for epoch, accuracy in enumerate(accuracies):
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            lines += [f",{0.1 / (1 + step)},0.9,{step},,,", f"{epoch},,,{step},{2.0 / (1 + step)},,"]
        lines.append(f"{epoch},,,{step},,{accuracy},{1 - accuracy}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def leave(tmp_path):
    """Leave a run in a folder."""

    def leave(name, content=None, logged=(0.5, 0.8, 0.9), overrides=None, **said):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        content = result(**said) if content is None else content
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "result.json").write_text(text)
        if logged:
            (folder / "metrics.csv").write_text(metrics(logged))
        if overrides is not None:
            (folder / ".hydra").mkdir()
            (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
        return folder

    return leave


@pytest.fixture
def groups(tmp_path):
    """The groups of all runs that were left."""
    return lambda: grouped(find(["."], tmp_path).runs)


@pytest.fixture
def study(tmp_path):
    """The study of all runs that were left."""

    def study(metric="ensemble.accuracy", target=None):
        return Study.of(find(["."], tmp_path), MEASURES[metric], target)

    return study


@pytest.fixture
def three(leave):
    """Three schedules of three seeds each."""
    figures = {
        "sgdr": ({}, (0.90, 0.92, 0.94)),
        "one": ({"schedule": ONE_CYCLE}, (0.95, 0.96, 0.98)),
        "low": ({"schedule__max_lr": 0.05}, (0.80, 0.81, 0.79)),
    }
    for name, (changes, accuracies) in figures.items():
        for seed, accuracy in enumerate(accuracies):
            leave(f"{name}/{seed}", accuracy=accuracy, seed=seed, logged=(0.5, 0.7, accuracy), **changes)
