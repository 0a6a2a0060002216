"""What every data module of the recipes is: three parts, their loaders, and what is known of a sample before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import Dataset

from .augmentation import Augmentation
from .in_memory import InMemory
from .loader import InMemoryLoader
from .place import PlacedLoader

Loaded = tuple[InMemory, InMemory, InMemory]


class Parts(pl.LightningDataModule, ABC):
    """Train, validation and test, read once, and a loader for each that keeps its place.

    A subclass sets ``shape`` and ``num_classes``, reads, and makes the loaders.

    Args:
        batch_size: Samples a batch, in each process.
        shuffle_seed: Of the order of training and of what is drawn for each sample. Both depend on this, the epoch and
            the place in it alone, so a resumed run sees what it would have seen.
        drop_last: Leave out the samples at an epoch's end that make no whole batch.

    Raises:
        ValueError: If `batch_size` is not positive.
    """

    shape: tuple[int, ...]
    num_classes: int

    def __init__(self, batch_size: int, shuffle_seed: int, drop_last: bool) -> None:
        super().__init__()
        check_positive(batch_size=batch_size)
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.drop_last = drop_last

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.shape[0]

    @property
    def device(self) -> torch.device:
        """What is trained on."""
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    @abstractmethod
    def load(self) -> tuple[Dataset[Any], Dataset[Any], Dataset[Any]]:
        """Read and split: train, validation and test, the same in every process."""

    @abstractmethod
    def loader(self, dataset: Any, training: bool, **dealing: Any) -> PlacedLoader:
        """Make the loader of a part."""

    def setup(self, stage: str) -> None:
        """Read, once."""
        if not hasattr(self, "train"):
            self.train, self.val, self.test = self.load()

    def train_dataloader(self) -> PlacedLoader:
        """Batches in an order that is seeded by epoch, augmented; as they stand, for a trainer that is to overfit."""
        # A trainer that is to overfit sees the first few batches in each epoch, and they must be the same ones.
        overfit = self.trainer is not None and bool(self.trainer.overfit_batches)  # type: ignore[attr-defined]
        return self.loader(
            self.train,
            training=not overfit,
            shuffle=not overfit,
            seed=self.shuffle_seed,
            drop_last=self.drop_last,
            **share(self.trainer),
        )

    def val_dataloader(self) -> PlacedLoader:
        """Batches in the order of the split, dealt out among the processes."""
        return self.loader(self.val, training=False, **share(self.trainer))

    def test_dataloader(self) -> PlacedLoader:
        """Batches in the order of the split, dealt out among the processes."""
        return self.loader(self.test, training=False, **share(self.trainer))


class InMemoryData(Parts):
    """Parts in the memory of the device that is trained on; batches are made there.

    Args:
        batch_size: Samples a batch, in each process.
        shuffle_seed: Of the order of training and of what is drawn for each sample.
        drop_last: Leave out the samples at an epoch's end that make no whole batch.
        augmentation: What is done to images in training.

    Raises:
        ValueError: If `batch_size` is not positive.
    """

    train: InMemory
    val: InMemory
    test: InMemory

    def __init__(
        self, batch_size: int, shuffle_seed: int, drop_last: bool, augmentation: Augmentation | None = None
    ) -> None:
        super().__init__(batch_size, shuffle_seed, drop_last)
        self.augmentation = augmentation

    @abstractmethod
    def load(self) -> Loaded:
        """Read and split."""

    def setup(self, stage: str) -> None:
        """Read, once, and bring the parts to the device."""
        super().setup(stage)
        self.train, self.val, self.test = (part.to(self.device) for part in (self.train, self.val, self.test))

    def loader(self, dataset: InMemory, training: bool, **dealing: Any) -> InMemoryLoader:
        """Make the loader of a part."""
        return InMemoryLoader(dataset, self.batch_size, augmentation=self.augmentation if training else None, **dealing)


def share(trainer: pl.Trainer | None) -> dict[str, Any]:
    """Tell a loader how many processes there are, and which is this one."""
    if trainer is None:
        return {"num_replicas": 1, "rank": 0}
    return {"num_replicas": trainer.world_size, "rank": trainer.global_rank}


def check_positive(**values: int) -> None:
    """Refuse numbers below 1.

    Raises:
        ValueError: If there is one.
    """
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name}={value!r}: out of range; pass an int of at least 1")
