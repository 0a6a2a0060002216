"""The clock counts updates that were applied: whoever calls the optimizer, however often, and whatever is skipped."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision

from lightning_lr import SGDR, Schedule
from tests.fits import Recording, fit, held_by, loader, sgd, stream, trainer


def clock(**options):
    """Return a schedule whose LR is the number of updates applied, in 1024ths: small enough to train with."""
    return Schedule(lr=lambda step: step / 1024, **options)


def read(held):
    return [int(each["lr"] * 1024) for each in held]


class Skipped(Recording):
    """Returns an infinite loss for the third and the sixth batch."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * torch.inf if batch_idx in (2, 5) else loss


class Adversaries(Recording):
    """Two optimizers by hand: the first steps at every batch, the second twice at every batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.seen = ([], [])

    def configure_optimizers(self):
        return [torch.optim.SGD([self.layer.weight], lr=0.5), torch.optim.SGD([self.layer.bias], lr=0.1)]

    def training_step(self, batch, batch_idx):
        for index, times in ((0, 1), (1, 2)):
            optimizer = self.optimizers()[index]
            for _ in range(times):
                self.seen[index].append(held_by(optimizer)["lr"])
                optimizer.zero_grad()
                self.manual_backward(self.loss())
                optimizer.step()


class Twice(Recording):
    """One optimizer by hand, stepped twice at every batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        for _ in range(2):
            optimizer.zero_grad()
            self.manual_backward(self.loss())
            optimizer.step()


def scaled():
    return MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))


def test_two_optimizers_each_with_a_policy_of_its_own():
    module = Adversaries()
    first, second = SGDR(0.1, cycles=2, optimizer=0), SGDR(0.3, cycles=5, optimizer=1, total_steps=20)
    assert first.state_key != second.state_key
    fit(first, second, module=module)
    assert module.seen[0] == SGDR(0.1, cycles=2).preview(10)["lr"]
    assert module.seen[1] == SGDR(0.3, cycles=5).preview(20)["lr"]


def test_an_optimizer_without_a_policy_is_left_alone():
    module = Adversaries()
    fit(SGDR(0.1, cycles=2, optimizer=0), module=module)
    assert module.seen[1] == [0.1] * 20


def test_two_clocks_in_one_checkpoint(tmp_path):
    first = trainer(SGDR(0.1, cycles=2, optimizer=0), SGDR(0.3, cycles=5, optimizer=1, total_steps=20), max_epochs=1)
    first.fit(Adversaries(), loader(10))
    first.save_checkpoint(tmp_path / "last.ckpt")
    states = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    steps = {key: state["step"] for key, state in states.items()}
    assert steps == {"SGDR[optimizer=0]": 10, "SGDR[optimizer=1]": 20}


def test_several_updates_a_batch_with_total_steps():
    module = fit(SGDR(0.1, cycles=2, total_steps=20), module=Twice())
    assert module.lrs == SGDR(0.1, cycles=2).preview(20)["lr"]


def test_past_the_horizon_the_last_value_holds_and_one_warning_says_so():
    with pytest.warns(UserWarning, match="more than the 4 updates that its curve was made for") as warned:
        module = fit(clock(total_steps=4))
    assert sum("more than" in str(warning.message) for warning in warned) == 1
    assert read(module.at_update) == [0, 1, 2, 3, 3, 3, 3, 3, 3, 3]


def test_a_stream_with_total_steps():
    module = Recording()
    trainer(SGDR(0.1, cycles=2, total_steps=10), max_epochs=1).fit(module, stream(10))
    assert module.lrs == SGDR(0.1, cycles=2).preview(10)["lr"]


@pytest.mark.filterwarnings("ignore:.*returned `None`.*:UserWarning")
def test_a_step_without_a_loss_counts_as_an_update():
    class Silent(Recording):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx == 2 else loss

    module = fit(clock(), module=Silent())
    assert read(module.at_forward) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_step_that_a_scaler_skips_does_not_count():
    policy = clock()
    module = fit(policy, module=Skipped(sgd(foreach=False)), plugins=scaled())
    assert read(module.at_forward) == [0, 1, 2, 2, 3, 4, 4, 5, 6, 7]
    assert policy.step == 8


FUSED = {
    "sgd": lambda module: torch.optim.SGD(module.parameters(), lr=0.5, fused=True),
    "adam": lambda module: torch.optim.Adam(module.parameters(), lr=0.5, fused=True),
}


@pytest.mark.parametrize("optimizer", FUSED)
def test_a_step_that_a_fused_kernel_skips_does_not_count(optimizer):
    # The fused optimizer is called all the same, and its hooks are: all ten times.
    policy, module = clock(), Skipped(FUSED[optimizer])
    fit(policy, module=module, plugins=scaled())
    assert read(module.at_update) == read(module.at_forward) == [0, 1, 2, 2, 3, 4, 4, 5, 6, 7]
    assert policy.step == 8


def test_a_fused_optimizer_by_hand_under_a_scaler():
    class Manual(Recording):
        def __init__(self):
            super().__init__(FUSED["sgd"])
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.loss() * (torch.inf if batch_idx in (2, 5) else 1.0))
            optimizer.step()

    module = fit(clock(), module=Manual(), plugins=scaled())
    assert read(module.at_update) == [0, 1, 2, 2, 3, 4, 4, 5, 6, 7]


def test_an_optimizer_that_evaluates_its_closure_many_times_makes_one_update():
    policy = clock()
    fit(policy, module=Recording(lambda module: torch.optim.LBFGS(module.parameters(), lr=0.5, max_iter=5)))
    assert policy.step == 10


def test_a_run_whose_every_step_a_scaler_skips_ends_with_its_clock_at_0():
    class Never(Recording):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * torch.inf

    policy = clock()
    fit(policy, module=Never(), plugins=scaled())
    assert policy.step == 0


def test_fast_dev_run_tries_the_beginning_of_a_curve():
    # Five cycles do not fit into one update: what a dry run tries is the start of a long curve.
    module = fit(SGDR(0.1, cycles=5), fast_dev_run=True)
    assert module.lrs == [0.1]


@pytest.mark.slow
def test_a_compiled_step_is_not_compiled_again():
    class Compiled(Recording):
        def __init__(self):
            super().__init__(sgd(lr=torch.tensor(0.5)))
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers(use_pl_optimizer=False)
            if batch_idx == 0:
                self.compiled = torch.compile(optimizer.step, backend="eager")
            optimizer.zero_grad()
            self.manual_backward(self.loss())
            self.compiled()

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    policy = SGDR(0.1, cycles=2)
    # Not by monkeypatch, which takes the setting itself away in the end.
    with torch._dynamo.config.patch(error_on_recompile=True):
        module = fit(policy, module=Compiled())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert policy.step == 10
    assert module.built.param_groups[0]["lr"].item() == pytest.approx(0.00954915)


def test_an_optimizer_that_calls_its_base_counts_once():
    class Careful(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    # torch runs the hooks of a step for each class that it has seen, and it has now seen the base.
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    fired = []

    def build(module):
        optimizer = Careful(module.parameters(), lr=0.5)
        optimizer.register_step_post_hook(lambda *_: fired.append(1))
        return optimizer

    module, policy = Recording(build), clock()
    fit(policy, module=module)
    assert len(fired) == 20
    assert read(module.at_forward) == [*range(10)]
    assert policy.step == 10
