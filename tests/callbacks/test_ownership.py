"""One optimizer, one owner: who is refused, when, and in which words."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import SingleDeviceStrategy

from lightning_lr import SGDR, OneCycle, Schedule, StepDecay, target
from tests.fits import Recording, fit, sgd, two_groups


def refused(error, *callbacks, module=None, after=0):
    """Return the one line that a fit is refused with, before its first batch unless told otherwise."""
    module = module or Recording()
    with pytest.raises(error) as caught:
        fit(*callbacks, module=module)
    assert len(module.at_forward) == after
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Pair(Recording):
    """Two optimizers, of which the second may have a scheduler."""

    def __init__(self, scheduled=False):
        super().__init__()
        self.automatic_optimization = False
        self.scheduled = scheduled

    def configure_optimizers(self):
        pair = [torch.optim.SGD([self.layer.weight], lr=0.5), torch.optim.SGD([self.layer.bias], lr=0.1)]
        return pair, [torch.optim.lr_scheduler.StepLR(pair[1], 3)] if self.scheduled else []

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.loss())
            optimizer.step()


class Scheduled(Recording):
    """Returns a scheduler of torch's with its optimizer."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make(optimizer), "monitor": "loss"}}


SCHEDULERS = {
    "StepLR": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3),
    "ReduceLROnPlateau": lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
    "SequentialLR": lambda optimizer: torch.optim.lr_scheduler.SequentialLR(
        optimizer, [torch.optim.lr_scheduler.ConstantLR(optimizer), torch.optim.lr_scheduler.StepLR(optimizer, 3)], [2]
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_of_the_modules_own_is_refused(name):
    message = refused(RuntimeError, SGDR(0.1, cycles=2), module=Scheduled(SCHEDULERS[name]))
    assert message == (
        f"lr_scheduler={name}: the module's configure_optimizers returns it for optimizer 0, which SGDR writes to as "
        "well; return the optimizer alone, or remove SGDR"
    )


def test_a_scheduler_for_the_same_of_several_optimizers_is_refused():
    message = refused(RuntimeError, SGDR(0.1, cycles=2, optimizer=1), module=Pair(scheduled=True))
    assert message.startswith("lr_scheduler=StepLR: the module's configure_optimizers returns it for optimizer 1,")


def test_a_scheduler_for_another_optimizer_is_allowed():
    module = fit(SGDR(0.1, cycles=2, optimizer=0), module=Pair(scheduled=True))
    assert module.trainer.global_step == 20


def test_two_policies_on_one_optimizer_are_refused_by_name():
    message = refused(RuntimeError, SGDR(0.1, cycles=2), StepDecay(0.1, every=3, optimizer=0))
    assert message == (
        "optimizer=0: both SGDR and StepDecay write to it; keep one of them "
        "(Schedule takes lr, momentum and weight_decay together)"
    )


def test_two_policies_of_one_class_on_one_optimizer_are_refused():
    # Lightning sees to that: their state would lie under one key.
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `SGDR`"):
        fit(SGDR(0.1, cycles=2), SGDR(0.1, cycles=3))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (sgd(), "SGD"),
        (lambda module: torch.optim.RMSprop(module.parameters(), lr=0.5), "RMSprop"),
    ],
)
def test_momentum_of_an_optimizer_that_has_none_is_refused(build, name):
    message = refused(ValueError, OneCycle(0.1), module=Recording(build))
    assert message.startswith("momentum=0")
    assert message.endswith(
        f"{name} has no momentum in param group 0; build it with one, or leave it alone with cycle_momentum=False"
    )


def test_momentum_of_an_optimizer_without_the_key_is_refused():
    module = Recording(lambda module: torch.optim.Adagrad(module.parameters(), lr=0.5))
    assert refused(ValueError, OneCycle(0.1), module=module) == (
        "momentum=None: Adagrad has no momentum in param group 0; build it with one, or leave it alone with "
        "cycle_momentum=False"
    )


def test_momentum_left_alone_is_left_alone():
    module = fit(OneCycle(0.1, cycle_momentum=False))
    assert {held["momentum"] for held in module.at_update} == {0}


def test_weight_decay_of_an_optimizer_without_the_key_is_refused():
    module = Recording(lambda module: torch.optim.LBFGS(module.parameters(), lr=0.5))
    message = refused(ValueError, Schedule(weight_decay=0.1), module=module)
    assert message == "weight_decay=None: LBFGS has none in param group 0; leave it out of the schedule"


