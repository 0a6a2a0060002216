"""What a run is built of, and what its pictures are drawn from."""

from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, RichProgressBar

from lightning_lr import SGDR, SnapshotCheckpoint, Snapshots
from recipes import metrics
from recipes.evaluation import evaluate
from recipes.run import build, claim
from recipes.terminal import quiet
from recipes.train import CONF

# Three epochs of 17 updates: a cycle an epoch, where there are cycles.
CYCLES = {"sgdr": ("schedule.cycles=3",), "step_decay": ("schedule=step_decay",)}


class Used(Callback):
    """Notes the learning rate of each update."""

    def __init__(self):
        self.lrs = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.lrs.append(optimizer.param_groups[0]["lr"])


def kinds(parts):
    return {type(callback) for callback in parts.trainer.callbacks}


def test_snapshots_are_taken_where_the_schedule_has_cycles(composed, tmp_path):
    parts = build(composed(), tmp_path)
    assert {SGDR, SnapshotCheckpoint, LearningRateMonitor, ModelCheckpoint} <= kinds(parts)
    assert any(issubclass(kind, RichProgressBar) for kind in kinds(parts))
    assert parts.snapshots.dirpath == tmp_path / "snapshots"
    without = build(composed("schedule=step_decay"), tmp_path)
    assert without.snapshots is None
    assert SnapshotCheckpoint not in kinds(without)


def test_the_seed_decides_the_initial_weights(composed, tmp_path):
    def weights(seed):
        torch.rand(3)
        return torch.nn.utils.parameters_to_vector(build(composed(f"seed={seed}"), tmp_path).module.parameters())

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_threads_are_set_or_left(composed, tmp_path):
    build(composed("threads=2"), tmp_path)
    assert torch.get_num_threads() == 2
    build(composed("threads=null"), tmp_path)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_update_is_in_the_log_and_tests_are_not(composed, tmp_path, accumulate):
    config = composed("trainer.max_epochs=2", "schedule.cycles=2", f"trainer.accumulate_grad_batches={accumulate}")
    with quiet():
        parts = build(config, tmp_path)
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
        found = evaluate(parts.trainer, parts.module, parts.datamodule, Snapshots(parts.snapshots.dirpath))
    updates = {1: 34, 3: 12}[accumulate]
    assert parts.policy.step == updates
    assert [member.step for member in found.members] == [updates // 2, updates]
    assert found.members[-1].score == found.last
    logged = metrics.read(tmp_path)
    assert [step for step, _ in logged["lr-SGD/pg1"]] == list(range(updates))
    assert [lr for _, lr in logged["lr-SGD/pg1"]] == pytest.approx(parts.policy.preview(updates)["lr"], abs=1e-12)
    assert {value for _, value in logged["lr-SGD/pg1-momentum"]} == {0.9}
    assert not [name for name in logged if name.startswith("test/")]
    # Put back for whoever goes on with the trainer.
    assert parts.policy in parts.trainer.callbacks
    assert len(parts.trainer.loggers) == 1


class StopBefore(Callback):
    def __init__(self, update):
        self.update = update

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.update:
            raise InterruptedError


@pytest.mark.parametrize(("stop", "epochs", "updates"), [(16, None, None), (17, 1, 17), (33, 1, 17), (40, 2, 34)])
@pytest.mark.parametrize("schedule", ["sgdr", "step_decay"])
def test_a_run_that_is_stopped_has_one_checkpoint_of_its_last_whole_epoch(
    composed, tmp_path, stop, epochs, updates, schedule
):
    with quiet():
        parts = build(composed("trainer.max_epochs=3", *CYCLES[schedule]), tmp_path)
        parts.trainer.callbacks.append(StopBefore(stop))
        with pytest.raises(InterruptedError):
            parts.trainer.fit(parts.module, datamodule=parts.datamodule)
    found = sorted(path.name for path in (tmp_path / "checkpoints").glob("*"))
    if epochs is None:
        assert found == []
        return
    assert found == ["last.ckpt"]
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert (saved["epoch"], saved["global_step"]) == (epochs - 1, updates)


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_a_run_that_was_stopped_is_resumed_from_its_checkpoint(composed, tmp_path):
    config = composed("trainer.max_epochs=3", *CYCLES["sgdr"])
    with quiet():
        first = build(config, tmp_path)
        first.trainer.callbacks.append(StopBefore(40))
        with pytest.raises(InterruptedError):
            first.trainer.fit(first.module, datamodule=first.datamodule)
        # What comes after the checkpoint's moment; the log has a new file.
        second = build(config, tmp_path)
        used = Used()
        second.trainer.callbacks.append(used)
        second.trainer.fit(
            second.module, datamodule=second.datamodule, ckpt_path=tmp_path / "checkpoints" / "last.ckpt"
        )
    # 0.25 (1 + cos(pi t/17)): the third cycle from its restart.
    assert used.lrs == pytest.approx([0.25 * (1 + math.cos(math.pi * t / 17)) for t in range(17)], abs=1e-12)
    assert [(row.cycle, row.step) for row in Snapshots(tmp_path / "snapshots")] == [(0, 17), (1, 34), (2, 51)]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 51


@pytest.mark.slow
@pytest.mark.parametrize("schedule", sorted(file.stem for file in (CONF / "schedule").glob("*.yaml")))
def test_every_schedule_learns_the_digits_with_what_it_is_configured_for(schedule, composed, tmp_path):
    with quiet():
        parts = build(composed(f"schedule={schedule}", "trainer.max_epochs=10"), tmp_path)
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
        found = evaluate(parts.trainer, parts.module, parts.datamodule, None)
    assert found.last.accuracy > 0.95


@pytest.mark.parametrize(("name", "text"), [("lines.png", "mine"), ("config.yaml", "my: own\n")])
def test_a_folder_with_what_a_user_made_is_refused_and_left(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(FileExistsError, match=f"{name}.*choose another folder"):
        claim(tmp_path, {"seed": 0, "data": {"batch_size": 64}})
    assert [path.read_text() for path in tmp_path.iterdir()] == [text]


def test_a_run_that_was_refused_leaves_its_folder_to_the_next(tmp_path):
    claim(tmp_path, {"seed": 0, "data": {"batch_size": 64}})
    claim(tmp_path, {"seed": 1, "data": {"batch_size": 64}})
    assert "seed: 1" in (tmp_path / "config.yaml").read_text()
