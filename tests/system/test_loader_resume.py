"""The in-memory loader keeps its place: killed in mid-epoch or not, by one process or two, a run is the same run."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.system.loader_fits import EVERY, STEPS, fit, losses

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

# Every life of a run is a fork of one process that has imported what takes seconds to import.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["lightning.pytorch", "recipes.data.fake"])


def live(folder: Path, kill_at: int | None = None) -> int | None:
    """Start a life of the run in the folder, and return how it ended."""
    folder.mkdir(exist_ok=True)
    life = processes.Process(target=functools.partial(fit, kill_at=kill_at), args=(folder,))
    life.start()
    life.join(120)
    return life.exitcode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    assert live(folder) == 0
    return folder


@pytest.mark.parametrize("seed", range(5))
def test_a_run_killed_in_mid_epoch_and_resumed_is_the_same_run(seed, whole, tmp_path):
    # Never right after a checkpoint, so that there are updates to be made once more; in each of the epochs in the end.
    kills = sorted(random.Random(seed).sample([step for step in range(4, STEPS) if step % EVERY], 3))
    folder = tmp_path / "killed"
    for kill in kills:
        assert live(folder, kill) == -signal.SIGKILL
    assert live(folder) == 0

    expected = losses(whole)
    assert [step for step, _ in expected] == list(range(STEPS))
    told, of_step = losses(folder), dict(expected)
    assert {step for step, _ in told} == set(range(STEPS))
    assert len(told) == STEPS + sum(kill % EVERY for kill in kills)
    # Equal, not close: bit for bit.
    assert [loss for _, loss in told] == [of_step[step] for step, _ in told]
    ours, theirs = torch.load(folder / "weights.pt"), torch.load(whole / "weights.pt")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_resumed_run_would_differ_without_the_place(whole, tmp_path, monkeypatch):
    # That the test above can fail.
    monkeypatch.setattr("recipes.data.place.PlacedLoader.load_state_dict", lambda self, state: None)
    checkpoint = whole / "checkpoints" / "step=6.ckpt"
    fit(tmp_path, checkpoint=checkpoint)
    assert dict(losses(tmp_path))[7] != dict(losses(whole))[7]


def in_processes(number: int, folder: Path, *checkpoint: Path) -> list[list[tuple[int, float]]]:
    folder.mkdir()
    finished = subprocess.run(
        [sys.executable, str(ROOT / "tests/system/loader_fits.py"), str(folder), str(number), *map(str, checkpoint)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    return [losses(folder, rank) for rank in range(number)]


def mean(ranks: list[list[tuple[int, float]]]) -> list[float]:
    assert all([step for step, _ in rank] == [step for step, _ in ranks[0]] for rank in ranks)
    return [sum(loss for _, loss in told) / len(told) for told in zip(*ranks, strict=True)]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes") / "one"
    (told,) = in_processes(1, folder)
    return folder, [loss for _, loss in told]


def test_one_and_two_processes_agree_on_the_same_global_batch(one_process, tmp_path):
    _, expected = one_process
    assert len(expected) == STEPS
    ranks = in_processes(2, tmp_path / "two")
    assert mean(ranks) == pytest.approx(expected, rel=0, abs=1e-5)
    assert ranks[0] != ranks[1]


def test_two_processes_go_on_in_mid_epoch_for_one(one_process, tmp_path):
    folder, expected = one_process
    ranks = in_processes(2, tmp_path / "two", folder / "checkpoints" / "step=18.ckpt")
    assert [step for step, _ in ranks[0]] == list(range(18, STEPS))
    assert mean(ranks) == pytest.approx(expected[18:], rel=0, abs=1e-5)
