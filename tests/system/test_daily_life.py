"""What happens to a run on an ordinary day: it is killed and resumed, trained longer, debugged, logged elsewhere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import recipes
from recipes.alone import alone
from recipes.metrics import read

pytestmark = pytest.mark.slow

ROOT = Path(recipes.__file__).resolve().parent.parent
# Seventeen updates an epoch, five cycles.
SHORT = ("trainer.max_epochs=5", "hydra.run.dir=run")


def environment():
    launcher = ("LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "HYDRA_FULL_ERROR")
    return {name: value for name, value in os.environ.items() if name not in launcher} | {"PYTHONPATH": str(ROOT)}


def train(*overrides, cwd):
    command = [sys.executable, "-m", "recipes.train", *overrides]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300)


def kill_when(done, *overrides, cwd):
    """Start a run and kill it, with no warning, as soon as `done` says so."""
    command = [sys.executable, "-m", "recipes.train", *overrides]
    with (cwd / "killed.log").open("w") as log:
        process = subprocess.Popen(command, cwd=cwd, env=environment(), stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 120
        while not done():
            assert process.poll() is None, (cwd / "killed.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def weights(folder):
    return [load_file(file) for file in sorted((folder / "snapshots").glob("*.safetensors"))]


def same(one, other):
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in zip(one, other, strict=True)
    )


def of_the_run(result):
    """Without what two runs may differ in."""
    kept = {key: result[key] for key in ("members", "last", "ensemble", "steps", "objective")}
    return kept | {"config": {key: value for key, value in result["config"].items() if key != "resume"}}


# In the middle of an epoch: three checkpoints for each of the 17 updates.
OFTEN = ("checkpoint.every_n_train_steps=5",)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody interrupted."""
    cwd = tmp_path_factory.mktemp("whole")
    done = train(*SHORT, *OFTEN, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "run"


def test_a_run_that_was_killed_twice_is_the_run_that_was_not(whole, tmp_path):
    folder = tmp_path / "run"

    def logged(parts):
        """The last update on the disk, once the run has been resumed so often."""
        resumed = len(list(folder.glob("metrics-*.csv")))
        if resumed < parts or not (folder / "metrics.csv").exists():
            return 0
        return max((step for step, _ in read(folder).get("train/loss", [])), default=0)

    kill_when(lambda: logged(0) > 20, *SHORT, *OFTEN, cwd=tmp_path)
    first = logged(0)
    kill_when(lambda: logged(1) > first + 8, "resume=run", cwd=tmp_path)
    second = logged(1)
    done = train("resume=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # Neither where an epoch ends.
    assert 20 < first < second < 84
    # To the last bit: weights, scores, and the loss at each update.
    assert same(weights(folder), weights(whole))
    results = [json.loads((each / "result.json").read_text()) for each in (folder, whole)]
    assert of_the_run(results[0]) == of_the_run(results[1])
    resumed, uninterrupted = read(folder), read(whole)
    assert [step for step, _ in resumed["train/loss"]] == list(range(85))
    assert resumed == uninterrupted


def test_two_runs_at_a_time_do_not_share_a_folder(tmp_path):
    (tmp_path / "run").mkdir()
    with alone(tmp_path / "run"):
        refused = train(*SHORT, cwd=tmp_path)
    assert refused.returncode == 1
    assert "hydra.run.dir=run: a run goes on in it; wait for its end, or choose another" in refused.stderr.splitlines()
    assert not list((tmp_path / "run").glob("*.yaml"))


def test_a_run_that_is_over_is_resumed_only_to_train_longer(tmp_path):
    assert train(*SHORT, cwd=tmp_path).returncode == 0
    folder = tmp_path / "run"
    first = (folder / "result.json").read_bytes()

    refused = train("resume=run", cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("resume=run: the run is at its end (result.json)") or any(
        line.startswith("resume=run: the run is at its end (result.json)") for line in refused.stderr.splitlines()
    )
    assert (folder / "result.json").read_bytes() == first

    longer = train("resume=run", "trainer.max_epochs=7", "schedule.on_new_horizon=keep", cwd=tmp_path)
    assert longer.returncode == 0, longer.stderr
    assert json.loads((folder / "result.json").read_text())["steps"] == 7 * 17
    # What was there is there still.
    assert (folder / "result-0.json").read_bytes() == first
    assert [step for step, _ in read(folder)["train/loss"]] == list(range(7 * 17))


def test_another_length_without_a_word_is_refused(tmp_path):
    assert train(*SHORT, cwd=tmp_path).returncode == 0
    refused = train("resume=run", "trainer.max_epochs=7", cwd=tmp_path)
    assert refused.returncode == 1
    assert "on_new_horizon" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_debugging_fast_does_everything_on_two_batches(tmp_path):
    done = train("debug=fast", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["steps"], len(result["members"])) == (10, 5)
    # Not the 480 of the whole test: errors are counted by it.
    assert "128 test samples" in done.stdout
    assert (tmp_path / "run" / "schedule.png").exists()


def test_debugging_by_overfitting_learns_one_batch_by_heart(tmp_path):
    done = train("debug=overfit", "schedule=constant", "trainer.max_epochs=60", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    losses = [loss for _, loss in read(tmp_path / "run")["train/loss"]]
    assert len(losses) == 60
    assert losses[0] > 1.5
    assert losses[-1] < 0.05


def test_tensorboard_is_beside_the_file_and_not_in_its_place(tmp_path):
    done = train("debug=fast", "logger=tensorboard", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [file.name for file in (tmp_path / "run" / "tensorboard").glob("events.*")]
    assert len(read(tmp_path / "run")["train/loss"]) == 10


def test_wandb_works_offline(tmp_path):
    done = train("debug=fast", "logger=wandb", "logger.offline=true", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(read(tmp_path / "run")["train/loss"]) == 10


@pytest.mark.parametrize("recipe", ["train", "find_lr", "ensemble"])
def test_help_names_the_groups_and_an_example(recipe, tmp_path):
    command = [sys.executable, "-m", f"recipes.{recipe}", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert re.search(r"^data: .*digits", done.stdout, re.MULTILINE)
    assert f"python -m recipes.{recipe} " in done.stdout
