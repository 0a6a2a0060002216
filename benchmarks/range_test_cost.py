"""What an LR range test costs, beside Lightning's own finder, `Tuner.lr_find`, at equal steps.

    python benchmarks/range_test_cost.py

From the call to the return, what each does to put things back included. Neither may stop early, so that both take every
step. One process and one thread, the two by turns, median of pairs with its quartiles; seconds of the processor beside
those of the clock, for a busy machine disturbs them less.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.tuner import Tuner

from benchmarks.costs import WORDS, Cost, Rows, Said, Span, draw_spans, outcome, verdict
from benchmarks.range_test_curves import OPTIONS, QUIET, Classifier
from benchmarks.range_test_settings import Setting
from lightning_lr.range_test import lr_range_test

STEPS = 100
PAIRS = 15
AIM = 1.0
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


def measure(setting: Setting, folder: str) -> dict[str, Any]:
    ours(setting, folder), lightnings(setting, folder)  # what happens once in a process is nobody's cost
    pairs = []
    for turn in range(PAIRS):
        first, second = (ours, lightnings) if turn % 2 == 0 else (lightnings, ours)
        seconds = {call: call(setting, folder) for call in (first, second)}
        pairs.append((seconds[ours], seconds[lightnings]))
    ratios = [mine[0] / theirs[0] for mine, theirs in pairs]
    return {
        "setting": setting.name,
        "n": PAIRS,
        "ours_s": round(statistics.median(mine[0] for mine, _ in pairs), 3),
        "lightning_s": round(statistics.median(theirs[0] for _, theirs in pairs), 3),
        **Span.of(ratios).kept("ratio"),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        **Span.of([mine[1] / theirs[1] for mine, theirs in pairs]).kept("ratio_of_processor_seconds"),
    }


def tell(rows: Rows) -> Said:
    found, table, outcomes = [], [], {}
    for row in rows:
        clock, processor = Span.read(row, "ratio"), Span.read(row, "ratio_of_processor_seconds")
        outcomes[row["setting"]] = outcome(clock, AIM)
        found.append(
            f"{row['setting']}: {STEPS} steps and the restore take ours {row['ours_s']:.2f} s, Lightning's finder "
            f"{row['lightning_s']:.2f} s: {clock.told()} times as long, {WORDS[outcome(clock, AIM)]}; of the "
            f"processor's seconds {processor.told()} times as many."
        )
        seconds = [f"{row[name]:.3f}" for name in ("ours_s", "lightning_s")]
        table.append([row["setting"], *seconds, clock.cell(), processor.cell(), str(row["n"])])
    columns = ["setting", "ours, s", "Lightning, s", "ratio", "ratio of processor seconds", "pairs"]
    return Said(verdict(outcomes), found, columns, table)


def draw(content: dict[str, Any], path: Path) -> None:
    spans = {
        row["setting"]: {
            "by the clock": Span.read(row, "ratio"),
            "processor seconds": Span.read(row, "ratio_of_processor_seconds"),
        }
        for row in content["rows"]
    }
    title = f"A range test of {STEPS} steps beside Lightning's finder"
    draw_spans(spans, path, title, content["n"]["pairs"], "ours in units of Lightning's", aim=AIM)


COST = Cost(
    "range_test_cost",
    "The range test, its restore included, takes no longer than Lightning's finder at equal steps.",
    tell,
    draw,
)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        rows = [measure(setting, folder) for setting in SETTINGS]
    COST.write(
        rows,
        command="python benchmarks/range_test_cost.py",
        n={"pairs": PAIRS},
        seconds=time.perf_counter() - began,
        steps=STEPS,
    )


if __name__ == "__main__":
    main()
