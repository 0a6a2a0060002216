"""Which samples of a process are no repeats: what a distributed sampler adds to give every process as many."""

from __future__ import annotations

import math
from typing import Any

from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import DistributedSampler

_DEALS_ROUND_ROBIN = (DistributedSampler.__iter__, DistributedSamplerWrapper.__iter__)


class FirstTimes:
    """Counts what a process has seen of a dataloader, and says how much of its next batch it sees for the first time.

    Args:
        loader: The dataloader, or whatever stands in its place.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> seven = list(range(7))
        >>> sampler = DistributedSampler(seven, num_replicas=2, rank=1, shuffle=False)
        >>> loader = DataLoader(seven, batch_size=3, sampler=sampler)
        >>> times = FirstTimes(loader)
        >>> [(batch.tolist(), times.of(len(batch))) for batch in loader]
        [([1, 3, 5], 3), ([0], 0)]
    """

    def __init__(self, loader: Any) -> None:
        # A loader that does not batch hands out one item of its sampler at a time, whatever the item holds.
        self._batched = getattr(loader, "batch_sampler", None) is not None
        self._own = _own(loader)
        self._seen = 0

    def of(self, samples: int) -> int:
        """How many of the next `samples` are no repeats; they come first."""
        items = samples if self._batched else 1
        fresh = min(items, max(self._own - self._seen, 0))
        self._seen += items
        return int(samples * fresh // max(items, 1))


def _own(loader: Any) -> float:
    """How many samples of its own a process gets, before the repeats.

    torch's distributed sampler gives process r of W the positions r, r + W, r + 2W, … of the data set, and goes on past
    its end, with samples from the front, until every process has as many.
    """
    sampler = getattr(getattr(loader, "batch_sampler", None), "sampler", getattr(loader, "sampler", None))
    # Another way of dealing out, in a subclass, is not ours to guess. (Lightning's for `predict` repeats nothing.)
    if not isinstance(sampler, DistributedSampler) or type(sampler).__iter__ not in _DEALS_ROUND_ROBIN:
        return math.inf
    return math.ceil((len(sampler.dataset) - sampler.rank) / sampler.num_replicas)  # type: ignore[arg-type]
