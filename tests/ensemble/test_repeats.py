"""Each sample once: what a distributed sampler repeats."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler, TensorDataset

from lightning_lr.ensemble.repeats import FirstTimes


def first_times(loader):
    times, counted = FirstTimes(loader), []
    for batch in loader:
        counted += batch[: times.of(len(batch))].tolist()
    return counted


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("samples", "world"), [(7, 2), (6, 2), (7, 4), (1, 2), (5, 3), (3, 5)])
def test_over_all_ranks_each_sample_counts_once(shuffle, wrapped, samples, world):
    dataset = list(range(samples))
    counted = []
    for rank in range(world):
        sampler = DistributedSampler(dataset, num_replicas=world, rank=rank, shuffle=shuffle, seed=3)
        if wrapped:
            counted += first_times(DataLoader(dataset, batch_sampler=BatchSampler(sampler, 2, drop_last=False)))
        else:
            counted += first_times(DataLoader(dataset, batch_size=2, sampler=sampler))
    assert sorted(counted) == list(range(samples))


@given(samples=st.integers(1, 40), world=st.integers(1, 7), batch_size=st.integers(1, 9), drop_last=st.booleans())
def test_whatever_the_sizes(samples, world, batch_size, drop_last):
    dataset = list(range(samples))
    counted, dealt = [], set()
    for rank in range(world):
        inner = DistributedSampler(dataset, num_replicas=world, rank=rank, shuffle=False, drop_last=drop_last)
        # Lightning's own, around the sampler of a user.
        wrapper = DistributedSamplerWrapper(
            range(samples - 1, -1, -1), num_replicas=world, rank=rank, shuffle=False, drop_last=drop_last
        )
        for sampler in (inner, wrapper):
            loader = DataLoader(dataset, batch_size=batch_size, sampler=sampler)
            counted += [(sampler is wrapper, sample) for sample in first_times(loader)]
            dealt |= {(sampler is wrapper, sample) for batch in loader for sample in batch.tolist()}
    # All that was dealt out, and nothing twice.
    assert sorted(counted) == sorted(dealt)
    if not drop_last:
        assert len(counted) == 2 * samples


def test_a_sampler_that_repeats_nothing_loses_nothing():
    class Blocks(DistributedSampler):
        def __iter__(self):
            return iter(range(self.rank * 3, self.rank * 3 + 4))

    dataset = TensorDataset(torch.arange(7))
    for sampler in (
        SequentialSampler(dataset),
        UnrepeatedDistributedSampler(dataset, num_replicas=2, rank=1),
        DistributedSampler(dataset, num_replicas=2, rank=1, drop_last=True),
        Blocks(dataset, num_replicas=2, rank=1),
    ):
        assert FirstTimes(DataLoader(dataset, batch_size=3, sampler=sampler)).of(3) == 3


def test_a_loader_that_does_not_batch_hands_out_one_item_at_a_time():
    dataset = [torch.arange(4) for _ in range(3)]
    sampler = DistributedSampler(dataset, num_replicas=2, rank=1, shuffle=False)
    times = FirstTimes(DataLoader(dataset, batch_size=None, sampler=sampler))
    # Items 1 and, for the fourth that there is not, 0 again; of four samples each.
    assert [times.of(4), times.of(4)] == [4, 0]


def test_what_is_no_dataloader_repeats_nothing():
    times = FirstTimes([torch.zeros(3), torch.zeros(2)])
    assert [times.of(3), times.of(2), times.of(0)] == [3, 2, 0]
