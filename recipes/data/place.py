"""A loader's place in an epoch, saved with Lightning's checkpoints: a run killed in the middle goes on where it was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor
from torch.utils.data import BatchSampler, Dataset, DistributedSampler

Batch = tuple[Tensor, Tensor]


class PlacedLoader(ABC):
    """Deals a data set out among processes, batch by batch, and knows how far it has come.

    Global batch ``b`` of W processes of ``batch_size`` has the samples of batch ``b`` of one process of
    ``W * batch_size``. The order of an epoch depends on the seed and the epoch alone.

    It is no `DataLoader`: Lightning replaces a part of those. Nor has it a ``sampler``, which Lightning would replace
    to overfit; the sampler in its ``batch_sampler`` is told the epoch.

    Args:
        dataset: What is dealt out.
        batch_size: Samples a batch, in each process.
        shuffle: Whether each epoch has an order of its own.
        seed: Of the order.
        drop_last: Leave out the samples at the end of an epoch that make no whole batch in all processes. Without it
            the last batch is smaller, and processes that would have less than others repeat samples from the front.
        num_replicas: Processes.
        rank: Of this process.

    Raises:
        ValueError: If there is no batch.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        self.dataset = dataset
        # torch's own: the ensemble knows by it which samples are repeats.
        order: DistributedSampler[Any] = DistributedSampler(
            dataset, num_replicas, rank, shuffle=shuffle, seed=seed, drop_last=drop_last
        )
        self.batch_sampler = BatchSampler(order, batch_size, drop_last)
        self._epoch = 0
        self._handed_out = 0
        self._resumed = False
        if len(self) == 0:
            raise ValueError(
                f"batch_size={batch_size}: {self._size} samples make no batch in {num_replicas} process(es); "
                "pass less, or drop_last=false"
            )

    @property
    def order(self) -> DistributedSampler[Any]:
        """What deals the samples out."""
        return cast("DistributedSampler[Any]", self.batch_sampler.sampler)

    @property
    def batch_size(self) -> int:
        """Samples a batch, in this process."""
        return self.batch_sampler.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the iterations to come; Lightning tells the sampler itself."""
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of an epoch: the rest of it, if a state was loaded that stands in its middle."""
        # A generator, and so nothing is done before the first batch is asked for: Lightning begins to iterate first and
        # tells the epoch then, when it resumes.
        epoch = self.order.epoch
        begin = self._handed_out if self._resumed and epoch == self._epoch and self._handed_out < len(self) else 0
        self._resumed = False
        for index, batch in enumerate(self._batches(epoch, begin), begin + 1):
            self._epoch, self._handed_out = epoch, index
            yield batch

    @abstractmethod
    def _batches(self, epoch: int, begin: int) -> Iterator[Batch]:
        """Make the batches of an epoch, from one on."""

    def state_dict(self) -> dict[str, int]:
        """The place: the epoch, the batches of it that were handed out, and what gives them their meaning."""
        return {"epoch": self._epoch, "batches": self._handed_out, "of": len(self), **self._meaning()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next iteration of that epoch go on after the batches that were handed out.

        Raises:
            ValueError: If the place is in the middle of an epoch whose batches were others.
        """
        if 0 < state_dict["batches"] < state_dict["of"]:
            for name, here in self._meaning().items():
                there = state_dict[name]
                if there != here:
                    raise ValueError(
                        f"{name}={here}: the checkpoint stands in the middle of an epoch with {name}={there}, whose "
                        "rest is lost with another; resume with the old one, or from the end of an epoch"
                    )
        self._epoch, self._handed_out, self._resumed = state_dict["epoch"], state_dict["batches"], True
        self.set_epoch(self._epoch)

    @property
    def _size(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def _meaning(self) -> dict[str, int]:
        return {
            "global_batch_size": self.batch_size * self.order.num_replicas,
            "shuffle_seed": self.order.seed,
            "samples": self._size,
        }
