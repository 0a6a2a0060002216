from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EMAWeightAveraging, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import SGDR, Cycle, StepDecay
from lightning_lr.callbacks.snapshot import SnapshotCheckpoint
from lightning_lr.snapshots import Snapshots

BATCHES = 6
EPOCHS = 5

pytestmark = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    def loss(self, batch):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.loss(batch), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class FakePolicy(Callback):
    """What a policy offers, and nothing else: cycles of the given lengths over the module's optimizer steps."""

    def __init__(self, *lengths, index=0, cut=False):
        ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
        self.run_cycles = tuple(
            Cycle(i, end - length, end, complete=not (cut and i == len(lengths) - 1))
            for i, (end, length) in enumerate(zip(ends, lengths, strict=True))
        )
        self.cyclic = True
        self.step, self.optimizer_index, self.current = 0, index, {"lr": (0.1, 0.2)}
        self.state_key_ = f"FakePolicy{index}"

    def prepare(self, trainer):
        """Know the cycles: it does from the start."""

    @property
    def state_key(self):
        return self.state_key_

    def on_train_start(self, trainer, pl_module):
        def after_step(*_):
            self.step += 1
            self.current = {"lr": (1.0 / self.step, 2.0 / self.step)}
            for cycle in self.run_cycles:
                if cycle.end == self.step:
                    for callback in trainer.callbacks:
                        if hasattr(callback, "on_cycle_end"):
                            callback.on_cycle_end(trainer, pl_module, self, cycle)
            self.current = {"lr": (9.0, 9.0)}

        trainer.optimizers[self.optimizer_index].register_step_post_hook(after_step)


class StopAfter(Callback):
    """Ask the trainer to stop once so many updates are done."""

    def __init__(self, updates):
        self.updates = updates

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == self.updates


class DieAfter(Callback):
    """Die after so many updates, when checkpoints are written and the next update is not begun."""

    def __init__(self, updates):
        self.updates = updates

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.updates:
            self.trainer = trainer
            raise Died


class Died(RuntimeError):  # noqa: N818
    pass


class SaveEach(Checkpoint):
    """Lightning's checkpoint after each update, written when its own callback writes it: after all others."""

    def on_train_batch_end(self, trainer, *_):
        trainer.save_checkpoint(f"checkpoints/{trainer.global_step}.ckpt")


def loader(batches=BATCHES):
    """The same batch again and again, for after a resume a plain loader starts from the front."""
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).repeat(batches, 1)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=8)


def fit(*callbacks, model=None, ckpt_path=None, **options):
    pl.seed_everything(1, verbose=False)
    settings = {
        "accelerator": "cpu",
        "max_epochs": EPOCHS,
        "logger": False,
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **options,
    }
    trainer = pl.Trainer(callbacks=list(callbacks), **settings)
    trainer.fit(Model() if model is None else model, loader(), loader(1), ckpt_path=ckpt_path)
    return trainer


def hashes(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).glob("*.safetensors")}


def sgdr(**options):
    return SGDR(max_lr=0.1, cycles=5, **options)


class WeightsAt(Callback):
    """The oracle: the module's state after each of the given updates, copied by a callback of its own."""

    def __init__(self, *steps):
        self.steps, self.states = steps, {}

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step in self.steps:
            self.states[trainer.global_step] = {k: v.clone() for k, v in pl_module.state_dict().items()}


# What is written


def test_five_cycles_give_five_snapshots_of_the_very_weights():
    at = WeightsAt(6, 12, 18, 24, 30)
    callback = SnapshotCheckpoint("snapshots")
    fit(sgdr(), callback, at)
    snapshots = Snapshots("snapshots")
    snapshots.verify()
    assert [(row.cycle, row.step, row.epoch, row.complete) for row in snapshots] == [
        (0, 6, 0, True),
        (1, 12, 1, True),
        (2, 18, 2, True),
        (3, 24, 3, True),
        (4, 30, 4, True),
    ]
    # The trough of each cycle, not the restart: 0.05 (1 + cos(5 pi / 6)).
    assert [row.lr for row in snapshots] == pytest.approx([0.006698729810778065] * 5, abs=1e-15)
    for index, row in enumerate(snapshots):
        read, expected = snapshots.load(index), at.states[row.step]
        assert read.keys() == expected.keys()
        assert all(torch.equal(read[name], expected[name]) for name in expected)
    assert callback.dirpath == Path("snapshots").absolute()


