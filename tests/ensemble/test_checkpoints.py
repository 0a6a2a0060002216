"""Checkpoints that real Trainers wrote, against the live weights; and what a file may hold instead."""

from __future__ import annotations

import copy
import enum
import functools
import os
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, StochasticWeightAveraging, WeightAveraging
from omegaconf import OmegaConf
from torch import nn
from torch.optim.swa_utils import get_ema_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr.ensemble.members import members_of

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3


class Lit(pl.LightningModule):
    def __init__(self, hparams=None, norm=False):
        super().__init__()
        self.save_hyperparameters({"extra": hparams} if hparams is not None else {})
        self.net = nn.Sequential(nn.BatchNorm1d(4) if norm else nn.Identity(), nn.Linear(4, 8), nn.Linear(8, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Saved(Callback):
    """Saves a checkpoint in mid-run, and keeps what was in memory then: that is what it must hold."""

    def __init__(self, step):
        self.step, self.raw, self.averaged = step, None, None

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            self.raw = copy.deepcopy(pl_module.state_dict())
            for callback in trainer.callbacks:
                average = getattr(callback, "_average_model", None)
                if average is not None:
                    self.averaged = copy.deepcopy(getattr(average, "module", average).state_dict())
            trainer.save_checkpoint("mid.ckpt")


def train(tmp_path, module, *callbacks, epochs=4, save_at=6):
    saved = Saved(save_at)
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=epochs,
        callbacks=[*callbacks, saved],
    )
    trainer.fit(module, DataLoader(TensorDataset(X, Y), batch_size=6))
    return trainer, saved


def equal(state, other):
    return state.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in state.items())


def test_a_plain_checkpoint(tmp_path):
    _, saved = train(tmp_path, Lit())
    for choice in (None, "raw"):
        (member,) = members_of(Lit(), ["mid.ckpt"], ckpt_weights=choice)
        assert (member.name, member.step, member.cycle) == ("snapshots[0] (mid.ckpt)", 6, None)
        assert equal(member.state_dict(), saved.raw)
    with pytest.raises(ValueError, match=r'^ckpt_weights="averaged": snapshots\[0\] \(mid.ckpt\) holds one set of '):
        members_of(Lit(), ["mid.ckpt"], ckpt_weights="averaged")


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("kwargs", [{}, {"avg_fn": get_ema_avg_fn(0.5)}, {"use_buffers": False}])
def test_weight_averaging(kwargs, norm, tmp_path):
    _, saved = train(tmp_path, Lit(norm=norm), WeightAveraging(**kwargs))
    assert not equal(saved.raw, saved.averaged)
    for choice, expected in (("raw", saved.raw), ("averaged", saved.averaged)):
        (member,) = members_of(Lit(norm=norm), ["mid.ckpt"], ckpt_weights=choice)
        assert equal(member.state_dict(), expected)
        assert member.step == 6
    message = (
        r"^ckpt_weights=None: snapshots\[0\] \(mid.ckpt\) holds two sets of weights, averaged ones under state_dict "
        r'and raw ones under current_model_state; pass ckpt_weights="raw" or "averaged"$'
    )
    with pytest.raises(ValueError, match=message):
        members_of(Lit(norm=norm), ["mid.ckpt"])


def test_weight_averaging_that_has_not_begun(tmp_path):
    class Late(WeightAveraging):
        def should_update(self, step_idx=None, epoch_idx=None):
            return epoch_idx is not None and epoch_idx >= 3

    # What stands under `state_dict` then is the module as it was before the training.
    _, saved = train(tmp_path, Lit(), Late())
    for choice in (None, "raw"):
        (member,) = members_of(Lit(), ["mid.ckpt"], ckpt_weights=choice)
        assert equal(member.state_dict(), saved.raw)
        assert member.step == 6
    with pytest.raises(ValueError, match=r'^ckpt_weights="averaged": snapshots\[0\] \(mid.ckpt\) holds one set of '):
        members_of(Lit(), ["mid.ckpt"], ckpt_weights="averaged")


