"""A loader deals out what it should, knows its place, and goes on from it."""

from __future__ import annotations

import pytest
import torch

from recipes.data.augmentation import Augmentation
from recipes.data.in_memory import InMemory
from recipes.data.loader import InMemoryLoader

SAMPLES = 50
AUGMENTATION = Augmentation(crop=2, flip=True, cutout=3)


def dataset(samples=SAMPLES):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, 3, 8, 8), generator=generator).to(torch.uint8)
    return InMemory(images, torch.arange(samples), (0.5,) * 3, (0.25,) * 3)


def loader(batch_size=8, **options):
    options = {"shuffle": True, "seed": 1, "augmentation": AUGMENTATION, **options}
    return InMemoryLoader(dataset(options.pop("samples", SAMPLES)), batch_size, **options)


def epoch(loader, number):
    loader.set_epoch(number)
    return list(loader)


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_an_epoch_has_every_sample_once_and_each_epoch_an_order_of_its_own():
    batches = epoch(loader(), 0)
    assert [len(labels) for _, labels in batches] == [8] * 6 + [2]
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(SAMPLES))
    assert not same(batches, epoch(loader(), 1))
    assert same(batches, epoch(loader(), 0))


@pytest.mark.parametrize("done", range(8))
@pytest.mark.parametrize("number", [0, 3])
def test_a_resumed_loader_hands_out_the_rest_and_whole_epochs_then(done, number):
    first = loader()
    first.set_epoch(number)
    batches = iter(first)
    for _ in range(done):
        next(batches)
    state = first.state_dict()
    second = loader()
    second.load_state_dict(state)
    assert second.state_dict() == state
    expected = epoch(loader(), number)
    if 0 < done < 7:
        assert same(list(second), expected[done:])
    else:
        # At the end of an epoch, and where nothing was handed out, nothing is left out.
        assert same(epoch(second, number), expected)
    assert same(epoch(second, number + 1), epoch(loader(), number + 1))


def test_lightning_iterates_before_it_tells_the_epoch():
    first = loader()
    first.set_epoch(2)
    batches = iter(first)
    next(batches)
    second = loader()
    iter(second)  # to see that it can be
    second.load_state_dict(first.state_dict())
    iterator = iter(second)
    second.batch_sampler.sampler.set_epoch(2)
    assert same(list(iterator), list(batches))


def test_a_place_of_another_epoch_leaves_nothing_out():
    # A checkpoint at the end of an epoch that `limit_train_batches` cut.
    second = loader()
    second.load_state_dict({**second.state_dict(), "epoch": 0, "batches": 3})
    assert len(epoch(second, 1)) == 7


def test_an_epoch_that_was_left_is_whole_when_it_is_begun_again():
    twice = loader()
    next(iter(twice))
    assert same(list(twice), epoch(loader(), 0))


def test_a_place_is_gone_on_from_once():
    twice = loader()
    twice.load_state_dict({**twice.state_dict(), "batches": 3})
    next(iter(twice))
    assert same(list(twice), epoch(loader(), 0))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"batch_size": 4},
            "^global_batch_size=4: the checkpoint stands in the middle of an epoch with global_batch_size=8",
        ),
        ({"seed": 2}, "^shuffle_seed=2: .* shuffle_seed=1, whose rest is lost"),
        ({"samples": 49}, "^samples=49: .* samples=50"),
    ],
)
def test_a_place_in_other_batches_is_refused(other, said):
    first = loader()
    batches = iter(first)
    next(batches)
    with pytest.raises(ValueError, match=said):
        loader(**other).load_state_dict(first.state_dict())
    # Between epochs there is nothing to lose.
    list(batches)
    loader(**other).load_state_dict(first.state_dict())


def test_one_process_goes_on_for_two():
    first = loader(batch_size=8)
    batches = iter(first)
    next(batches)
    halves = [loader(batch_size=4, num_replicas=2, rank=rank) for rank in (0, 1)]
    for half in halves:
        half.load_state_dict(first.state_dict())
    assert len(list(halves[0])) == len(list(halves[1])) == 6


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_global_batch_does_not_depend_on_the_number_of_processes(processes, drop_last):
    samples = 60 if not drop_last else 61
    alone = epoch(loader(batch_size=4 * processes, drop_last=drop_last, samples=samples), 2)
    shares = [
        epoch(loader(4, drop_last=drop_last, samples=samples, num_replicas=processes, rank=rank), 2)
        for rank in range(processes)
    ]
    assert len(alone) == len(shares[0])
    for (images, labels), *parts in zip(alone, *shares, strict=True):
        together = {int(label): image for part in parts for image, label in zip(*part, strict=True)}
        assert len(together) == len(labels) == sum(len(part[1]) for part in parts)
        # The same samples, cropped, flipped and cut in the same way.
        assert all(torch.equal(together[int(label)], image) for image, label in zip(images, labels, strict=True))


def test_what_is_repeated_for_a_process_that_had_less_is_drawn_as_it_was():
    shares = [
        dict(zip(*reversed(epoch(loader(50, num_replicas=4, rank=rank), 0)[0]), strict=True)) for rank in range(4)
    ]
    shares = [{int(label): image for label, image in share.items()} for share in shares]
    assert [len(share) for share in shares] == [13] * 4
    repeated = (set(shares[0]) & set(shares[2])) | (set(shares[1]) & set(shares[3]))
    assert len(repeated) == 2
    for label in repeated:
        one, other = (share[label] for share in shares if label in share)
        assert torch.equal(one, other)


def test_without_a_batch_it_is_refused():
    said = r"^batch_size=64: 50 samples make no batch in 1 process\(es\); pass less, or drop_last=false$"
    with pytest.raises(ValueError, match=said):
        loader(batch_size=64, drop_last=True)


def test_floats_are_handed_out_as_they_are():
    data = InMemory(torch.randn(5, 3), torch.arange(5))
    ((rows, labels),) = InMemoryLoader(data, 5)
    assert torch.equal(rows, data.tensors[0])
    assert labels.tolist() == [0, 1, 2, 3, 4]
