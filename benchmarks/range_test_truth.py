"""The truth of `benchmarks/range_test.py`: what each LR leads to, as a fixed LR and as the peak of a 1cycle."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.range_test_data import chance, data
from benchmarks.range_test_settings import Setting
from lightning_lr import OneCycle

SCHEDULES = ("fixed", "1cycle")
SEEDS = (0, 1)
# An LR of the grid is 10 ** (index / 3). It grows from the middle outwards, as far as there is anything to see.
MIDDLE = {"sgd": -3, "adam": -9}
LIMITS = (-18, 9)


class Cells:
    """What has been measured, a JSON object a line; a run that was stopped goes on where it was."""

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        self.path, self.key = path, key
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            self.rows[tuple(row[name] for name in key)] = row

    def forget(self, which: Callable[[dict[str, Any]], bool]) -> None:
        self.rows = {at: row for at, row in self.rows.items() if not which(row)}
        staged = self.path.with_suffix(".staged")
        staged.write_text("".join(json.dumps(row) + "\n" for row in self.rows.values()))
        staged.replace(self.path)

    def __contains__(self, cell: dict[str, Any]) -> bool:
        return tuple(cell[name] for name in self.key) in self.rows

    def get(self, cell: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        at = tuple(cell[name] for name in self.key)
        if at not in self.rows:
            self.rows[at] = cell | measure()
            with self.path.open("a") as file:
                file.write(json.dumps(self.rows[at]) + "\n")
        return self.rows[at]


def truth_cells(folder: Path) -> Cells:
    return Cells(folder / "truth.jsonl", ("setting", "schedule", "index", "seed"))


def grid_lr(index: int) -> float:
    return float(10 ** (index / 3))


def trained(setting: Setting, schedule: str, lr: float, seed: int) -> dict[str, Any]:
    """Validation accuracy in percent after a run; a loss that is no longer finite ends it, at chance."""
    started = time.perf_counter()
    inputs, labels = data(setting.data).train
    torch.manual_seed(seed)
    model = setting.model()
    optimizer = setting.optimizer_for(model.parameters(), lr)
    order = torch.Generator().manual_seed(1000 + seed)
    values = curves(setting, schedule, lr)
    rows = torch.empty(0, dtype=torch.long)
    model.train()
    for update in range(setting.updates):
        if len(rows) < setting.batch_size:
            rows = torch.randperm(len(labels), generator=order)
        batch, rows = rows[: setting.batch_size], rows[setting.batch_size :]
        group = optimizer.param_groups[0]
        group["lr"] = values["lr"][update]
        if "momentum" in values and "betas" in group:
            group["betas"] = (values["momentum"][update], group["betas"][1])
        elif "momentum" in values:
            group["momentum"] = values["momentum"][update]
        loss = F.cross_entropy(model(inputs[batch]), labels[batch])
        if not math.isfinite(loss.item()):
            return {"accuracy": round(chance(setting.data), 3), "diverged": update, "seconds": since(started)}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"accuracy": accuracy(setting, model), "diverged": None, "seconds": since(started)}


def since(started: float) -> float:
    return round(time.perf_counter() - started, 3)


def curves(setting: Setting, schedule: str, lr: float) -> dict[str, list[float]]:
    if schedule == "fixed":
        return {"lr": [lr] * setting.updates}
    return OneCycle(lr, cycle_momentum=setting.has_momentum).preview(
        total_steps=setting.updates, steps_per_epoch=setting.updates
    )


def accuracy(setting: Setting, model: torch.nn.Module) -> float:
    inputs, labels = data(setting.data).val
    model.eval()
    with torch.inference_mode():
        right = sum(
            int((model(part).argmax(1) == target).sum())
            for part, target in zip(inputs.split(500), labels.split(500), strict=True)
        )
    return round(100.0 * right / len(labels), 3)


def measure_truth(settings: Iterable[Setting], folder: Path) -> None:
    cells = truth_cells(folder)
    for setting in settings:
        started = time.perf_counter()
        for schedule in SCHEDULES:
            Truth(cells, setting, schedule).complete()
        print(f"truth  {setting.name:40s} {since(started):8.1f} s", flush=True)


class Truth:
    """Mean accuracy over LRs, read between the points of the grid along a straight line in log LR.

    Outside the grid it is what stands at its nearer end, where next to nothing is learnt. That favours whoever suggests
    so little, or so much.
    """

    def __init__(self, cells: Cells, setting: Setting, schedule: str) -> None:
        self.cells, self.setting, self.schedule = cells, setting, schedule
        self.readings: dict[int, list[float]] = {}
        for index in range(LIMITS[0], LIMITS[1] + 1):
            for seed in SEEDS:
                if self.cell(index, seed) in cells:
                    self.read(index, seed)

    def cell(self, index: int, seed: int) -> dict[str, Any]:
        return {"setting": self.setting.key, "schedule": self.schedule, "index": index, "seed": seed}

    def read(self, index: int, seed: int) -> None:
        row = self.cells.get(self.cell(index, seed), lambda: trained(self.setting, self.schedule, grid_lr(index), seed))
        self.readings.setdefault(index, []).append(row["accuracy"])

    def complete(self) -> None:
        """Trains whatever is missing."""
        while missing := self.missing():
            for index, seed in missing:
                self.read(index, seed)

    def missing(self) -> list[tuple[int, int]]:
        """First outwards from the middle with one seed, then the other seeds.

        Upwards until two LRs in a row are lost, for a run may be lucky where training is no longer stable. Downwards
        until one is 12 points below the best: a lower one is no better. A lost LR is not run again: whatever the other
        seed gives, its mean stays far below the best.
        """
        if not self.readings:
            return [(MIDDLE[self.setting.kind], SEEDS[0])]
        low, high = min(self.readings), max(self.readings)
        if high != LIMITS[1] and not (self.lost(high) and self.lost(high - 1)):
            return [(high + 1, SEEDS[0])]
        if low != LIMITS[0] and not self.lost(low, points=12.0):
            return [(low - 1, SEEDS[0])]
        return [
            (index, seed)
            for index, readings in self.readings.items()
            if not self.lost(index)
            for seed in SEEDS[len(readings) :]
        ]

    def lost(self, index: int, points: float = 20.0) -> bool:
        """Whether its first seed ends that far below the best, or less than a fifth of the way from chance to it."""
        if index not in self.readings:
            return False
        best, nothing = max(readings[0] for readings in self.readings.values()), chance(self.setting.data)
        return self.readings[index][0] <= max(best - points, nothing + 0.2 * (best - nothing))

    @property
    def means(self) -> dict[int, float]:
        return {index: sum(readings) / len(readings) for index, readings in sorted(self.readings.items())}

    @property
    def best(self) -> float:
        return max(self.means.values())

    @property
    def best_index(self) -> int:
        return max(self.means, key=lambda index: self.means[index])

    @property
    def spread(self) -> float:
        """How far the seeds lie apart at the best LR: what of a regret may be noise."""
        readings = self.readings[self.best_index]
        return max(readings) - min(readings)

    def at(self, lr: float) -> float:
        means = self.means
        place = min(max(3 * math.log10(lr), min(means)), max(means))
        low = min(math.floor(place), max(means) - 1)
        share = place - low
        return (1 - share) * means[low] + share * means[low + 1]
