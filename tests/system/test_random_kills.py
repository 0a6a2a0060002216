"""A run that SIGKILL hits fifty times, in its writes too, ends with the snapshots of one that was left alone.

Twenty-five times with the temporary folder on the disk of the snapshots, and as often on another one: Lightning stages
its checkpoints there, and a kill may leave half of one. The run goes on from the newest that is whole; where there is
none yet, it begins anew with `on_existing="overwrite"`.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from ctypes import c_int
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_lr import SGDR, SnapshotCheckpoint, Snapshots
from lightning_lr.snapshots import load_weights, writer
from tests.fits import Recording, loader, sgd, trainer

EPOCHS, BATCHES, CYCLES = 2, 25, 5
STEPS, CYCLE = EPOCHS * BATCHES, EPOCHS * BATCHES // CYCLES
# There is none yet at the first cycle's end, one right at the third's, and one somewhere before the others; and none at
# an epoch's end, for Lightning miscounts the batches of a run that was resumed there and then once more.
CHECKPOINT_EVERY = 15
# A run that stands still is to fail, and not to wait for ever.
PATIENCE = 60.0

# Every life of the run is a fork of one process that has imported what takes seconds to import.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["lightning.pytorch"])


class Ballasted(Recording):
    """Its state weighs 8 MB, so that a kill finds files half written, and differs from update to update.

    Args:
        updates: Where it tells how many updates are made.
    """

    def __init__(self, updates: c_int) -> None:
        super().__init__(sgd(momentum=0.9))
        self.updates = updates
        self.register_buffer("ballast", torch.zeros(2_000_000))

    def training_step(self, batch, batch_idx):
        self.updates.value = self.trainer.global_step
        self.ballast.fill_(float(self.trainer.global_step))
        return super().training_step(batch, batch_idx)


SUICIDES = (
    "half of the file is written",
    "the file is written",
    "the file is in place",
    "its row is written",
    "its row is in place",
)
"""How far a snapshot may have come when a life kills itself."""


def die_when(far: str, cycle: int, died_in: c_int) -> None:
    """Kill this process in the first write of the cycle's snapshot, or of a later one's, and tell in which."""
    write, pieces, rename = writer.SnapshotWriter.write, writer.pieces, os.replace

    def note(self: Any, *args: Any, **row: Any) -> Any:
        died_in.value = row["cycle"]
        return write(self, *args, **row)

    def die_in(place: str) -> None:
        if died_in.value >= cycle and far == place:
            os.kill(os.getpid(), signal.SIGKILL)

    def in_two(*args: Any) -> Iterator[Any]:
        for piece in pieces(*args):
            yield piece[: len(piece) // 2]
            if len(piece) > 1_000_000:
                die_in("half of the file is written")
            yield piece[len(piece) // 2 :]

    def replace(source: Any, target: Any) -> None:
        what = "its row" if Path(target).name == "manifest.json" else "the file"
        die_in(f"{what} is written")
        rename(source, target)
        die_in(f"{what} is in place")

    writer.SnapshotWriter.write, writer.pieces, os.replace = note, in_two, replace


def assert_came_so_far(run: Run, whole: Run, suicide: str, rows_before: set[int]) -> None:
    cycle = run.died_in.value
    name = f"snapshot-{cycle:03d}.safetensors"
    size = (whole.snapshots / name).stat().st_size
    staged = {name: (run.snapshots / name).stat().st_size for name in run.staged()}
    if suicide == "half of the file is written":
        assert 0.4 * size < staged.pop(f".staging-{name}") < 0.6 * size
    elif suicide == "the file is written":
        assert staged.pop(f".staging-{name}") == size
    else:
        assert name in run.names()
    if suicide == "its row is written":
        assert staged.pop(".staging-manifest.json") > 0
    assert not staged
    # Its row may be there from a life that came further; those of the cycles before it are there in any case.
    assert (cycle in run.cycles() - rows_before) == (suicide == "its row is in place" and cycle not in rows_before)
    assert set(range(cycle)) <= run.cycles()


def newest_whole(checkpoints: Path) -> Path | None:
    """The newest checkpoint that can be read. What a kill has made of others is Lightning's, and out of the way."""
    for path in sorted(checkpoints.glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]), reverse=True):
        try:
            torch.load(path, weights_only=True)
        except Exception:
            path.unlink()
        else:
            return path
    return None


def life(folder: Path, temporary: Path, updates: c_int, suicide: tuple[str, int, c_int] | None) -> None:
    """Train from the last checkpoint to the end, or from the beginning where there is none."""
    torch.set_num_threads(1)
    tempfile.tempdir = str(temporary)
    if suicide is not None:
        die_when(*suicide)
    checkpoint = newest_whole(folder / "checkpoints")
    run = trainer(
        SGDR(0.1, 0.001, cycles=CYCLES, cycle_momentum=True),
        SnapshotCheckpoint(folder / "snapshots", on_existing="error" if checkpoint else "overwrite"),
        ModelCheckpoint(
            folder / "checkpoints",
            filename="{step}",
            save_top_k=-1,
            every_n_train_steps=CHECKPOINT_EVERY,
            enable_version_counter=False,
        ),
        max_epochs=EPOCHS,
        enable_checkpointing=True,
        default_root_dir=folder,
    )
    run.fit(Ballasted(updates), loader(BATCHES), ckpt_path=checkpoint)


