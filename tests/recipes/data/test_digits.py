"""The split is stratified and everybody's; the order is seeded and dealt out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from recipes.data.digits import Digits
from tests.recipes.data.processes import process


@pytest.fixture(scope="module")
def digits():
    digits = Digits()
    digits.setup("fit")
    return digits


def rows(dataset):
    return sorted(map(bytes, (dataset.tensors[0].numpy() * 16).astype("uint8").reshape(len(dataset), -1)))


def order(loader, epoch):
    loader.set_epoch(epoch)
    return list(loader.order)


def test_the_parts_are_all_of_the_digits(digits):
    images, _ = load_digits(return_X_y=True)
    parts = rows(digits.train) + rows(digits.val) + rows(digits.test)
    assert sorted(parts) == sorted(map(bytes, images.astype("uint8")))
    assert [len(digits.train), len(digits.val), len(digits.test)] == [1077, 240, 480]


def test_images_are_floats_of_one_channel_within_0_and_1(digits):
    images, labels = digits.train.tensors
    assert images.shape == (1077, 1, 8, 8)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_every_part_has_its_share_of_every_class(digits, part):
    _, all_labels = load_digits(return_X_y=True)
    labels = getattr(digits, part).tensors[1].numpy()
    expected = np.bincount(all_labels) * len(labels) / len(all_labels)
    assert np.abs(np.bincount(labels) - expected).max() < 1.5


def test_the_split_does_not_depend_on_the_order_or_the_process(digits):
    torch.manual_seed(123)
    other = Digits(shuffle_seed=7)
    other.setup("test")
    assert torch.equal(other.test.tensors[0], digits.test.tensors[0])
    moved = Digits(split_seed=1)
    moved.setup("fit")
    assert not torch.equal(moved.test.tensors[0], digits.test.tensors[0])


def test_an_epochs_order_depends_on_seed_and_epoch_alone(digits):
    torch.manual_seed(1)
    first = order(digits.train_dataloader(), epoch=3)
    torch.manual_seed(2)
    assert order(digits.train_dataloader(), epoch=3) == first
    assert order(digits.train_dataloader(), epoch=4) != first
    other = Digits(shuffle_seed=1)
    other.setup("fit")
    assert order(other.train_dataloader(), epoch=3) != first
    assert sorted(first) == list(range(1077))


def test_processes_share_an_epoch_out():
    seen = []
    for rank in range(2):
        digits = Digits()
        digits.trainer = process(rank, of=2)
        digits.setup("fit")
        seen.append(order(digits.train_dataloader(), epoch=5))
    assert [len(each) for each in seen] == [539, 539]
    # 1,077 is odd: one image comes twice, so that no process waits for another in vain.
    assert set(seen[0]) | set(seen[1]) == set(range(1077))
    assert len(set(seen[0]) & set(seen[1])) == 1


def test_batches_are_those_of_torchs_own_loader(digits):
    # What the figures in the README were made with.
    sampler = DistributedSampler(digits.train, 1, 0, shuffle=True, seed=3)
    sampler.set_epoch(2)
    expected = list(DataLoader(TensorDataset(*digits.train.tensors), batch_size=64, sampler=sampler))
    ours = Digits(shuffle_seed=3)
    ours.setup("fit")
    loader = ours.train_dataloader()
    loader.set_epoch(2)
    found = list(loader)
    assert len(found) == len(expected) == len(loader) == 17
    assert all(
        torch.equal(a, b) for one, other in zip(found, expected, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("argument", ["batch_size", "val_size", "test_size"])
def test_sizes_are_positive(argument):
    with pytest.raises(ValueError, match=f"^{argument}=0: out of range; pass an int of at least 1$"):
        Digits(**{argument: 0})


def test_something_is_left_to_train_on():
    with pytest.raises(ValueError, match="val_size=1000, test_size=797: nothing is left to train on"):
        Digits(val_size=1000, test_size=797).setup("fit")