def test_lr_of_a_row_is_that_of_the_last_update_and_the_fastest_group():
    fit(FakePolicy(4, 8), SnapshotCheckpoint("snapshots"), max_epochs=2)
    assert [(row.step, row.lr) for row in Snapshots("snapshots")] == [(4, 2.0 / 4), (12, 2.0 / 12)]


def test_metrics_are_those_that_validation_gave_for_these_weights():
    trainer = fit(sgdr(), SnapshotCheckpoint("snapshots"))
    rows = list(Snapshots("snapshots"))
    assert [set(row.metrics) for row in rows] == [{"val/loss"}] * 5
    assert rows[-1].metrics["val/loss"] == pytest.approx(trainer.callback_metrics["val/loss"].item())
    assert len({row.metrics["val/loss"] for row in rows}) == 5

    for index, row in enumerate(rows):
        model = Model()
        model.load_state_dict(Snapshots("snapshots").load(index))
        loss = model.eval().loss(next(iter(loader(1))))
        assert row.metrics["val/loss"] == pytest.approx(loss.item(), abs=1e-6)


def test_validation_of_other_weights_gives_no_metrics():
    # Cycles end after 4 and 12 updates, validation comes after 6 and 12.
    fit(FakePolicy(4, 8), SnapshotCheckpoint("snapshots"), max_epochs=2)
    assert [row.metrics is None for row in Snapshots("snapshots")] == [True, False]


def test_a_batch_without_an_update_changes_running_statistics():
    # Accumulation of 2: an update after batch 2; validation after batch 3, with the same weights and other statistics.
    fit(
        FakePolicy(1, 2), SnapshotCheckpoint("snapshots"), max_epochs=1, accumulate_grad_batches=2, val_check_interval=3
    )
    assert [row.metrics is None for row in Snapshots("snapshots")] == [True, False]


def test_sanity_check_and_later_validation_are_not_the_rows():
    trainer = fit(sgdr(), SnapshotCheckpoint("snapshots"), num_sanity_val_steps=1)
    before = Path("snapshots/manifest.json").read_bytes()
    trainer.validate(Model(), loader(1), verbose=False)
    assert Path("snapshots/manifest.json").read_bytes() == before


def test_validation_after_a_fit_that_failed_is_not_the_rows():
    failing = DieAfter(6)
    with pytest.raises(Died):
        fit(failing, sgdr(), SnapshotCheckpoint("snapshots"))
    before = Path("snapshots/manifest.json").read_bytes()
    failing.trainer.validate(Model(), loader(1), verbose=False)
    assert Path("snapshots/manifest.json").read_bytes() == before


def test_weights_are_raw_under_weight_averaging_and_metrics_null():
    plain, averaged = WeightsAt(6, 30), WeightsAt(6, 30)
    fit(sgdr(), SnapshotCheckpoint("plain"), plain)
    fit(WeightAveraging(), sgdr(), SnapshotCheckpoint("averaged"), averaged)
    assert hashes("plain") == hashes("averaged")
    assert all(row.metrics is None for row in Snapshots("averaged"))


class Swapped(Callback):
    """Notes whether a validation saw the raw weights of the last update."""

    def __init__(self):
        self.raw = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.weight = pl_module.net[0].weight.detach().clone()

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.raw.append(torch.equal(pl_module.net[0].weight, self.weight))


@pytest.mark.parametrize("first", ["averaging", "snapshots"])
def test_weights_are_raw_where_every_validation_swaps_in_an_exponential_average(first):
    swapped = Swapped()
    both = [EMAWeightAveraging(decay=0.9), SnapshotCheckpoint("averaged")]
    # At the cycles' ends, and right before the updates that are their last.
    fit(sgdr(), SnapshotCheckpoint("plain"), val_check_interval=5)
    fit(sgdr(), *(both if first == "averaging" else both[::-1]), swapped, val_check_interval=5)
    assert swapped.raw == [False] * 5
    assert hashes("averaged") == hashes("plain")
    assert [row.metrics for row in Snapshots("averaged")] == [None] * 5


@pytest.mark.parametrize("updates", [18, 30])
def test_a_snapshot_that_was_missed_is_raw_under_weight_averaging(updates):
    """Taken at the resume: a checkpoint's `state_dict` is the average, and at the end of a run so is the module."""
    fit(sgdr(), SnapshotCheckpoint("plain"))
    with contextlib.suppress(Died):
        fit(sgdr(), SnapshotCheckpoint("averaged"), EMAWeightAveraging(decay=0.9), DieAfter(updates), SaveEach())
    last = f"snapshot-00{updates // 6 - 1}.safetensors"
    Path("averaged", last).unlink()
    fit(
        sgdr(),
        SnapshotCheckpoint("averaged"),
        EMAWeightAveraging(decay=0.9),
        StopAfter(updates + 1),
        min_epochs=0,
        ckpt_path=f"checkpoints/{updates}.ckpt",
    )
    assert hashes("averaged")[last] == hashes("plain")[last]


