"""Ours beside what others offer for the same: accuracy, seconds, memory, and the lines that a user writes.

    pip install -e ".[dev,peers]"
    python benchmarks/peers.py
    python benchmarks/peers.py --images FOLDER     # as well: 3,000 images of CIFAR-10; FOLDER holds train/ and test/
    python benchmarks/peers.py --report            # of the cells that there are

Run by hand. All contenders have the same data, split, network, initial weights, order of batches, batch size, number of
updates and optimizer: SGD, Nesterov momentum 0.9, weight decay 5e-4 on everything. Nobody augments. The rate is
chosen from four on validation data, by three seeds that are not told of, with the others' implementation; finders find
their own. What differs is said in `peers_others`: a shape or a default that is a package's own was left.

A cell is a process of its own with one thread, one at a time: ``peers_cell``. It is forked from one that has imported
torch and Lightning, which all have in common: to import them takes three times as long as to train. Its first, short
run is not timed. What is timed is all that the function in `peers_contenders` or `peers_others` does. On a machine that
others use, processor seconds are what to trust. Memory is the peak of the process, with what it has imported.
``peers_lines`` says which lines count. A cell that fails is a row with its error. Cells are kept in ``.cells/peers``: a
run that was stopped goes on. A changed contender is run again.

All of `.[dev,peers]` installs together, nothing had to be held back; torch-uncertainty imports timm, and does not ask
for it, so the extra does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from math import inf
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import peers_cell, peers_lines
from benchmarks.peers_plan import CONTENDERS, RATES, RUNS, TUNING_SEEDS, Run, tuned

HERE = Path(__file__).parent
CELLS = HERE / ".cells" / "peers" / "cells.jsonl"
FORMAT = 2
"""Another one, and no kept cell counts any more: raise it where `peers_cell` or the plain set-up changes."""
LONGEST = 900
"""Seconds of a cell, before it counts as one that hangs."""


class Cells:
    """What was measured already, a line a cell."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = file.read_text().splitlines() if file.exists() else []
        self.kept: dict[str, dict[str, Any]] = {row.pop("key"): row for row in map(json.loads, lines)}

    def get(self, said: dict[str, Any], images: str | None, *, measure: bool = True) -> dict[str, Any] | None:
        """Return what came of a cell; it is run where it was not, unless that is not wanted."""
        told = json.dumps([FORMAT, said, peers_lines.text(said["source"])])
        key = hashlib.sha256(told.encode()).hexdigest()[:16]
        if key not in self.kept and measure:
            self.kept[key] = came = _run({**said, "images": images})
            with self.file.open("a") as lines:
                lines.write(json.dumps({"key": key, **said, **came}) + "\n")
            print(f"  {said['data']}, {said['source'].partition(':')[2]}, seed {said['seed']}: {came}", flush=True)
        return self.kept.get(key)


def _run(said: dict[str, Any]) -> dict[str, Any]:
    context = get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(there, said))
    child.start()
    there.close()
    try:
        if here.poll(LONGEST):
            came: dict[str, Any] = here.recv()
            return came
        return {"error": f"no end after {LONGEST} s"}
    except EOFError:
        child.join()
        return {"error": f"ended without a word, exit status {child.exitcode}"}
    finally:
        child.kill()
        child.join()


def _send(there: Connection, said: dict[str, Any]) -> None:
    there.send(peers_cell.run(said))


def rates(run: Run, cells: Cells, images: str | None, *, measure: bool) -> dict[str, float]:
    """Choose a rate for each that needs one: the most accurate on validation data, of equals that of the least loss."""
    sources = {each.rate: f"peers_contenders:{each.rate}" for each in CONTENDERS if each.rate}
    chosen = {}
    for name in tuned():
        found = []
        for rate in RATES:
            asked = ({**run.said, "source": sources[name], "seed": seed, "rate": rate} for seed in TUNING_SEEDS)
            came = [cells.get({**said, "timed": False}, images, measure=measure) or {} for said in asked]
            right, loss = (
                sum(each.get(key, worst) for each in came) for key, worst in (("val", 0.0), ("val_loss", inf))
            )
            found.append((round(right, 6), -loss, rate))
        chosen[name] = max(found)[-1]
    return chosen


def measured(
    runs: Sequence[Run], seeds: int, cells: Cells, images: str | None, *, measure: bool
) -> Iterator[dict[str, Any]]:
    """Give a row a contender and data, with one outcome a seed."""
    for run in runs:
        chosen = rates(run, cells, images, measure=measure)
        rows: list[dict[str, Any]] = [
            {
                "data": run.told,
                "kind": each.kind,
                "contender": each.name,
                "ours": each.ours,
                "lines": peers_lines.of(each.source),
                "each": [],
            }
            for each in CONTENDERS
        ]
        # Seed by seed, contenders by turns: what else the machine does meets all of them.
        for seed in range(seeds):
            for each, row in zip(CONTENDERS, rows, strict=True):
                rate = chosen[each.rate] if each.rate else RATES[0]
                said = {**run.said, "source": each.source, "seed": seed, "rate": rate, "timed": True}
                came = cells.get(said, images, measure=measure)
                if came is not None:
                    row["each"].append({"seed": seed, **came})
        yield from rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder with train/ and test/, a folder a class in each")
    parser.add_argument("--seeds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--report", action="store_true", help="of what was measured; nothing is run")
    asked = parser.parse_args()
    images = str(asked.images.resolve()) if asked.images else None
    runs = [run for run in RUNS if images or not run.needs_images]
    began = time.perf_counter()
    peers_cell.settle()
    cells = Cells(CELLS)
    rows = list(measured(runs, asked.seeds, cells, images, measure=not asked.report))
    # Not before: what this process has imported is in all that it forks.
    from benchmarks.peers_report import write

    print(write(rows, asked.seeds, bool(images), time.perf_counter() - began))


if __name__ == "__main__":
    main()
