"""`ReduceOnPlateau`: its rule against torch's, and which metric of a fit is a reading when."""

from __future__ import annotations

import copy
import inspect
import json
import math
import os
import pickle
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning, Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger

from lightning_lr import SnapshotCheckpoint
from lightning_lr.callbacks.plateau import ReduceOnPlateau
from lightning_lr.schedules.plateau import PlateauRule, Standing
from tests.fits import EveryGroup, Recording, fit, loader, stream, trainer, two_groups


def exactly(values):
    return pytest.approx(values, rel=0, abs=1e-12)


class Validated(Recording):
    """Logs, at the end of each validation, what the table has for the updates so far."""

    def __init__(self, table, name="val/loss", build=None):
        super().__init__(build)
        self.table, self.name = table, name

    def value(self):
        return self.table[self.trainer.global_step] if isinstance(self.table, dict) else self.table.pop(0)

    def validation_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            self.log(self.name, self.value())


class Epochs(Recording):
    """Logs in its own `on_train_epoch_end`, which comes after that of the callbacks."""

    def __init__(self, table, name="train/loss"):
        super().__init__()
        self.table, self.name = table, name

    def on_train_epoch_end(self):
        self.log(self.name, self.table[self.trainer.current_epoch])


class EpochsAndValidations(Epochs):
    def validation_step(self, batch, batch_idx):
        self.log("val/loss", 3.0)


def fit_validated(policy, *callbacks, module, batches=2, validations=1, loaders=None, ckpt_path=None, **options):
    if not options.keys() & {"max_steps", "max_time"}:
        options.setdefault("max_epochs", 20)
    train = loader(batches) if loaders is None else loaders
    run = trainer(policy, *callbacks, **options)
    run.fit(module, train, loader(validations), ckpt_path=ckpt_path)
    return module


# The rule


def rates_of(rule, readings, initial=1.0):
    standing, rates = Standing(), []
    for reading in readings:
        standing = rule.after(standing, reading)
        rates.append(initial * standing.scale)
    return rates


def rates_of_torch(rule, readings, initial=1.0):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=initial)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, rule.mode, rule.factor, rule.patience, rule.threshold, cooldown=rule.cooldown, eps=0.0
    )
    rates = []
    for reading in readings:
        scheduler.step(reading)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_positive_metric_is_judged_as_by_torch(mode):
    draw = random.Random(0)
    reduced = 0
    for _ in range(500):
        rule = PlateauRule(
            mode,
            factor=draw.choice([0.1, 0.5, 0.9]),
            patience=draw.randrange(4),
            threshold=draw.choice([0.0, 1e-4, 0.1, 0.5]),
            cooldown=draw.randrange(4),
        )
        # Of few values, so that ties and improvements of exactly the threshold are among them.
        values = draw.choice([[0.5, 0.9, 1.0, 1.1, 2.0], [draw.uniform(0.0, 3.0) for _ in range(30)], [0.0, 1.0]])
        readings = [draw.choice([*values, math.inf]) for _ in range(40)]
        expected = rates_of_torch(rule, readings)
        assert rates_of(rule, readings) == pytest.approx(expected, rel=1e-12)
        reduced += expected[-1] < 1.0
    assert reduced > 100


@pytest.mark.parametrize(
    ("mode", "best", "better", "not_better"),
    [
        ("min", -1.0, -1.11, -1.09),
        ("min", 1.0, 0.89, 0.91),
        ("min", -1.0, -2.0, -0.99),
        ("min", 0.0, -1e-9, 0.0),
        ("min", 0.5, -0.1, 0.46),
        ("max", -1.0, -0.89, -0.91),
        ("max", 1.0, 1.11, 1.09),
        ("max", -1.0, 0.0, -1.01),
        ("max", 0.0, 1e-9, 0.0),
        ("min", math.inf, 1e300, math.inf),
        ("max", -math.inf, -1e300, -math.inf),
    ],
)
def test_what_is_worse_is_never_better_whatever_its_sign(mode, best, better, not_better):
    rule = PlateauRule(mode, threshold=0.1)
    assert rule.improves(better, best)
    assert not rule.improves(not_better, best)


