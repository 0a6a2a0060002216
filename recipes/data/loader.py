"""Batches of what lies in memory, made where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .augmentation import Augmentation
from .in_memory import InMemory
from .place import Batch, PlacedLoader


class InMemoryLoader(PlacedLoader):
    """Hands out float batches of samples in memory, made on the device that they are on.

    What is drawn for a sample depends on the seed, the epoch and the sample's position in the epoch's order: not on the
    batch, the process or the device. No global random generator is touched.

    Args:
        dataset: The samples.
        batch_size: Samples a batch, in each process.
        augmentation: What to do to images; None for nothing.
        **dealing: As for `PlacedLoader`.

    Raises:
        ValueError: If the images are too small for the augmentation, or there is no batch.

    Example:
        >>> images = torch.zeros(10, 3, 8, 8, dtype=torch.uint8)
        >>> dataset = InMemory(images, torch.arange(10))
        >>> loader = InMemoryLoader(dataset, 4, shuffle=True, augmentation=Augmentation(crop=2, flip=True))
        >>> [len(labels) for images, labels in loader]
        [4, 4, 2]
        >>> loader.load_state_dict({**loader.state_dict(), "batches": 2})
        >>> len(list(loader)), len(list(loader))
        (1, 3)
    """

    dataset: InMemory

    def __init__(
        self, dataset: InMemory, batch_size: int, *, augmentation: Augmentation | None = None, **dealing: Any
    ) -> None:
        super().__init__(dataset, batch_size, **dealing)
        if augmentation is not None:
            augmentation.check(*dataset.inputs.shape[-2:])
        self.augmentation = augmentation

    def _batches(self, epoch: int, begin: int) -> Iterator[Batch]:
        data, order = self.dataset, self.order
        device = data.inputs.device
        indices = torch.from_numpy(np.fromiter(order, np.int64, len(order))).to(device)
        drawn = None
        if self.augmentation is not None:
            height, width = data.inputs.shape[-2:]
            # Process r of W has the positions r, r + W, ...; beyond the end are those at the front once more.
            positions = (torch.arange(len(order)) * order.num_replicas + order.rank) % len(data)
            drawn = self.augmentation.draw(len(data), height, width, order.seed, epoch)[positions].to(device)
        for number in range(begin, len(self)):
            batch = slice(number * self.batch_size, (number + 1) * self.batch_size)
            chosen = indices[batch]
            # Much faster than an index in brackets: 0.04 ms instead of 2.6 for 256 images of 32 x 32 on a CPU.
            inputs, labels = data.inputs.index_select(0, chosen), data.labels.index_select(0, chosen)
            if self.augmentation is None or drawn is None:
                yield data.ready(inputs), labels
                continue
            moved = data.ready(self.augmentation.move(inputs, drawn[batch]))
            yield self.augmentation.cut(moved, drawn[batch]), labels
