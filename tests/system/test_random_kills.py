"""A run that SIGKILL hits at any instant, again and again, ends with the snapshots of one that was left alone."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import signal
import tempfile
import time
from ctypes import c_int
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_lr import SGDR, SnapshotCheckpoint, Snapshots
from tests.fits import Recording, loader, sgd, trainer

EPOCHS, BATCHES, CYCLES = 20, 10, 5
STEPS, CYCLE = EPOCHS * BATCHES, EPOCHS * BATCHES // CYCLES
# A run that stands still is to fail, and not to wait for ever.
PATIENCE = 60.0

# Every life of the run is a fork of one process that has imported what takes seconds to import.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["lightning.pytorch"])


class Ballasted(Recording):
    """Its state weighs 4 MB, so that a kill finds files half written, and differs from update to update.

    Args:
        updates: Where it tells how many updates are made.
    """

    def __init__(self, updates: c_int) -> None:
        super().__init__(sgd(momentum=0.9))
        self.updates = updates
        self.register_buffer("ballast", torch.zeros(1_000_000))

    def training_step(self, batch, batch_idx):
        self.updates.value = self.trainer.global_step
        self.ballast.fill_(float(self.trainer.global_step))
        return super().training_step(batch, batch_idx)


def life(folder: Path, updates: c_int) -> None:
    """Train from the last checkpoint to the end, or from the beginning where there is none."""
    torch.set_num_threads(1)
    # Lightning stages its checkpoints there: on another disk than their folder, a kill would leave half of one.
    tempfile.tempdir = str(folder.parent)
    resumed = any((folder / "checkpoints").glob("last*.ckpt"))
    run = trainer(
        SGDR(0.1, 0.001, cycles=CYCLES, cycle_momentum=True),
        SnapshotCheckpoint(folder / "snapshots", on_existing="error" if resumed else "overwrite"),
        # Of the cycles' ends, six divides 120 alone: there is a checkpoint at one of them, and before the others.
        ModelCheckpoint(folder / "checkpoints", save_last=True, every_n_train_steps=6),
        max_epochs=EPOCHS,
        enable_checkpointing=True,
        default_root_dir=folder,
    )
    run.fit(Ballasted(updates), loader(BATCHES), ckpt_path="last" if resumed else None)


def live(folder: Path, until: int | None = None, delay: float = 0.0) -> int | None:
    """Start a life; kill it so many seconds after it has come to an update, if one is given. Return how it ended."""
    updates = processes.RawValue(c_int, 0)
    process = processes.Process(target=life, args=(folder, updates))
    process.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while until is not None and process.is_alive() and updates.value < until and time.monotonic() < deadline:
            time.sleep(0.0005)
        if until is None:
            process.join(PATIENCE)
        time.sleep(delay)
    finally:
        process.kill()
        process.join()
    return process.exitcode


def rows_in(folder: Path) -> list[tuple[int, int, int, float | None, bool, str]]:
    snapshots = Snapshots(folder / "snapshots")
    snapshots.verify()
    return [(row.cycle, row.step, row.epoch, row.lr, row.complete, row.sha256) for row in snapshots]


def files_in(folder: Path) -> set[tuple[str, str]]:
    return {
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (folder / "snapshots").glob("snapshot-*.safetensors")
    }


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert live(whole) == 0

    chance = random.Random(2017)
    # Before there is a checkpoint, anywhere, and where each cycle ends: that is when snapshots are written.
    updates = [3, *chance.sample(range(6, STEPS - CYCLE), 2), *range(CYCLE - 1, STEPS, CYCLE)]
    ends = []
    for update in sorted(updates):
        ends.append(live(killed, update, delay=chance.uniform(0.0, 0.03)))
        # What is there at any instant is whole and as it should be: a file, a row, the manifest.
        assert files_in(killed) <= files_in(whole)
        if (killed / "snapshots" / "manifest.json").exists():
            assert set(rows_in(killed)) <= set(rows_in(whole))
    # 0: where the machine was busy elsewhere, the last life may have come to its end before the kill did.
    assert set(ends[:-1]) == {-signal.SIGKILL}
    assert live(killed) == 0

    rows = rows_in(killed)
    assert [row[:2] for row in rows] == [(0, 40), (1, 80), (2, 120), (3, 160), (4, 200)]
    assert rows == rows_in(whole)
    assert sorted(path.name for path in (killed / "snapshots").iterdir()) == [
        "manifest.json",
        *(f"snapshot-{cycle:03d}.safetensors" for cycle in range(CYCLES)),
    ]