def test_compiled_and_tied_module():
    class Tied(Model):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
            self.net[1].weight = self.net[0].weight
            self.net[2] = torch.compile(self.net[2], backend="eager")

    model = Tied()
    # Compiled by name, which is what is at stake, and not in fact.
    with torch.compiler.set_stance("force_eager"):
        fit(sgdr(), SnapshotCheckpoint("snapshots"), model=model)
    read = Snapshots("snapshots").load(-1)
    assert set(read) == {"net.0.weight", "net.1.weight", "net.2.weight", "net.2.bias"}
    assert read["net.0.weight"].data_ptr() == read["net.1.weight"].data_ptr()
    assert torch.equal(read["net.2.weight"], model.net[2].weight)


def test_dtype_and_keep_last():
    fit(sgdr(), SnapshotCheckpoint("snapshots", dtype="float16", keep_last=2))
    snapshots = Snapshots("snapshots")
    assert [row.cycle for row in snapshots] == [3, 4]
    assert sorted(hashes("snapshots")) == ["snapshot-003.safetensors", "snapshot-004.safetensors"]
    read = snapshots.load(-1)
    assert read["net.0.weight"].dtype == torch.float16
    assert read["net.1.num_batches_tracked"].item() == 30


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "64-true"])
def test_the_dtype_is_that_of_the_module(precision):
    fit(sgdr(), SnapshotCheckpoint("snapshots"), precision=precision)
    expected = {"bf16-true": torch.bfloat16, "bf16-mixed": torch.float32, "64-true": torch.float64}[precision]
    Snapshots("snapshots").verify()
    assert Snapshots("snapshots").load(-1)["net.0.weight"].dtype == expected


def test_model_checkpoint_is_not_suppressed_and_runs_later(tmp_path):
    trainer = fit(sgdr(), SnapshotCheckpoint("snapshots"), enable_checkpointing=True, default_root_dir=tmp_path)
    assert [type(callback) for callback in trainer.callbacks][-1] is ModelCheckpoint


# Which folder


def test_default_folder_is_the_loggers_else_the_root(tmp_path):
    callback = SnapshotCheckpoint()
    assert callback.dirpath is None
    trainer = fit(sgdr(), callback, logger=CSVLogger(tmp_path / "logs"), log_every_n_steps=1)
    assert callback.dirpath == Path(trainer.logger.log_dir) / "snapshots"
    assert len(Snapshots(callback.dirpath)) == 5

    fit(sgdr(), callback, default_root_dir=tmp_path / "root")
    assert callback.dirpath == tmp_path / "root" / "snapshots"
    assert len(Snapshots(callback.dirpath)) == 5


def test_fast_dev_run_writes_nothing():
    fit(FakePolicy(1), SnapshotCheckpoint("snapshots"), fast_dev_run=True)
    assert not Path("snapshots").exists()


def test_a_second_fit_is_a_second_run():
    callback = SnapshotCheckpoint("snapshots")
    fit(sgdr(), callback)
    first = callback.run_id
    before = {path.name: path.read_bytes() for path in Path("snapshots").iterdir()}
    with pytest.raises(FileExistsError, match=rf"^dirpath='.*snapshots': holds 5 snapshots of run {first}, and"):
        fit(sgdr(), callback)
    assert {path.name: path.read_bytes() for path in Path("snapshots").iterdir()} == before

    overwriting = SnapshotCheckpoint("snapshots", on_existing="overwrite")
    fit(SGDR(max_lr=0.1, cycles=2), overwriting)
    assert Snapshots("snapshots").run_id == overwriting.run_id != first
    assert sorted(hashes("snapshots")) == ["snapshot-000.safetensors", "snapshot-001.safetensors"]


@pytest.mark.parametrize("dirpath", ["snapshots", None])
def test_two_of_one_trainer_do_not_share_a_folder(dirpath, tmp_path):
    # Of two optimizers, say: at the first cycle's end it would be too late to tell.
    callbacks = [SnapshotCheckpoint(dirpath, optimizer=0), SnapshotCheckpoint(dirpath, optimizer=1)]
    with pytest.raises(ValueError, match=r"^dirpath='.*snapshots': another SnapshotCheckpoint of this trainer writes"):
        fit(sgdr(), *callbacks, default_root_dir=tmp_path)