def test_torch_takes_a_worse_negative_loss_for_better():
    # The reason for a formula of our own.
    falling_apart = [-1.0, -0.95, -0.9]
    rule = PlateauRule(patience=0, threshold=0.1)
    assert rates_of_torch(rule, falling_apart) == [1.0, 1.0, 1.0]
    assert rates_of(rule, falling_apart) == exactly([1.0, 0.1, 0.01])


def test_patience_and_cooldown_by_hand():
    rule = PlateauRule(factor=0.5, patience=1, cooldown=2)
    #        best bad  reduced rest rest bad  reduced rest better
    readings = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    assert rates_of(rule, readings) == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


# The fit


def test_the_new_rate_is_there_at_the_next_forward_pass():
    # Two updates an epoch; the third and fourth reading are bad, and so is the sixth.
    module = Validated([1.0, 0.5, 0.5, 0.6, 0.4, 0.4])
    fit_validated(ReduceOnPlateau(0.1, "val/loss", patience=0), module=module, max_epochs=6)
    expected = [0.1] * 6 + [0.01] * 2 + [0.001] * 4
    assert module.lrs == exactly(expected)
    assert [held["lr"] for held in module.at_forward] == exactly(expected)


def test_mode_max_and_a_floor():
    module = Validated([0.5, 0.6, 0.6, 0.6, 0.6])
    policy = ReduceOnPlateau(0.1, "val/loss", "max", patience=0, min_lr=0.02)
    fit_validated(policy, module=module, max_epochs=5)
    assert module.lrs == exactly([0.1] * 6 + [0.02] * 4)


def test_validations_within_an_epoch_are_readings_of_their_own():
    module = Validated([1.0, 1.0, 1.0])
    policy = ReduceOnPlateau(0.8, "val/loss", factor=0.5, patience=0)
    fit_validated(policy, module=module, batches=6, max_epochs=1, val_check_interval=2)
    assert module.lrs == exactly([0.8, 0.8, 0.8, 0.8, 0.4, 0.4])


def test_the_sanity_check_is_no_reading():
    class Logs(Validated):
        def on_validation_epoch_end(self):
            self.log("val/loss", -5.0 if self.trainer.sanity_checking else self.value())

    module = Logs([1.0, 0.5, 0.25])
    fit_validated(ReduceOnPlateau(0.1, "val/loss", patience=0), module=module, max_epochs=3, num_sanity_val_steps=1)
    assert module.lrs == [0.1] * 6


def test_a_training_metric_that_the_step_logs():
    class Logs(Recording):
        def training_step(self, batch, batch_idx):
            # Means of 1.0, 0.5, 0.5.
            self.log("train/loss", [2.0, 0.0, 0.25, 0.75, 0.5, 0.5, 0.5, 0.5][self.trainer.global_step], on_epoch=True)
            return super().training_step(batch, batch_idx)

    module = fit(ReduceOnPlateau(0.1, "train/loss", patience=0), module=Logs(), batches=2, max_epochs=4)
    assert module.lrs == exactly([0.1] * 6 + [0.01] * 2)


def test_a_training_metric_that_the_module_logs_at_the_end_of_the_epoch():
    module = Epochs([1.0, 0.5, 0.5, 0.5])
    policy = ReduceOnPlateau(0.1, "train/loss", patience=0)
    fit(policy, module=module, batches=2, max_epochs=4)
    assert module.lrs == exactly([0.1] * 6 + [0.01] * 2)
    # The last epoch has its reading as well.
    assert policy._standing == Standing(best=0.5, bad=0, resting=0, scale=exactly(0.01))


def test_a_training_metric_beside_validations():
    module = EpochsAndValidations([1.0, 0.5, 0.5, 0.5])
    policy = ReduceOnPlateau(0.1, "train/loss", patience=0)
    fit_validated(policy, module=module, max_epochs=4, val_check_interval=1)
    assert module.lrs == exactly([0.1] * 6 + [0.01] * 2)


def test_an_older_value_is_no_reading():
    # Validation every second epoch: the epochs between have the value still, and give none.
    module = Validated([1.0, 1.0])
    policy = ReduceOnPlateau(0.1, "val/loss", patience=0)
    fit_validated(policy, module=module, batches=1, max_epochs=5, check_val_every_n_epoch=2)
    assert module.lrs == exactly([0.1] * 4 + [0.01])


