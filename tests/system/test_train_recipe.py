"""`python -m recipes.train` as a user types it, in one process and in two; its figures are worked out anew."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, log_loss

import recipes
from recipes.data.digits import Digits
from recipes.models.small_cnn import SmallCNN

pytestmark = pytest.mark.slow

ROOT = Path(recipes.__file__).resolve().parent.parent
IN_TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def python(*arguments, cwd, **environment):
    # Another test of this process may have left a launcher's variables behind.
    launcher = ("LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "HYDRA_FULL_ERROR")
    inherited = {name: value for name, value in os.environ.items() if name not in launcher}
    environment = {**inherited, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def train(*overrides, cwd):
    return python("-m", "recipes.train", *overrides, cwd=cwd)


@pytest.fixture(scope="module")
def in_one(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("one")
    return cwd, train(cwd=cwd)


@pytest.fixture(scope="module")
def in_two(tmp_path_factory):
    # 479 test samples do not divide by two: the sampler repeats one, and it must not count twice.
    cwd = tmp_path_factory.mktemp("two")
    overrides = (*IN_TWO, "trainer.max_epochs=10", "data.test_size=479", "data.batch_size=11")
    return cwd, train(*overrides, cwd=cwd)


@pytest.fixture(params=["in_one", "in_two"])
def ran(request):
    return request.getfixturevalue(request.param)


def run_folder(cwd):
    (folder,) = (cwd / "outputs").glob("*/*")
    return folder


def expected_calibration_error(probabilities, labels, bins=15):
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    error = 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence > low) & (confidence <= low + 1 / bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def scores_from_disk(folder):
    """Of every snapshot file and of the mean of their probabilities, with numpy and scikit-learn."""
    digits = Digits(test_size=yaml.safe_load((folder / "config.yaml").read_text())["data"]["test_size"])
    digits.setup("test")
    images, labels = digits.test.tensors
    members = []
    for file in sorted((folder / "snapshots").glob("*.safetensors")):
        model = SmallCNN(digits.channels, digits.num_classes).eval()
        state = load_file(file)
        model.load_state_dict({key[len("model.") :]: state[key] for key in state if key.startswith("model.")})
        with torch.no_grad():
            logits = model(images).double().numpy()
        exp = np.exp(logits - logits.max(1, keepdims=True))
        members.append(exp / exp.sum(1, keepdims=True))
    labels = labels.numpy()
    return [
        {
            "accuracy": accuracy_score(labels, probabilities.argmax(1)),
            "nll": log_loss(labels, probabilities, labels=range(10)),
            "ece": expected_calibration_error(probabilities, labels),
        }
        for probabilities in [*members, np.mean(members, axis=0)]
    ]


def test_leaves_one_folder_with_everything_in_it(ran):
    cwd, done = ran
    assert done.returncode == 0, done.stderr
    folder = run_folder(cwd)
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {
        "result.json",
        "schedule.png",
        "loss.png",
        "metrics.csv",
        "config.yaml",
        ".hydra/config.yaml",
        ".hydra/overrides.yaml",
        "checkpoints/last.ckpt",
        "snapshots/manifest.json",
    } <= files
    assert {file for file in files if file.endswith(".safetensors")} == {
        f"snapshots/snapshot-{index:03d}.safetensors" for index in range(5)
    }
    # Nothing half-written, and no log where there is nothing to log: `overrides.yaml` is `[]` at least.
    assert not [file for file in files if (folder / file).stat().st_size == 0 or "staged" in file]
    for picture in ("schedule.png", "loss.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_result_json_agrees_with_itself_and_the_run(ran):
    folder = run_folder(ran[0])
    result = json.loads((folder / "result.json").read_text())
    assert set(result) == {
        "config",
        "versions",
        "last",
        "members",
        "ensemble",
        "steps",
        "seconds",
        "fit_seconds",
        "clock",
        "device",
        "steps_per_epoch",
        "objective",
    }
    assert result["config"] == yaml.safe_load((folder / "config.yaml").read_text())
    assert result["config"]["data"]["shuffle_seed"] == result["config"]["seed"]
    assert result["objective"] == result["ensemble"]["accuracy"]
    assert [member["cycle"] for member in result["members"]] == [0, 1, 2, 3, 4]
    assert [member["step"] for member in result["members"]] == [result["steps"] * i // 5 for i in range(1, 6)]
    # The last cycle ends with the run: its snapshot is the last model.
    assert {name: result["members"][-1][name] for name in result["last"]} == result["last"]
    assert result["seconds"] > 0


def test_metrics_are_those_of_the_whole_test_set_each_sample_once(ran):
    folder = run_folder(ran[0])
    result = json.loads((folder / "result.json").read_text())
    expected = scores_from_disk(folder)
    for told, anew in zip([*result["members"], result["ensemble"]], expected, strict=True):
        assert {name: told[name] for name in anew} == pytest.approx(anew, abs=1e-5)


def test_learns_the_digits(in_one):
    result = json.loads((run_folder(in_one[0]) / "result.json").read_text())
    assert result["steps"] == 40 * 17
    assert result["last"]["accuracy"] > 0.97
    assert result["ensemble"]["accuracy"] > 0.97


def test_the_learning_rate_in_the_log_is_the_closed_form(in_one):
    with (run_folder(in_one[0]) / "metrics.csv").open(newline="") as file:
        used = [(int(row["step"]), float(row["lr-SGD/pg1"])) for row in csv.DictReader(file) if row["lr-SGD/pg1"]]
    steps = np.arange(680)
    assert [step for step, _ in used] == steps.tolist()
    formula = 0.25 * (1 + np.cos(np.pi * (steps % 136) / 136))
    assert np.abs(np.array([lr for _, lr in used]) - formula).max() < 1e-12


def test_shows_a_bar_a_table_and_a_sentence_and_nothing_else(ran):
    cwd, done = ran
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Epoch ")
    assert sum(line.startswith("│ snapshot ") for line in lines) == 5
    assert sum(line.startswith("│ last model ") for line in lines) == 1
    assert sum(line.startswith("│ ensemble of 5 ") for line in lines) == 1
    assert lines[-2].startswith("Against the last model the ensemble makes ")
    assert lines[-1].endswith(str(run_folder(cwd).relative_to(cwd)))
    # The bar, the title, the table's 12 lines and two sentences: once, not once a process.
    assert len(lines) == 16


def test_both_processes_have_the_same_learning_rate_at_every_step(tmp_path):
    (tmp_path / "record.py").write_text(
        "import json, sys\n"
        "from pathlib import Path\n"
        "from hydra import compose, initialize_config_dir\n"
        "from lightning.pytorch import Callback\n"
        "from recipes.run import build\n"
        "from recipes.train import CONF\n"
        "class Recorder(Callback):\n"
        "    lrs = []\n"
        "    def on_before_optimizer_step(self, trainer, pl_module, optimizer):\n"
        "        self.lrs.append([trainer.global_rank, trainer.world_size, optimizer.param_groups[0]['lr']])\n"
        "with initialize_config_dir(str(CONF), version_base='1.3'):\n"
        "    parts = build(compose('train', overrides=sys.argv[1:]), Path('run'))\n"
        "parts.trainer.callbacks.append(Recorder())\n"
        "parts.trainer.fit(parts.module, datamodule=parts.datamodule)\n"
        "Path(f'rank-{parts.trainer.global_rank}.json').write_text(json.dumps(Recorder.lrs))\n"
    )
    done = python("record.py", *IN_TWO, "trainer.max_epochs=5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    by_rank = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    assert [{(rank, world) for rank, world, _ in rows} for rows in by_rank] == [{(0, 2)}, {(1, 2)}]
    lrs = [[lr for _, _, lr in rows] for rows in by_rank]
    assert lrs[0] == lrs[1]
    assert np.abs(np.array(lrs[0]) - 0.25 * (1 + np.cos(np.pi * (np.arange(45) % 9) / 9))).max() < 1e-12


def test_a_killed_run_has_one_whole_checkpoint_and_goes_on_from_it(tmp_path):
    (tmp_path / "fit.py").write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from hydra import compose, initialize_config_dir\n"
        "from lightning.pytorch import Callback\n"
        "from recipes.run import build\n"
        "from recipes.train import CONF\n"
        "class Kill(Callback):\n"
        "    def on_train_batch_start(self, trainer, *_):\n"
        "        if trainer.global_step == int(sys.argv[1]):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "with initialize_config_dir(str(CONF), version_base='1.3'):\n"
        "    config = compose('train', overrides=['trainer.max_epochs=3', 'schedule.cycles=3'])\n"
        "parts = build(config, Path('run'))\n"
        "parts.trainer.callbacks.append(Kill())\n"
        "parts.trainer.fit(parts.module, datamodule=parts.datamodule, ckpt_path=(sys.argv[2:] or [None])[0])\n"
    )
    last = Path("run/checkpoints/last.ckpt")
    killed = python("fit.py", "40", cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in (tmp_path / last).parent.iterdir()] == ["last.ckpt"]
    assert torch.load(tmp_path / last, weights_only=True)["global_step"] == 34
    resumed = python("fit.py", "-1", str(last), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert torch.load(tmp_path / last, weights_only=True)["global_step"] == 51
    manifest = json.loads((tmp_path / "run" / "snapshots" / "manifest.json").read_text())
    assert [row["step"] for row in manifest["snapshots"]] == [17, 34, 51]


def test_one_cycle_and_no_cycle(tmp_path):
    done = train("-m", "schedule=one_cycle,step_decay", "trainer.max_epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, none = (json.loads(file.read_text()) for file in sorted(tmp_path.glob("multirun/*/*/*/result.json")))
    assert len(one["members"]) == 1
    assert one["ensemble"] == one["last"]
    assert none["members"] == []
    assert none["ensemble"] == none["last"]
    assert not list(tmp_path.glob("multirun/*/*/1/snapshots"))


def test_same_command_same_result(tmp_path):
    for name in ("first", "second"):
        assert train("trainer.max_epochs=5", f"hydra.run.dir={name}", cwd=tmp_path).returncode == 0
    first, second = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("first", "second"))
    assert first["ensemble"] == second["ensemble"]
    assert first["members"] == second["members"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["schedule.min_lr=abc"], "Value 'abc' of type 'str' could not be converted to Float"),
        (["schedule.max_lr=abc"], "schedule.max_lr='abc': neither a number nor auto; pass a number above 0, or auto "),
        (["schedule.cycles=0"], "schedule: cycles=0: out of range; pass an int of at least 1"),
        (["trainer.max_steps=3"], "cycles=5: more cycles than updates (3); ask for fewer cycles or train for longer"),
        (
            ["trainer.max_epochs=0"],
            "trainer: no update was applied, there is nothing to test; give it epochs and batches",
        ),
        (["trainer.max_epochs=0", "schedule=step_decay"], "trainer: no update was applied, there is nothing to test;"),
    ],
)
def test_bad_input_ends_in_a_line(overrides, said, tmp_path):
    done = train(*overrides, cwd=tmp_path)
    assert done.returncode == 1
    assert any(line.startswith(said) for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("result.json"))


def test_the_whole_traceback_is_there_for_who_wants_it(tmp_path):
    done = python("-m", "recipes.train", "schedule.cycles=0", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "cyclical.py" in done.stderr


def test_a_run_is_not_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "result.json").write_text("precious")
    done = train("hydra.run.dir=mine", cwd=tmp_path)
    assert done.returncode == 1
    said = "hydra.run.dir=mine: holds a run already (result.json); choose another folder or move that run"
    assert said in done.stderr.splitlines()
    assert (tmp_path / "mine" / "result.json").read_text() == "precious"
