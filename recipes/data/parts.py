"""What every data module of the recipes is: three parts, their loaders, and what is known of a sample before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import lightning.pytorch as pl
import torch

from .augmentation import Augmentation
from .in_memory import InMemory
from .loader import InMemoryLoader

Loaded = tuple[InMemory, InMemory, InMemory]


class InMemoryData(pl.LightningDataModule, ABC):
    """Train, validation and test in memory, on the device that is trained on; batches are made there.

    A subclass sets ``shape`` and ``num_classes``, and loads.

    Args:
        batch_size: Samples a batch, in each process.
        shuffle_seed: Of the order of training and of what is drawn for each sample. Both depend on this, the epoch and
            the place in it alone, so a resumed run sees what it would have seen.
        drop_last: Leave out the samples at an epoch's end that make no whole batch.
        augmentation: What is done to images in training.

    Raises:
        ValueError: If `batch_size` is not positive.
    """

    shape: tuple[int, ...]
    num_classes: int

    def __init__(
        self, batch_size: int, shuffle_seed: int, drop_last: bool, augmentation: Augmentation | None = None
    ) -> None:
        super().__init__()
        check_positive(batch_size=batch_size)
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.drop_last = drop_last
        self.augmentation = augmentation

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.shape[0]

    @abstractmethod
    def load(self) -> Loaded:
        """Read and split: train, validation and test, the same in every process."""

    def setup(self, stage: str) -> None:
        """Load, once, and bring the parts to the device."""
        if not hasattr(self, "train"):
            self.train, self.val, self.test = self.load()
        # After a range test on another device, say.
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        self.train, self.val, self.test = (part.to(device) for part in (self.train, self.val, self.test))

    def train_dataloader(self) -> InMemoryLoader:
        """Batches in an order that is seeded by epoch, augmented; as they stand, for a trainer that is to overfit."""
        overfit = overfits(self.trainer)
        return InMemoryLoader(
            self.train,
            self.batch_size,
            shuffle=not overfit,
            seed=self.shuffle_seed,
            drop_last=self.drop_last,
            augmentation=None if overfit else self.augmentation,
            **share(self.trainer),
        )

    def val_dataloader(self) -> InMemoryLoader:
        """Batches in the order of the split, dealt out among the processes."""
        return InMemoryLoader(self.val, self.batch_size, **share(self.trainer))

    def test_dataloader(self) -> InMemoryLoader:
        """Batches in the order of the split, dealt out among the processes."""
        return InMemoryLoader(self.test, self.batch_size, **share(self.trainer))


def share(trainer: pl.Trainer | None) -> dict[str, Any]:
    """Tell a loader how many processes there are, and which is this one."""
    if trainer is None:
        return {"num_replicas": 1, "rank": 0}
    return {"num_replicas": trainer.world_size, "rank": trainer.global_rank}


def overfits(trainer: Any) -> bool:
    """Whether a trainer is to see the same few batches in each epoch."""
    return trainer is not None and bool(trainer.overfit_batches)


def check_positive(**values: int) -> None:
    """Refuse numbers below 1.

    Raises:
        ValueError: If there is one.
    """
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name}={value!r}: out of range; pass an int of at least 1")
