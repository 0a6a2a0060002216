"""With worker processes batches are those of none, whatever is resumed, cut or resized; and the workers end."""

from __future__ import annotations

import multiprocessing

import pytest
import torch

from recipes.data.on_disk import OnDisk
from recipes.data.worker_loader import WorkerLoader
from tests.recipes.data_made import tree

pytestmark = pytest.mark.slow


@pytest.fixture
def images(tmp_path):
    tree(tmp_path, ["cat"], each=11)
    files = [f"cat/{index:04d}.JPEG" for index in range(11)]
    return OnDisk(tmp_path, files, torch.arange(11).numpy(), size=16, scale=0.3, flip=True)


def loader(images, workers, **options):
    options = {"shuffle": True, "seed": 3, **options}
    return WorkerLoader(
        images,
        2,
        size=lambda epoch: 8 + 4 * epoch,
        device=torch.device("cpu"),
        random=True,
        num_workers=workers,
        **options,
    )


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_workers_change_nothing_over_epochs_a_place_and_an_epoch_that_is_left(images):
    apart, here = loader(images, 2), loader(images, 0)
    before = torch.get_rng_state()
    for epoch in (0, 2, 1):
        apart.set_epoch(epoch)
        here.set_epoch(epoch)
        assert same(list(apart), list(here))
    workers = apart._iterator._workers
    # An epoch that is left in the middle, and then its rest.
    batches = iter(apart)
    next(batches), next(batches)
    state = apart.state_dict()
    apart.load_state_dict(state)
    here.load_state_dict(state)
    rest = list(apart)
    assert len(rest) == 4
    assert same(rest, list(here))
    # The same processes all along, and no global generator was asked.
    assert apart._iterator._workers is workers
    assert torch.equal(torch.get_rng_state(), before)
    # As Lightning ends them.
    apart._iterator._shutdown_workers()
    apart._iterator = None
    assert multiprocessing.active_children() == []


def test_workers_of_several_processes_are_not_forked(images):
    # A fork of a process with threads stands still now and then.
    apart = loader(images, 1, num_replicas=2, rank=1)
    assert apart._workers.multiprocessing_context.get_start_method() == "forkserver"
    assert same(list(apart), list(loader(images, 0, num_replicas=2, rank=1)))
    apart._iterator._shutdown_workers()
