"""Draws the pictures of the README: `make docs`. Each is what a `plot` of the library gives."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from lightning_lr import SGDR, OneCycle, lr_range_test
from recipes.data.digits import Digits
from recipes.models.small_cnn import SmallCNN
from recipes.task import Classifier

PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    run = {"total_steps": 1000, "steps_per_epoch": 20}
    SGDR(max_lr=0.1, cycles=5).plot(PICTURES / "sgdr.png", **run)
    OneCycle(max_lr=0.1).plot(PICTURES / "one_cycle.png", **run)

    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    network = SmallCNN(channels=1, num_classes=10)
    module = Classifier(network, partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True), num_classes=10)
    found = lr_range_test(module, datamodule=Digits(), repeats=3, accelerator="cpu", enable_progress_bar=False)
    found.plot(PICTURES / "lr_range.png")


if __name__ == "__main__":
    main()