def test_stochastic_weight_averaging(tmp_path):
    _, saved = train(tmp_path, Lit(), StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1), epochs=5)
    assert not equal(saved.raw, saved.averaged)
    for choice, expected in (("raw", saved.raw), ("averaged", saved.averaged)):
        (member,) = members_of(Lit(), ["mid.ckpt"], ckpt_weights=choice)
        assert equal(member.state_dict(), expected)
    message = (
        r"^ckpt_weights=None: .* two sets of weights, raw ones under state_dict and averaged ones under "
        r'callbacks.StochasticWeightAveraging.average_model_state; pass ckpt_weights="raw" or "averaged"$'
    )
    with pytest.raises(ValueError, match=message):
        members_of(Lit(), ["mid.ckpt"])


def test_before_stochastic_weight_averaging_has_begun_there_is_no_average(tmp_path):
    # The callback's state holds the module as it was before the first update.
    _, saved = train(tmp_path, Lit(), StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=4), epochs=5, save_at=2)
    (member,) = members_of(Lit(), ["mid.ckpt"])
    assert equal(member.state_dict(), saved.raw)
    with pytest.raises(ValueError, match="holds one set of weights, and no averaged ones"):
        members_of(Lit(), ["mid.ckpt"], ckpt_weights="averaged")


def test_an_average_without_batch_statistics_is_refused(tmp_path):
    # Those in the average are from before the training, until the callback computes them when it ends.
    _, saved = train(tmp_path, Lit(norm=True), StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1), epochs=5)
    assert saved.averaged["net.0.num_batches_tracked"].item() == 0
    with pytest.raises(ValueError, match=r'^ckpt_weights="averaged": .* holds an average without batch statistics, '):
        members_of(Lit(norm=True), ["mid.ckpt"], ckpt_weights="averaged")
    (member,) = members_of(Lit(norm=True), ["mid.ckpt"], ckpt_weights="raw")
    assert equal(member.state_dict(), saved.raw)


@pytest.mark.parametrize("choice", [None, "raw", "averaged"])
def test_at_the_end_of_stochastic_weight_averaging_both_are_one(choice, tmp_path):
    module = Lit()
    trainer, _ = train(tmp_path, module, StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1))
    trainer.save_checkpoint("end.ckpt")
    (member,) = members_of(Lit(), ["end.ckpt"], ckpt_weights=choice)
    assert equal(member.state_dict(), module.state_dict())


def test_at_its_end_the_raw_ones_are_the_average_with_batch_statistics(tmp_path):
    module = Lit(norm=True)
    trainer, _ = train(tmp_path, module, StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1))
    trainer.save_checkpoint("end.ckpt")
    (member,) = members_of(Lit(norm=True), ["end.ckpt"], ckpt_weights="raw")
    assert equal(member.state_dict(), module.state_dict())
    assert member.state_dict()["net.0.num_batches_tracked"].item() > 0
    with pytest.raises(ValueError, match=r'without batch statistics, .*; pass "raw": in a checkpoint of its end'):
        members_of(Lit(norm=True), ["end.ckpt"], ckpt_weights="averaged")


def test_the_checkpoints_of_a_model_checkpoint_and_weights_only_ones(tmp_path):
    module = Lit()
    train(tmp_path, module, ModelCheckpoint(dirpath="ckpts", save_top_k=-1, save_weights_only=True))
    files = sorted(Path("ckpts").glob("*.ckpt"), key=lambda file: int(file.stem.rpartition("=")[2]))
    members = members_of(Lit(), files)
    assert [member.step for member in members] == [2, 4, 6, 8]
    assert equal(members[-1].state_dict(), module.state_dict())


def test_a_checkpoint_may_go_once_it_was_read(tmp_path):
    _, saved = train(tmp_path, Lit())
    (member,) = members_of(Lit(), ["mid.ckpt"])
    with Path("mid.ckpt").open("r+b") as file:
        file.truncate(10)  # a mapping of it would kill the process
    assert equal(member.state_dict(), saved.raw)
    Path("mid.ckpt").unlink()
    assert equal(member.state_dict(), saved.raw)