def test_others_that_look_at_the_metrics_make_no_reading():
    class Looks(Callback):
        def on_validation_end(self, trainer, pl_module):
            assert "val/loss" in trainer.callback_metrics

        on_train_batch_end = on_train_epoch_end = lambda self, trainer, *args: trainer.callback_metrics

    for callbacks in ([Looks()], []):
        module = Validated([1.0, 0.5, 0.25])
        policy = ReduceOnPlateau(0.1, "val/loss", patience=0)
        fit_validated(policy, *callbacks, module=module, max_epochs=3, num_sanity_val_steps=0)
        assert module.lrs == [0.1] * 6


def test_a_metric_that_comes_every_second_epoch():
    class Sparse(Epochs):
        def on_train_epoch_end(self):
            if self.trainer.current_epoch % 2 == 0:
                super().on_train_epoch_end()

    module = Sparse([1.0, None, 1.0, None, 1.0])
    fit(ReduceOnPlateau(0.1, "train/loss", patience=0), module=module, batches=1, max_epochs=5)
    assert module.lrs == exactly([0.1, 0.1, 0.1, 0.01, 0.01])


def test_validation_after_the_fit_is_no_reading():
    policy = ReduceOnPlateau(0.1, "val/loss", patience=0)
    module = Validated([1.0, 0.5, 9.0])
    run = trainer(policy, max_epochs=2)
    run.fit(module, loader(2), loader(1))
    before = policy._standing
    run.validate(module, loader(1), verbose=False)
    assert policy._standing == before == Standing(best=0.5)


