"""The handwritten digits that scikit-learn ships: nothing to download, and still real."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


class Digits(pl.LightningDataModule):
    """1,797 grey images of 8 × 8 pixels in 10 classes, scaled to [0, 1]; a batch is ``(N, 1, 8, 8)`` and ``(N,)``.

    The parts are stratified. 240 and 480, for validation and test, divide by 2, 3, 4, 6 and 8, so that with as many
    processes nothing has to be counted twice to give each the same share.

    Args:
        batch_size: Images a batch, in each process.
        val_size: Images for validation.
        test_size: Images for the test.
        split_seed: Of the split; not the run's seed, for runs of several seeds must be measured on the same images.
        shuffle_seed: Of the order of training. The order of an epoch depends on this and the epoch alone, so a resumed
            run sees what it would have seen.

    Raises:
        ValueError: If a size is not positive, or nothing would be left to train on.

    Example:
        >>> digits = Digits(batch_size=32)
        >>> digits.setup("fit")
        >>> len(digits.train), len(digits.val), len(digits.test)
        (1077, 240, 480)
        >>> digits.train[0][0].shape
        torch.Size([1, 8, 8])
    """

    channels = 1
    num_classes = 10

    def __init__(
        self,
        batch_size: int = 64,
        val_size: int = 240,
        test_size: int = 480,
        split_seed: int = 2017,
        shuffle_seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {"batch_size": batch_size, "val_size": val_size, "test_size": test_size}.items():
            if value < 1:
                raise ValueError(f"{name}={value!r}: out of range; pass an int of at least 1")
        self.batch_size = batch_size
        self.val_size = val_size
        self.test_size = test_size
        self.split_seed = split_seed
        self.shuffle_seed = shuffle_seed

    def setup(self, stage: str) -> None:
        """Load and split, the same way in every process and every stage."""
        images, labels = load_digits(return_X_y=True)
        if self.val_size + self.test_size >= len(images):
            raise ValueError(
                f"val_size={self.val_size}, test_size={self.test_size}: nothing is left to train on; "
                f"there are {len(images)} images"
            )
        images = (images / 16.0).astype("float32").reshape(-1, 1, 8, 8)
        rest, test, rest_labels, test_labels = train_test_split(
            images, labels, test_size=self.test_size, stratify=labels, random_state=self.split_seed
        )
        train, val, train_labels, val_labels = train_test_split(
            rest, rest_labels, test_size=self.val_size, stratify=rest_labels, random_state=self.split_seed
        )
        self.train = TensorDataset(torch.from_numpy(train), torch.from_numpy(train_labels).long())
        self.val = TensorDataset(torch.from_numpy(val), torch.from_numpy(val_labels).long())
        self.test = TensorDataset(torch.from_numpy(test), torch.from_numpy(test_labels).long())

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches in an order that is seeded by epoch, the images dealt out among the processes."""
        # In one process too: Lightning tells this sampler the epoch, and leaves it alone.
        sampler: DistributedSampler[tuple[Tensor, ...]] = DistributedSampler(
            self.train,
            num_replicas=self.trainer.world_size if self.trainer else 1,
            rank=self.trainer.global_rank if self.trainer else 0,
            shuffle=True,
            seed=self.shuffle_seed,
        )
        return DataLoader(self.train, batch_size=self.batch_size, sampler=sampler)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches in the order of the split; Lightning deals them out where there are several processes."""
        return DataLoader(self.val, batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches in the order of the split; Lightning deals them out where there are several processes."""
        return DataLoader(self.test, batch_size=self.batch_size)