def test_what_was_compiled_when_it_was_saved(tmp_path):
    plain, module = Lit(), Lit()
    module.load_state_dict(plain.state_dict())
    module.net = torch.compile(module.net, backend="eager")
    torch.save({"state_dict": module.state_dict()}, "compiled.ckpt")
    (member,) = members_of(Lit(), ["compiled.ckpt"])
    assert equal(member.state_dict(), plain.state_dict())


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.bin", "net.ckpt", "net"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_that_torch_saved(name, zipped):
    net = Lit()
    torch.save(net.state_dict(), name, _use_new_zipfile_serialization=zipped)
    (member,) = members_of(Lit(), [name])
    assert (member.name, member.step) == (f"snapshots[0] ({name})", None)
    assert equal(member.state_dict(), net.state_dict())


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("held", "what"),
    [
        (OmegaConf.create({"lr": 0.1}), "omegaconf.dictconfig.DictConfig"),
        (Path("data"), r"pathlib\.\w+"),
        (Colour.RED, r"\S+Colour"),
        (functools.partial(int, "3"), "functools.partial"),
    ],
    ids=["DictConfig", "Path", "Enum", "partial"],
)
def test_hyperparameters_that_are_code_are_refused_with_the_way_on(held, what, tmp_path):
    module = Lit(hparams=held)
    train(tmp_path, module, epochs=1, save_at=2)
    message = (
        rf"^path='mid.ckpt': holds {what}, and code in a checkpoint is not run; if you trust the file, read "
        r"it with torch.load\(path, weights_only=False\) and pass its state dict$"
    )
    with pytest.raises(ValueError, match=message):
        members_of(Lit(), ["mid.ckpt"])
    # The way on is one.
    state = torch.load("mid.ckpt", weights_only=False)["state_dict"]
    (member,) = members_of(Lit(), [state])
    assert equal(member.state_dict(), module.state_dict())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": {"weight": torch.ones(2)}, "epoch": 3},
            "neither a state dict nor a checkpoint, it holds 'model', 'e",
        ),
        ({}, "neither a state dict nor a checkpoint, it holds "),
        ([torch.ones(2)], "holds a list, not a state dict"),
        (torch.ones(2), "holds a Tensor, not a state dict"),
        (nn.Linear(2, 2), r"holds torch\.nn\.modules\.linear\.Linear, and code in a checkpoint is not run"),
    ],
)
def test_what_is_no_state_dict(content, message):
    torch.save(content, "x.pt")
    with pytest.raises(ValueError, match=rf"^path='x.pt': {message}"):
        members_of(Lit(), ["x.pt"])


def test_a_torchscript_archive_is_refused():
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), "script.pt")
    with pytest.raises(ValueError, match=r"^path='script.pt': not a whole checkpoint \(.*\); pass a Lightning"):
        members_of(nn.Linear(2, 2), ["script.pt"])


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("at", [0, 1, 100, 500, -200, -1])
def test_a_checkpoint_that_was_cut_short(at, zipped):
    torch.save(Lit().state_dict(), "cut.ckpt", _use_new_zipfile_serialization=zipped)
    data = Path("cut.ckpt").read_bytes()
    Path("cut.ckpt").write_bytes(data[:at])
    with pytest.raises(ValueError, match=r"^path='cut.ckpt': (not a whole checkpoint|holds) ") as refused:
        members_of(Lit(), ["cut.ckpt"])
    assert "\n" not in str(refused.value)


def test_a_flipped_bit_is_noticed():
    net = Lit()
    torch.save(net.state_dict(), "bit.ckpt")
    data = bytearray(Path("bit.ckpt").read_bytes())
    at = data.index(net.net[1].weight.detach().numpy().tobytes()) + 5
    data[at] ^= 1
    Path("bit.ckpt").write_bytes(data)
    with pytest.raises(
        ValueError, match=r"^path='bit.ckpt': not a whole checkpoint \(bit/data/\d in it is damaged\); "
    ):
        members_of(Lit(), ["bit.ckpt"])


def test_a_folder_in_the_place_of_a_checkpoint():
    os.mkdir("sharded.ckpt")
    with pytest.raises(ValueError, match=r"^snapshots\[0\]='sharded.ckpt': a folder, in a list of files; pass"):
        members_of(Lit(), ["sharded.ckpt"])


def test_a_tensor_of_its_own_for_each_entry():
    # Views of one storage, as tied weights and slices are saved.
    base = torch.arange(6.0)
    torch.save({"weight": base[:4].view(2, 2), "bias": base[4:]}, "views.pt")
    (member,) = members_of(nn.Linear(2, 2), ["views.pt"])
    assert member.state_dict()["weight"].tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert member.state_dict()["bias"].tolist() == [4.0, 5.0]
    assert member.weights["bias"].untyped_storage().nbytes() == 8
