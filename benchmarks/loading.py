"""Samples a second of the in-memory loader, beside torchvision's transforms in a `DataLoader` without and with workers.

    python benchmarks/loading.py                        # random bytes of CIFAR-10's size
    python benchmarks/loading.py --folder data/images   # an ImageFolder tree, decoded beforehand for all of them
    python benchmarks/loading.py --device cuda

All of them crop with four pixels of padding, flip, normalise and cut a square of eight pixels out, each sample on its
own, and batch 128; batches are on the device when they are counted. torchvision's read an image from an array in
memory, as its CIFAR-10 does: no disk on any side. Its transforms have no cutout: that of the paper's authors is used.
One process and one thread but for the workers, the ways by turns, an epoch a turn, median of turns and their quartiles.
The first epoch of each, which starts the workers, is not counted.

`load_before` and `load` are how many processes wanted a processor before and after: where they are above the number of
processors, samples a second are what was left by others, and `cpu_us_a_sample`, what this process computed for a
sample, says more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.costs import WORDS, Cost, Rows, Said, Span, draw_spans, outcome, verdict
from recipes.data.augmentation import Augmentation
from recipes.data.image_folder import ImageFolderInMemory
from recipes.data.in_memory import InMemory
from recipes.data.loader import InMemoryLoader

BATCH = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
WORKERS = (0, 2)
OURS = "in_memory"
AIM = 1.0  # the others' samples a second in ours


class OneByOne(Dataset[tuple[torch.Tensor, int]]):
    """Images as torchvision's CIFAR-10 hands them out, transformed one by one."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.data = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
                cutout,
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def cutout(image: torch.Tensor, side: int = 8) -> torch.Tensor:
    """As in github.com/uoguelph-mlrg/Cutout."""
    row, column = np.random.randint(32), np.random.randint(32)
    mask = np.ones((32, 32), np.float32)
    rows, columns = (np.clip([middle - side // 2, middle + side // 2], 0, 32) for middle in (row, column))
    mask[rows[0] : rows[1], columns[0] : columns[1]] = 0.0
    return image * torch.from_numpy(mask).expand_as(image)


def random_images(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (samples, 3, 32, 32), dtype=np.uint8)
    return torch.from_numpy(images), torch.from_numpy(rng.integers(0, 10, samples))


def images_of(folder: str, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    data = ImageFolderInMemory(folder, size=32)
    data.setup("fit")
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:samples]
    return data.train.inputs[chosen], data.train.labels[chosen]


def ways(images: torch.Tensor, labels: torch.Tensor, device: torch.device) -> dict[str, Iterable[object]]:
    augmentation = Augmentation(crop=4, flip=True, cutout=8, padding="zeros")
    in_memory = InMemory(images, labels, MEAN, STD).to(device)
    found: dict[str, Iterable[object]] = {
        "in_memory": InMemoryLoader(in_memory, BATCH, shuffle=True, augmentation=augmentation)
    }
    for workers in WORKERS:
        found[f"torchvision_{workers}_workers"] = DataLoader(
            OneByOne(images, labels),
            BATCH,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )
    return found


def rate(batches: Iterable[object], samples: int, device: torch.device) -> tuple[float, float]:
    """Samples a second over an epoch, and microseconds of this process's own a sample."""
    started, computed = time.perf_counter(), time.process_time()
    seen = 0
    for inputs, labels in batches:  # type: ignore[misc]
        inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        seen += len(labels)
    if device.type == "cuda":
        torch.cuda.synchronize()
    assert seen == samples
    return samples / (time.perf_counter() - started), (time.process_time() - computed) / samples * 1e6


def measure(sources: dict[str, Iterable[object]], samples: int, device: torch.device, turns: int) -> list[dict]:
    rates: dict[str, list[float]] = {name: [] for name in sources}
    computed: dict[str, list[float]] = {name: [] for name in sources}
    for turn in range(turns + 1):
        for name, batches in sources.items():
            if isinstance(batches, InMemoryLoader):
                batches.set_epoch(turn)
            measured, cost = rate(batches, samples, device)
            if turn:
                rates[name].append(measured)
                computed[name].append(cost)
    ours = rates[OURS]
    return [
        {
            "way": name,
            "n": turns,
            **Span.of(each).kept("samples_a_second", 0),
            "least": round(min(each)),
            "most": round(max(each)),
            **Span.of([a / b for a, b in zip(ours, each, strict=True)]).kept("in_memory_is_faster_by", 2),
            "cpu_us_a_sample": None if name.endswith("2_workers") else round(statistics.median(computed[name]), 1),
        }
        for name, each in rates.items()
    ]


def tell(rows: Rows) -> Said:
    (ours,) = [row for row in rows if row["way"] == OURS]
    found, table, outcomes = [], [], {}
    for row in rows:
        rate, faster = Span.read(row, "samples_a_second"), Span.read(row, "in_memory_is_faster_by")
        if row is not ours:
            slower = Span(1 / faster.median, 1 / faster.high, 1 / faster.low)
            outcomes[called(row)] = outcome(slower, AIM)
            found.append(
                f"The in-memory loader hands out {ours['samples_a_second']:,.0f} samples a second, {called(row)} "
                f"{rate.median:,.0f}: {faster.told(1)} times as many, {WORDS[outcome(slower, AIM)]}."
            )
        computed = row["cpu_us_a_sample"]
        against = "1" if row is ours else faster.cell(1)
        table.append([called(row), rate.cell(0), against, "" if computed is None else f"{computed:.1f}", str(row["n"])])
    columns = ["loader", "samples a second", "in memory is faster by", "this process's µs a sample", "turns"]
    return Said(verdict(outcomes), found, columns, table)


def called(row: dict[str, Any]) -> str:
    if row["way"] == OURS:
        return "in memory"
    workers = row["way"].split("_")[1]
    return f"torchvision with {workers if workers != '0' else 'no'} workers"


def draw(content: dict[str, Any], path: Path) -> None:
    spans = {called(row): {"": Span.read(row, "samples_a_second")} for row in content["rows"]}
    title = "Samples a second, with crop, flip and cutout"
    draw_spans(spans, path, title, content["n"]["turns"], "samples a second (log scale)", log=True)


COST = Cost(
    "loading",
    "The in-memory loader hands out more samples a second than torchvision's transforms, with workers or without.",
    tell,
    draw,
    packages=("torch", "torchvision"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="an ImageFolder tree; without it random bytes")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    load, began = round(os.getloadavg()[0], 1), time.perf_counter()
    images, labels = images_of(options.folder, options.samples) if options.folder else random_images(options.samples)
    rows = measure(ways(images, labels, device), len(labels), device, options.turns)
    COST.write(
        rows,
        # Without the folder's name, which says something of this machine alone.
        command="python benchmarks/loading.py"
        + (" --folder FOLDER" if options.folder else "")
        + f" --samples {options.samples} --turns {options.turns} --device {options.device}",
        n={"turns": options.turns},
        seconds=time.perf_counter() - began,
        device=device.type,
        load_before=load,
        samples=len(labels),
        batch_size=BATCH,
    )


if __name__ == "__main__":
    main()
