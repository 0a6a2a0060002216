"""How long a fit will be, for every way to say it to a Trainer."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from lightning_lr import SGDR, Horizon, Schedule
from tests.fits import Recording, fit, loader, stream, trainer


class Validated(Recording):
    def validation_step(self, batch, batch_idx):
        self.loss()


def horizon_in(callbacks=(), data=None, module=None, total_steps=None, **options):
    """Return the horizon that a schedule finds, and how many updates there really were."""
    policy = Schedule(lr=0.01, total_steps=total_steps)
    module = module or Recording()
    trainer(policy, *callbacks, **options).fit(module, loader(10) if data is None else data)
    return policy.horizon, policy.step


# Of ten batches; an accumulation of three makes four updates of them.
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_epochs": 2}, Horizon(20, 10)),
        ({"max_epochs": 2, "accumulate_grad_batches": 3}, Horizon(8, 4)),
        ({"max_steps": 7}, Horizon(7, 10)),
        ({"max_steps": 7, "accumulate_grad_batches": 3}, Horizon(7, 4)),
        ({"max_steps": 7, "max_epochs": 5}, Horizon(7, 10)),
        ({"max_steps": 70, "max_epochs": 2}, Horizon(20, 10)),
        ({"max_epochs": 2, "limit_train_batches": 4}, Horizon(8, 4)),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, Horizon(10, 5)),
        ({"max_epochs": 2, "overfit_batches": 3}, Horizon(6, 3)),
    ],
)
def test_length_of_a_run(options, expected):
    horizon, updates = horizon_in(**options)
    assert horizon == expected
    assert updates == expected.total_steps


@pytest.mark.parametrize("interval", [3, 0.25])
def test_validation_in_mid_epoch_changes_nothing(interval):
    policy, module = SGDR(0.1, cycles=2), Validated()
    trainer(policy, max_epochs=1, val_check_interval=interval).fit(module, loader(10), loader(2))
    assert policy.horizon == Horizon(10, 10)
    assert module.lrs == SGDR(0.1, cycles=2).preview(10)["lr"]


# Six batches an epoch, three epochs: Lightning's own estimate is 18 for the first of these.
@pytest.mark.parametrize(
    ("plan", "updates"),
    [
        ({0: 1, 1: 3}, 6 + 2 + 2),
        ({0: 4, 2: 5}, 2 + 2 + 2),
        ({2: 4}, 6 + 6 + 2),
        ({0: 2, 1: 3, 9: 1}, 3 + 2 + 2),
    ],
)
def test_a_plan_of_changing_accumulation_is_summed(plan, updates):
    horizon, applied = horizon_in([GradientAccumulationScheduler(plan)], loader(6), max_epochs=3)
    assert horizon == Horizon(updates, None)
    assert applied == updates


def test_a_plan_of_one_accumulation_has_epochs_of_one_length():
    horizon, _ = horizon_in([GradientAccumulationScheduler({0: 3})], max_epochs=2)
    assert horizon == Horizon(8, 4)


def test_a_stream_has_a_length_in_updates_and_none_in_epochs():
    assert horizon_in(data=stream(10), max_epochs=1, total_steps=10) == (Horizon(10, None), 10)
    assert horizon_in(data=stream(10), max_steps=7) == (Horizon(7, None), 7)


@pytest.mark.parametrize(("dry_run", "batches"), [(True, 1), (3, 3)])
def test_a_dry_run_is_the_start_of_a_long_one(dry_run, batches):
    assert horizon_in(fast_dev_run=dry_run) == (Horizon(1000, batches), batches)


def test_the_users_total_steps_come_before_all():
    assert horizon_in(max_epochs=2, total_steps=50) == (Horizon(50, 10), 20)


def test_a_checkpoint_of_the_loaders_place_is_still_restored(tmp_path):
    class Remembering:
        """A loader with a state, which Lightning keeps in its checkpoint."""

        def __init__(self):
            self.at, self.given = 0, []

        def __len__(self):
            return 10

        def __iter__(self):
            while self.at < 10:
                self.given.append(self.at)
                self.at += 1
                yield torch.zeros(1)
            self.at = 0

        def state_dict(self):
            return {"at": self.at}

        def load_state_dict(self, state):
            self.at = state["at"]

    class SaveAfterFive(Schedule):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 5:
                trainer.save_checkpoint(tmp_path / "five.ckpt")

    trainer(SaveAfterFive(lr=0.01), max_epochs=1).fit(Recording(), Remembering())
    data = Remembering()
    trainer(SaveAfterFive(lr=0.01), max_epochs=1).fit(Recording(), data, ckpt_path=tmp_path / "five.ckpt")
    assert data.given == [5, 6, 7, 8, 9]


# Refused


def refused(error, policy, *callbacks, module=None, data=None, **options):
    module = module or Recording()
    with pytest.raises(error) as caught:
        trainer(policy, *callbacks, **options).fit(module, loader(10) if data is None else data)
    assert module.at_forward == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_stream_alone_is_refused():
    message = refused(ValueError, SGDR(0.1, cycles=2), data=stream(10), max_epochs=1)
    assert message == (
        "total_steps=None: the length of the run cannot be told, the training loader has no length; "
        "pass total_steps=, the number of optimizer updates of the run"
    )


def test_max_time_alone_is_refused():
    message = refused(ValueError, SGDR(0.1, cycles=2), max_time="00:00:01:00")
    assert message == (
        "total_steps=None: the length of the run cannot be told, neither max_epochs nor max_steps is set; "
        "pass total_steps=, the number of optimizer updates of the run"
    )


def test_max_steps_of_several_optimizers_is_refused():
    class Two(Recording):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def configure_optimizers(self):
            return [torch.optim.SGD([self.layer.weight], lr=0.5), torch.optim.SGD([self.layer.bias], lr=0.1)]

    message = refused(ValueError, SGDR(0.1, cycles=2, optimizer=0), module=Two(), max_steps=7)
    assert message.startswith("max_steps=7: it counts the steps of all 2 optimizers; pass total_steps=")


@pytest.mark.parametrize("policy", [SGDR(0.1, cycles=11), SGDR(0.1, cycles=11, total_steps=10)])
def test_more_cycles_than_updates_are_refused(policy):
    message = refused(ValueError, policy, max_epochs=1)
    assert message == "cycles=11: more cycles than updates (10); ask for fewer cycles or train for longer"


def test_a_warm_up_that_leaves_no_update_is_refused():
    message = refused(ValueError, SGDR(0.1, cycles=1, warmup="2ep"), max_epochs=1)
    assert message.startswith("warmup=")
    assert "'2ep'" in message
    assert "in a run of 10 updates" in message
    assert message.endswith("shorten it or train for longer")


def test_epochs_in_a_run_without_epochs_are_refused():
    message = refused(ValueError, SGDR(0.1, cycle="1ep", total_steps=10), data=stream(10), max_epochs=1)
    assert "'1ep': an epoch has no fixed number of updates here; give the duration in updates" in message


def test_a_length_that_fits_is_not_refused():
    assert len(fit(SGDR(0.1, cycles=10)).lrs) == 10
