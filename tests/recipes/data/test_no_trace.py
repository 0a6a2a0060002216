"""An LR range test before a fit, or in it, leaves the loaders as they were: the fit is the same, bit for bit."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lightning_lr import LRRangeTest, lr_range_test
from recipes.data.digits import Digits
from recipes.data.fake import Fake
from recipes.data.image_folder import ImageFolder
from tests.fingerprint import describe, differences
from tests.fits import trainer
from tests.recipes.data_made import tree

SWEEP = {"steps": 5, "min_lr": 1e-5, "max_lr": 0.1}


class Net(pl.LightningModule):
    """Keeps all of its losses."""

    def __init__(self, features: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(features, 10))
        self.losses: list[float] = []

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, batch_idx):
        self.layers(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def fake(tmp_path):
    return Fake((3, 8, 8), train_size=50, val_size=20, batch_size=8, crop=2, flip=True, cutout=3)


def digits(tmp_path):
    return Digits(batch_size=200)


def on_disk(tmp_path):
    if not (tmp_path / "train").exists():
        tree(tmp_path / "train", ["cat", "dog", "eel"], each=10)
    return ImageFolder(str(tmp_path), size=8, batch_size=8, sizes={0: 8}, num_workers=0, flip=True)


KINDS = {"in memory": (fake, 192), "digits": (digits, 64), "on disk": (on_disk, 192)}


def fit(data, features, *callbacks, before=None, **options):
    module = Net(features)
    if before is not None:
        before(module, data)
    run = trainer(*callbacks, max_epochs=3, **options)
    run.fit(module, datamodule=data)
    return run, module


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_after_a_range_test_equals_one_without(kind, tmp_path):
    build, features = KINDS[kind]
    plain_run, plain = fit(build(tmp_path), features)

    def before(module, data):
        seen = describe(identity=True, data=data)
        assert len(lr_range_test(module, datamodule=data, accelerator="cpu", **SWEEP).losses) == 5
        assert differences(seen, describe(identity=True, data=data)) == []

    run, tested = fit(build(tmp_path), features, before=before)
    assert tested.losses == plain.losses
    assert torch.equal(tested.layers[1].weight, plain.layers[1].weight)
    assert run.train_dataloader.state_dict() == plain_run.train_dataloader.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_with_range_tests_in_it_equals_one_without(kind, tmp_path):
    build, features = KINDS[kind]
    plain_run, plain = fit(build(tmp_path), features)
    run, tested = fit(build(tmp_path), features, LRRangeTest(**SWEEP, at_epochs=(0, 2)))
    assert torch.equal(tested.layers[1].weight, plain.layers[1].weight)
    assert tested.losses == plain.losses
    assert run.train_dataloader.state_dict() == plain_run.train_dataloader.state_dict()


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_is_resumed_in_mid_epoch_equals_one_that_was_not(kind, tmp_path):
    build, features = KINDS[kind]
    saving = ModelCheckpoint("kept", filename="{step}", save_top_k=-1, every_n_train_steps=1)
    _, plain = fit(build(tmp_path), features, saving, enable_checkpointing=True)
    steps = len(plain.losses)
    ends = {steps // 3, 2 * steps // 3, steps}
    for step in sorted(set(range(1, steps)) - ends):
        resumed = Net(features)
        trainer(max_epochs=3).fit(resumed, datamodule=build(tmp_path), ckpt_path=f"kept/step={step}.ckpt")
        assert resumed.losses == plain.losses[step:]
        assert torch.equal(resumed.layers[1].weight, plain.layers[1].weight)
