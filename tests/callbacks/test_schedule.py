"""What a fit uses at each update, which param group gets what, and how a policy begins and ends."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning, EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers.logger import Logger

from lightning_lr import SGDR, OneCycle, Schedule, StepDecay
from tests import closed_forms
from tests.fits import CycleEnds, EveryGroup, Recording, StopBefore, fit, loader, sgd, trainer, two_groups

POLICIES = {
    "sgdr": (lambda: SGDR(0.1, 0.01, cycles=3, cycle_momentum=True), closed_forms.sgdr),
    "one_cycle": (lambda: OneCycle(0.1), closed_forms.one_cycle),
    "step_decay": (lambda: StepDecay(0.8, factor=0.5, every=3), closed_forms.step_decay),
}
# Ten batches an epoch. Accumulated by three they are four updates, of three, three, three and one batches.
LENGTHS = [
    pytest.param({"max_epochs": 2}, [1] * 20, id="epochs"),
    pytest.param({"max_steps": 13}, [1] * 13, id="steps"),
    pytest.param({"max_epochs": 2, "accumulate_grad_batches": 3}, [3, 3, 3, 1] * 2, id="epochs, accumulated"),
    pytest.param({"max_steps": 7, "accumulate_grad_batches": 3}, [3, 3, 3, 1, 3, 3, 3], id="steps, accumulated"),
]


def exactly(values):
    return pytest.approx(values, rel=0, abs=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("options", "batches_of_update"), LENGTHS)
def test_every_update_uses_the_closed_form(policy, options, batches_of_update):
    build, closed_form = POLICIES[policy]
    expected = closed_form(len(batches_of_update))

    module = fit(build(), module=Recording(sgd(momentum=0.9)), **options)

    for name in ("lr", "momentum"):
        assert [held[name] for held in module.at_update] == exactly(expected[name])
        # The forward passes that lead to an update see its values already.
        seen = [value for value, batches in zip(expected[name], batches_of_update, strict=True) for _ in range(batches)]
        assert [held[name] for held in module.at_forward] == exactly(seen)


def test_a_fit_uses_what_the_preview_shows():
    policy = SGDR(0.1, cycle="1ep", cycle_mult=2, warmup=3)
    preview = policy.preview(total_steps=30, steps_per_epoch=10)
    module = fit(policy, max_epochs=3)
    assert module.lrs == preview["lr"]


def test_momentum_of_adam_is_its_first_beta_and_the_second_stays():
    module = fit(OneCycle(0.1), module=Recording(lambda m: torch.optim.AdamW(m.parameters(), lr=0.5, betas=(0.9, 0.7))))
    assert [held["momentum"] for held in module.at_update] == exactly(closed_forms.one_cycle(10)["momentum"])
    assert module.built.param_groups[0]["betas"][1] == 0.7


def test_weight_decay_is_written_as_well():
    module = Recording(sgd(weight_decay=0.01))
    fit(Schedule(weight_decay=lambda step: step / 100), module=module)
    assert module.built.param_groups[0]["weight_decay"] == 0.09
    assert module.lrs == [0.5] * 10


# Param groups


def test_groups_keep_the_ratios_that_the_optimizer_was_built_with():
    groups = EveryGroup()
    fit(Schedule(lr=lambda step: 1.0 + step), groups, module=Recording(two_groups()), limit_train_batches=3)
    assert groups.lrs == [exactly([1.0, 0.1]), exactly([2.0, 0.2]), exactly([3.0, 0.3])]


def test_the_curve_is_what_the_fastest_group_sees_wherever_it_stands():
    groups = EveryGroup()
    fit(Schedule(lr=1.0), groups, module=Recording(two_groups(lr=0.01)), limit_train_batches=1)
    assert groups.lrs == [exactly([0.2, 1.0])]


def test_a_list_sets_each_group():
    groups = EveryGroup()
    fit(SGDR([0.1, 0.3], cycles=1), groups, module=Recording(two_groups()), limit_train_batches=2)
    assert groups.lrs == [exactly([0.1, 0.3]), exactly([0.05, 0.15])]


def test_a_group_at_lr_0_stays_there():
    groups = EveryGroup()
    fit(SGDR(0.1, cycles=1), groups, module=Recording(two_groups(lr=0.0)), limit_train_batches=2)
    assert groups.lrs == [exactly([0.0, 0.1]), exactly([0.0, 0.05])]


def test_a_group_added_in_mid_run_gets_its_share():
    class Unfreeze(BaseFinetuning):
        def freeze_before_training(self, pl_module):
            self.freeze(pl_module.body)

        def finetune_function(self, pl_module, epoch, optimizer):
            if epoch == 1:
                self.unfreeze_and_add_param_group(pl_module.body, optimizer, lr=0.05)

    module = Recording(lambda module: torch.optim.SGD(module.layer.parameters(), lr=0.5))
    module.body = torch.nn.Linear(2, 2)
    groups = EveryGroup()
    fit(Schedule(lr=lambda step: 1.0 + step), groups, Unfreeze(), module=module, batches=2, max_epochs=2)
    assert groups.lrs == [[1.0], [2.0], exactly([3.0, 0.3]), exactly([4.0, 0.4])]


@pytest.mark.parametrize("build", [sgd, two_groups])
def test_a_tensor_lr_is_written_in_place(build):
    class Watching(Recording):
        def training_step(self, batch, batch_idx):
            tensors.append(self.built.param_groups[0]["lr"])
            return super().training_step(batch, batch_idx)

    tensors = []
    module = fit(SGDR(0.1, cycles=2), module=Watching(build(lr=torch.tensor(0.5))))
    assert len(tensors) == 10
    assert all(tensor is tensors[0] for tensor in tensors)
    assert module.lrs == pytest.approx(SGDR(0.1, cycles=2).preview(10)["lr"], rel=1e-6)


def test_groups_that_share_one_tensor_lr():
    # torch puts one default tensor into every group that has no LR of its own.
    module = Recording(
        lambda m: torch.optim.SGD([{"params": [m.layer.weight]}, {"params": [m.layer.bias]}], lr=torch.tensor(0.5))
    )
    groups = EveryGroup()
    fit(SGDR(0.1, cycles=1), groups, module=module, limit_train_batches=2)
    assert groups.lrs == [pytest.approx([0.1, 0.1]), pytest.approx([0.05, 0.05])]


# What others see


def test_a_logger_reads_the_lr_that_the_update_used():
    class Logged(Logger):
        name, version = "logged", 0

        def __init__(self):
            self.lrs = []

        def log_hyperparams(self, *args, **kwargs):
            pass

        def log_metrics(self, metrics, step=None):
            self.lrs.append(metrics["lr-SGD"])

    logger = Logged()
    module = fit(SGDR(0.1, cycles=2), LearningRateMonitor("step"), logger=logger, log_every_n_steps=1)
    assert logger.lrs == module.lrs == exactly(SGDR(0.1, cycles=2).preview(10)["lr"])


def test_a_cycles_end_is_told_while_current_shows_what_its_last_update_used():
    ends = CycleEnds()
    policy = SGDR(0.1, cycles=2)
    fit(ends, policy)
    # 0.05 * (1 + cos(4/5 * pi))
    trough = 0.009549150281252627
    assert ends.told == [(5, 0, exactly(trough)), (10, 1, exactly(trough))]
    assert [(cycle.start, cycle.end) for cycle in policy.run_cycles] == [(0, 5), (5, 10)]


def test_a_cut_last_cycle_is_told_as_not_complete():
    ends = CycleEnds()
    policy = SGDR(0.1, cycle=4)
    fit(policy, ends)
    assert [step for step, _, _ in ends.told] == [4, 8, 10]
    assert [cycle.complete for cycle in policy.run_cycles] == [True, True, False]


@pytest.mark.filterwarnings("ignore:EarlyStopping beside")
def test_early_stopping_in_mid_cycle_ends_no_cycle():
    class Stuck(Recording):
        def training_step(self, batch, batch_idx):
            self.log("loss", 1.0)
            return super().training_step(batch, batch_idx)

    ends = CycleEnds()
    stopping = EarlyStopping("loss", patience=1, check_on_train_epoch_end=True)
    module = fit(SGDR(0.1, cycles=2), ends, stopping, module=Stuck(), batches=4, max_epochs=5)
    assert module.lrs == SGDR(0.1, cycles=2).preview(20)["lr"][:8]
    assert ends.told == []


# How it begins and ends


def test_no_hook_is_left_after_a_fit():
    module = fit(SGDR(0.1, cycles=2))
    assert not module.built._optimizer_step_post_hooks


def test_no_hook_is_left_after_an_exception():
    module = Recording()
    with pytest.raises(InterruptedError):
        fit(SGDR(0.1, cycles=2), StopBefore(3), module=module)
    assert len(module.lrs) == 3
    assert not module.built._optimizer_step_post_hooks


def test_a_second_fit_of_the_same_callback_is_a_new_run():
    policy = SGDR(0.1, cycles=2)
    first = fit(policy)
    second = fit(policy, max_epochs=2)
    assert first.lrs == SGDR(0.1, cycles=2).preview(10)["lr"]
    assert second.lrs == SGDR(0.1, cycles=2).preview(20)["lr"]


def test_a_trainer_that_goes_on_runs_the_curve_over_what_is_left():
    module = Recording()
    again = trainer(SGDR(0.1, cycles=2), max_epochs=1)
    again.fit(module, loader(10))
    again.fit_loop.max_epochs = 3
    with pytest.warns(UserWarning, match="goes on after 10 updates .* over the 20 updates that are left"):
        again.fit(module, loader(10))
    assert module.lrs == SGDR(0.1, cycles=2).preview(10)["lr"] + SGDR(0.1, cycles=2).preview(20)["lr"]


def test_a_trainer_with_nothing_left_to_do_does_nothing():
    module = Recording()
    again = trainer(SGDR(0.1, cycles=2), max_epochs=1)
    again.fit(module, loader(10))
    again.fit(module, loader(10))
    assert len(module.lrs) == 10


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_a_copy_made_before_or_after_a_fit_runs_as_the_original(copied):
    policy = OneCycle(0.1)
    before = fit(copied(policy), module=Recording(sgd(momentum=0.9)))
    original = fit(policy, module=Recording(sgd(momentum=0.9)))
    after = fit(copied(policy), module=Recording(sgd(momentum=0.9)))
    assert before.at_update == original.at_update == after.at_update


def test_evaluation_of_a_checkpoint_is_no_resume():
    class Evaluated(Recording):
        def validation_step(self, batch, batch_idx):
            self.log("loss", self.loss())

        test_step = validation_step

    policy = SGDR(0.1, cycles=2)
    used = trainer(policy, max_epochs=1, num_sanity_val_steps=0)
    used.fit(Evaluated(), loader(10), loader(2))
    used.save_checkpoint("last.ckpt")

    module, used = Evaluated(), trainer(policy, max_epochs=1, num_sanity_val_steps=0)
    used.validate(module, loader(2), ckpt_path="last.ckpt", verbose=False)
    used.test(module, loader(2), ckpt_path="last.ckpt", verbose=False)
    used.fit(module, loader(10), loader(2))
    assert module.lrs == SGDR(0.1, cycles=2).preview(10)["lr"]
