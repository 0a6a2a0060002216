"""What an LR range test costs, beside Lightning's own finder, `Tuner.lr_find`, at equal steps.

    python benchmarks/range_test_cost.py

From the call to the return, what each does to put things back included. Neither may stop early, so that both take every
step. One process and one thread, the two by turns, median of pairs; seconds of the processor beside those of the clock,
for a busy machine disturbs them less.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import platform
import statistics
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.tuner import Tuner
from range_test_curves import OPTIONS, QUIET, Classifier
from range_test_settings import Setting

from lightning_lr.range_test import lr_range_test

STEPS = 100
PAIRS = 15
RESULT = Path(__file__).parent / "results" / "range_test_cost.json"
SETTINGS = (
    Setting("digits", "mlp", "momentum", 64, 300),
    Setting("digits", "cnn-bn", "adamw", 64, 300),
)

Seconds = tuple[float, float]  # of the clock, of the processor


def now() -> Seconds:
    return time.perf_counter(), time.process_time()


def since(started: Seconds) -> Seconds:
    clock, processor = now()
    return clock - started[0], processor - started[1]


def ours(setting: Setting, folder: str) -> Seconds:
    module, loader = Classifier(setting), setting.loader(0)
    started = now()
    found = lr_range_test(
        module, loader, max_lr=1.0, steps=STEPS, early_stop_threshold=None, default_root_dir=folder, **OPTIONS
    )
    seconds = since(started)
    assert len(found.losses) == STEPS
    return seconds


def lightnings(setting: Setting, folder: str) -> Seconds:
    module, loader = Classifier(setting), setting.loader(0)
    started = now()
    trainer = pl.Trainer(default_root_dir=folder, **QUIET)
    found = Tuner(trainer).lr_find(
        module, loader, min_lr=1e-6, max_lr=1.0, num_training=STEPS, early_stop_threshold=None, update_attr=False
    )
    seconds = since(started)
    # It keeps one reading more than it takes steps.
    assert len(found.results["loss"]) in (STEPS, STEPS + 1), len(found.results["loss"])
    return seconds


def measure(setting: Setting, folder: str) -> dict[str, float | str]:
    ours(setting, folder), lightnings(setting, folder)  # what happens once in a process is nobody's cost
    pairs = []
    for turn in range(PAIRS):
        first, second = (ours, lightnings) if turn % 2 == 0 else (lightnings, ours)
        seconds = {call: call(setting, folder) for call in (first, second)}
        pairs.append((seconds[ours], seconds[lightnings]))
    ratios = [mine[0] / theirs[0] for mine, theirs in pairs]
    return {
        "setting": setting.name,
        "ours_s": round(statistics.median(mine[0] for mine, _ in pairs), 3),
        "lightning_s": round(statistics.median(theirs[0] for _, theirs in pairs), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "ratio_of_processor_seconds": round(statistics.median(mine[1] / theirs[1] for mine, theirs in pairs), 3),
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        rows = [measure(setting, folder) for setting in SETTINGS]
    result = {
        "command": "python benchmarks/range_test_cost.py",
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {"torch": torch.__version__, "lightning": pl.__version__},
        "n": PAIRS,
        "steps": STEPS,
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["rows"], indent=2))


if __name__ == "__main__":
    main()
