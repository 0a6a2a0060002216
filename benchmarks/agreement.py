"""Whether a cell that is run again gives what it gave."""

from __future__ import annotations

import random
import time
from pathlib import Path

from benchmarks import record
from benchmarks.ledger import Bench, cell_in, read


def agreement(bench: Bench, count: int, results: Path) -> None:
    """Run some finished cells again, drawn with a fixed seed, and write how far they are from what was kept.

    Args:
        bench: With the finished cells.
        count: How many.
        results: The folder of the result files.

    Raises:
        ValueError: If there are fewer.
    """
    finished = {file.stem: file for file in sorted(bench.folder.glob("*.json")) if cell_in(file).epochs}
    if len(finished) < count:
        raise ValueError(f"again={count}: {len(finished)} cells are finished; measure first, or pass fewer")
    chosen = random.Random(0).sample([*finished], count)
    began, rows = time.perf_counter(), []
    for cell, outcome in bench.measure([cell_in(finished[key]) for key in chosen]):
        before = read(finished[cell.key])
        first, second = (100 * each.last["accuracy"] for each in (before, outcome))
        rows.append(
            {
                "setting": cell.setting.name,
                "overrides": [*cell.schedule, *cell.also],
                "epochs": cell.epochs,
                "seed": cell.seed,
                "first": round(first, 4),
                "again": round(second, 4),
                "difference": round(second - first, 4),
                # As text: a loss that is no number is not even equal to itself.
                "same_losses": str(before.train_loss) == str(outcome.train_loss),
            }
        )
    apart = [abs(row["difference"]) for row in rows]
    same = sum(row["same_losses"] for row in rows)
    found = [
        f"Of {count} cells that were drawn from {len(finished)} finished ones and run again on the same machine, the "
        f"test accuracy differs by {max(apart):.2f} points at most; {same} have the same training loss at every update."
    ]
    record.write(
        "agreement",
        claim="A second run on the same machine agrees with the first.",
        found=found,
        command=f"python -m benchmarks again={count} size={bench.size.name} images=CIFAR10",
        n={"cells": count},
        table={
            "columns": ["cells", "largest difference, points", "same loss at every update"],
            "rows": [[str(count), f"{max(apart):.2f}", str(same)]],
        },
        rows=rows,
        seconds=time.perf_counter() - began,
        size=bench.size.name,
        picture=None,
        results=results,
    )
    print(found[0])
