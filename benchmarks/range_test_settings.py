"""The settings of `benchmarks/range_test.py`: data set, network, optimizer, batch size; and which are held out."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.range_test_data import SPLIT_SEED, data
from benchmarks.range_test_networks import NETWORKS

KINDS = {"sgd": "sgd", "momentum": "sgd", "nesterov": "sgd", "adam": "adam", "adamw": "adam"}


@dataclass(frozen=True)
class Setting:
    """One thing to train, and for how many updates."""

    data: str
    network: str
    optimizer: str
    batch_size: int
    updates: int

    @property
    def name(self) -> str:
        """What a finder sees of it: how long the training will be is not known to any of them."""
        return f"{self.data}/{self.network}/{self.optimizer}/b{self.batch_size}"

    @property
    def key(self) -> str:
        """What its cells are kept under. Whoever changes a network or a data set deletes them."""
        return f"{self.name}/u{self.updates}"

    @property
    def kind(self) -> str:
        return KINDS[self.optimizer]

    @property
    def has_momentum(self) -> bool:
        return self.optimizer != "sgd"

    def model(self) -> nn.Module:
        example, classes = data(self.data).train[0], data(self.data).classes
        return NETWORKS[self.network](example, classes)

    def optimizer_for(self, weights: Iterable[Any], lr: float) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(weights, lr=lr)
        if self.optimizer == "momentum":
            return torch.optim.SGD(weights, lr=lr, momentum=0.9)
        if self.optimizer == "nesterov":
            return torch.optim.SGD(weights, lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
        return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimizer](weights, lr=lr)

    def loader(self, seed: int) -> DataLoader:
        return DataLoader(
            TensorDataset(*data(self.data).train),
            batch_size=self.batch_size,
            shuffle=True,
            drop_last=True,
            generator=torch.Generator().manual_seed(seed),
        )


def table(name: str, updates: int, rows: str) -> list[Setting]:
    settings = []
    for row in rows.split("\n"):
        if row.strip():
            network, optimizer, batch_size = row.split()
            settings.append(Setting(name, network, optimizer, int(batch_size), updates))
    return settings


SHORT = (
    *table(
        "digits",
        300,
        """
        mlp sgd 64
        mlp momentum 64
        mlp adamw 32
        mlp-norm sgd 64
        mlp-norm nesterov 64
        mlp-norm adam 64
        mlp-norm adamw 128
        cnn momentum 64
        cnn nesterov 32
        cnn adam 64
        cnn-bn momentum 32
        cnn-bn adamw 64
        """,
    ),
    *table(
        "table",
        300,
        """
        mlp sgd 64
        mlp momentum 64
        mlp adam 64
        mlp adamw 256
        mlp-norm momentum 64
        mlp-norm nesterov 32
        mlp-norm adam 128
        mlp-norm adamw 64
        """,
    ),
    *table(
        "text",
        250,
        """
        embedding-mlp nesterov 128
        embedding-mlp adamw 128
        gru momentum 64
        gru adam 64
        gru adamw 32
        transformer momentum 64
        transformer nesterov 64
        transformer adam 64
        transformer adamw 32
        """,
    ),
    *table(
        "cifar10",
        200,
        """
        mlp-norm adamw 64
        cnn momentum 64
        cnn adam 64
        cnn-bn momentum 128
        cnn-bn nesterov 64
        cnn-bn adamw 64
        resnet momentum 64
        resnet nesterov 64
        resnet adamw 64
        """,
    ),
)

# The best LR depends on how long one trains; what is cheap enough is trained four times as long as well.
LONG = tuple(
    replace(setting, updates=4 * setting.updates)
    for setting in SHORT
    if setting.network == "embedding-mlp" or (setting.data in ("digits", "table") and "mlp" in setting.network)
)
SETTINGS = SHORT + LONG


def held_out() -> frozenset[str]:
    """Every other setting of a shuffled list, data set by data set and kind by kind; no result has a say in it.

    The same training made longer is in the same half: it has the same curves.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for setting in SHORT:
        groups.setdefault((setting.data, setting.kind), []).append(setting.name)
    shuffled: list[str] = []
    for group in sorted(groups):
        names = sorted(groups[group])
        random.Random(f"{SPLIT_SEED}/{group}").shuffle(names)
        shuffled += names
    return frozenset(shuffled[1::2])


HELD_OUT = held_out()


def half(setting: Setting) -> str:
    return "held-out" if setting.name in HELD_OUT else "tuning"
