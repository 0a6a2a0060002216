"""Samples a second of the in-memory loader, beside torchvision's transforms in a `DataLoader` without and with workers.

    python benchmarks/loading.py                        # random bytes of CIFAR-10's size
    python benchmarks/loading.py --folder data/images   # an ImageFolder tree, decoded beforehand for all of them
    python benchmarks/loading.py --device cuda

All of them crop with four pixels of padding, flip, normalise and cut a square of eight pixels out, each sample on its
own, and batch 128; batches are on the device when they are counted. torchvision's read an image from an array in
memory, as its CIFAR-10 does: no disk on any side. Its transforms have no cutout: that of the paper's authors is used.
One process and one thread but for the workers, the ways by turns, an epoch a turn, median of turns. The first epoch of
each, which starts the workers, is not counted.

`load` is how many processes wanted a processor before and after: where it is above the number of processors, samples a
second are what was left by others, and `cpu_us_a_sample`, what this process computed for a sample, says more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from recipes.data.augmentation import Augmentation
from recipes.data.image_folder import ImageFolderInMemory
from recipes.data.in_memory import InMemory
from recipes.data.loader import InMemoryLoader

BATCH = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
WORKERS = (0, 2)
RESULT = Path(__file__).parent / "results" / "loading.json"


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
    ours = rates["in_memory"]
    return [
        {
            "way": name,
            "samples_a_second": round(statistics.median(each)),
            "least": round(min(each)),
            "most": round(max(each)),
            "in_memory_is_faster_by": round(statistics.median([a / b for a, b in zip(ours, each, strict=True)]), 2),
            "cpu_us_a_sample": None if name.endswith("2_workers") else round(statistics.median(computed[name]), 1),
        }
        for name, each in rates.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="an ImageFolder tree; without it random bytes")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    images, labels = images_of(options.folder, options.samples) if options.folder else random_images(options.samples)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    result = {
        # Without the folder's name, which says something of this machine alone.
        "command": "python benchmarks/loading.py"
        + (" --folder FOLDER" if options.folder else "")
        + f" --samples {options.samples} --turns {options.turns} --device {options.device}",
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} processors",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "load": [round(os.getloadavg()[0], 2)],
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "n": options.turns,
        "samples": len(labels),
        "batch_size": BATCH,
        "rows": measure(ways(images, labels, device), len(labels), device, options.turns),
    }
    result["load"].append(round(os.getloadavg()[0], 2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["rows"], indent=2))


if __name__ == "__main__":
    main()
