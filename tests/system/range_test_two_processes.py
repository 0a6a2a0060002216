"""Fits on two processes, with a range test and without; each rank writes what it saw to `FOLDER/rank-N.json`."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader

from lightning_lr import LRRangeTest
from tests import traces
from tests.fingerprint import describe, describe_run, differences
from tests.range_test import test_no_trace

NAMES = [
    "plain",
    "adam",
    "everything",
    "data module, everything",
    "validation",
    "accumulation",
    "generator of the loader",
]
NAMES += ["own loaders", "list of loaders", "persistent workers", "double"]
WAYS = ["without", "function", "callback", "in_mid_training", "repeated", "that_raises"]
losses: list[float] = []


def distributed(name: str) -> traces.Scene:
    found = traces.build(name)
    found.options |= {"strategy": "ddp", "devices": 2}
    train = found.data.get("train_dataloaders")
    if isinstance(train, DataLoader) and train.num_workers:
        # A child of fork waits forever where one of gloo's threads was just entering Python: python/cpython#112275,
        # in 3.11 up to 3.11.8. One in some twenty fits, without a range test too.
        train.multiprocessing_context = "forkserver"
        # Where torch moves a tensor to when it sends it to such a worker, with or without a range test.
        for tensor in train.dataset.samples.tensors:
            tensor.share_memory_()
    return found


def note(original: Any) -> Any:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = original(self, batch, batch_idx)
        losses.append(loss.item())
        return loss

    return training_step


def no_trace(folder: Path) -> list[dict[str, Any]]:
    """Run every way to the end of its fit, and tell how it differs from the one without."""
    told = []
    for name in NAMES:
        runs: dict[str, dict[str, str]] = {}
        for way in WAYS:
            place = folder / name / way
            place.mkdir(parents=True, exist_ok=True)
            os.chdir(place)
            found = distributed(name)
            run = getattr(test_no_trace, way)(found)
            seen = describe_run(run, without=(LRRangeTest,))
            # The other rank may be writing just now.
            runs[way] = {
                path: line for path, line in seen.items() if not path.startswith("files") or run.is_global_zero
            }
            told.append({"name": name, "way": way, "differs": differences(runs["without"], runs[way])})
    return told


def objects(folder: Path) -> list[dict[str, Any]]:
    told = []
    for name in NAMES:
        found = distributed(name)
        before = describe(identity=True, scene=found)
        test_no_trace.measure(found)
        told.append({"name": name, "differs": differences(before, describe(identity=True, scene=found))})
    return told


def readings() -> list[dict[str, Any]]:
    """Run tests by the function and by the callback, and tell their readings beside the losses of this rank."""
    told = []
    traces.Net.training_step, original = note(traces.Net.training_step), traces.Net.training_step
    for name in ("plain", "accumulation", "data set that draws"):
        for way in ("function", "callback"):
            losses.clear()
            found = distributed(name)
            if way == "function":
                result = test_no_trace.measure(found)
            else:
                test = LRRangeTest(**test_no_trace.SWEEP)
                test_no_trace.fit(found, test, logger=False)
                result = test.result
            accumulated = found.options.get("accumulate_grad_batches", 1)
            told.append({"name": name, "way": way, "found": result.losses, "losses": [*losses], "by": accumulated})
    traces.Net.training_step = original
    return told


def broken_on_one_rank() -> dict[str, Any]:
    """A loss that is no number, on one rank alone."""

    class Breaks(traces.Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            broken = self.trainer.global_step == 5 and self.trainer.global_rank == 1
            return super().training_step(batch, batch_idx) * (float("nan") if broken else 1.0)

    found = traces.scene(Breaks())
    found.options |= {"strategy": "ddp", "devices": 2}
    result = test_no_trace.measure(found)
    return {"ended": result.runs[0].ended, "readings": len(result.losses)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    # Or each worker would import torch.
    multiprocessing.set_forkserver_preload([traces.__name__])
    seen = {
        "fits": no_trace(folder),
        "objects": objects(folder),
        "readings": readings(),
        "broken": broken_on_one_rank(),
    }
    (folder / f"rank-{rank_zero_only.rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
