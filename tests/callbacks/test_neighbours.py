"""A schedule beside Lightning's own callbacks: each does what it did, and the curve is the curve."""

from __future__ import annotations

import csv
import warnings

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger

from lightning_lr import SGDR, Constant, CosineAnnealing, SnapshotCheckpoint, Snapshots
from tests.fits import Recording, fit, loader, sgd, trainer

CURVE = SGDR(0.1, cycles=2).preview(10)["lr"]


def early_stopping():
    return EarlyStopping("train_loss", patience=100, check_on_train_epoch_end=True)


class Logging(Recording):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True)
        return loss


def test_early_stopping_is_warned_about_once():
    with pytest.warns(UserWarning, match="EarlyStopping beside SGDR: a restart makes the metric worse") as warned:
        module = fit(SGDR(0.1, cycles=2), early_stopping(), module=Logging())
    assert sum("EarlyStopping beside" in str(warning.message) for warning in warned) == 1
    assert any("a cycle of 5 updates" in str(warning.message) for warning in warned)
    assert module.lrs == CURVE


def test_early_stopping_beside_a_policy_without_restarts_is_nothing_to_warn_about():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*treespec.*", category=FutureWarning)
        fit(CosineAnnealing(0.1), early_stopping(), module=Logging())


def test_averaged_weights_leave_the_curve_and_the_snapshots_alone():
    def run(folder, *neighbours):
        module = fit(SGDR(0.1, cycles=2), SnapshotCheckpoint(folder), *neighbours)
        return module.lrs, [row.sha256 for row in Snapshots(folder)]

    with_averages, without = run("averaged", EMAWeightAveraging(decay=0.5)), run("plain")
    assert with_averages == without
    assert without[0] == CURVE


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradient_clipping(algorithm):
    module = fit(SGDR(0.1, cycles=2), gradient_clip_val=0.01, gradient_clip_algorithm=algorithm)
    assert module.lrs == CURVE


def test_learning_rate_monitor_logs_what_each_update_used(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    fit(SGDR(0.1, cycles=2), LearningRateMonitor("step"), logger=logger, log_every_n_steps=1)
    with (tmp_path / "metrics.csv").open() as file:
        logged = [float(row["lr-SGD"]) for row in csv.DictReader(file) if row["lr-SGD"]]
    assert logged == CURVE


def test_model_checkpoint_holds_the_clock_of_the_update_it_was_saved_after(tmp_path):
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1, filename="{step}")
    fit(SGDR(0.1, cycles=2), saver, enable_checkpointing=True)
    clocks = {
        path.stem: torch.load(path, weights_only=True)["callbacks"]["SGDR[optimizer=0]"]["step"]
        for path in tmp_path.glob("*.ckpt")
    }
    assert clocks == {"step=3": 3, "step=6": 6, "step=9": 9}


class TwoParts(Recording):
    def __init__(self):
        super().__init__(sgd(lr=0.5))
        self.backbone = torch.nn.Linear(2, 2)
        self.groups = []

    def on_before_optimizer_step(self, optimizer):
        self.groups.append([group["lr"] for group in optimizer.param_groups])

    def configure_optimizers(self):
        return torch.optim.SGD(filter(lambda weight: weight.requires_grad, self.parameters()), lr=0.5)


@pytest.mark.filterwarnings("ignore:The dirpath:UserWarning")
def test_backbone_finetuning_gives_a_share_and_the_policy_does_the_rest():
    module = TwoParts()
    # The head's LR is 1.0, half as fast is 0.5: built with 0.5, that is the share 0.5 / 0.5 of the curve.
    finetuning = BackboneFinetuning(unfreeze_backbone_at_epoch=1, backbone_initial_lr=0.25, verbose=False)
    with pytest.warns(UserWarning, match="BackboneFinetuning beside Constant"):
        trainer(Constant(1.0), finetuning, max_epochs=3).fit(module, loader(4))
    assert module.groups == [[1.0]] * 4 + [[1.0, 0.5]] * 8


def test_a_group_that_a_finetuning_callback_adds_gets_the_policy_from_there_on():
    class Unfreeze(BaseFinetuning):
        def freeze_before_training(self, pl_module):
            self.freeze(pl_module.backbone)

        def finetune_function(self, pl_module, epoch, optimizer):
            if epoch == 1:
                self.unfreeze_and_add_param_group(pl_module.backbone, optimizer, lr=0.05)

    module = TwoParts()
    policy = SGDR(0.1, cycles=2)
    trainer(policy, Unfreeze(), max_epochs=2).fit(module, loader(5))
    curve = policy.preview(10)["lr"]
    assert module.groups == [[lr] for lr in curve[:5]] + [[lr, pytest.approx(lr / 10)] for lr in curve[5:]]


def test_default_model_checkpoint_is_still_added(tmp_path):
    run = pl.Trainer(
        default_root_dir=tmp_path,
        max_epochs=1,
        callbacks=[SGDR(0.1, cycles=1), SnapshotCheckpoint("own")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    assert any(type(callback) is ModelCheckpoint for callback in run.callbacks)