@pytest.mark.parametrize("options", [{"max_steps": 4}, {"max_time": timedelta(hours=1)}], ids=["steps", "time"])
def test_no_length_is_needed(options):
    class Enough(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.should_stop = trainer.global_step == 4

    module = Validated([1.0, 1.0, 1.0])
    policy = ReduceOnPlateau(0.1, "val/loss", patience=0)
    fit_validated(policy, Enough(), module=module, loaders=stream(2), **options)
    assert module.lrs == exactly([0.1, 0.1, 0.1, 0.1])
    assert policy._standing.scale == exactly(0.1)


def test_two_fits_are_two_runs():
    policy = ReduceOnPlateau(0.1, "val/loss", patience=0)
    for _ in range(2):
        module = Validated([1.0, 1.0, 1.0])
        fit_validated(policy, module=module, batches=1, max_epochs=3)
        assert module.lrs == exactly([0.1, 0.1, 0.01])


def test_a_trainer_that_goes_on_starts_anew_and_says_so():
    module = Validated([1.0, 1.0, 5.0, 4.0])
    run = trainer(ReduceOnPlateau(0.1, "val/loss", patience=0), max_epochs=2)
    run.fit(module, loader(1), loader(1))
    run.fit_loop.max_epochs = 4
    with pytest.warns(UserWarning, match="goes on after 2 updates of which .* starts at initial_lr now"):
        run.fit(module, loader(1), loader(1))
    assert module.lrs == [0.1] * 4


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_a_copy_is_on_its_own(copied):
    policy = ReduceOnPlateau([0.1], "val/loss", patience=0)
    other = copied(policy)
    for each in (policy, other, copied(policy)):
        module = Validated([1.0, 1.0, 1.0])
        fit_validated(each, module=module, batches=1, max_epochs=3)
        assert module.lrs == exactly([0.1, 0.1, 0.01])


# Param groups, and others that see or change a rate


def test_groups_keep_their_ratios():
    groups = EveryGroup()
    module = Validated([1.0] * 3, build=two_groups())
    policy = ReduceOnPlateau(1.0, "val/loss", patience=0, min_lr=0.5)
    fit_validated(policy, groups, module=module, batches=1, max_epochs=3)
    assert groups.lrs == [exactly([1.0, 0.1]), exactly([1.0, 0.1]), exactly([0.5, 0.05])]


def test_lists_set_each_group():
    groups = EveryGroup()
    module = Validated([1.0] * 4, build=two_groups())
    policy = ReduceOnPlateau([0.1, 0.3], "val/loss", patience=0, min_lr=[0.02, 0.0])
    fit_validated(policy, groups, module=module, batches=1, max_epochs=4)
    expected = [[0.1, 0.3], [0.1, 0.3], [0.02, 0.03], [0.02, 0.003]]
    assert groups.lrs == [exactly(rates) for rates in expected]


def test_a_group_added_in_mid_run_gets_its_share():
    class Unfreeze(BaseFinetuning):
        def freeze_before_training(self, pl_module):
            self.freeze(pl_module.body)

        def finetune_function(self, pl_module, epoch, optimizer):
            if epoch == 2:
                self.unfreeze_and_add_param_group(pl_module.body, optimizer, lr=0.05)

    module = Validated([1.0] * 3, build=lambda module: torch.optim.SGD(module.layer.parameters(), lr=0.5))
    module.body = torch.nn.Linear(2, 2)
    groups = EveryGroup()
    fit_validated(
        ReduceOnPlateau(1.0, "val/loss", patience=0), groups, Unfreeze(), module=module, batches=1, max_epochs=3
    )
    assert groups.lrs == [[1.0], [1.0], exactly([0.1, 0.01])]


def test_a_logger_reads_the_rate_that_the_update_used():
    class Logged(Logger):
        name, version = "logged", 0

        def __init__(self):
            self.lrs = []

        def log_hyperparams(self, *args, **kwargs):
            pass

        def log_metrics(self, metrics, step=None):
            if "lr-SGD" in metrics:
                self.lrs.append(metrics["lr-SGD"])

    logger = Logged()
    module = Validated([1.0] * 4)
    policy = ReduceOnPlateau(0.1, "val/loss", patience=0)
    fit_validated(policy, LearningRateMonitor("step"), module=module, logger=logger, log_every_n_steps=1, max_epochs=4)
    assert logger.lrs == module.lrs == exactly([0.1] * 4 + [0.01] * 2 + [0.001] * 2)


class SetsTheRate(Callback):
    def __init__(self, hook):
        setattr(self, hook, self.change)

    def change(self, trainer, *args):
        if trainer.global_step == 2 and not trainer.sanity_checking:
            trainer.optimizers[0].param_groups[0]["lr"] = 0.7


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_validation_end"])
def test_a_foreign_change_is_refused_and_not_written_over(hook):
    # Before an update, and right before the policy writes a new rate of its own.
    foreign, policy = SetsTheRate(hook), ReduceOnPlateau(0.1, "val/loss", patience=0)
    module = Validated([1.0, 1.0 if hook == "on_validation_end" else 0.5])
    with pytest.raises(RuntimeError, match=r"^lr=0\.7: param group 0 was given 0\.1 for update 2 by ReduceOnPlateau"):
        fit_validated(foreign, policy, module=module, batches=1, max_epochs=3)


def test_snapshots_need_cycles():
    policy = ReduceOnPlateau(0.1, "val/loss")
    assert policy.cycles(total_steps=100) == ()
    with pytest.raises(ValueError, match="ReduceOnPlateau has none"):
        fit_validated(policy, SnapshotCheckpoint("snapshots"), module=Validated([1.0]), max_epochs=1)


@pytest.mark.parametrize(
    ("asked", "arguments"), [("preview", (10,)), ("plot", ("schedule.png", 10)), ("describe", (None, None))]
)
def test_it_has_no_preview(asked, arguments):
    policy = ReduceOnPlateau(0.1, "val/loss")
    with pytest.raises(RuntimeError) as refused:
        getattr(policy, asked)(*arguments)
    assert str(refused.value) == (
        f"{asked}: ReduceOnPlateau follows monitor='val/loss', which no one knows before the fit; log what it did with "
        "LearningRateMonitor"
    )
    assert not Path("schedule.png").exists()


# Resumed

# By updates applied; two an epoch.
READINGS = {2: 1.0, 4: 0.5, 6: 0.5, 8: 0.6, 10: 0.5, 12: 0.3, 14: 0.3, 16: 0.3}
POLICY = {"monitor": "val/loss", "patience": 1, "cooldown": 1, "factor": 0.5}
LRS = [0.8] * 8 + [0.4] * 8


def checkpoints(**options):
    return ModelCheckpoint("kept", filename="{step}", save_top_k=-1, **options)


# The data of an update is drawn from its number, and what the checkpoints kept of themselves does not matter.
resumed = pytest.mark.filterwarnings(
    "ignore:You're resuming from a checkpoint that ended before the epoch ended", "ignore:Be aware that when using"
)


@resumed
@pytest.mark.parametrize(
    "when",
    [{"save_on_train_epoch_end": True}, {"save_on_train_epoch_end": False}, {"every_n_train_steps": 1}],
    ids=["epoch", "validation", "batch"],
)
def test_a_run_resumed_at_any_point_goes_on_as_if_nothing_had_been(when):
    options = {"max_epochs": 8, "enable_checkpointing": True}
    whole = Validated(READINGS)
    policy = ReduceOnPlateau(0.8, **POLICY)
    fit_validated(policy, checkpoints(**when), module=whole, **options)
    assert whole.lrs == exactly(LRS)
    kept = sorted(Path("kept").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    assert len(kept) == (16 if "every_n_train_steps" in when else 8)
    for checkpoint in kept[:-1]:
        applied = int(checkpoint.stem.split("=")[1])
        if "every_n_train_steps" in when and applied % 2 == 0:
            continue  # Resumed between an epoch's last batch and its validation, Lightning leaves that validation out.
        again = ReduceOnPlateau(0.8, **POLICY)
        module = Validated(READINGS)
        fit_validated(again, module=module, ckpt_path=checkpoint, max_epochs=8)
        assert module.lrs == exactly(LRS[applied:]), checkpoint.name
        assert again._standing == policy._standing, checkpoint.name


@resumed
@pytest.mark.parametrize(
    "when",
    [{"save_on_train_epoch_end": True}, {"save_on_train_epoch_end": False}, {"every_n_train_steps": 1}],
    ids=["epoch", "validation", "batch"],
)
def test_a_run_that_listens_to_what_the_module_logs_at_the_end_of_the_epoch_is_resumed_too(when):
    table, expected = [1.0, 0.5, 0.5, 0.5, 0.5, 0.2], [0.8] * 8 + [0.4] * 4
    arguments = {"monitor": "train/loss", "patience": 1, "factor": 0.5}
    policy, whole = ReduceOnPlateau(0.8, **arguments), EpochsAndValidations(table)
    fit_validated(policy, checkpoints(**when), module=whole, max_epochs=6, enable_checkpointing=True)
    assert whole.lrs == expected
    kept = sorted(Path("kept").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    assert len(kept) == (12 if "every_n_train_steps" in when else 6)
    for checkpoint in kept:
        applied = int(checkpoint.stem.split("=")[1])
        if "every_n_train_steps" in when and applied % 2 == 0:
            continue
        again, module = ReduceOnPlateau(0.8, **arguments), EpochsAndValidations(table)
        fit_validated(again, module=module, ckpt_path=checkpoint, max_epochs=6)
        assert module.lrs == expected[applied:], checkpoint.name
        assert again._standing == policy._standing, checkpoint.name


@resumed
def test_an_epoch_resumed_at_its_end_need_not_give_the_metric_of_its_batches():
    class Logs(EpochsAndValidations):
        def training_step(self, batch, batch_idx):
            self.log("train/loss", 1.0, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

        def on_train_epoch_end(self):
            pass

    options = {"max_epochs": 3, "num_sanity_val_steps": 0}
    fit_validated(
        ReduceOnPlateau(0.8, "train/loss"),
        checkpoints(save_on_train_epoch_end=False),
        module=Logs([]),
        enable_checkpointing=True,
        **options,
    )
    policy, module = ReduceOnPlateau(0.8, "train/loss"), Logs([])
    fit_validated(policy, module=module, ckpt_path="kept/step=2.ckpt", **options)
    assert module.lrs == [0.8] * 4
    assert policy._standing == Standing(best=1.0, bad=1)


def test_the_state_is_read_with_weights_only():
    run = trainer(ReduceOnPlateau(0.1, "val/loss", patience=0), max_epochs=2)
    run.fit(Validated([1.0, 1.0]), loader(1), loader(1))
    run.save_checkpoint("last.ckpt")
    state = torch.load("last.ckpt", weights_only=True)["callbacks"]["ReduceOnPlateau[optimizer=0]"]
    assert state["step"] == 2
    assert state["plateau"] == {
        "monitor": "val/loss",
        "mode": "min",
        "best": 1.0,
        "bad": 0,
        "resting": 0,
        "scale": 0.1,
    }


def test_resumed_with_another_length_and_another_metric():
    run = trainer(ReduceOnPlateau(0.1, "val/loss", patience=0), max_epochs=2)
    run.fit(Validated([1.0, 1.0]), loader(1), loader(1))
    run.save_checkpoint("last.ckpt")

    policy = ReduceOnPlateau(0.1, "val/accuracy", "max", patience=0)
    module = Validated([0.5, 0.75, 0.75], name="val/accuracy")
    with pytest.warns(UserWarning, match="saved with monitor='val/loss', mode='min', whose readings do not count"):
        fit_validated(policy, module=module, batches=1, ckpt_path="last.ckpt", max_epochs=5)
    assert module.lrs == exactly([0.01] * 3)
    assert policy._standing == Standing(best=0.75, scale=exactly(0.01))


# What is refused


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"initial_lr": -0.1}, ValueError, "initial_lr=-0.1: out of range; pass a number above 0"),
        ({"initial_lr": 0.0}, ValueError, "initial_lr=0.0: out of range; pass a number above 0"),
        ({"initial_lr": "0.1"}, TypeError, "initial_lr='0.1': not a number; pass a number above 0"),
        ({"initial_lr": []}, ValueError, "initial_lr=[]: lists have one entry a param group; "),
        ({"monitor": ""}, ValueError, "monitor='': names no metric; pass the name of one that is logged"),
        ({"monitor": None}, TypeError, "monitor=None: not a str; pass the name of a metric"),
        ({"mode": "auto"}, ValueError, "mode='auto': unknown; pass 'min' or 'max'"),
        ({"factor": 0.0}, ValueError, "factor=0.0: out of range; pass a number above 0 and below 1"),
        ({"factor": 1.0}, ValueError, "factor=1.0: out of range; pass a number above 0 and below 1"),
        ({"factor": math.nan}, ValueError, "factor=nan: not finite; pass a number above 0 and below 1"),
        ({"patience": -1}, ValueError, "patience=-1: out of range; pass an int of at least 0"),
        ({"patience": 2.5}, TypeError, "patience=2.5: not an int; pass an int of at least 0"),
        ({"threshold": -1e-4}, ValueError, "threshold=-0.0001: out of range; pass a number of at least 0"),
        ({"cooldown": -1}, ValueError, "cooldown=-1: out of range; pass an int of at least 0"),
        ({"min_lr": -0.1}, ValueError, "min_lr=-0.1: out of range; pass a number of at least 0"),
        ({"min_lr": 0.2}, ValueError, "min_lr=0.2: above initial_lr=0.1; pass a min_lr of at most initial_lr"),
        ({"min_lr": [0.0, 0.2]}, ValueError, "min_lr=0.2: above initial_lr=0.1; pass a min_lr of at most"),
        ({"optimizer": -1}, ValueError, "optimizer=-1: out of range; pass an int of at least 0"),
    ],
)
def test_arguments(arguments, error, said):
    with pytest.raises(error) as refused:
        ReduceOnPlateau(**{"initial_lr": 0.1, "monitor": "val/loss", **arguments})
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_the_defaults_are_those_of_torch():
    ours = inspect.signature(ReduceOnPlateau).parameters
    torchs = inspect.signature(torch.optim.lr_scheduler.ReduceLROnPlateau).parameters
    for name in ("mode", "factor", "patience", "threshold", "cooldown", "min_lr"):
        assert ours[name].default == torchs[name].default


