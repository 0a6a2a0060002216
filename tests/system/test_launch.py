"""Runs of two processes end together: done, broken, stopped by Ctrl-C, killed, or under torchrun; exit codes tell."""

from __future__ import annotations

import csv
import json
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.system.commands import IN_TWO, Command, processes_in, run, state

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked for in /proc"),
]
TRAIN = ("-m", "recipes.train")
MISBEHAVING = ("model=custom", "model._target_=misbehaving.Broken")


def the_run(cwd):
    (folder,) = (cwd / "outputs").glob("*/*")
    return folder


def checkpoint(cwd):
    return list(cwd.glob("outputs/*/*/checkpoints/last.ckpt"))


@pytest.mark.parametrize("whom", ["all processes", "the first one"])
def test_ctrl_c_ends_all_and_keeps_what_was_done(whom, tmp_path):
    command = Command(*TRAIN, *IN_TWO, "schedule.cycles=40", cwd=tmp_path)
    command.until(lambda: checkpoint(tmp_path))
    # What a terminal sends goes to the whole group.
    (os.killpg if whom == "all processes" else os.kill)(command.process.pid, signal.SIGINT)
    assert command.ended(60) == 130, command.stderr
    assert command.orphans() == []
    folder = the_run(tmp_path)
    shown = folder.relative_to(tmp_path)
    assert command.stderr.splitlines() == [f"Stopped; to go on: python -m recipes.train resume={shown}"]
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] >= 9
    assert json.loads((folder / "snapshots" / "manifest.json").read_text())["snapshots"]
    with (folder / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == list(range(len(steps)))
    assert len(steps) >= 9
    assert not (folder / "result.json").exists()


@pytest.mark.parametrize(
    ("on", "how", "said"),
    [
        (0, "raise", ["broken in process 0"]),
        (
            1,
            "raise",
            ["[process 1] broken in process 1", "process 1 ended with exit code 1, and the others with it"],
        ),
        (1, "SIGKILL", ["process 1 ended with signal SIGKILL, and the others with it"]),
    ],
)
def test_what_breaks_one_process_ends_all(on, how, said, tmp_path):
    broken = (*MISBEHAVING, f"+model.on={on}", f"+model.how={how}")
    command = Command(*TRAIN, *IN_TWO, *broken, "trainer.max_epochs=3", "schedule.cycles=3", cwd=tmp_path)
    assert command.ended() == 1
    assert command.orphans() == []
    lines = command.stderr.splitlines()
    # Between them is only what Hydra says of every error.
    assert [line for line in lines if "process" in line and "Error executing" not in line] == said, command.stderr
    assert "Traceback" not in command.stderr
    assert checkpoint(tmp_path)


def test_ctrl_c_while_the_first_process_waits_for_another(tmp_path):
    stopped = (*MISBEHAVING, "+model.on=1", "+model.how=SIGSTOP")
    command = Command(*TRAIN, *IN_TWO, *stopped, cwd=tmp_path)

    def waiting():
        return any(state(each) == "T" for each in processes_in(tmp_path))

    command.until(waiting)
    # The first one is in a collective operation by then, which hears no signal.
    time.sleep(1)
    os.kill(command.process.pid, signal.SIGINT)
    assert command.ended(60) == 130
    assert command.orphans() == []
    assert "stopped while it waited for another process" in command.stderr


def test_no_orphan_when_the_first_process_is_killed(tmp_path):
    command = Command(*TRAIN, *IN_TWO, cwd=tmp_path)
    command.until(lambda: checkpoint(tmp_path))
    command.process.kill()
    command.ended()
    assert command.orphans() == []


def test_torchrun_has_one_folder(tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2", *TRAIN)
    command = run(*torchrun, *IN_TWO, "trainer.max_epochs=1", "schedule.cycles=1", cwd=tmp_path)
    assert command.process.returncode == 0, command.stderr
    folder = the_run(tmp_path)
    # A date and a time, as without torchrun.
    time.strptime("/".join(folder.parts[-2:]), "%Y-%m-%d/%H-%M-%S")
    assert (folder / ".hydra" / "config.yaml").exists()
    assert json.loads((folder / "result.json").read_text())["steps"] == 9
    assert command.stdout.count("│ last model ") == 1


def test_two_processes_train_as_one_does_on_the_same_batches(tmp_path):
    # A network without batch statistics, which each process takes of its own share; whole batches, and an even number
    # to validate on, for none counts twice then. Validation after every update tells the loss that it led to.
    same = (
        "model=mlp",
        "data.val_size=300",
        "data.test_size=473",
        "trainer.max_epochs=1",
        "trainer.val_check_interval=1",
        "schedule.cycles=4",
    )
    losses, weights = [], []
    for name, options in (("one", ("data.batch_size=64",)), ("two", ("data.batch_size=32", *IN_TWO))):
        cwd = tmp_path / name
        cwd.mkdir()
        command = run(*TRAIN, *same, *options, cwd=cwd)
        assert command.process.returncode == 0, command.stderr
        folder = the_run(cwd)
        with (folder / "metrics.csv").open(newline="") as file:
            losses.append([float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]])
        weights.append([load_file(file) for file in sorted((folder / "snapshots").glob("*.safetensors"))])
    one, two = losses
    assert len(one) == 16
    assert one[0] - one[-1] > 0.2
    assert two == pytest.approx(one, abs=1e-5)
    for single, double in zip(*weights, strict=True):
        assert single.keys() == double.keys()
        for name in single:
            torch.testing.assert_close(double[name], single[name], atol=1e-5, rtol=0)
