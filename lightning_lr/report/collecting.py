"""One pass of every member over a data set, and what is kept of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from lightning_lr.ensemble.snapshot_ensemble import SnapshotEnsemble
from lightning_lr.report.identity import identities, named

_CPU = torch.device("cpu")


class Collected(NamedTuple):
    """What the members said of each sample, and what it was.

    Args:
        readings: Of each member, (M, N, …, C), on the CPU.
        target: Of each sample, (N, …).
        samples: A digest of each sample's input.
        seconds: Time of one forward pass a sample: mean of the members, median of the batches.
        batch_size: Samples in the largest batch.
    """

    readings: Tensor
    target: Tensor
    samples: tuple[bytes, ...]
    seconds: float
    batch_size: int


def collect(
    ensemble: SnapshotEnsemble, dataloader: Iterable[Any], identify: Callable[[Any], Sequence[object]] | None
) -> Collected:
    """Run every member over a data set, once; see `lightning_lr.report.EnsembleReport.collect`.

    Raises:
        ValueError: If there is no sample, or a target does not fit.
        TypeError: If an argument is of another type, a batch is no pair, or its samples cannot be told apart.
    """
    if not isinstance(ensemble, SnapshotEnsemble):
        what = type(ensemble).__name__
        raise TypeError(f"ensemble={what}: not a SnapshotEnsemble; make one, of [module] if it is a single network")
    if not isinstance(dataloader, Iterable):
        what = type(dataloader).__name__
        raise TypeError(f"dataloader={what}: not a loader; pass a DataLoader, or a list of batches")
    if identify is not None and not callable(identify):
        raise TypeError(f"identify={identify!r}: not a function; pass identify(batch) -> one value a sample")
    readings: list[Tensor] = []
    targets: list[Tensor] = []
    samples: list[bytes] = []
    seconds: list[float] = []
    with torch.inference_mode():
        for batch in dataloader:
            x, target = ensemble.split(batch)
            there = move_data_to_device(x, ensemble.device)
            start = time.perf_counter()
            # Off the device one by one: its memory need not hold what all of them say.
            said = torch.stack([reading.cpu() for reading in ensemble.readings(there)])
            spent, count = time.perf_counter() - start, said.shape[1]
            if count == 0:
                continue
            pool = ensemble.task.pool()
            pool.add(said[0])
            targets.append(ensemble.task.target(move_data_to_device(target, _CPU), pool.pooled()))
            samples += identities(x, count) if identify is None else named(identify(batch), count)
            readings.append(said)
            seconds.append(spent / count / len(said))
    if not readings:
        raise ValueError("dataloader: it gave no sample; pass one over a split that holds some")
    return Collected(
        torch.cat(readings, dim=1),
        torch.cat(targets),
        tuple(samples),
        # The first batch of a device takes many times as long as the others.
        statistics.median(seconds),
        max(said.shape[1] for said in readings),
    )
