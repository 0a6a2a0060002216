"""Which jobs need a process of their own, how it is started, and what a job leaves to the next."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from recipes import ending, fresh_process, sweep
from recipes.launch import _surroundings


@pytest.mark.parametrize(
    ("options", "several"),
    [
        ({"devices": 1}, False),
        ({"devices": "1"}, False),
        ({"devices": "[3]"}, False),
        ({"devices": "0,"}, False),
        ({"devices": 2}, True),
        ({"devices": "0,1"}, True),
        ({"devices": "[0,1]"}, True),
        ({"devices": -1}, True),
        ({"devices": 1, "num_nodes": 2}, True),
        # How many there are is not known before torch is loaded.
        ({"devices": "auto"}, True),
        ({"devices": "auto", "accelerator": "cpu"}, False),
        ({"devices": "auto", "accelerator": "cpu", "strategy": "ddp"}, True),
    ],
)
def test_runs_of_several_processes(options, several, composed):
    trainer = composed(*(f"trainer.{name}='{value}'" for name, value in options.items())).trainer
    assert fresh_process.of_several_processes(trainer) is several


def job(**more):
    source = SimpleNamespace(provider="main", schema="file", path="/clone/conf")
    given = {
        "job": {"config_name": "train", "num": 4, "id": "train_4"},
        "overrides": {
            "task": ["seed=4", "schedule=sgdr"],
            "hydra": [
                *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra/sweeper=bayesian"),
                *("hydra.sweeper.n_trials=3", "hydra.sweep.dir=there", "hydra.mode=MULTIRUN"),
                *("hydra.searchpath=[pkg://mine]", "hydra.verbose=true"),
            ],
        },
        **more,
    }
    return SimpleNamespace(
        job=SimpleNamespace(**given["job"]),
        overrides=SimpleNamespace(**given["overrides"]),
        runtime=SimpleNamespace(config_sources=[source], cwd="/here"),
    )


def test_the_command_of_a_job_is_that_of_a_run(tmp_path):
    folder = tmp_path / 'a "b" c=d,e'
    command = fresh_process.command("recipes.train", job(), folder)
    assert command[:7] == [
        *(sys.executable, "-m", "recipes.train"),
        *("--config-name=train", "--config-path=/clone/conf", "seed=4", "schedule=sgdr"),
    ]
    assert command[7:10] == ["hydra.searchpath=[pkg://mine]", "hydra.verbose=true", "hydra.mode=RUN"]
    assert command[11:] == ["hydra.job.num=4", "hydra.job.id=train_4"]
    # What Hydra reads is the folder, whatever is in its name.
    assert OverridesParser.create().parse_override(command[10]).value() == str(folder)


def test_a_fresh_process_is_nobodys_rank():
    shell = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0,1", "GROUP": "mine", "PL_MINE": "1"}
    launchers = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1", "PL_GLOBAL_SEED": "3"}
    launchers |= {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SUBMITIT_EXECUTOR": "local", "TORCHELASTIC_RUN_ID": "x"}
    kept = fresh_process.environment(shell | launchers)
    assert kept == shell | {ending.PARENT: str(os.getpid()), ending.ROLE: "fresh"}


def test_what_one_of_ours_has_started_knows_it(monkeypatch):
    monkeypatch.setenv(ending.ROLE, ending.RANK)
    monkeypatch.setenv(ending.PARENT, str(os.getppid()))
    assert ending.role() == "rank"
    # Handed down, to somebody else's child.
    monkeypatch.setenv(ending.PARENT, "1" if os.getppid() != 1 else "2")
    assert ending.role() is None


def test_ctrl_c_is_told_from_an_exit():
    def as_lightning_does():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as stopped:
        as_lightning_does()
    assert ending.by_hand(stopped.value)
    assert not ending.by_hand(SystemExit(1))
    assert not ending.by_hand(None)


def test_a_job_leaves_nothing_to_the_next(monkeypatch):
    # What an earlier test of this process may have left.
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    torch.backends.cudnn.benchmark = False
    os.environ["BEFORE"] = "1"
    state = torch.get_rng_state()

    def failing_job():
        torch.manual_seed(99)
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("medium")
        torch.set_default_dtype(torch.float64)
        torch.backends.cudnn.benchmark = True
        os.environ["PL_GLOBAL_SEED"] = "99"
        del os.environ["BEFORE"]
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"), _surroundings():
        failing_job()
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_default_dtype() == torch.float32
    assert not torch.backends.cudnn.benchmark
    assert "PL_GLOBAL_SEED" not in os.environ
    assert os.environ["BEFORE"] == "1"


# What is said of a sweep


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """A sweep that this process has started, of three jobs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "_folder", None)
    config = OmegaConf.create(
        {"hydra": {"sweep": {"dir": "multirun"}, "overrides": {"task": ["seed=0,1,2", "schedule=sgdr"]}}}
    )
    sweep.Watch().on_multirun_start(config)
    for number in range(3):
        (tmp_path / "multirun" / str(number) / ".hydra").mkdir(parents=True)
    return tmp_path / "multirun"


def test_a_sweep_without_a_failure(swept):
    assert sweep.summary() == (False, "3 jobs, none failed; all of it is in multirun")
    assert sweep.summary(stopped=True) == (False, "The sweep was stopped; what was done until then is in multirun")


def test_a_failure_is_told_by_what_it_has_of_its_own(swept):
    for number, error in ((2, CompactHydraException("data: no\nfile")), (1, ZeroDivisionError("by zero"))):
        sweep.record(swept / str(number), number, [f"seed={number}", "schedule=sgdr"], error)
    assert sweep.summary() == (
        True,
        "2 of 3 jobs failed; the others are in multirun\n"
        "  job 1 (seed=1): ZeroDivisionError: by zero; see multirun/1/failed.json\n"
        "  job 2 (seed=2): data: no file; see multirun/2/failed.json",
    )


def test_a_failure_of_another_sweep_in_the_same_folder_is_not_told(swept):
    sweep.record(swept / "1", 1, ["seed=1"], ValueError("no"))
    file = swept / "1" / sweep.FAILED
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sweep": "of yesterday"}))
    assert sweep.summary() == (False, "3 jobs, none failed; all of it is in multirun")


def test_where_there_was_no_sweep_nothing_is_said(monkeypatch):
    monkeypatch.setattr(sweep, "_folder", None)
    assert sweep.summary() == (False, "")
