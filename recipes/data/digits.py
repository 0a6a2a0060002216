"""The handwritten digits that scikit-learn ships: nothing to download, and still real."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from .in_memory import InMemory
from .parts import InMemoryData, Loaded, check_positive
from .splitting import split


class Digits(InMemoryData):
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
        drop_last: Leave out the images at an epoch's end that make no whole batch.

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

    shape = (1, 8, 8)
    num_classes = 10

    def __init__(
        self,
        batch_size: int = 64,
        val_size: int = 240,
        test_size: int = 480,
        split_seed: int = 2017,
        shuffle_seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        super().__init__(batch_size, shuffle_seed, drop_last)
        check_positive(val_size=val_size, test_size=test_size)
        self.val_size = val_size
        self.test_size = test_size
        self.split_seed = split_seed

    def load(self) -> Loaded:
        """Load and split."""
        images, labels = load_digits(return_X_y=True)
        if self.val_size + self.test_size >= len(images):
            raise ValueError(
                f"val_size={self.val_size}, test_size={self.test_size}: nothing is left to train on; "
                f"there are {len(images)} images"
            )
        images = torch.from_numpy((images / 16.0).astype("float32").reshape(-1, 1, 8, 8))
        labels = torch.from_numpy(labels).long()
        rest, test = split(labels, self.test_size, self.split_seed, "test_size")
        train, val = split(labels[rest], self.val_size, self.split_seed, "val_size")
        parts = (InMemory(images[part], labels[part]) for part in (rest[train], rest[val], test))
        return next(parts), next(parts), next(parts)