@pytest.mark.parametrize("metric", ["val/loss", "train/loss"])
def test_nan(metric):
    class Both(Epochs):
        def validation_step(self, batch, batch_idx):
            self.log("val/loss", self.table[self.trainer.current_epoch])

    module = Both([1.0, math.nan])
    with pytest.raises(RuntimeError) as refused:
        fit_validated(ReduceOnPlateau(0.1, metric), module=module, max_epochs=3, num_sanity_val_steps=0)
    assert str(refused.value) == (
        f"monitor={metric!r}: it is nan after 4 updates, neither better nor worse than before; find the cause with "
        "Trainer(detect_anomaly=True), or log a metric that is never nan"
    )


MISSING = "monitor='val/los': no such metric was logged; log it, or pass one of 'val/loss'"


def refused_missing(module, *, policy=None, said=MISSING, **options):
    with pytest.raises(RuntimeError) as refused:
        fit_validated(policy or ReduceOnPlateau(0.1, "val/los"), module=module, **options)
    assert str(refused.value) == said


def test_a_missing_metric_is_refused_before_the_second_epoch():
    module = Validated([1.0, 1.0])
    refused_missing(module, max_epochs=3)
    assert len(module.lrs) == 2
    assert not module.built._optimizer_step_post_hooks


def test_a_missing_metric_of_a_run_of_one_epoch():
    refused_missing(Validated([1.0]), max_epochs=1)


