"""What README and docs show of the default run: the commands are run, and what they said is kept.

    python benchmarks/quickstart.py

One run of `python -m recipes.train` and one of `python -m recipes.ensemble` on its snapshots, in a temporary folder,
with one thread. The run's folder, whose name is the time, is called as the docs call it. `tests/test_figures.py` holds
the blocks of the pages to these lines. Another machine's arithmetic ends at other figures: run it again, and copy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import record

CALLED = "outputs/2026-01-31/12-00-00"
TRAIN = "python -m recipes.train"
ENSEMBLE = f"python -m recipes.ensemble snapshots={CALLED}"


def said(command: str, folder: Path) -> tuple[list[str], Path]:
    """Run a command; return its lines from the first that has a result in it, and the folder that it made."""
    before = set(folder.glob("outputs/*/*"))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, *command.split()[1:]],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (made,) = set(folder.glob("outputs/*/*")) - before
    lines = [line.rstrip().replace(str(made.relative_to(folder)), CALLED) for line in done.stdout.splitlines()]
    (first,) = [index for index, line in enumerate(lines) if line.endswith(" test samples") and "told" not in line]
    return lines[first:], made


def main() -> None:
    """Run both, and write the result file."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained, made = said(TRAIN, folder)
        run = json.loads((made / "result.json").read_text())
        (folder / CALLED).parent.mkdir(parents=True)
        made.rename(folder / CALLED)
        told, made = said(ENSEMBLE, folder)
        report = json.loads((made / "ensemble.json").read_text())
    samples = report["test"]["samples"]
    rows = [scores(each, f"snapshot {index}", samples) for index, each in enumerate(run["members"])]
    rows += [scores(run[each], each, samples) for each in ("last", "ensemble")]
    *_, last, ensemble = rows
    path = record.write(
        "quickstart",
        claim="The default run trains, takes its snapshots, averages them and reports, on a CPU.",
        found=[
            f"One run: the last model makes {last['errors']} errors of {samples}, "
            f"the ensemble {ensemble['errors']}. One seed shows nothing about ensembles."
        ],
        command="python benchmarks/quickstart.py",
        n=1,
        table={
            "columns": ["model", "accuracy %", "NLL", "ECE", "errors"],
            "rows": [
                [
                    row["model"],
                    f"{100 * row['accuracy']:.2f}",
                    f"{row['nll']:.4f}",
                    f"{row['ece']:.4f}",
                    str(row["errors"]),
                ]
                for row in rows
            ],
        },
        rows=rows,
        seconds=time.perf_counter() - began,
        picture=None,
        test_samples=samples,
        updates=run["steps"],
        run_seconds=round(run["seconds"], 1),
        outputs=[{"command": TRAIN, "lines": trained}, {"command": ENSEMBLE, "lines": told}],
    )
    print(f"{path.name}: {rows[-2]}, {rows[-1]}")


def scores(of: dict[str, Any], model: str, samples: int) -> dict[str, Any]:
    """Return a row of the result file."""
    kept = {name: round(of[name], 6) for name in ("accuracy", "nll", "ece")}
    return {"model": model, **kept, "errors": round(samples * (1 - of["accuracy"]))}


if __name__ == "__main__":
    main()
