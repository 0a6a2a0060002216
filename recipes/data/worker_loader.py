"""Batches of images on the disk, decoded by processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from .on_disk import OnDisk, Request, UndecodableError
from .place import Batch, PlacedLoader


class WorkerLoader(PlacedLoader):
    """Hands out float batches of images on the disk, on the device that is trained on.

    Each request that a worker gets holds the size of its epoch and a seed that depends on the seed, the epoch and the
    position in it alone. So progressive resizing needs no new loader and no new workers, and a run that is resumed in
    the middle of an epoch skips what was handed out without decoding it, and sees the rest as it would have. Bytes are
    brought to the device and made floats there: a quarter of the traffic.

    Args:
        dataset: The images.
        batch_size: Images a batch, in each process.
        size: Returns the size of images in an epoch.
        device: Where the batches go.
        random: Crop and mirror at random, or take the centre.
        num_workers: Processes that decode; 0 decodes in this one.
        **dealing: As for `PlacedLoader`.

    Raises:
        ValueError: If there is no batch.
    """

    dataset: OnDisk

    def __init__(
        self,
        dataset: OnDisk,
        batch_size: int,
        *,
        size: Callable[[int], int],
        device: torch.device,
        random: bool = False,
        num_workers: int = 0,
        **dealing: Any,
    ) -> None:
        super().__init__(dataset, batch_size, **dealing)
        self.size = size
        self.device = device
        self.random = random
        self._requests = _Requests()
        # A fork of a process that has threads, as those of several processes have, stands still now and then
        # (python/cpython#112275).
        several = num_workers > 0 and self.order.num_replicas > 1
        self._workers: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=self._requests,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=device.type == "cuda",
            multiprocessing_context="forkserver" if several else None,
            # Of its own: it draws a seed at each epoch, from the global generator if need be.
            generator=torch.Generator(),
        )

    # Lightning shuts the workers of a loader down by this name.
    @property
    def _iterator(self) -> Any:
        return self._workers._iterator

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self._workers._iterator = iterator

    def _batches(self, epoch: int, begin: int) -> Iterator[Batch]:
        order = self.order
        indices = np.fromiter(order, np.int64, len(order))
        keys: list[int | None] = [None] * len(indices)
        if self.random:
            seed = np.random.SeedSequence([order.seed % 2**63, epoch]).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(seed >> 1))
            drawn = torch.randint(2**63 - 1, (len(self.dataset),), generator=generator)
            positions = (torch.arange(len(order)) * order.num_replicas + order.rank) % len(self.dataset)
            keys = drawn[positions].tolist()
        self._requests.prepare(indices, keys, self.size(epoch), self.batch_size, range(begin, len(self)))
        try:
            for images, labels in self._workers:
                on_device = images.to(self.device, non_blocking=True)
                yield self.dataset.ready(on_device), labels.to(self.device, non_blocking=True)
        except UndecodableError as error:
            # A worker's comes as the text of its traceback; the last line says which file.
            raise UndecodableError(str(error).rpartition(f"{UndecodableError.__name__}: ")[2].strip()) from error


class _Requests:
    """The requests of an epoch, batch by batch: what the workers' loader takes for its sampler."""

    def __init__(self) -> None:
        self._epoch: tuple[Any, ...] | None = None

    def prepare(
        self, indices: np.ndarray[Any, Any], keys: list[Any], size: int, batch_size: int, numbers: range
    ) -> None:
        self._epoch = (indices, keys, size, batch_size, numbers)

    def __iter__(self) -> Iterator[list[Request]]:
        assert self._epoch is not None
        indices, keys, size, batch_size, numbers = self._epoch
        for number in numbers:
            batch = slice(number * batch_size, (number + 1) * batch_size)
            yield [Request(int(index), size, key) for index, key in zip(indices[batch], keys[batch], strict=True)]
