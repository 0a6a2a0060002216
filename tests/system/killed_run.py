"""A run that may kill itself: `python killed_run.py FOLDER KILL_AT [PLACE]`, and again without the last two to resume.

It appends the number and the LR of each update to `updates.txt` right before the update is made, so that what a killed
process did is known. 20 updates in five cycles of four; a checkpoint after every second update, and a snapshot at each
cycle's end.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_lr import SGDR, SnapshotCheckpoint
from tests.fits import Recording, loader, sgd, trainer


class Log(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        with self.path.open("a") as log:
            print(trainer.global_step, optimizer.param_groups[0]["lr"].hex(), file=log)


class Kill(Callback):
    """SIGKILL, which nothing can catch.

    Args:
        at: Updates applied by then.
        place: `"forward"` is in the forward pass to the next update, and so after the checkpoint; `"step"` inside the
            optimizer's step, and so before it.
    """

    def __init__(self, at: int, place: str) -> None:
        self.at, self.place = at, place

    def on_train_start(self, trainer, pl_module):
        if self.place == "step":
            trainer.optimizers[0].register_step_post_hook(lambda *_: self.kill(trainer.global_step + 1))

    def on_before_backward(self, trainer, pl_module, loss):
        if self.place == "forward":
            self.kill(trainer.global_step)

    def kill(self, updates: int) -> None:
        if updates == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, kill_at: int, place: str) -> None:
    torch.set_num_threads(1)
    checkpoints = folder / "checkpoints"
    saved = sorted(checkpoints.glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    run = trainer(
        SGDR(0.1, 0.001, cycles=5, cycle_momentum=True),
        SnapshotCheckpoint(folder / "snapshots"),
        Log(folder / "updates.txt"),
        Kill(kill_at, place),
        ModelCheckpoint(checkpoints, filename="{step}", save_top_k=-1, every_n_train_steps=2),
        max_epochs=2,
        enable_checkpointing=True,
        default_root_dir=folder,
    )
    run.fit(Recording(sgd(momentum=0.9)), loader(10), ckpt_path=saved[-1] if saved else None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else -1, sys.argv[3] if len(sys.argv) > 3 else "")