def test_a_refused_fit_does_not_overwrite():
    fit(sgdr(), SnapshotCheckpoint("snapshots"))
    before = hashes("snapshots")
    with pytest.raises(ValueError, match="has none"):
        fit(StepDecay(0.1, every="1ep"), SnapshotCheckpoint("snapshots", on_existing="overwrite"))
    assert hashes("snapshots") == before


# Killed and resumed


@pytest.fixture
def uninterrupted():
    fit(sgdr(), SnapshotCheckpoint("whole"))
    return hashes("whole")


@pytest.mark.parametrize("killed", [2, 6, 13, 18, 29])
@pytest.mark.parametrize("back", [0, 1])
def test_killed_and_resumed_the_files_are_the_same(uninterrupted, killed, back):
    """Killed in a cycle and at its very end, resumed from the last checkpoint and from the one before."""
    with pytest.raises(Died):
        fit(sgdr(), SnapshotCheckpoint("snapshots"), DieAfter(killed), SaveEach())
    callback = SnapshotCheckpoint("snapshots")
    fit(sgdr(), callback, ckpt_path=f"checkpoints/{killed - back}.ckpt")
    assert len(uninterrupted) == 5
    assert hashes("snapshots") == uninterrupted
    snapshots = Snapshots("snapshots")
    snapshots.verify()
    assert [(row.step, row.epoch) for row in snapshots] == [(6, 0), (12, 1), (18, 2), (24, 3), (30, 4)]
    assert snapshots.run_id == callback.run_id
    assert all(row.metrics for row in snapshots)


def test_resumed_without_a_folder_it_goes_on_in_the_first_lifes(tmp_path):
    first, second = SnapshotCheckpoint(), SnapshotCheckpoint()
    with pytest.raises(Died):
        fit(sgdr(), first, DieAfter(14), SaveEach(), logger=CSVLogger("logs"), log_every_n_steps=1)
    trainer = fit(sgdr(), second, ckpt_path="checkpoints/13.ckpt", logger=CSVLogger("logs"), log_every_n_steps=1)
    assert second.dirpath == first.dirpath != Path(trainer.logger.log_dir) / "snapshots"
    assert second.run_id == first.run_id
    assert len(Snapshots(second.dirpath)) == 5


def die_and_move(killed):
    """A run without a dirpath, dead after so many updates, whose folder is elsewhere now."""
    first = SnapshotCheckpoint()
    with pytest.raises(Died):
        fit(sgdr(), first, DieAfter(killed), SaveEach(), default_root_dir="run")
    os.rename("run", "moved")
    return first


@pytest.mark.parametrize("killed", [6, 14])
def test_resumed_without_a_folder_when_the_first_lifes_has_moved_it_stops(killed, tmp_path):
    die_and_move(killed)
    with pytest.raises(FileNotFoundError) as refused:
        fit(sgdr(), SnapshotCheckpoint(), ckpt_path=f"checkpoints/{killed}.ckpt", default_root_dir="run")
    assert str(refused.value) == (
        f"dirpath=None: the run that is resumed has its snapshots in {tmp_path}/run/snapshots, and there is no such "
        "folder; pass dirpath=, the folder where they are now"
    )
    assert not Path("run/snapshots").exists()


def test_resumed_with_the_folder_to_which_the_first_lifes_has_moved_it_goes_on(uninterrupted):
    first, second = die_and_move(14), SnapshotCheckpoint("moved/snapshots")
    fit(sgdr(), second, ckpt_path="checkpoints/13.ckpt")
    assert second.run_id == first.run_id
    assert hashes("moved/snapshots") == uninterrupted
    assert not Path("run").exists()


def test_a_folder_that_never_had_a_snapshot_is_made_again(uninterrupted):
    first, second = die_and_move(3), SnapshotCheckpoint()
    fit(sgdr(), second, ckpt_path="checkpoints/3.ckpt", default_root_dir="elsewhere")
    assert (second.dirpath, second.run_id) == (Path("run/snapshots").absolute(), first.run_id)
    assert hashes("run/snapshots") == uninterrupted


def die_at_end_of(cycle):
    """A run that has a checkpoint of the cycle's very end."""
    with pytest.raises(Died):
        fit(sgdr(), SnapshotCheckpoint("snapshots"), DieAfter(6 * cycle + 6), SaveEach())
    return f"checkpoints/{6 * (cycle + 1)}.ckpt"


