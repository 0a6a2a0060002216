"""`"auto"` in a fit: when a range test is run, what is taken of it, and what a resumed run does."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import (
    SGDR,
    Constant,
    CosineAnnealing,
    CyclicLR,
    LRRangeTest,
    OneCycle,
    SnapshotCheckpoint,
    Snapshots,
    range_test,
)
from lightning_lr.range_test.readings import Settings
from tests.callbacks.watched import WatchedPair, foreseen
from tests.fits import EveryGroup, Recording, fit, loader, resume, sgd, stop, trainer, two_groups
from tests.schedules.test_auto import FOUND, POLICIES
from tests.system.test_two_processes import run
from tests.test_lightning_cli import GIVEN, ran_in_three_ways

# The data of an update is drawn from its number: the loader's place in the epoch does not matter here.
pytestmark = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")

NEVER_FELL = "the loss never fell: by 0.001 from 1e-06 to 10; pass a smaller min_lr"


@dataclass(frozen=True)
class Found:
    """What a `RangeTest` tells a policy."""

    max_lr: float | None = FOUND["max_lr"]
    base_lr: float | None = FOUND["base_lr"]
    fixed_lr: float | None = FOUND["fixed_lr"]
    reliability: tuple[str, ...] = ()


class Answers(list):
    """In the place of range tests: notes what each is asked, and answers."""

    answer = Found()

    def __call__(self, trainer, module, settings):
        self.append(settings)
        return self.answer


@pytest.fixture
def tests(monkeypatch):
    tests = Answers()
    monkeypatch.setattr(range_test, "range_test_within", tests)
    return tests


class Never(Callback):
    """A callback that has a `result` and no `measure`, or the other way round, is no range test."""

    result = Found(9.0, 9.0, 9.0)


class Measured(Callback):
    """All that a policy knows of an `LRRangeTest`."""

    def __init__(self, optimizer=None, result=None):
        self.optimizer, self.result, self.calls = optimizer, result, 0

    def measure(self, trainer, pl_module):
        self.calls += 1
        self.result = self.result or Found(0.04, 0.005, 0.02)
        return self.result


class Logged(Recording):
    def training_step(self, batch, batch_idx):
        self.log("loss", 1.0)
        return super().training_step(batch, batch_idx)


# What is taken


@pytest.mark.parametrize("name", POLICIES)
def test_a_fit_is_that_of_the_policy_that_was_given_what_is_found(name, tests):
    build, known_as = POLICIES[name]
    numbers = {argument: FOUND[rate] for argument, rate in known_as.items()}
    policy, given = build(), build(**numbers)
    runs = [fit(each, module=Logged(sgd(momentum=0.9))) for each in (policy, given)]
    assert runs[0].at_update == runs[1].at_update
    assert runs[0].at_forward == runs[1].at_forward
    assert torch.equal(runs[0].layer.weight, runs[1].layer.weight)
    assert policy.found == numbers
    assert policy.run_cycles == given.run_cycles
    # One test, however many rates are taken of it; none where none is.
    assert tests == [Settings(momentum=policy.auto.momentum, optimizer=0)]


def test_the_momentum_that_the_cycle_has_at_its_peak(tests):
    fit(OneCycle("auto", base_momentum=0.7), module=Recording(sgd(momentum=0.9)))
    fit(OneCycle("auto", cycle_momentum=False), module=Recording(sgd(momentum=0.9)))
    assert [asked.momentum for asked in tests] == [0.7, None]


def test_what_was_taken_can_be_seen_after_the_fit(tests, tmp_path):
    policy, given = SGDR("auto", cycles=2), SGDR(0.4, cycles=2)
    module = fit(policy)
    assert policy.preview(10) == given.preview(10) == {"lr": module.lrs}
    assert policy.plot(tmp_path / "plan.png", 10).stat().st_size > 0
    told = policy.describe(trainer(policy, max_epochs=1), Recording(), loader(10))
    assert told == given.describe(trainer(given, max_epochs=1), Recording(), loader(10))


def test_a_second_fit_tests_anew(tests):
    policy = SGDR("auto", cycles=2)
    first = fit(policy)
    tests.answer = replace(Found(), max_lr=0.8)
    second = fit(policy)
    assert len(tests) == 2
    assert policy.found == {"max_lr": 0.8}
    assert second.lrs == [2 * lr for lr in first.lrs]


def test_a_copy_of_a_policy_tests_for_itself(tests):
    policy = OneCycle("auto", cycle_momentum=False)
    fit(policy)
    tests.answer = replace(Found(), max_lr=0.8)
    module = fit(copy.deepcopy(policy))
    assert max(module.lrs) == 0.8
    assert policy.found == {"max_lr": 0.4}


def test_groups_keep_their_ratios(tests):
    groups = EveryGroup()
    fit(Constant("auto"), groups, module=Recording(two_groups()))
    assert groups.lrs == [pytest.approx([0.2, 0.02], rel=1e-12)] * 10


def test_a_list_of_lower_bounds_has_a_curve_a_group(tests):
    policy = CosineAnnealing("auto", min_lr=[0.1, 0.0])
    fit(policy, module=Recording(two_groups()))
    assert policy.preview(10) == CosineAnnealing([0.4, 0.4], min_lr=[0.1, 0.0]).preview(10)


def test_nobody_tests_where_nothing_is_auto(tests):
    policy = SGDR(0.1, cycles=2)
    fit(policy)
    assert tests == []
    assert policy.found == {}


# What it is taken from


@pytest.mark.parametrize("first", ["policy", "test"])
def test_an_lr_range_test_beside_it_is_asked(tests, first):
    policy, beside = CyclicLR("auto", "auto", 2, cycle_momentum=False), Measured()
    fit(*([policy, Never(), beside] if first == "policy" else [beside, Never(), policy]))
    assert policy.found == {"max_lr": 0.04, "base_lr": 0.005}
    assert beside.calls == 1
    assert tests == []


def test_one_of_another_optimizer_is_not_asked(tests):
    policies = SGDR("auto", cycles=2, optimizer=0), SGDR("auto", cycles=3, optimizer=1)
    beside, module = Measured(optimizer=1), WatchedPair(1, 1)
    fit(policies[0], beside, policies[1], module=module, max_epochs=2, batches=6)
    assert beside.calls == 1
    assert tests == [Settings(momentum=None, optimizer=0)]
    assert [policy.found for policy in policies] == [{"max_lr": 0.4}, {"max_lr": 0.04}]
    assert module.updates[0] == foreseen(SGDR(0.4, cycles=2), 1, 12, 6)
    assert module.updates[1] == foreseen(SGDR(0.04, cycles=3), 1, 12, 6)


def test_two_optimizers_have_a_test_each(tests):
    fit(
        SGDR("auto", cycles=2, optimizer=1),
        OneCycle("auto", optimizer=0),
        module=WatchedPair(1, 1),
        max_epochs=2,
        batches=6,
    )
    assert tests == [Settings(momentum=None, optimizer=1), Settings(momentum=0.85, optimizer=0)]


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (lambda: Constant("auto"), {"lr": 0.5}),
        (lambda: CyclicLR("auto", "auto", 2, cycle_momentum=False), {"max_lr": 0.5, "base_lr": 0.125}),
        # A dry run does not stop at what only a real one can tell.
        (lambda: CosineAnnealing("auto", min_lr=0.75), {"max_lr": 0.75}),
    ],
)
def test_a_dry_run_takes_the_optimizers_own(tests, caplog, policy, found):
    policy = policy()
    module = Recording(two_groups())
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        trainer(policy, fast_dev_run=2).fit(module, loader(10))
    assert tests == []
    assert policy.found == found
    assert len(module.lrs) == 2
    rates = ", ".join(f"{name}={rate:.3g}" for name, rate in found.items())
    said = f"{type(policy).__name__}: {rates} of the optimizer, for fast_dev_run has no room for an LR range test"
    assert said in caplog.messages


# What is told of it


def test_it_is_told_and_logged(tests, tmp_path, caplog):
    class Module(Recording):
        def __init__(self, width):
            super().__init__()
            self.save_hyperparameters()

    loggers = [CSVLogger(tmp_path, name=name) for name in ("first", "second")]
    module, policy = Module(width=7), CyclicLR("auto", "auto", 2, cycle_momentum=False)
    with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
        fit(policy, module=module, logger=loggers)
    assert "CyclicLR: max_lr=0.4, base_lr=0.05 of an LR range test" in caplog.messages
    for logger in loggers:
        assert logger.experiment.hparams == {"width": 7, "CyclicLR/max_lr": 0.4, "CyclicLR/base_lr": 0.05}
    assert module.hparams == {"width": 7}


def test_two_optimizers_are_told_apart(tests, tmp_path):
    logger = CSVLogger(tmp_path)
    policies = [SGDR("auto", cycles=2, optimizer=index) for index in (0, 1)]
    fit(*policies, module=WatchedPair(1, 1), logger=logger)
    assert logger.experiment.hparams == {"SGDR-0/max_lr": 0.4, "SGDR-1/max_lr": 0.4}


def test_the_first_of_several_records_has_all_that_belongs_in_it(tests, tmp_path):
    # A record is final to TensorBoard: what comes later, from Lightning, may hold nothing that this has not.
    class Records(CSVLogger):
        def log_hyperparams(self, params=None):
            records.append(dict(params))

    class Module(Recording):
        def __init__(self, width):
            super().__init__()
            self.save_hyperparameters()

    records = []
    fit(Constant("auto"), module=Module(width=7), logger=Records(tmp_path))
    assert records == [{"width": 7, "Constant/lr": 0.2}, {"width": 7}]


def test_what_speaks_against_it_is_told(tests):
    tests.answer = replace(Found(), reliability=("did not diverge: pass a larger max_lr", "rules disagree"))
    said = "Constant: lr=0.2 of an LR range test: {} (an LRRangeTest among the callbacks sets the test's own range)"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(Constant("auto"))
    told = [str(warning.message) for warning in caught if "LR range test" in str(warning.message)]
    assert told == [said.format(note) for note in tests.answer.reliability]


@pytest.mark.parametrize(
    ("policy", "missing"),
    [(lambda: SGDR("auto", cycles=2), "max_lr"), (lambda: CyclicLR("auto", 0.1, cycle_momentum=False), "base_lr")],
)
def test_a_test_that_cannot_tell_is_refused(tests, policy, missing):
    tests.answer = replace(Found(reliability=(NEVER_FELL,)), **{missing: None})
    policy = policy()
    with pytest.raises(ValueError, match="auto") as caught:
        fit(policy)
    assert str(caught.value) == (
        f"{missing}='auto': the LR range test cannot tell ({NEVER_FELL}); pass a number, or test another range: "
        "an LRRangeTest among the callbacks sets the test's own range"
    )
    assert policy.found == {}


def test_what_it_cannot_tell_and_nobody_asked_for_is_no_matter(tests):
    tests.answer = Found(max_lr=0.3, base_lr=None, fixed_lr=None)
    policy = SGDR("auto", cycles=2)
    fit(policy)
    assert policy.found == {"max_lr": 0.3}


def test_what_was_found_is_checked_as_what_is_given(tests):
    with pytest.raises(
        ValueError, match=r"^max_lr='auto': it stands for 0\.4 here, and min_lr=0\.7: above max_lr=0\.4"
    ):
        fit(CosineAnnealing("auto", min_lr=0.7))


# What the fit would refuse anyhow, it refuses before hundreds of batches.
@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (lambda: OneCycle("auto"), "momentum=0: SGD has no momentum"),
        (lambda: CosineAnnealing("auto", min_lr=[0.0, 0.0]), "a list of 2 for the 1 param groups"),
        (lambda: Constant("auto", optimizer=1), "optimizer=1: Constant finds no such optimizer"),
    ],
)
def test_what_the_optimizer_lacks_is_refused_without_a_test(tests, policy, said):
    with pytest.raises(ValueError, match=said):
        fit(policy())
    assert tests == []


def test_a_strategy_that_restores_after_on_fit_start(tests):
    class Late(SingleDeviceStrategy):
        restore_checkpoint_after_setup = True

    with pytest.raises(
        ValueError, match=r"^lr='auto': Late restores a checkpoint too late to tell .*; run lr_range_test"
    ):
        fit(Constant("auto"), strategy=Late(torch.device("cpu")))
    assert tests == []


# Resumed


@pytest.mark.parametrize("name", POLICIES)
def test_a_resumed_run_takes_what_was_saved(name, tests):
    build, _ = POLICIES[name]
    whole = fit(build(), module=Logged(sgd(momentum=0.9)), max_epochs=2)
    checkpoint = stop(build(), 7, module=Logged(sgd(momentum=0.9)))
    tests.clear()
    tests.answer = Found(9.0, 9.0, 9.0)
    policy = build()
    resumed = resume(policy, checkpoint, module=Logged(sgd(momentum=0.9)))
    assert tests == []
    assert resumed.at_update == whole.at_update[7:]
    assert policy.found == {argument: FOUND[rate] for argument, rate in POLICIES[name][1].items()}
    # And again, from a checkpoint of the run that was resumed.
    checkpoint = stop(build(), 13, module=Logged(sgd(momentum=0.9)), ckpt_path=checkpoint)
    assert resume(build(), checkpoint, module=Logged(sgd(momentum=0.9))).at_update == whole.at_update[13:]
    assert tests == []


def test_the_state_is_read_with_weights_only(tests):
    checkpoint = stop(CyclicLR("auto", "auto", 2, cycle_momentum=False), 7)
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["CyclicLR[optimizer=0]"]
    assert state["found"] == {"max_lr": 0.4, "base_lr": 0.05}


def test_a_range_test_beside_it_is_not_asked_again(tests):
    checkpoint = stop(SGDR("auto", cycles=2), 7, Measured())
    beside, policy = Measured(), SGDR("auto", cycles=2)
    resume(policy, checkpoint, beside)
    assert beside.calls == 0
    assert policy.found == {"max_lr": 0.04}


def test_a_number_that_is_given_now_counts(tests):
    checkpoint = stop(SGDR("auto", cycles=2), 7)
    module, policy = Recording(), SGDR(0.1, cycles=2)
    resume(policy, checkpoint, module=module)
    assert module.lrs == SGDR(0.1, cycles=2).preview(20)["lr"][7:]
    assert policy.found == {}


@pytest.mark.parametrize(
    ("before", "now", "argument"),
    [
        (lambda: SGDR(0.1, cycles=2), lambda: SGDR("auto", cycles=2), "max_lr"),
        (
            lambda: CyclicLR(0.01, "auto", 2, cycle_momentum=False),
            lambda: CyclicLR("auto", "auto", 2, cycle_momentum=False),
            "base_lr",
        ),
    ],
)
def test_a_number_before_is_asked_for_again(tests, before, now, argument):
    checkpoint = stop(before(), 7)
    tests.clear()
    with pytest.raises(ValueError, match="auto") as caught:
        resume(now(), checkpoint)
    assert str(caught.value) == (
        f"{argument}='auto': the run that is resumed was given a number, and a range test in its middle tells nothing "
        "of its beginning; pass the number that it was given"
    )
    assert tests == []


def test_a_run_that_knew_no_policy_is_tested(tests):
    first = trainer(max_epochs=1)
    first.fit(Recording(), loader(10))
    first.save_checkpoint("without.ckpt")
    module = Recording()
    with pytest.warns(UserWarning, match="over the 10 updates that are left"):
        resume(SGDR("auto", cycles=2), "without.ckpt", module=module)
    assert len(tests) == 1
    assert module.lrs == SGDR(0.4, cycles=2).preview(10)["lr"]


class SaveBefore(Callback):
    """Saves before the policy has begun, as a callback may that saves on an exception; to come before the policy."""

    def on_train_start(self, trainer, pl_module):
        trainer.save_checkpoint("before.ckpt")


def test_a_checkpoint_from_before_training(tests):
    fit(SaveBefore(), SGDR("auto", cycles=2))
    policy = SGDR("auto", cycles=2)
    module = resume(policy, "before.ckpt", max_epochs=1)
    assert len(tests) == 2
    assert policy.found == {"max_lr": 0.4}
    assert module.lrs == SGDR(0.4, cycles=2).preview(10)["lr"]


def test_a_checkpoint_from_before_training_goes_on(tests):
    checkpoint = stop(SGDR("auto", cycles=2), 7)
    resume(SaveBefore(), checkpoint, SGDR("auto", cycles=2))
    tests.clear()
    policy = SGDR("auto", cycles=2)
    module = resume(policy, "before.ckpt")
    assert tests == []
    assert module.lrs == SGDR(0.4, cycles=2).preview(20)["lr"][7:]


# With the real range test


class Learning(pl.LightningModule):
    """A small network with all that a range test might leave a trace in: statistics, momentum, random numbers."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))

    def training_step(self, batch, batch_idx):
        inputs, labels = batch
        return nn.functional.cross_entropy(self.net(inputs), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def shuffled():
    inputs = torch.randn(256, 8, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(inputs, (inputs.sum(1) > 0).long()), batch_size=16, shuffle=True)


def trained(*callbacks, build=None):
    """Everything that a fit leaves behind."""
    torch.manual_seed(3)
    module = Learning()
    if build is not None:
        module.configure_optimizers = partial(build, module)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* of an LR range test: ")
        trainer(*callbacks, max_epochs=2).fit(module, shuffled())
    return [*module.state_dict().values(), torch.rand(1)]


@pytest.mark.parametrize(
    "policy",
    [
        OneCycle,
        lambda lr: SGDR(lr, cycles=2),
        Constant,
        lambda lr: CosineAnnealing(lr, warmup=2),
    ],
)
def test_the_fit_is_that_with_the_number_bit_for_bit(policy):
    waiting = policy("auto")
    found_out = trained(waiting)
    (lr,) = waiting.found.values()
    assert 1e-4 < lr < 10.0
    for found, given in zip(found_out, trained(policy(lr)), strict=True):
        assert torch.equal(found, given)


def test_both_bounds_are_of_one_test():
    policy = CyclicLR("auto", "auto", step_size_up="1ep")
    found_out = trained(policy)
    assert 0.1 * policy.found["max_lr"] <= policy.found["base_lr"] < policy.found["max_lr"]
    given = trained(CyclicLR(policy.found["base_lr"], policy.found["max_lr"], step_size_up="1ep"))
    for found, expected in zip(found_out, given, strict=True):
        assert torch.equal(found, expected)


def test_the_real_callback_beside_it_in_both_orders(monkeypatch):
    calls = []
    within = range_test.range_test_within
    for home in ("lightning_lr.range_test", "lightning_lr.callbacks.range_test"):
        monkeypatch.setattr(
            f"{home}.range_test_within", lambda *given, **named: calls.append(1) or within(*given, **named)
        )
    left = []
    for order in (1, -1):
        policy, beside = SGDR("auto", cycles=2), LRRangeTest(steps=40, max_lr=3.0)
        left.append(trained(*[policy, beside][::order]))
        assert beside.result is not None
        assert policy.found == {"max_lr": beside.result.max_lr}
        assert len(beside.result.settings.lrs) == 40
    assert len(calls) == 2
    for first, second in zip(*left, strict=True):
        assert torch.equal(first, second)


def test_groups_keep_their_ratios_in_the_test_too():
    def groups(module):
        layers = [layer for layer in module.net if list(layer.parameters())]
        shares = [{"params": layer.parameters(), "lr": 0.1 / 10**index} for index, layer in enumerate(layers)]
        return torch.optim.SGD(shares, momentum=0.9)

    policy, rates = OneCycle("auto"), EveryGroup()
    found_out = trained(policy, rates, build=groups)
    highest = max(rates.lrs)
    assert highest == pytest.approx([policy.found["max_lr"] / 10**index for index in range(3)], rel=1e-12)
    for found, given in zip(found_out, trained(OneCycle(highest[0]), build=groups), strict=True):
        assert torch.equal(found, given)


def test_snapshots_are_taken_at_the_ends_of_cycles():
    trained(SnapshotCheckpoint("snapshots"), SGDR("auto", cycles=4))
    snapshots = Snapshots("snapshots")
    assert [snapshots[index].step for index in range(len(snapshots))] == [8, 16, 24, 32]


@pytest.mark.slow
def test_two_processes_find_the_same(tmp_path):
    (tmp_path / "fit.py").write_text(
        "import torch\n"
        "from lightning_lr import CyclicLR, OneCycle\n"
        "from tests.callbacks.test_auto import Learning, shuffled\n"
        "from tests.fits import trainer\n"
        "def weights(policy):\n"
        "    torch.manual_seed(3)\n"
        "    module = Learning()\n"
        "    run = trainer(policy, strategy='ddp', devices=2, max_epochs=2, use_distributed_sampler=True)\n"
        "    run.fit(module, shuffled())\n"
        "    return run.global_rank, torch.cat([each.flatten() for each in module.state_dict().values()])\n"
        "if __name__ == '__main__':\n"
        "    torch.set_num_threads(1)\n"
        "    waiting = CyclicLR('auto', 'auto', 4)\n"
        "    rank, found_out = weights(waiting)\n"
        "    _, given = weights(CyclicLR(waiting.found['base_lr'], waiting.found['max_lr'], 4))\n"
        "    torch.save([waiting.found, found_out, given], f'rank-{rank}.pt')\n"
    )
    finished = run("fit.py", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in (0, 1)]
    assert ranks[0][0] == ranks[1][0]
    for _, found_out, given in ranks:
        assert torch.equal(found_out, given)


# LightningCLI


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
@pytest.mark.filterwarnings(r"ignore:\s*Unable to serialize instance")
@pytest.mark.parametrize("name", sorted(GIVEN.keys() - {"Schedule"}))
def test_from_the_command_line_from_yaml_and_from_what_a_run_has_saved(name, tests, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["fit.py"])
    given, expected = GIVEN[name]
    rates = {argument: given[argument] for argument in ("lr", "initial_lr", "max_lr", "base_lr") if argument in given}
    (highest, *_) = (given[argument] for argument in ("lr", "initial_lr", "max_lr") if argument in given)
    tests.answer = Found(max_lr=highest, base_lr=given.get("base_lr"), fixed_lr=highest)
    for lrs in ran_in_three_ways(name, {**given, **dict.fromkeys(rates, "auto")}, tmp_path):
        assert [lr for (lr,) in lrs] == pytest.approx(expected, abs=1e-15)
    assert len(tests) == 3
