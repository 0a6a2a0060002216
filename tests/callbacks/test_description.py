"""`describe`: what a fit will do, told before it begins and without a trace in it."""

from __future__ import annotations

import pytest
import torch

from lightning_lr import SGDR, CyclicLR, OneCycle, StepDecay
from tests.fits import Recording, loader, sgd, stream, trainer, two_groups


def test_all_of_it():
    policy = SGDR(0.1, cycles=2, warmup="1ep", cycle_momentum=True, on_new_horizon="keep")
    told = policy.describe(trainer(policy, max_epochs=3), Recording(sgd(momentum=0.9)), loader(10))
    assert told.splitlines() == [
        "SGDR for optimizer 0 (SGD): 30 updates, 10 an epoch, 3 epochs",
        "  lr of param group 0: from 0.00245 to 0.1",
        "  momentum of param group 0: from 0.85 to 0.948",
        "  cycle 0: updates 10 to 19, epochs 1 to 2",
        "  cycle 1: updates 20 to 29, epochs 2 to 3",
        "  resumed from a checkpoint: goes on at the next update; "
        "in a run of another length the old curve goes on, then its last value holds",
    ]


def test_each_group_has_its_share():
    policy = StepDecay(1.0, every="50%")
    told = policy.describe(trainer(policy, max_epochs=1), Recording(two_groups()), loader(10))
    assert "  lr of param group 0: from 0.1 to 1\n  lr of param group 1: from 0.01 to 0.1\n  no cycles\n" in told


def test_a_list_has_a_peak_a_group():
    policy = OneCycle([1.0, 0.5], cycle_momentum=False)
    told = policy.describe(trainer(policy, max_epochs=1), Recording(two_groups()), loader(10))
    assert "lr of param group 0: from 4e-06 to 1\n  lr of param group 1: from 2e-06 to 0.5\n" in told


def test_many_cycles_are_cut_short_and_a_cut_one_says_so():
    policy = CyclicLR(0.1, 0.2, step_size_up=1, cycle_momentum=False)
    told = policy.describe(trainer(policy, max_epochs=1), Recording(), loader(21)).splitlines()
    assert told[7:10] == [
        "  cycle 5: updates 10 to 11, epochs 0.47619 to 0.571429",
        "  ... 4 more ...",
        "  cycle 10: updates 20 to 20, epochs 0.952381 to 1, cut by the end of the run",
    ]


def test_a_stream_has_no_epochs():
    policy = SGDR(0.1, cycles=1, total_steps=10)
    told = policy.describe(trainer(policy, max_epochs=1), Recording(), stream(10))
    assert told.startswith("SGDR for optimizer 0 (SGD): 10 updates\n")
    assert "cycle 0: updates 0 to 9\n" in told


def test_what_the_fit_would_refuse_is_refused():
    policy = SGDR(0.1, cycles=5)
    with pytest.raises(ValueError, match="cycles=5: more cycles than updates"):
        policy.describe(trainer(policy, max_epochs=1), Recording(), loader(3))


def test_the_fit_after_it_is_the_fit_without_it():
    def weights(described: bool) -> list[torch.Tensor]:
        torch.manual_seed(7)
        policy = SGDR(0.1, cycles=2)
        module, run = Recording(), trainer(policy, max_epochs=2)
        if described:
            policy.describe(run, module, loader(10))
        run.fit(module, loader(10))
        return [torch.rand(1), torch.tensor(module.lrs), *module.parameters()]

    for with_it, without in zip(weights(True), weights(False), strict=True):
        assert torch.equal(with_it, without)
