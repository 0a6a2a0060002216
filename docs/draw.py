"""Draws the pictures of the README and the site: `make docs`. Each is what a `plot` of the library gives."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from lightning_lr import (
    SGDR,
    Constant,
    CosineAnnealing,
    CyclicLR,
    ExponentialDecay,
    OneCycle,
    Schedule,
    StepDecay,
    WarmupStableDecay,
    lr_range_test,
)
from lightning_lr.plots import plot_schedule
from lightning_lr.schedules.plateau import PlateauRule, Standing
from recipes.data.digits import Digits
from recipes.models.small_cnn import SmallCNN
from recipes.task import Classifier

PICTURES = Path(__file__).parent / "pictures"

# Twenty updates an epoch, fifty epochs: what `docs/choosing.md` says of each picture.
RUN = {"total_steps": 1000, "steps_per_epoch": 20}
POLICIES: dict[str, Schedule] = {
    "constant": Constant(0.1),
    "step_decay": StepDecay(0.1, milestones=["50%", "75%"]),
    "exponential_decay": ExponentialDecay(0.1, 0.001),
    "cosine": CosineAnnealing(0.1, warmup="5%"),
    "wsd": WarmupStableDecay(0.1, warmup="5%", decay="20%"),
    "cyclic": CyclicLR(0.01, 0.1, step_size_up="5ep", mode="triangular2"),
    "sgdr": SGDR(0.1, cycles=5),
    "sgdr_growing": SGDR(0.1, cycle="10%", cycle_mult=2, warmup="5%", cycle_momentum=True),
    "one_cycle": OneCycle(0.1),
}


def plateau() -> dict[str, list[float]]:
    """Return what `ReduceOnPlateau(0.1, factor=0.3, patience=3)` makes of a made-up loss."""
    rule, standing, loss = PlateauRule(factor=0.3, patience=3), Standing(), 2.3
    values: dict[str, list[float]] = {"lr": [], "validation_loss": []}
    for _ in range(RUN["total_steps"] // RUN["steps_per_epoch"]):
        loss = max(0.1 + 0.5 * math.sqrt(standing.scale), 0.88 * loss)
        values["lr"] += RUN["steps_per_epoch"] * [0.1 * standing.scale]
        values["validation_loss"] += RUN["steps_per_epoch"] * [loss]
        standing = rule.after(standing, loss)
    return values


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    for name, policy in POLICIES.items():
        policy.plot(PICTURES / f"{name}.png", **RUN)
    every = RUN["steps_per_epoch"]
    plot_schedule(plateau(), PICTURES / "plateau.png", steps_per_epoch=every, title="ReduceOnPlateau")

    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    network = SmallCNN(channels=1, num_classes=10)
    module = Classifier(network, partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True), num_classes=10)
    found = lr_range_test(module, datamodule=Digits(), repeats=3, accelerator="cpu", enable_progress_bar=False)
    found.plot(PICTURES / "lr_range.png")


if __name__ == "__main__":
    main()