def test_a_missing_metric_of_a_validation_every_second_epoch_is_waited_for():
    module = Validated([1.0, 1.0])
    refused_missing(module, max_epochs=5, check_val_every_n_epoch=2)
    assert len(module.lrs) == 4


def test_a_missing_metric_of_a_validation_every_so_many_batches():
    module = Validated([1.0, 1.0])
    refused_missing(module, max_epochs=5, check_val_every_n_epoch=None, val_check_interval=3)
    assert len(module.lrs) == 3


def test_a_metric_that_only_later_validations_would_have_given():
    # The validation that would give it is never reached.
    said = "monitor='val/loss': no such metric was logged; log it with self.log, for nothing is logged"
    policy = ReduceOnPlateau(0.1, "val/loss")
    refused_missing(Validated([]), policy=policy, said=said, max_epochs=2, check_val_every_n_epoch=3)


def test_a_missing_metric_without_validation():
    module = Epochs([1.0, 1.0, 1.0])
    with pytest.raises(RuntimeError, match=r"^monitor='val/loss': .* pass one of 'train/loss'$"):
        fit(ReduceOnPlateau(0.1, "val/loss"), module=module, batches=2, max_epochs=3)
    assert len(module.lrs) == 2


def test_a_missing_metric_of_a_stream_is_warned_of_and_refused_at_its_end():
    module = Validated([1.0, 1.0])
    with pytest.warns(UserWarning, match=r"^monitor='val/los': the first validation .* waited for; log it, or "):
        refused_missing(module, loaders=stream(9), max_steps=5, val_check_interval=2)
    assert len(module.lrs) == 5