@pytest.mark.parametrize("damage", ["row", "file", "bit"])
def test_resumed_at_a_cycles_end_it_takes_the_missing_snapshot(uninterrupted, damage):
    path = die_at_end_of(2)
    before = Snapshots("snapshots")[2]
    file = Path("snapshots/snapshot-002.safetensors")
    if damage == "row":
        manifest = json.loads(Path("snapshots/manifest.json").read_text())
        del manifest["snapshots"][2]
        Path("snapshots/manifest.json").write_text(json.dumps(manifest))
    elif damage == "file":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    fit(sgdr(), SnapshotCheckpoint("snapshots"), ckpt_path=path)
    assert hashes("snapshots") == uninterrupted
    after = Snapshots("snapshots")[2]
    assert (after.step, after.epoch, after.lr, after.sha256) == (18, 2, before.lr, before.sha256)


def test_resumed_at_the_end_of_the_run_it_takes_the_missing_snapshot(uninterrupted):
    trainer = fit(sgdr(), SnapshotCheckpoint("snapshots"), SaveEach())
    # Lightning has nothing left to train then, and leaves out all hooks of the training.
    trainer.save_checkpoint("checkpoints/done.ckpt")
    before = Snapshots("snapshots")[-1]
    Path("snapshots/snapshot-004.safetensors").unlink()
    fit(sgdr(), SnapshotCheckpoint("snapshots"), ckpt_path="checkpoints/done.ckpt")
    assert hashes("snapshots") == uninterrupted
    assert Snapshots("snapshots")[-1].lr == before.lr


