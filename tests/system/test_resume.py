"""A run that was interrupted and resumed is the run that was not."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning
from lightning.pytorch.strategies import SingleDeviceStrategy

from lightning_lr import SGDR, OneCycle, Schedule, StepDecay
from tests.fits import CycleEnds, EveryGroup, Recording, StopBefore, fit, loader, resume, sgd, stop, trainer, two_groups

# The data of an update is drawn from its number: the loader's place in the epoch does not matter here.
pytestmark = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")


def exactly(values):
    return pytest.approx(values, rel=0, abs=1e-12)


# The cycles of twenty updates are four each: update 10 is in the third, update 12 begins the fourth. Update 7 is in
# mid-epoch, update 10 begins the second.
@pytest.mark.parametrize("at", [1, 7, 10, 12, 19])
@pytest.mark.parametrize(
    "build",
    [
        lambda: SGDR(0.1, cycles=5, cycle_momentum=True),
        lambda: OneCycle(0.1),
        lambda: StepDecay(0.1, every="3st"),
    ],
    ids=["sgdr", "one_cycle", "step_decay"],
)
def test_a_resumed_run_goes_on_as_if_nothing_had_been(build, at):
    whole = fit(build(), module=Recording(sgd(momentum=0.9)), max_epochs=2)

    stopped = Recording(sgd(momentum=0.9))
    checkpoint = stop(build(), at, module=stopped)
    resumed = resume(build(), checkpoint, module=Recording(sgd(momentum=0.9)))

    assert stopped.at_update + resumed.at_update == whole.at_update
    assert resumed.layer.weight.tolist() == whole.layer.weight.tolist()


def test_the_first_update_after_a_resume_uses_the_schedule_and_not_what_the_optimizer_held():
    checkpoint = stop(SGDR(0.1, cycles=5), 6)
    held = torch.load(checkpoint, weights_only=True)["optimizer_states"][0]["param_groups"][0]["lr"]
    assert held == exactly(0.05)
    resumed = resume(SGDR(0.4, cycles=5), checkpoint)
    assert resumed.lrs == SGDR(0.4, cycles=5).preview(20)["lr"][6:]
    assert resumed.lrs[0] == exactly(0.2)


def test_accumulation_and_a_stop_between_two_updates():
    # Ten batches accumulated by three are four updates; the stop comes when the fifth batch of six is through.
    whole = fit(SGDR(0.1, cycles=3), max_epochs=3, accumulate_grad_batches=3)
    stopped = Recording()
    checkpoint = stop(SGDR(0.1, cycles=3), 6, module=stopped, max_epochs=3, accumulate_grad_batches=3)
    resumed = resume(SGDR(0.1, cycles=3), checkpoint, max_epochs=3, accumulate_grad_batches=3)
    assert stopped.lrs + resumed.lrs == whole.lrs


def test_the_state_is_read_with_weights_only():
    checkpoint = stop(SGDR(0.1, cycles=5), 7)
    assert torch.load(checkpoint, weights_only=True)["callbacks"]["SGDR[optimizer=0]"] == {
        "step": 7,
        "run": [20, 10],
        "pace": {"curve": [20, 10], "step": 0, "position": [0, 1], "rate": [1, 1]},
        "groups": {"lr": {"reference": 0.5, "ratios": [1.0]}},
    }
    module = Recording()
    run = trainer(SGDR(0.1, cycles=5), max_epochs=2)
    run.fit(module, loader(10), ckpt_path=checkpoint, weights_only=True)
    assert module.lrs == SGDR(0.1, cycles=5).preview(20)["lr"][7:]


def test_a_tensor_lr_is_resumed():
    checkpoint = stop(SGDR(0.1, cycles=5), 7, module=Recording(sgd(lr=torch.tensor(0.5))))
    resumed = resume(SGDR(0.1, cycles=5), checkpoint, module=Recording(sgd(lr=torch.tensor(0.5))))
    assert resumed.lrs == pytest.approx(SGDR(0.1, cycles=5).preview(20)["lr"][7:], rel=1e-6)


def test_ratios_of_groups_are_resumed():
    checkpoint = stop(Schedule(lr=1.0), 7, module=Recording(two_groups()))
    groups = EveryGroup()
    resume(Schedule(lr=1.0), checkpoint, groups, module=Recording(two_groups()))
    assert groups.lrs == [exactly([1.0, 0.1])] * 13


@pytest.mark.parametrize("first", ["policy", "finetuning"])
def test_a_group_added_before_the_stop_is_resumed(first):
    class Unfreeze(BaseFinetuning):
        def freeze_before_training(self, pl_module):
            self.freeze(pl_module.body)

        def finetune_function(self, pl_module, epoch, optimizer):
            if epoch == 1:
                self.unfreeze_and_add_param_group(pl_module.body, optimizer, lr=0.05)

    def build():
        module = Recording(lambda module: torch.optim.SGD(module.layer.parameters(), lr=0.5))
        module.body = torch.nn.Linear(2, 2)
        return module

    def callbacks():
        both = [Schedule(lr=lambda step: 1.0 + step), Unfreeze()]
        return both if first == "policy" else both[::-1]

    checkpoint = stop(*callbacks()[:1], 17, *callbacks()[1:], module=build())
    groups = EveryGroup()
    resume(*callbacks()[:1], checkpoint, *callbacks()[1:], groups, module=build())
    assert groups.lrs == [exactly([18.0, 1.8]), exactly([19.0, 1.9]), exactly([20.0, 2.0])]


def test_a_cycles_end_is_told_once():
    before, after = CycleEnds(), CycleEnds()
    checkpoint = stop(SGDR(0.1, cycles=5), 8, before)
    resume(SGDR(0.1, cycles=5), checkpoint, after)
    assert [step for step, _, _ in before.told + after.told] == [4, 8, 12, 16, 20]


def test_a_strategy_that_restores_after_on_fit_start():
    # As FSDP does: callbacks have their state later than elsewhere.
    class Late(SingleDeviceStrategy):
        restore_checkpoint_after_setup = True

    checkpoint = stop(SGDR(0.1, cycles=5), 7)
    resumed = resume(SGDR(0.1, cycles=5), checkpoint, strategy=Late(torch.device("cpu")))
    assert resumed.lrs == SGDR(0.1, cycles=5).preview(20)["lr"][7:]


# A checkpoint that knows nothing of the policy


def test_a_run_that_knew_no_policy_goes_on_with_the_curve_over_what_is_left():
    # What its optimizer had come down to is no ratio: it was not built with it.
    first = trainer(max_epochs=1)
    first.fit(Recording(sgd(lr=0.001)), loader(10))
    first.save_checkpoint("without.ckpt")
    module = Recording(sgd(lr=0.5))
    with pytest.warns(UserWarning, match="goes on after 10 updates .* over the 10 updates that are left"):
        resume(SGDR(0.1, cycles=2), "without.ckpt", module=module)
    assert module.lrs == exactly(SGDR(0.1, cycles=2).preview(10)["lr"])


def test_a_trainer_that_went_on_can_be_resumed_as_it_was():
    first = trainer(SGDR(0.1, cycles=2), max_epochs=1)
    first.fit(Recording(), loader(10))
    first.save_checkpoint("first.ckpt")
    first.fit_loop.max_epochs = 3
    first.callbacks.append(StopBefore(20))
    with pytest.warns(UserWarning, match="20 updates that are left"), pytest.raises(InterruptedError):
        first.fit(Recording(), loader(10))
    first.save_checkpoint("second.ckpt")
    resumed = resume(SGDR(0.1, cycles=2), "second.ckpt", max_epochs=3)
    assert resumed.lrs == SGDR(0.1, cycles=2).preview(20)["lr"][10:]


# Killed for good


def run(folder, *arguments):
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, root / "tests/system/killed_run.py", folder, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def updates_in(folder):
    """Return the LR of each update; one that was made twice, before the kill and after it, must have had it twice."""
    lrs = {}
    for line in (folder / "updates.txt").read_text().splitlines():
        update, lr = line.split()
        assert lrs.setdefault(int(update), float.fromhex(lr)) == float.fromhex(lr)
    return [lrs[update] for update in sorted(lrs)]


def snapshots_in(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "snapshots").glob("*.safetensors"))
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    finished = run(folder)
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "place"),
    [
        pytest.param(11, "forward", id="in the third cycle"),
        pytest.param(12, "forward", id="at its end, after the checkpoint"),
        pytest.param(12, "step", id="at its end, before the checkpoint"),
        pytest.param(20, "step", id="at the very end, before the checkpoint"),
    ],
)
def test_a_killed_run_ends_as_one_that_was_not(tmp_path, uninterrupted, at, place):
    killed = run(tmp_path, at, place)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(updates_in(tmp_path)) == at

    resumed = run(tmp_path)
    assert resumed.returncode == 0, resumed.stderr

    preview = SGDR(0.1, 0.001, cycles=5).preview(20)["lr"]
    assert updates_in(tmp_path) == updates_in(uninterrupted) == preview
    assert len(snapshots_in(uninterrupted)) == 5
    assert snapshots_in(tmp_path) == snapshots_in(uninterrupted)
