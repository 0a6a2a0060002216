"""What is made up is the same each time, and can be learned."""

from __future__ import annotations

import pytest
import torch

from recipes.data.fake import Fake


def test_it_is_the_same_each_time_and_its_parts_differ():
    first, second = Fake([3, 8, 8], train_size=20, val_size=20), Fake([3, 8, 8], train_size=20, val_size=20)
    torch.manual_seed(3)
    first.setup("fit")
    second.setup("test")
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert torch.equal(first.test.inputs, second.test.inputs)
    assert not torch.equal(first.train.inputs, first.val.inputs)
    other = Fake([3, 8, 8], train_size=20, split_seed=1)
    other.setup("fit")
    assert not torch.equal(first.train.inputs, other.train.inputs)


@pytest.mark.parametrize("shape", [(1, 5, 9), (3, 32, 32)])
def test_the_nearest_mean_of_train_tells_the_classes_of_the_test_under_all_augmentations(shape):
    fake = Fake(shape, num_classes=4, train_size=80, test_size=40, batch_size=80, crop=2, flip=True, cutout=2)
    assert (fake.shape, fake.channels, fake.num_classes) == (shape, shape[0], 4)
    fake.setup("fit")
    ((images, labels),) = fake.train_dataloader()
    means = torch.stack([images[labels == label].mean((0, 2, 3)) for label in range(4)])
    told = (fake.test.ready(fake.test.inputs).mean((2, 3))[:, None] - means).square().sum(2).argmin(1)
    assert (told == fake.test.labels).float().mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shape": [8, 8]}, r"^shape=\[8, 8\]: not the shape of an image; pass \[channels, height, width\]$"),
        ({"shape": [3, 0, 8]}, "^shape="),
        ({"shape": [3, 8, 8], "num_classes": 0}, "^num_classes=0: out of range"),
        ({"shape": [3, 8, 8], "crop": 8}, "^crop=8: images of 8 x 8 pixels have no more to reflect"),
    ],
)
def test_refusals(arguments, said):
    with pytest.raises(ValueError, match=said):
        Fake(**arguments)