def test_an_lr_of_0_everywhere_is_refused():
    message = refused(ValueError, SGDR(0.1, cycles=2), module=Recording(sgd(lr=0.0)))
    assert message.startswith("lr=0: SGD was built with it in every param group")
    assert message.endswith("build it with a positive lr")


def test_an_optimizer_that_is_not_there_is_refused():
    message = refused(ValueError, SGDR(0.1, cycles=2, optimizer=2), module=Pair())
    assert message == "optimizer=2: SGDR finds no such optimizer; there are 2, counted from 0"


@pytest.mark.filterwarnings("ignore:.*configure_optimizers.* returned `None`.*:UserWarning")
def test_a_module_without_an_optimizer_is_refused():
    class Frozen(Recording):
        def configure_optimizers(self):
            return None

    message = refused(ValueError, SGDR(0.1, cycles=2), module=Frozen())
    assert message == "optimizer=None: SGDR finds no such optimizer; configure_optimizers returns none"


def test_several_optimizers_and_none_named_are_refused():
    message = refused(ValueError, SGDR(0.1, cycles=2), module=Pair())
    assert message == "optimizer=None: SGDR must be told which of 2 optimizers; pass 0 to 1"


def test_an_engine_that_steps_elsewhere_is_refused(monkeypatch):
    monkeypatch.setattr(target, "DeepSpeedStrategy", SingleDeviceStrategy)
    message = refused(RuntimeError, SGDR(0.1, cycles=2))
    assert message.startswith("strategy=SingleDeviceStrategy: its engine steps elsewhere")
    assert "use strategy='ddp'" in message


def test_an_engine_that_nobody_knew_of_is_found_out_at_the_end():
    class Engine(Recording):
        """Counts a step for Lightning, and never calls the optimizer."""

        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
            optimizer_closure()

    message = refused(RuntimeError, SGDR(0.1, cycles=2), module=Engine(), after=10)
    assert "has seen none of them" in message


@pytest.mark.parametrize(
    ("rates", "groups", "built"),
    [([0.1, 0.2], 1, sgd()), ([0.1, 0.2, 0.3], 2, two_groups()), ([0.1], 2, two_groups())],
)
def test_a_list_of_the_wrong_length_is_refused(rates, groups, built):
    message = refused(ValueError, SGDR(rates, cycles=2), module=Recording(built))
    assert message == (
        f"lr=[...]: a list of {len(rates)} for the {groups} param groups of SGD; "
        "give one a group, or a single one for all"
    )


class Meddler(Callback):
    """Halves the LR before the fourth batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 3:
            group = trainer.optimizers[0].param_groups[0]
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].mul_(0.5)
            else:
                group["lr"] *= 0.5


class Replacer(Callback):
    """Puts another tensor of the same value in the LR's place before the fourth batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 3:
            group = trainer.optimizers[0].param_groups[0]
            group["lr"] = torch.as_tensor(group["lr"]).clone()


@pytest.mark.parametrize("lr", [0.5, torch.tensor(0.5)])
@pytest.mark.parametrize("other", [Meddler, Replacer])
def test_a_change_by_somebody_else_between_two_updates_is_refused(lr, other):
    message = refused(RuntimeError, Schedule(lr=0.1), other(), module=Recording(sgd(lr=lr)), after=4)
    assert message.startswith("lr=")
    assert ": param group 0 was given 0.1 for update 3 by Schedule, and somebody else has changed it since;" in message
    assert message.endswith("remove the code that sets it, or remove Schedule")


def test_a_change_of_momentum_by_somebody_else_is_refused():
    class Restless(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx == 3:
                trainer.optimizers[0].param_groups[0]["betas"] = (0.5, 0.999)

    module = Recording(lambda module: torch.optim.Adam(module.parameters(), lr=0.5))
    message = refused(RuntimeError, Schedule(momentum=0.9), Restless(), module=module, after=4)
    assert message.startswith("momentum=0.5: param group 0 was given 0.9 for update 3 by Schedule")


def test_what_is_not_scheduled_may_be_changed_by_others():
    module = fit(Schedule(weight_decay=0.1), Meddler())
    assert module.lrs == [0.5] * 3 + [0.25] * 7
