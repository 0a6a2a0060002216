"""What was measured already: a stopped run goes on where it was."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np
import torch

from benchmarks import cells
from benchmarks.cells import Cell, Outcome
from benchmarks.settings import Setting, Size
from lightning_lr.durable import staged

TUNING_SEED = 1000


@dataclass
class Bench:
    """Runs cells, each once, and keeps what came of them.

    Args:
        size: What is measured.
        folder: Where finished cells are kept, two files each.
        places: Where the data lie, by name.
        commit: Of the code.
        jobs: Cells at a time, each a process with one thread.
    """

    size: Size
    folder: Path
    places: Mapping[str, str]
    commit: str
    jobs: int = 2
    asked: dict[str, Outcome] = field(default_factory=dict)
    """What came of all cells that were asked for, by their keys."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pool: ProcessPoolExecutor | None = None

    def run(self, wanted: Sequence[Cell]) -> list[Outcome]:
        """Return what came of each; those that are finished are read."""
        missing = list({cell.key: cell for cell in wanted if not self.file(cell).exists()}.values())
        for cell, outcome in self.measure(missing):
            keep(cell, outcome, self.file(cell))
        found = [read(self.file(cell)) for cell in wanted]
        self.asked.update({cell.key: outcome for cell, outcome in zip(wanted, found, strict=True)})
        return found

    def measure(self, missing: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        """Run cells, whether they are finished or not, and yield each as it ends."""
        if missing and self._pool is None:
            self._pool = ProcessPoolExecutor(self.jobs, get_context("spawn"), initializer=_end_with_parent)
        if self._pool is None:
            return
        running = {self._pool.submit(cells.run, cell, dict(self.places), self.commit): cell for cell in missing}
        for done, future in enumerate(as_completed(running), 1):
            cell, outcome = running[future], future.result()
            yield cell, outcome
            length = f"{cell.epochs} epochs" if cell.epochs else "range test"
            told = ", ".join([cell.setting.name, *cell.schedule, *cell.also, length, f"seed {cell.seed}"])
            print(f"  {done}/{len(missing)} {told}: {outcome.seconds:.0f} s", flush=True)

    def best_rate(
        self, setting: Setting, schedule: Callable[[float], tuple[str, ...]], epochs: int, members: int = 0
    ) -> float:
        """Choose the rate that is best on validation data, of one run each, whose seed is none of those told of.

        Args:
            setting: Data and network.
            schedule: Makes the overrides of a rate.
            epochs: Of a run.
            members: As for `Cell`.
        """
        wanted = [Cell(setting, schedule(rate), epochs, TUNING_SEED, members) for rate in setting.rates]
        outcomes = self.run(wanted)
        # Few validation samples tie; the likelihood tells them apart.
        scores = [(each.val["accuracy"], -each.val["nll"]) for each in outcomes]
        return setting.rates[max(range(len(scores)), key=scores.__getitem__)]

    def file(self, cell: Cell) -> Path:
        """Where a finished cell is kept."""
        return self.folder / f"{cell.key}.json"

    def close(self) -> None:
        """Let the processes go."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that started it does: killed, it tells nobody."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def keep(cell: Cell, outcome: Outcome, file: Path) -> None:
    """Write both files, the one by which a cell counts as finished last."""
    np.savez(file.with_suffix(".npz"), readings=outcome.readings.numpy(), target=outcome.target.numpy())
    content = {"cell": asdict(cell), "outcome": outcome.figures}
    with staged(file, json.dumps(content).encode()) as publish:
        publish()


def read(file: Path) -> Outcome:
    """Read what `keep` has written."""
    with np.load(file.with_suffix(".npz")) as arrays:
        readings, target = (torch.from_numpy(arrays[name]) for name in ("readings", "target"))
    return Outcome(**json.loads(file.read_text())["outcome"], readings=readings, target=target)


def cell_in(file: Path) -> Cell:
    """Which cell a file is of."""
    told = json.loads(file.read_text())["cell"]
    setting = Setting(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in told.pop("setting").items()}
    )
    return Cell(setting, **{name: tuple(value) if isinstance(value, list) else value for name, value in told.items()})
