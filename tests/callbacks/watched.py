"""Modules that record what their optimizers hold: every hyper-parameter of every param group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim import SGD, Optimizer

from lightning_lr import Schedule
from tests.fits import Recording

Held = list[dict[str, float]]  # one a param group
BUILT = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.01}
# The second group is built with a tenth of the first's learning rate and weight decay.
RATIOS = (1.0, 0.1)


def optimizer_of(layer: nn.Linear, groups: int, kind: type[Optimizer] = SGD) -> Optimizer:
    """Build one with a param group for all of the layer, or with one for its weight and one for its bias."""
    shares = [[layer.weight, layer.bias]] if groups == 1 else [[layer.weight], [layer.bias]]
    return kind(
        [
            {"params": share, "lr": BUILT["lr"] * ratio, "weight_decay": BUILT["weight_decay"] * ratio}
            for share, ratio in zip(shares, RATIOS, strict=False)
        ],
        **({"momentum": BUILT["momentum"]} if kind is SGD else {}),
    )


def held(optimizer: Optimizer) -> Held:
    return [
        {
            "lr": float(group["lr"]),
            "momentum": float(group["betas"][0] if "betas" in group else group["momentum"]),
            "weight_decay": float(group["weight_decay"]),
        }
        for group in optimizer.param_groups
    ]


def foreseen(policy: Schedule, groups: int, updates: int, epoch: int) -> list[Held]:
    """What its preview promises to an optimizer of `optimizer_of`; what it does not schedule stays as it was built."""
    columns = policy.preview(updates, epoch)

    def value(name: str, group: int, step: int) -> float:
        ratio = 1.0 if name == "momentum" else RATIOS[group]
        if f"{name}[{group}]" in columns:
            return columns[f"{name}[{group}]"][step]
        return columns[name][step] * ratio if name in columns else BUILT[name] * ratio

    return [[{name: value(name, group, step) for name in BUILT} for group in range(groups)] for step in range(updates)]


class Watched(Recording):
    """Notes what its optimizer holds in each `training_step`, and before each step of it."""

    def __init__(self, groups: int = 1, kind: type[Optimizer] = SGD) -> None:
        super().__init__()
        self.groups, self.kind = groups, kind
        self.forwards: list[Held] = []
        self.updates: list[Held] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.forwards.append(held(self.trainer.optimizers[0]))
        return self.loss()

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self.layer, self.groups, self.kind)
        optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: self.updates.append(held(optimizer)))
        return optimizer


class WatchedPair(Recording):
    """Two layers with an optimizer each, stepped by hand once a batch; notes what they hold before each step."""

    def __init__(self, *groups: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.other = nn.Linear(1, 1)
        self.groups = groups
        self.updates: tuple[list[Held], list[Held]] = ([], [])

    def configure_optimizers(self) -> Any:
        return [
            optimizer_of(layer, groups) for layer, groups in zip((self.layer, self.other), self.groups, strict=True)
        ]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for index, optimizer in enumerate(self.optimizers()):
            optimizer.zero_grad()
            self.manual_backward(self.other(self.layer(torch.ones(1, 2))).square().sum())
            self.updates[index].append(held(optimizer))
            optimizer.step()


def foretold(policy: Schedule, updates: int, epoch: int) -> list[tuple[int, str, int]]:
    """What its cycles promise to a `Heard`; a run that is over before a peak never comes to it."""
    cycles = policy.cycles(updates, epoch)
    peaks = [(cycle.start if cycle.peak is None else cycle.peak, cycle) for cycle in cycles]
    return sorted(
        [(cycle.start, "start", cycle.index) for cycle in cycles]
        + [(step, "peak", cycle.index) for step, cycle in peaks if step < cycle.end]
        + [(cycle.end, "end", cycle.index) for cycle in cycles]
    )


class Heard(Callback):
    """Notes what it is told of cycles, with the updates applied by then."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, int]] = []

    def on_cycle_start(self, trainer: Any, pl_module: Any, schedule: Any, cycle: Any) -> None:
        self.told.append((schedule.step, "start", cycle.index))

    def on_cycle_peak(self, trainer: Any, pl_module: Any, schedule: Any, cycle: Any) -> None:
        self.told.append((schedule.step, "peak", cycle.index))

    def on_cycle_end(self, trainer: Any, pl_module: Any, schedule: Any, cycle: Any) -> None:
        self.told.append((schedule.step, "end", cycle.index))


class Keep(Callback):
    """Saves a checkpoint before the first update and after each, as ``N.ckpt``; to come after the policy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.save_checkpoint(self.folder / "0.ckpt")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")
