"""Crop, flip and cutout of each sample are those of torchvision and numpy, done one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from recipes.data.augmentation import Augmentation
from recipes.data.in_memory import InMemory, statistics
from recipes.data.loader import InMemoryLoader

HEIGHT, WIDTH = 10, 12


def images(number=40):
    return torch.randint(0, 256, (number, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def one_by_one(image, drawn, crop, padding):
    top, left, flipped, _, _ = drawn.tolist()
    padded = np.pad(
        image.numpy(), ((0, 0), (crop, crop), (crop, crop)), "reflect" if padding == "reflect" else "constant"
    )
    moved = torch.from_numpy(padded)[:, top : top + HEIGHT, left : left + WIDTH]
    return functional.horizontal_flip(moved) if flipped else moved


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("crop", [0, 1, 4, 9])
def test_crop_and_flip_are_those_of_numpys_padding_and_torchvisions_flip(crop, padding):
    augmentation = Augmentation(crop, flip=True, padding=padding)
    batch = images()
    drawn = augmentation.draw(len(batch), HEIGHT, WIDTH, seed=0, epoch=0)
    expected = torch.stack([one_by_one(*pair, crop, padding) for pair in zip(batch, drawn, strict=True)])
    moved = augmentation.move(batch, drawn)
    assert moved.dtype == torch.uint8
    assert torch.equal(moved, expected)
    assert len({tuple(row[:3]) for row in drawn.tolist()}) > (1 if crop == 0 else 5)


def test_zeros_may_be_wider_than_the_image():
    augmentation = Augmentation(crop=15, padding="zeros")
    batch = images()
    drawn = augmentation.draw(len(batch), HEIGHT, WIDTH, seed=0, epoch=0)
    drawn[:, 2] = 0
    expected = torch.stack([one_by_one(*pair, 15, "zeros") for pair in zip(batch, drawn, strict=True)])
    assert torch.equal(augmentation.move(batch, drawn), expected)


@pytest.mark.parametrize("side", [1, 3, 4, 30])
def test_cutout_is_a_square_around_its_centre_cut_at_the_border(side):
    augmentation = Augmentation(cutout=side)
    batch = torch.ones(200, 3, HEIGHT, WIDTH)
    drawn = augmentation.draw(len(batch), HEIGHT, WIDTH, seed=0, epoch=0)
    expected = torch.ones(200, 3, HEIGHT, WIDTH)
    for image, (_, _, _, row, column) in zip(expected, drawn.tolist(), strict=True):
        # As its authors wrote it: y1 = clip(y - length // 2, 0, h), and on for `length` from the unclipped corner.
        top, left = row - side // 2, column - side // 2
        image[:, max(top, 0) : top + side, max(left, 0) : left + side] = 0
    assert torch.equal(augmentation.cut(batch, drawn), expected)
    assert set(drawn[:, 3].tolist()) == set(range(HEIGHT))
    assert set(drawn[:, 4].tolist()) == set(range(WIDTH))


def test_each_epoch_and_seed_draws_of_its_own_and_nothing_else_decides():
    augmentation = Augmentation(4, True, 4)

    def draw(seed, epoch):
        return augmentation.draw(50, HEIGHT, WIDTH, seed, epoch)

    before = torch.get_rng_state()
    first = draw(1, 2)
    torch.manual_seed(5)
    assert torch.equal(first, draw(1, 2))
    torch.set_rng_state(before)
    for other in (draw(1, 3), draw(2, 2), draw(2, 1)):
        assert not torch.equal(first, other)
    # Every crop, and both directions.
    many = augmentation.draw(5000, HEIGHT, WIDTH, 0, 0)
    assert [sorted(set(column.tolist())) for column in many[:, :3].T] == [list(range(9)), list(range(9)), [0, 1]]
    assert 0.47 < many[:, 2].float().mean() < 0.53


def test_a_loader_leaves_the_global_generators_alone():
    loader = InMemoryLoader(
        InMemory(images(), torch.arange(40)), 8, shuffle=True, augmentation=Augmentation(2, True, 4)
    )
    before = torch.get_rng_state(), np.random.get_state(legacy=False)
    list(loader)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state(legacy=False)) == repr(before[1])


def test_the_hole_is_at_the_mean_after_normalisation():
    dataset = InMemory(torch.full((4, 1, 8, 8), 255, dtype=torch.uint8), torch.arange(4), (0.2,), (0.5,))
    (batch, _), *_ = InMemoryLoader(dataset, 4, augmentation=Augmentation(cutout=3))
    assert batch.unique().tolist() == pytest.approx([0.0, 1.6])
    assert torch.allclose(dataset[0][0], torch.full((1, 8, 8), 1.6))


def test_normalisation_is_torchvisions():
    batch, mean, std = images(), (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    dataset = InMemory(batch, torch.arange(40), mean, std)
    expected = functional.normalize(functional.to_dtype(batch, torch.float32, scale=True), mean, std)
    torch.testing.assert_close(dataset.ready(batch), expected, rtol=0, atol=1e-5)
    assert torch.equal(dataset[7][0], dataset.ready(batch)[7])


def test_statistics_are_those_of_all_pixels():
    mean, std = statistics(images())
    floats = images().double() / 255
    assert mean == pytest.approx(floats.mean((0, 2, 3)).tolist())
    assert std == pytest.approx(floats.std((0, 2, 3), correction=0).tolist())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"crop": -1}, "^crop=-1: out of range; pass pixels, or 0 for none$"),
        ({"cutout": -1}, "^cutout=-1: out of range"),
        ({"padding": "edge"}, "^padding='edge': there is no such padding; choose from reflect, zeros$"),
    ],
)
def test_refusals(arguments, said):
    with pytest.raises(ValueError, match=said):
        Augmentation(**arguments)


def test_an_image_has_no_more_to_reflect_than_it_is_wide():
    Augmentation(crop=9).check(10, 12)
    with pytest.raises(
        ValueError, match=r"^crop=10: images of 10 x 12 pixels have no more to reflect; pass at most 9$"
    ):
        Augmentation(crop=10).check(10, 12)
