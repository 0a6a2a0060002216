"""Sweeps: each job is the run that it is alone, one that fails does not end the others, and the exit code tells."""

from __future__ import annotations

import json
import os
import signal

import pytest
import yaml

from tests.system.commands import IN_TWO, Command, files, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked for in /proc"),
]
SWEEP = ("-m", "recipes.train", "-m")
SHORT = ("trainer.max_epochs=1", "seed=3")
# The one in the middle fails, in both processes.
CYCLES = "schedule.cycles=2,90,1"
REFUSED = "cycles=90: more cycles than updates (9); ask for fewer cycles or train for longer"


def jobs(cwd):
    """The folders of the jobs, by number."""
    (sweep,) = (cwd / "multirun").glob("*/*")
    return {int(each.name): each for each in sweep.iterdir() if each.name.isdecimal()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("alone")
    command = run("-m", "recipes.train", *SHORT, *IN_TWO, "schedule.cycles=1", "hydra.run.dir=run", cwd=cwd)
    assert command.process.returncode == 0, command.stderr
    return cwd / "run"


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_jobs_of_two_processes_with_one_in_the_middle_that_fails(launcher, alone, tmp_path):
    command = run(*SWEEP, f"hydra/launcher={launcher}", *SHORT, *IN_TWO, CYCLES, cwd=tmp_path)
    assert command.process.returncode == 1
    assert command.orphans() == []
    folders = jobs(tmp_path)
    assert sorted(folders) == [0, 1, 2]
    assert [(folders[job] / "result.json").exists() for job in range(3)] == [True, False, True]
    assert files(folders[2]) == files(alone)
    assert len(files(folders[2])) == 1
    # In a line where it happens, unless that is another machine's screen, and at the end.
    lines = command.stderr.splitlines()
    assert lines.count(f"! job 1 (schedule.cycles=90): {REFUSED}") == (launcher != "submitit_local")
    shown = folders[1].relative_to(tmp_path)
    assert lines[-2:] == [
        f"1 of 3 jobs failed; the others are in {shown.parent}",
        f"  job 1 (schedule.cycles=90): {REFUSED}; see {shown}/failed.json",
    ]
    failed = json.loads((folders[1] / "failed.json").read_text())
    assert (failed["job"], failed["overrides"], failed["error"]) == (1, ["schedule.cycles=90"], REFUSED)
    assert "Traceback" in failed["traceback"]
    assert "Traceback" not in command.stderr


def test_jobs_of_one_process_leave_nothing_to_each_other(tmp_path):
    networks = "misbehaving.leaky,misbehaving.missing,recipes.models.small_cnn.SmallCNN"
    swept = run(*SWEEP, *SHORT, "schedule.cycles=1", "model=custom", f"model._target_={networks}", cwd=tmp_path)
    assert swept.process.returncode == 1
    assert "! job 1 (model._target_=misbehaving.missing): model: there is no such network" in swept.stderr.splitlines()
    alone = (*SHORT, "schedule.cycles=1", "model=custom", "model._target_=recipes.models.small_cnn.SmallCNN")
    assert run("-m", "recipes.train", *alone, "hydra.run.dir=run", cwd=tmp_path).process.returncode == 0
    assert files(jobs(tmp_path)[2]) == files(tmp_path / "run")
    assert len(files(tmp_path / "run")) == 1


def test_random_search_draws_what_it_says_and_exits_with_0(tmp_path):
    drawn = ("schedule.max_lr=tag(log,interval(0.01,1))", "model.width=int(interval(4,6))", "data.batch_size=64,128")
    command = run(
        *SWEEP, "hydra/sweeper=random", "hydra.sweeper.n_trials=3", *SHORT, "schedule.cycles=1", *drawn, cwd=tmp_path
    )
    assert command.process.returncode == 0, command.stderr
    folders = jobs(tmp_path)
    configs = [yaml.safe_load((folders[job] / "config.yaml").read_text()) for job in range(3)]
    rates = [config["schedule"]["max_lr"] for config in configs]
    assert len(set(rates)) == 3
    assert all(0.01 <= rate <= 1 for rate in rates)
    assert {config["model"]["width"] for config in configs} <= {4, 5, 6}
    assert {config["data"]["batch_size"] for config in configs} <= {64, 128}
    assert (
        command.stdout.splitlines()[-1]
        == f"3 jobs, none failed; all of it is in {folders[0].parent.relative_to(tmp_path)}"
    )


def test_optuna_goes_on_after_a_job_that_failed(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="an extra: lightning_lr[optuna]")
    # With this seed the first trial asks for 90 cycles, and not all do.
    tried = ("schedule.cycles=choice(1,90)", "schedule.max_lr=tag(log,interval(0.01,1))")
    search = ("hydra/sweeper=bayesian", "hydra.sweeper.n_trials=3")
    command = run(*SWEEP, *search, *SHORT, *tried, cwd=tmp_path)
    assert command.process.returncode == 1
    ended = {job: (folder / "result.json").exists() for job, folder in jobs(tmp_path).items()}
    assert sorted(ended) == [0, 1, 2]
    assert set(ended.values()) == {True, False}
    (found,) = tmp_path.glob("multirun/*/*/optimization_results.yaml")
    accuracies = [
        json.loads((folder / "result.json").read_text())["objective"]
        for job, folder in jobs(tmp_path).items()
        if ended[job]
    ]
    assert yaml.safe_load(found.read_text())["best_value"] == max(accuracies)


@pytest.mark.parametrize(
    ("launcher", "processes"),
    [("basic", IN_TWO), ("joblib", ()), ("submitit_local", ())],
    ids=lambda each: str(each)[:8],
)
def test_ctrl_c_ends_the_job_and_the_sweep(launcher, processes, tmp_path):
    command = Command(*SWEEP, f"hydra/launcher={launcher}", *processes, "seed=0,1,2", cwd=tmp_path)
    command.until(lambda: list(tmp_path.glob("multirun/*/*/0/checkpoints/last.ckpt")))
    os.kill(command.process.pid, signal.SIGINT)
    assert command.ended(90) == 130, command.stderr
    assert command.orphans() == []
    first = jobs(tmp_path)[0]
    assert not list(first.parent.glob("*/result.json"))
    assert (first / "checkpoints" / "last.ckpt").exists()
    sweep = first.parent.relative_to(tmp_path)
    lines = command.stderr.splitlines()
    assert f"The sweep was stopped; what was done until then is in {sweep}" in lines
    if launcher == "basic":
        assert f"Stopped; to go on: python -m recipes.train resume={sweep}/0" in lines
        assert sorted(jobs(tmp_path)) == [0]


def test_find_lr_in_a_sweep_of_two_processes(tmp_path):
    options = ("range_test.steps=6", "range_test.repeats=1", "seed=0,1")
    command = run("-m", "recipes.find_lr", "-m", *IN_TWO, *options, cwd=tmp_path)
    assert command.process.returncode == 0, command.stderr
    assert all((folder / "range_test.json").exists() for folder in jobs(tmp_path).values())
    assert sorted(jobs(tmp_path)) == [0, 1]