def test_a_name_that_both_training_and_validation_log():
    class Both(Epochs):
        def validation_step(self, batch, batch_idx):
            self.log("loss", 1.0)

    policy = ReduceOnPlateau(0.1, "loss", patience=0)
    with pytest.raises(RuntimeError, match=r"^monitor='loss': both training and validation log a metric"):
        fit_validated(policy, module=Both([1.0] * 4, "loss"), max_epochs=4, check_val_every_n_epoch=2)
    # Where each epoch has a validation, that is what is listened to.
    module = fit_validated(policy, module=Both([0.1, 0.2, 0.3], "loss"), batches=1, max_epochs=3)
    assert module.lrs == exactly([0.1, 0.1, 0.01])


# Two processes


@pytest.mark.slow
def test_two_processes_with_metrics_of_their_own_decide_alike(tmp_path):
    root = Path(__file__).parents[2]
    finished = subprocess.run(
        [sys.executable, __file__, tmp_path],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    first, second = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert first == second
    # Rank 0's own metric falls always and rank 1's never; their mean is 2.0, 1.5, 1.5, 1.25, 1.25.
    assert first["lrs"] == exactly([0.1] * 3 + [0.01] * 2)
    assert first["one rank"] == "monitor='val/loss': only 1 of 2 processes have given it; log it on every one of them"


class OnTwoRanks(Recording):
    TABLES = ([3.0, 1.9, 1.8, 1.2, 1.1], [1.0, 1.1, 1.2, 1.3, 1.4])

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.TABLES[self.global_rank][self.trainer.current_epoch])


class OnOneRank(OnTwoRanks):
    def validation_step(self, batch, batch_idx):
        if self.global_rank == 0:
            super().validation_step(batch, batch_idx)


def main(folder):
    torch.set_num_threads(1)
    options = {"strategy": "ddp", "devices": 2, "max_epochs": 5, "num_sanity_val_steps": 0}
    module = OnTwoRanks()
    run = trainer(ReduceOnPlateau(0.1, "val/loss", patience=0), **options)
    run.fit(module, loader(2), loader(2))
    try:
        trainer(ReduceOnPlateau(0.1, "val/loss"), **options).fit(OnOneRank(), loader(2), loader(2))
    except RuntimeError as error:
        said = str(error)
    seen = {"lrs": module.lrs, "one rank": said}
    (Path(folder) / f"rank-{run.global_rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
