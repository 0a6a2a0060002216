"""One cell: a contender on one data set with one seed, in the process that calls. What comes is what is kept."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from benchmarks.peers_contenders import Task
from recipes.data.digits import Digits
from recipes.data.folders import Files, parted
from recipes.data.image_folder import ImageFolderInMemory
from recipes.data.in_memory import InMemory, statistics
from recipes.models.resnet9 import ResNet9
from recipes.models.small_cnn import SmallCNN

BATCH = 64
QUIET = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def data_of(name: str, images: str | None) -> tuple[Any, Any, Any, Callable[[], torch.nn.Module]]:
    """Return train, validation, test and what makes the network."""
    if name == "digits":
        # As `experiment=digits_snapshots` has it: four errors in 480 tell nothing apart.
        return *Digits(test_size=960).load(), lambda: SmallCNN(channels=1, num_classes=10)
    # A part: the first of each class, as the folder's names have them. Only these are decoded. At half their size a
    # network of the same shape takes a quarter of the time.
    data = ImageFolderInMemory(str(images), size=16)
    files = parted(data.root, data.classes, data.parts, data.split_seed)
    train, val, test = (_first(part, each) for part, each in zip(files, (300, 100, 200), strict=True))
    pixels = data._decoded(train)
    mean, std = statistics(pixels)
    parts = [InMemory(pixels, torch.from_numpy(train.labels), mean, std)]
    parts += [InMemory(data._decoded(part), torch.from_numpy(part.labels), mean, std) for part in (val, test)]
    return *parts, lambda: ResNet9(channels=3, num_classes=10, width=8)


def _first(files: Files, each: int) -> Files:
    return files.at(np.concatenate([np.flatnonzero(files.labels == label)[:each] for label in range(10)]))


def measure(said: dict[str, Any]) -> dict[str, Any]:
    """Run a contender, twice: a short run first, whose imports and first calls are not timed."""
    module, _, function = said["source"].partition(":")
    contender = getattr(importlib.import_module(f"benchmarks.{module}"), function)

    def task(epochs: int, train: Any, val: Any, _: Any, network: Any) -> Task:
        pl.seed_everything(said["seed"], verbose=False)
        # The same order of batches for all that go through it once an epoch.
        order = torch.Generator().manual_seed(said["seed"])
        return Task(
            train=DataLoader(train, BATCH, shuffle=True, generator=order),
            val=DataLoader(val, 500),
            network=network,
            rate=said["rate"],
            epochs=epochs,
            cycles=said["cycles"],
            trainer=QUIET,
        )

    if said["timed"]:
        # What it refuses, it refuses again.
        with folder(), silent(), contextlib.suppress(Exception):
            contender(task(said["cycles"], *data_of("digits", None)))
    parts = data_of(said["data"], said.get("images"))
    chosen = task(said["epochs"], *parts)
    with folder(), silent():
        wall, cpu = time.perf_counter(), time.process_time()
        scores = contender(chosen)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if isinstance(scores, torch.nn.Module):
            scores.eval()
        (right, _), (val_right, val_loss) = (told(scores, part) for part in (parts[2], parts[1]))
    return {
        "test": round(right, 6),
        "val": round(val_right, 6),
        "val_loss": round(val_loss, 6),
        "seconds": round(wall, 3),
        "cpu_seconds": round(cpu, 3),
        "mib": round(peak, 1),
        "updates": chosen.steps,
        "rate": said["rate"],
        **chosen.told,
    }


@torch.no_grad()
def told(scores: Callable[[torch.Tensor], torch.Tensor], part: Any) -> tuple[float, float]:
    """Return the share of samples whose class has the highest score, and the cross entropy, if those are logits."""
    right, loss = 0, 0.0
    for images, labels in DataLoader(part, 500):
        found = scores(images)
        right += int((found.argmax(1) == labels).sum())
        loss += float(F.cross_entropy(found, labels, reduction="sum"))
    return right / len(part), loss / len(part)


@contextlib.contextmanager
def folder() -> Iterator[None]:
    """Work in an empty folder, which is gone afterwards."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            yield
        finally:
            os.chdir(before)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def settle() -> None:
    """Make this process, and those that it forks, quiet, and let them have one thread."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def run(said: dict[str, Any]) -> dict[str, Any]:
    """Return what came of a cell, or its error in one line."""
    try:
        return measure(said)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
