"""What a snapshot costs, in time, disk and memory, beside `ModelCheckpoint` and a bare `torch.save` of the weights.

    python benchmarks/snapshot_writes.py [--folder DIR]

ResNet-18, in a fit of its own with each optimizer, whose cycles are one update long: after each update all three
write, each to a disk at rest. Timed are whole hooks: of ours state dict, SHA-256, the file and the manifest with an
fsync and a rename each, and the deletion of the file before; of `ModelCheckpoint` weights and optimizer state, no
fsync, and the deletion of the file before. `torch.save` is safe from no kill. One process and one thread, medians of
pairs and their quartiles; memory is the most that any of the writes took beside what was in use (of a snapshot one
chunk of 256 KiB, and with a dtype the cast weights).
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torchvision
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from benchmarks.costs import MISSED, SHOWN, WORDS, Cost, Rows, Said, Span, draw_spans, outcome, verdict
from lightning_lr import SGDR, SnapshotCheckpoint

PAIRS = 31
AIM = 0.5  # of a checkpoint's
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD with momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.001),
}


class ResNet18(pl.LightningModule):
    """torchvision's, for a thousand classes, on noise."""

    def __init__(self, optimizer: str) -> None:
        super().__init__()
        self.net, self.optimizer = torchvision.models.resnet18(), optimizer

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.net(batch).square().mean()

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(torch.randn(2 * PAIRS + 2, 3, 32, 32), batch_size=2)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return OPTIMIZERS[self.optimizer](self.parameters())


class Taken:
    """What each write took: seconds, and MiB of memory beside those that were in use before."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.memory: list[float] = []

    @contextmanager
    def counted(self) -> Iterator[None]:
        os.sync()
        Path("/proc/self/clear_refs").write_text("5")
        before, started = resident("VmRSS"), time.perf_counter()
        yield
        self.seconds.append(time.perf_counter() - started)
        self.memory.append(resident("VmHWM") - before)

    @property
    def ms(self) -> float:
        return round(statistics.median(self.seconds[1:]) * 1e3, 1)

    @property
    def most_mib(self) -> float:
        return round(max(self.memory[1:]), 1)


class Snapshots(SnapshotCheckpoint):
    """Ours, timed."""

    def on_cycle_end(self, *args: Any) -> None:
        with self.cost.counted():
            super().on_cycle_end(*args)


class Checkpoints(ModelCheckpoint):
    """Lightning's, timed."""

    def on_train_batch_end(self, *args: Any) -> None:
        with self.cost.counted():
            super().on_train_batch_end(*args)


class TorchSave(pl.Callback):
    """The weights alone, as one would by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        with self.cost.counted():
            torch.save(module.state_dict(), self.path)


def resident(what: str) -> float:
    """MiB of this process that are in memory: now (`VmRSS`), or at the most since the peak was reset (`VmHWM`)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def measure(optimizer: str, dtype: str | None, parent: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        writers = {
            "snapshot": Snapshots(folder / "snapshot", keep_last=1, dtype=dtype),
            "checkpoint": Checkpoints(folder / "checkpoint", save_top_k=1, every_n_train_steps=1),
            "torch_save": TorchSave(folder / "torch_save.pt"),
        }
        for writer in writers.values():
            writer.cost = Taken()
        trainer = pl.Trainer(
            max_epochs=1,
            callbacks=[SGDR(0.01, cycle=1), *writers.values()],
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(ResNet18(optimizer))
        # The largest: beside the one snapshot that is kept lies its manifest.
        sizes = {
            name: max(path.stat().st_size for path in folder.glob(f"{name}*/*" if name != "torch_save" else "*.pt"))
            for name in writers
        }
    costs = {name: writer.cost for name, writer in writers.items()}
    pairs = list(zip(costs["snapshot"].seconds[1:], costs["checkpoint"].seconds[1:], strict=True))
    return {
        "optimizer": optimizer,
        "dtype": dtype,
        "n": len(pairs),
        "ms": {name: cost.ms for name, cost in costs.items()},
        "size_mib": {name: round(size / 2**20, 2) for name, size in sizes.items()},
        "extra_memory_mib": {name: cost.most_mib for name, cost in costs.items()},
        **Span.of([ours / theirs for ours, theirs in pairs]).kept("time_ratio"),
        "size_ratio": round(sizes["snapshot"] / sizes["checkpoint"], 4),
    }


def tell(rows: Rows) -> Said:
    found, table, outcomes = [], [], {}
    for row in rows:
        ratio, size = Span.read(row, "time_ratio"), row["size_ratio"]
        bare = row["ms"]["snapshot"] / row["ms"]["torch_save"]
        disk = SHOWN if round(size, 2) <= AIM else MISSED
        outcomes[called(row)] = MISSED if disk == MISSED else outcome(ratio, AIM)
        found.append(
            f"{called(row)}: a snapshot takes {size:.2f} of a checkpoint's disk, {WORDS[disk]}, and {ratio.told()} of "
            f"its time, {WORDS[outcome(ratio, AIM)]}; it takes {bare:.1f} times as long as a bare torch.save, which a "
            f"kill may cut short."
        )
        sizes = [f"{row['size_mib'][name]:.1f}" for name in ("snapshot", "checkpoint")]
        memory = [f"{row['extra_memory_mib'][name]:.1f}" for name in ("snapshot", "checkpoint")]
        times = [f"{row['ms'][name]:.0f}" for name in ("snapshot", "checkpoint", "torch_save")]
        table.append([called(row), *times, ratio.cell(), *sizes, f"{size:.2f}", *memory, str(row["n"])])
    columns = [
        *("optimizer, snapshot", "snapshot, ms", "checkpoint, ms", "torch.save, ms", "time, ratio"),
        *("snapshot, MiB", "checkpoint, MiB", "size, ratio", "memory of a snapshot, MiB", "of a checkpoint, MiB"),
        "pairs",
    ]
    return Said(verdict(outcomes), found, columns, table)


def called(row: dict[str, Any]) -> str:
    return f"{row['optimizer']} in {row['dtype'] or 'float32'}"


def draw(content: dict[str, Any], path: Path) -> None:
    spans = {
        called(row): {
            "time": Span.read(row, "time_ratio"),
            "disk": Span(row["size_ratio"], row["size_ratio"], row["size_ratio"]),
        }
        for row in content["rows"]
    }
    title = "A snapshot of ResNet-18 beside a checkpoint"
    draw_spans(spans, path, title, content["n"]["pairs"], "in units of a checkpoint's", aim=AIM)


COST = Cost(
    "snapshot_writes",
    "A snapshot takes at most half the disk and half the time of a checkpoint.",
    tell,
    draw,
    packages=("torch", "lightning", "torchvision", "safetensors"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", help="write here, on the disk that is of interest (default: the system's own)")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    began = time.perf_counter()
    rows = [measure(optimizer, dtype, folder) for dtype in (None, "float16") for optimizer in OPTIMIZERS]
    COST.write(
        rows,
        command="python benchmarks/snapshot_writes.py",
        n={"pairs": rows[0]["n"]},
        seconds=time.perf_counter() - began,
    )


if __name__ == "__main__":
    main()
