"""One folder for all processes of a run, by what launchers put into the environment; and which process is the first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime

import pytest
from hydra import compose, initialize_config_dir
from lightning.fabric.plugins.environments import SLURMEnvironment

from recipes.run_id import is_first, of_first, of_rank, run_dir, run_id, started_outside
from recipes.train import CONF

LAUNCHERS = ("SLURM_", "TORCHELASTIC_")
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE")
MADE_UP = "63f5f1ea-4131-4a93-aaec-0a30efe87128"
TIME = r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d"


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in list(os.environ):
        if name in RANKS or name.startswith(LAUNCHERS):
            monkeypatch.delenv(name)


def srun(rank, tasks=2, **more):
    # As srun of SLURM 23.11 sets them for a step: `srun --ntasks=2 --ntasks-per-node=2`.
    return {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "train.sh",
        "SLURM_STEP_ID": "3",
        "SLURM_NTASKS": str(tasks),
        "SLURM_NTASKS_PER_NODE": str(tasks),
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_NODEID": "0",
        **more,
    }


def torchrun(rank, run="digits", nodes=1, **more):
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "GROUP_WORLD_SIZE": str(nodes),
        "TORCHELASTIC_RUN_ID": run,
        "TORCHELASTIC_RESTART_COUNT": "0",
        **more,
    }


@pytest.mark.parametrize(
    ("environment", "known_as"),
    [
        (srun(0), "slurm-4711-3"),
        (srun(1), "slurm-4711-3"),
        (srun(1, SLURM_RESTART_COUNT="2"), "slurm-4711-3-2"),
        (torchrun(0), "torchrun-digits"),
        (torchrun(1), "torchrun-digits"),
        (torchrun(1, run="my/run 1"), "torchrun-my_run_1"),
        (torchrun(1, TORCHELASTIC_RESTART_COUNT="1"), "torchrun-digits-1"),
        # Of several machines: what was made up is all that they share.
        (torchrun(1, run=MADE_UP, nodes=2), f"torchrun-{MADE_UP}"),
    ],
)
def test_is_what_the_launcher_says(environment, known_as, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run_id() == known_as
    assert run_dir(None) == f"outputs/{known_as}"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        # One task of srun may run many commands, and a shell on a node too.
        srun(0, tasks=1),
        srun(1, SLURM_JOB_NAME="bash"),
        srun(1, SLURM_JOB_NAME="interactive"),
    ],
)
def test_is_the_time_where_a_process_is_alone(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert abs((datetime.now() - datetime.strptime(run_id(), "%Y-%m-%d/%H-%M-%S")).total_seconds()) < 60
    assert not started_outside()
    assert is_first()


@pytest.mark.parametrize("name", ["none", MADE_UP])
def test_is_when_torchrun_was_started_where_nobody_named_the_run(name, tmp_path):
    # Two processes of one parent, a second apart.
    program = (
        "import subprocess, sys, time\n"
        "said = 'from recipes.run_id import run_id; print(run_id())'\n"
        "for _ in range(2):\n"
        "    print(subprocess.check_output([sys.executable, '-c', said], text=True), end='')\n"
        "    time.sleep(1.1)\n"
    )
    environment = {**os.environ, **torchrun(1, run=name), "PYTHONPATH": str(CONF.parent)}
    before = datetime.now()
    said = subprocess.check_output([sys.executable, "-c", program], env=environment, cwd=tmp_path, text=True)
    one, two = said.splitlines()
    assert one == two
    assert re.fullmatch(TIME, one)
    assert abs((datetime.strptime(one, "%Y-%m-%d/%H-%M-%S") - before).total_seconds()) < 30


def test_a_run_to_go_on_with_has_its_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert run_dir("outputs/mine") == "outputs/mine"
    assert run_dir("~/runs/mine") == "/home/me/runs/mine"


@pytest.mark.parametrize("start", [srun, torchrun])
def test_the_first_process_writes_for_all(start, monkeypatch):
    for rank, first, suffix in ((0, True, ""), (1, False, "-rank-1")):
        for name, value in start(rank).items():
            monkeypatch.setenv(name, value)
        assert is_first() is first
        assert of_rank() == suffix
        assert started_outside()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", return_hydra_config=True)
        assert config.hydra.output_subdir == (".hydra" if first else None)
        assert config.hydra.run.dir == f"outputs/{run_id()}"
        assert config.hydra.sweep.dir == f"multirun/{run_id()}"


def test_lightning_takes_the_same_environment_for_srun(monkeypatch):
    # Lightning asks the same variables: what it takes for tasks of srun, so do we.
    for environment in (srun(1), srun(1, SLURM_JOB_NAME="bash")):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert SLURMEnvironment.detect() is started_outside()
        if started_outside():
            lightning = SLURMEnvironment()
            assert lightning.creates_processes_externally
            assert (lightning.global_rank(), lightning.world_size()) == (1, 2)


def test_a_process_that_lightning_starts_is_not_the_first(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_first()
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("NODE_RANK", "1")
    assert not is_first()


def test_what_was_typed_first_stays_when_a_run_is_gone_on_with(monkeypatch):
    for name in ("SLURM_PROCID", "RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (of_first(".hydra"), of_first(".hydra", "run")) == (".hydra", ".hydra/resumed")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (of_first(".hydra"), of_first(".hydra", "run")) == (None, None)