def test_earlier_snapshots_that_are_gone_are_named():
    path = die_at_end_of(2)
    Path("snapshots/snapshot-000.safetensors").unlink()
    Path("snapshots/snapshot-001.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"lacks the snapshots of cycles 0, 1, which this run has behind it; restore"):
        fit(sgdr(), SnapshotCheckpoint("snapshots"), ckpt_path=path)


def test_what_keep_last_was_killed_in_is_gone_after_the_resume():
    trainer = fit(sgdr(), SnapshotCheckpoint("snapshots", keep_last=2), SaveEach())
    trainer.save_checkpoint("checkpoints/done.ckpt")
    # The manifest does not name it any more, and the file was to go.
    Path("snapshots/snapshot-002.safetensors").write_bytes(b"")
    fit(sgdr(), SnapshotCheckpoint("snapshots", keep_last=2), ckpt_path="checkpoints/done.ckpt")
    assert sorted(hashes("snapshots")) == ["snapshot-003.safetensors", "snapshot-004.safetensors"]


def test_what_keep_last_dropped_is_not_missed():
    with pytest.raises(Died):
        fit(sgdr(), SnapshotCheckpoint("snapshots", keep_last=1), DieAfter(20), SaveEach())
    fit(sgdr(), SnapshotCheckpoint("snapshots", keep_last=1), ckpt_path="checkpoints/19.ckpt")
    assert [row.cycle for row in Snapshots("snapshots")] == [4]


@pytest.mark.parametrize("back_to", [12, 13])
def test_what_keep_last_dropped_for_later_cycles_is_not_missed(uninterrupted, back_to):
    """A warning is an error here: when the run died, the files were those of cycles 2 and 3, and 0 and 1 were gone."""
    with pytest.raises(Died):
        fit(sgdr(), SnapshotCheckpoint("snapshots", keep_last=2), DieAfter(26), SaveEach())
    assert sorted(hashes("snapshots")) == ["snapshot-002.safetensors", "snapshot-003.safetensors"]
    fit(sgdr(), SnapshotCheckpoint("snapshots", keep_last=2), ckpt_path=f"checkpoints/{back_to}.ckpt")
    assert [row.cycle for row in Snapshots("snapshots")] == [3, 4]
    last = ("snapshot-003.safetensors", "snapshot-004.safetensors")
    assert hashes("snapshots") == {name: uninterrupted[name] for name in last}


def test_of_what_keep_last_keeps_the_missing_are_named():
    with pytest.raises(Died):
        fit(sgdr(), SnapshotCheckpoint("snapshots", keep_last=2), DieAfter(20), SaveEach())
    Path("snapshots/snapshot-001.safetensors").unlink()
    with pytest.warns(UserWarning, match=r"lacks the snapshots of cycles 1, which"):
        fit(sgdr(), SnapshotCheckpoint("snapshots", keep_last=2), ckpt_path="checkpoints/19.ckpt")


def test_resumed_into_another_runs_folder_it_stops():
    path = die_at_end_of(1)
    fit(sgdr(), SnapshotCheckpoint("snapshots", on_existing="overwrite"))
    before = hashes("snapshots")
    with pytest.raises(FileExistsError, match=r"holds 5 snapshots of run"):
        fit(sgdr(), SnapshotCheckpoint("snapshots"), ckpt_path=path)
    assert hashes("snapshots") == before


def test_a_fit_after_a_resume_that_died_is_a_new_run():
    path = die_at_end_of(1)
    callback = SnapshotCheckpoint("snapshots")
    with pytest.raises(Died):
        fit(sgdr(), callback, DieAfter(14), ckpt_path=path)
    with pytest.raises(FileExistsError, match=r"holds 2 snapshots of run"):
        fit(sgdr(), callback)


def test_a_run_that_had_no_snapshots_gets_them_from_its_resume_on():
    with pytest.raises(Died):
        fit(sgdr(), DieAfter(7), SaveEach())
    fit(sgdr(), SnapshotCheckpoint("snapshots"), ckpt_path="checkpoints/6.ckpt")
    rows = list(Snapshots("snapshots"))
    assert [row.step for row in rows] == [6, 12, 18, 24, 30]
    # What it was is not known, and not made up.
    assert [row.lr is None for row in rows] == [True, False, False, False, False]


def test_a_checkpoint_read_for_a_test_does_not_move_the_folder():
    path = die_at_end_of(1)
    callback = SnapshotCheckpoint()
    trainer = fit(sgdr(), callback, default_root_dir="elsewhere")
    before = (callback.dirpath, callback.run_id)
    trainer.validate(Model(), loader(1), ckpt_path=path, verbose=False)
    assert (callback.dirpath, callback.run_id) == before


# The last, partial cycle


@pytest.mark.parametrize("wanted", [False, True])
def test_a_cut_last_cycle(wanted):
    # 30 updates: cycles of 12, 12 and the first 6 of 12.
    fit(SGDR(max_lr=0.1, cycle=12), SnapshotCheckpoint("snapshots", save_last_partial=wanted))
    rows = [(row.step, row.complete) for row in Snapshots("snapshots")]
    assert rows == [(12, True), (24, True), (30, False)][: 3 if wanted else 2]


@pytest.mark.parametrize("wanted", [False, True])
def test_training_that_stops_inside_a_cycle(wanted):
    fit(sgdr(), SnapshotCheckpoint("snapshots", save_last_partial=wanted), StopAfter(14), min_epochs=0)
    rows = [(row.step, row.complete) for row in Snapshots("snapshots")]
    assert rows[:2] == [(6, True), (12, True)]
    if not wanted:
        assert len(rows) == 2
        return
    assert rows[2:] == [(14, False)]
    # Update 13, the second of its cycle: 0.05 (1 + cos(pi / 6)).
    assert Snapshots("snapshots")[-1].lr == pytest.approx(0.09330127018922194, abs=1e-15)


def test_a_partial_snapshot_is_replaced_when_the_cycle_ends_and_never_the_other_way():
    fit(sgdr(), SnapshotCheckpoint("snapshots", save_last_partial=True), StopAfter(14), SaveEach())
    assert [row.step for row in Snapshots("snapshots")] == [6, 12, 14]
    fit(sgdr(), SnapshotCheckpoint("snapshots", save_last_partial=True), ckpt_path="checkpoints/14.ckpt")
    complete = hashes("snapshots")
    assert [row.step for row in Snapshots("snapshots")] == [6, 12, 18, 24, 30]
    fit(
        sgdr(),
        SnapshotCheckpoint("snapshots", save_last_partial=True),
        StopAfter(15),
        ckpt_path="checkpoints/14.ckpt",
    )
    assert hashes("snapshots") == complete


def test_partial_after_weight_averaging_is_refused_and_before_it_raw():
    with pytest.raises(ValueError, match=r"save_last_partial=True: .*put SnapshotCheckpoint before it"):
        fit(WeightAveraging(), sgdr(), SnapshotCheckpoint("snapshots", save_last_partial=True))
    at = WeightsAt(14)
    fit(sgdr(), SnapshotCheckpoint("snapshots", save_last_partial=True), WeightAveraging(), StopAfter(14), at)
    read = Snapshots("snapshots").load(-1)
    assert all(torch.equal(read[name], at.states[14][name]) for name in read)


# Refusals


class TwoOptimizers(Model):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net[0].parameters(), lr=0.1), torch.optim.SGD(self.net[2].parameters(), lr=0.1)]


