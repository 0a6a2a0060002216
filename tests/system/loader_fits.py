"""Fits on images in memory with every augmentation: `python loader_fits.py FOLDER PROCESSES [CHECKPOINT]`.

Each update appends its number and its loss to `losses-RANK.txt`, right before it is made.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from recipes.data.fake import Fake
from tests.fits import trainer

# Thirteen batches an epoch, the last of half the size; no checkpoint is at an epoch's end but the last.
SAMPLES, BATCH, EPOCHS, EVERY = 200, 16, 3, 3
STEPS = 13 * EPOCHS


class Net(pl.LightningModule):
    """A small network, which tells its losses, and dies in a forward pass if it is told so.

    Args:
        folder: Where it writes.
        norm: Whether it has batch normalisation, which sees its own process alone.
        kill_at: Updates made by the time it dies; None lives.
    """

    def __init__(self, folder: Path, norm: bool, kill_at: int | None = None) -> None:
        super().__init__()
        self.folder, self.kill_at = folder, kill_at
        torch.manual_seed(0)
        normalised = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), normalised, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 10)
        )

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = nn.functional.cross_entropy(self.layers(images), labels)
        if self.trainer.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.folder / f"losses-{self.global_rank}.txt").open("a") as log:
            print(self.trainer.global_step, loss.item().hex(), file=log)
        return loss

    def validation_step(self, batch, batch_idx):
        self.layers(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def fit(
    folder: Path,
    *,
    norm: bool = True,
    kill_at: int | None = None,
    checkpoint: Path | None = None,
    processes: int = 1,
) -> None:
    """Fit, from the newest checkpoint in the folder where there is one; the last weights go to `weights.pt`."""
    torch.set_num_threads(1)
    saved = sorted((folder / "checkpoints").glob("*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))
    checkpoint = checkpoint or (saved[-1] if saved else None)
    data = Fake(
        (3, 16, 16),
        batch_size=BATCH // processes,
        train_size=SAMPLES,
        val_size=20,
        shuffle_seed=5,
        crop=2,
        flip=True,
        cutout=5,
    )
    run = trainer(
        ModelCheckpoint(folder / "checkpoints", filename="{step}", save_top_k=-1, every_n_train_steps=EVERY),
        max_epochs=EPOCHS,
        enable_checkpointing=True,
        default_root_dir=folder,
        **({"devices": processes, "strategy": "ddp"} if processes > 1 else {}),
    )
    module = Net(folder, norm, kill_at)
    run.fit(module, datamodule=data, ckpt_path=checkpoint)
    if run.is_global_zero:
        torch.save(module.state_dict(), folder / "weights.pt")


def losses(folder: Path, rank: int = 0) -> list[tuple[int, float]]:
    """The losses as they were told: by update, and more than once where a life came there again."""
    lines = [line.split() for line in (folder / f"losses-{rank}.txt").read_text().splitlines()]
    return [(int(step), float.fromhex(loss)) for step, loss in lines]


if __name__ == "__main__":
    fit(
        Path(sys.argv[1]),
        norm=False,
        processes=int(sys.argv[2]),
        checkpoint=Path(sys.argv[3]) if len(sys.argv) > 3 else None,
    )