class Run:
    """A run of many lives, in a folder, and what became of each of them."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder, self.snapshots, self.temporary = folder, folder / "snapshots", temporary
        self.ends: list[int | None] = []

    def live(
        self,
        until: Callable[[int], bool] | None = None,
        delay: float = 0.0,
        suicide: tuple[str, int] | None = None,
    ) -> None:
        """Start a life, and let it end by itself or kill it.

        Args:
            until: Told how many updates are made, whether to kill it now; None leaves it alone.
            delay: Seconds from then to the kill.
            suicide: How far a snapshot has come, and from which cycle on, when it kills itself.
        """
        # -1: before the training has begun, and before anything is written.
        updates, self.died_in = (processes.RawValue(c_int, -1) for _ in range(2))
        how = None if suicide is None else (*suicide, self.died_in)
        process = processes.Process(target=life, args=(self.folder, self.temporary, updates, how))
        process.start()
        try:
            deadline = time.monotonic() + PATIENCE
            if until is None:
                process.join(PATIENCE)
            else:
                while process.is_alive() and not until(updates.value) and time.monotonic() < deadline:
                    time.sleep(0.0002)
                time.sleep(delay)
        finally:
            process.kill()
            process.join()
        self.ends.append(process.exitcode)

    def is_writing(self) -> bool:
        return any(".staging-" in name for name in self.names())

    def staged(self) -> list[str]:
        return [name for name in self.names() if name.startswith(".staging-")]

    def names(self) -> list[str]:
        return os.listdir(self.snapshots) if self.snapshots.exists() else []

    def rows(self) -> list[tuple[int, int, int, float | None, bool, str]]:
        """Those of the manifest, which all verify."""
        if "manifest.json" not in self.names():
            return []
        snapshots = Snapshots(self.snapshots)
        snapshots.verify()
        return [(row.cycle, row.step, row.epoch, row.lr, row.complete, row.sha256) for row in snapshots]

    def cycles(self) -> set[int]:
        return {row[0] for row in self.rows()}

    def check(self, whole: Run) -> None:
        """What is there at any instant is whole and as it should be, or is refused by all that reads."""
        rows, expected = self.rows(), whole.rows()
        assert set(rows) <= set(expected)
        assert [row[0] for row in rows] == sorted({row[0] for row in rows})
        hashes = {row[-1] for row in expected}
        for path in self.snapshots.iterdir() if self.snapshots.exists() else ():
            try:
                load_weights(path)
            except ValueError:
                assert path.name == "manifest.json" or path.name.startswith(".staging-")
            else:
                assert hashlib.sha256(path.read_bytes()).hexdigest() in hashes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run = Run(folder, folder)
    run.live()
    assert run.ends == [0]
    assert [row[:2] for row in run.rows()] == [(0, 10), (1, 20), (2, 30), (3, 40), (4, 50)]
    return run


@pytest.fixture(params=["the same disk", "another disk"])
def temporary(request, tmp_path):
    if request.param == "the same disk":
        yield tmp_path
        return
    here = tmp_path.stat().st_dev
    others = [path for path in map(Path, ("/dev/shm", "/var/tmp")) if path.is_dir() and path.stat().st_dev != here]
    if not others:
        pytest.skip("there is no other disk here for temporary files")
    with tempfile.TemporaryDirectory(dir=others[0]) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path, temporary, whole):
    chance = random.Random(2017)
    run, in_writes = Run(tmp_path / "killed", temporary), 0

    def kill(in_a_write: bool = False, **how: Any) -> None:
        """Kill a life. One that has come to the end of the run before is no kill, and is followed by another."""
        nonlocal in_writes
        for _ in range(20):
            run.live(**how)
            run.check(whole)
            hit = run.is_writing()
            in_writes += hit
            if run.ends[-1] == 0:
                run.ends.pop()
            elif hit or not in_a_write:
                return
        raise AssertionError(f"no kill of twenty was one, or none was in a write: {how}")

    for cycle, suicide, other in zip(range(CYCLES), SUICIDES, [*SUICIDES][::-1], strict=True):
        start, end = cycle * CYCLE, (cycle + 1) * CYCLE
        # By its own hand, at a place in the first write of this snapshot.
        rows_before = run.cycles()
        kill(suicide=(suicide, cycle))
        assert_came_so_far(run, whole, suicide, rows_before)
        # Anywhere in the cycle.
        update = chance.randrange(start, end)
        kill(until=lambda done, update=update: done >= update, delay=chance.uniform(0.0, 0.01))

        # When a file is seen that is being written; and a moment after, whatever it has come to then.
        def seen(done: int, end: int = end) -> bool:
            return done > end or (done >= 0 and run.is_writing())

        kill(until=seen, in_a_write=True)
        kill(until=seen, delay=chance.uniform(0.0, 0.02))
        # In a write of this snapshot over itself, or already of the next.
        kill(suicide=(other, cycle))

    assert set(run.ends) == {-signal.SIGKILL}
    assert len(run.ends) >= 25
    # Those that were aimed, and by their own hand six of ten: not where the file or its row was in place already.
    assert in_writes >= 11
    run.live()
    assert run.ends[-1] == 0
    run.check(whole)
    assert run.rows() == whole.rows()
    assert sorted(run.names()) == ["manifest.json", *(f"snapshot-{cycle:03d}.safetensors" for cycle in range(CYCLES))]