def test_one_of_two_policies_is_followed_when_it_is_told_which():
    policies = FakePolicy(5, 5, index=0), FakePolicy(10, index=1)
    with pytest.raises(ValueError, match=r"optimizer=None: several policies have cycles \(FakePolicy of optimizer 0, "):
        fit(*policies, SnapshotCheckpoint("snapshots"), model=TwoOptimizers())
    assert not Path("snapshots").exists()
    policies = FakePolicy(5, 5, index=0), FakePolicy(10, index=1)
    fit(*policies, SnapshotCheckpoint("snapshots", optimizer=1), model=TwoOptimizers())
    assert [row.step for row in Snapshots("snapshots")] == [10]


def test_an_update_after_the_cycle_in_the_same_batch_makes_the_metrics_another_models():
    class TwoUpdates(TwoOptimizers):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def training_step(self, batch, batch_idx):
            for _ in range(2):
                self.optimizers().zero_grad()
                self.manual_backward(self.loss(batch))
                self.optimizers().step()

    # Twelve updates an epoch; the second cycle ends with the last one, the first with the last but one of its batch.
    fit(FakePolicy(11, 13), SnapshotCheckpoint("snapshots"), model=TwoUpdates(), max_epochs=2)
    assert [(row.step, row.metrics is None) for row in Snapshots("snapshots")] == [(11, True), (24, False)]


def test_a_policy_without_cycles_beside_one_with_them_is_no_candidate():
    fit(FakePolicy(index=0), FakePolicy(10, index=1), SnapshotCheckpoint("snapshots"), model=TwoOptimizers())
    assert [row.step for row in Snapshots("snapshots")] == [10]


def test_no_policy_and_no_cycles_are_refused():
    with pytest.raises(ValueError, match=r"^SnapshotCheckpoint: there is no policy in the trainer.*SGDR\(max_lr"):
        fit(SnapshotCheckpoint("snapshots"))
    with pytest.raises(ValueError, match=r"StepDecay has none, and a snapshot is taken at the end of a cycle; add"):
        fit(StepDecay(0.1, every="1ep"), SnapshotCheckpoint("snapshots"))
    with pytest.raises(ValueError, match=r"there is no policy of optimizer 3"):
        fit(FakePolicy(3), SnapshotCheckpoint("snapshots", optimizer=3))
    assert not Path("snapshots").exists()


@pytest.mark.parametrize("first", ["policy", "snapshots"])
def test_a_policy_without_cycles_is_refused_before_any_batch(first):
    class Counting(Model):
        batches = 0

        def loss(self, batch):
            self.batches += 1
            return super().loss(batch)

    model, callbacks = Counting(), [StepDecay(0.1, every="1ep"), SnapshotCheckpoint("snapshots")]
    with pytest.raises(
        ValueError, match=r"^SnapshotCheckpoint: StepDecay has none, and a snapshot is taken at the end"
    ):
        fit(*(callbacks if first == "policy" else callbacks[::-1]), model=model, num_sanity_val_steps=1)
    assert model.batches == 0
    fit(sgdr(), SnapshotCheckpoint("snapshots"), model=model, num_sanity_val_steps=1)
    assert model.batches == 1 + EPOCHS * (BATCHES + 1)


@pytest.mark.parametrize("same", ["s3/", "./s3", "other"])
def test_two_for_one_optimizer_are_refused_by_the_trainer(same):
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `SnapshotCheckpoint`"):
        pl.Trainer(accelerator="cpu", logger=False, callbacks=[SnapshotCheckpoint("s3"), SnapshotCheckpoint(same)])


def test_extra_state_is_refused_before_training():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            pass

    model = Model()
    model.net[2] = Extra(8, 2)
    with pytest.raises(
        TypeError, match=r"state_dict\['net\.2\._extra_state'\]: dict, and a snapshot holds tensors only"
    ):
        fit(sgdr(), SnapshotCheckpoint("snapshots"), model=model)
    assert not Path("snapshots").exists()


@pytest.mark.parametrize("name", ["FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"])
def test_sharded_strategies_are_refused_by_name(name):
    strategy = getattr(pl.strategies, name)
    trainer = SimpleNamespace(strategy=strategy.__new__(strategy), callbacks=[])
    with pytest.raises(RuntimeError, match=rf"^strategy={name}: .*use a strategy that does not shard"):
        SnapshotCheckpoint("snapshots").setup(trainer, Model(), "fit")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dirpath": 3}, TypeError, "dirpath=3: not a path"),
        ({"dirpath": ""}, ValueError, "dirpath='': not a folder"),
        ({"dirpath": "s3://bucket/run"}, ValueError, "dirpath='s3://bucket/run': not a folder of this machine"),
        ({"keep_last": 0}, ValueError, "keep_last=0: "),
        ({"keep_last": 1.5}, TypeError, r"keep_last=1\.5: "),
        ({"save_last_partial": "yes"}, ValueError, "save_last_partial='yes': "),
        ({"dtype": "int8"}, ValueError, "dtype='int8': "),
        ({"optimizer": -1}, ValueError, "optimizer=-1: "),
        ({"on_existing": "append"}, ValueError, "on_existing='append': unknown; pass 'error' or 'overwrite'"),
    ],
)
def test_arguments_that_make_no_sense(arguments, error, message):
    with pytest.raises(error, match=rf"^{message}") as raised:
        SnapshotCheckpoint(**arguments)
    assert "\n" not in str(raised.value)


def test_a_path_that_is_a_file_is_refused_before_training():
    Path("taken").write_text("")
    with pytest.raises(FileExistsError, match="is a file; give a folder"):
        fit(sgdr(), SnapshotCheckpoint("taken"))


FULL = "No space left on device; not written, see to the disk or choose another folder"
STOPS = "the training stops here, resume it from its last checkpoint"


# Renames of a run with validation: a manifest at the start; then each snapshot, its row, and its metrics.
@pytest.mark.parametrize(
    ("at", "file", "rows"),
    [
        pytest.param(8, "snapshot-002.safetensors", [0, 1], id="the file"),
        pytest.param(9, "manifest.json", [0, 1], id="its row"),
        pytest.param(10, "manifest.json", [0, 1, 2], id="its metrics"),
    ],
)
def test_a_full_disk_stops_the_fit_and_leaves_what_was_there(uninterrupted, monkeypatch, at, file, rows):
    real, calls = os.replace, 0

    def full(source, target):
        nonlocal calls
        if ".staging-" in str(source):
            calls += 1
            if calls >= at:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=f"{FULL}; {STOPS}") as stopped:
        fit(sgdr(), SnapshotCheckpoint("snapshots"), SaveEach())
    monkeypatch.setattr(os, "replace", real)
    assert str(stopped.value) == f"[Errno 28] {FULL}; {STOPS}: '{Path('snapshots', file).absolute()}'"
    snapshots = Snapshots("snapshots")
    snapshots.verify()
    assert [row.cycle for row in snapshots] == rows
    # The last checkpoint is of the update before, or of this very one.
    last = max(int(path.stem) for path in Path("checkpoints").iterdir())
    assert last == (18 if file == "manifest.json" and rows == [0, 1, 2] else 17)
    fit(sgdr(), SnapshotCheckpoint("snapshots"), ckpt_path=f"checkpoints/{last}.ckpt")
    assert hashes("snapshots") == uninterrupted
    Snapshots("snapshots").verify()
    assert [row.step for row in Snapshots("snapshots")] == [6, 12, 18, 24, 30]


def test_a_folder_that_cannot_be_written_is_refused_before_training(monkeypatch):
    # What the system answers for a disk that is mounted read-only, to root as well.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"^dirpath='.*snapshots': .* cannot be written; give another folder$"):
        fit(sgdr(), SnapshotCheckpoint("snapshots"))
    assert not Path("snapshots").exists()


# Two processes


def fit_two(*callbacks, **options):
    fit(
        *callbacks,
        devices=2,
        strategy="ddp_fork",
        use_distributed_sampler=False,
        **options,
    )


@pytest.mark.slow
def test_two_processes_write_one_set_and_refuse_together():
    fit_two(sgdr(), SnapshotCheckpoint("snapshots"))
    snapshots = Snapshots("snapshots")
    snapshots.verify()
    assert [row.step for row in snapshots] == [6, 12, 18, 24, 30]
    before = hashes("snapshots")
    # Rank 0 alone looks at the folder; were the other not told, it would wait for ever.
    with pytest.raises(Exception, match=r"holds 5 snapshots of run"):
        fit_two(sgdr(), SnapshotCheckpoint("snapshots"))
    assert hashes("snapshots") == before


@pytest.mark.slow
def test_a_full_disk_of_one_process_stops_both(monkeypatch):
    real = os.replace

    def full(source, target):
        if str(target).endswith("snapshot-002.safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    # Else the other would wait for it at the next gradient.
    with pytest.raises(Exception, match=rf"{FULL}; {STOPS}.*snapshot-002\.safetensors"):
        fit_two(sgdr(), SnapshotCheckpoint("snapshots"))
    Snapshots("snapshots").verify()
    assert [row.cycle for row in Snapshots("snapshots")] == [0, 1]
