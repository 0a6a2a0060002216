"""`python -m recipes.ensemble` as a user types it, after `python -m recipes.train`; its figures are worked out anew."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shlex
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
# Other sizes than the defaults: with those, no member would fit and other samples would be told on.
TRAINED = ("trainer.max_epochs=8", "schedule.cycles=4", "model.width=8", "data.test_size=300", "data.split_seed=5")
PICTURES = {"last_m.png", "training_spent.png", "poolings.png", "calibration.png", "diversity.png"}


def python(*arguments, cwd, path=ROOT):
    launcher = ("LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "HYDRA_FULL_ERROR")
    inherited = {name: value for name, value in os.environ.items() if name not in launcher}
    environment = {**inherited, "PYTHONPATH": str(path), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def run(recipe, *overrides, cwd):
    return python("-m", f"recipes.{recipe}", *overrides, cwd=cwd)


def told_in(folder):
    return json.loads((folder / "ensemble.json").read_text())


def contents(folder):
    return {file: hashlib.sha256(file.read_bytes()).digest() for file in folder.rglob("*") if file.is_file()}


def probabilities(state):
    """Of the test images, by one member's weights; and the labels."""
    digits = Digits(test_size=300, split_seed=5)
    digits.setup("test")
    images, labels = digits.test.tensors
    model = SmallCNN(digits.channels, digits.num_classes, width=8).eval()
    model.load_state_dict({key[len("model.") :]: state[key] for key in state if key.startswith("model.")})
    with torch.no_grad():
        return model(images).double().softmax(1).numpy(), labels.numpy()


def worked_out(probs, labels):
    top, right = probs.max(1), probs.argmax(1) == labels
    bins = np.ceil(top * 15)
    ece = sum(
        (bins == each).mean() * abs(right[bins == each].mean() - top[bins == each].mean()) for each in np.unique(bins)
    )
    return {
        "accuracy": accuracy_score(labels, probs.argmax(1)),
        "nll": log_loss(labels, probs, labels=range(10)),
        "brier": ((probs - np.eye(10)[labels]) ** 2).sum(1).mean(),
        "ece": ece,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("trained")
    done = run("train", *TRAINED, "hydra.run.dir=run", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd


@pytest.fixture(scope="module")
def members(trained):
    files = sorted((trained / "run" / "snapshots").glob("*.safetensors"))
    every = [probabilities(load_file(file)) for file in files]
    return [probs for probs, _ in every], every[0][1]


@pytest.fixture(scope="module")
def ran(trained):
    before = contents(trained / "run")
    done = run("ensemble", "snapshots=run", "lines=3", "average=uniform", "hydra.run.dir=told", cwd=trained)
    assert done.returncode == 0, done.stderr
    assert contents(trained / "run") == before
    return trained / "told", done


def test_leaves_figures_and_pictures_in_a_folder_of_its_own(ran):
    folder, done = ran
    left = {path.name for path in folder.iterdir()} - {"ensemble.log", "average.safetensors"}
    assert left == {"ensemble.json", "config.yaml", ".hydra", "lines.png", *PICTURES}
    for picture in (*PICTURES, "lines.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].endswith("ensemble.json and the pictures are in told")


def test_data_and_model_are_those_of_the_run(ran, trained):
    of_the_run = yaml.safe_load((trained / "run" / "config.yaml").read_text())
    told = told_in(ran[0])
    assert {group: told["config"][group] for group in ("data", "model")} == {
        group: of_the_run[group] for group in ("data", "model")
    }
    assert (told["validation"]["samples"], told["test"]["samples"]) == (240, 300)
    assert told["notes"] == []


def test_the_figures_are_those_of_the_files(ran, members):
    probs, labels = members
    test = told_in(ran[0])["test"]
    for index, each in enumerate(test["members"]):
        assert each["step"] == 40 * (index + 1)
        assert each["scores"] == pytest.approx(worked_out(probs[index], labels), abs=1e-5)
    assert len(test["members"]) == len(probs) == 4
    for m, each in enumerate(test["last_m"], start=1):
        assert each == pytest.approx(worked_out(np.mean(probs[-m:], axis=0), labels), abs=1e-5)
    for count, each in enumerate(test["so_far"], start=1):
        assert each["together"] == pytest.approx(worked_out(np.mean(probs[:count], axis=0), labels), abs=1e-5)
    geometric = np.exp(np.mean(np.log(probs), axis=0))
    geometric /= geometric.sum(1, keepdims=True)
    assert test["poolings"]["geometric"] == pytest.approx(worked_out(geometric, labels), abs=1e-5)
    assert test["disagreement"][0][3] == pytest.approx((probs[0].argmax(1) != probs[3].argmax(1)).mean())


def test_what_is_fitted_is_fitted_on_validation_and_told_on_test(ran, members):
    probs, labels = members
    told = told_in(ran[0])
    assert told["validation"]["fitted"] == []
    fits = {each["how"]: each for each in told["test"]["fitted"]}
    assert all(each["fitted_on"] == 240 for each in fits.values())
    weights = fits["fitted weights"]
    pooled = np.tensordot(weights["member_weights"], np.array(probs), axes=1)
    assert weights["scores"] == pytest.approx(worked_out(pooled, labels), abs=1e-5)
    (temperature,) = [each for how, each in fits.items() if how.startswith("temperature")]
    pooled = np.mean(probs, axis=0) ** (1 / temperature["temperature"])
    assert temperature["scores"] == pytest.approx(worked_out(pooled / pooled.sum(1, keepdims=True), labels), abs=1e-5)


def test_prints_in_80_columns_what_it_found(ran, members):
    probs, labels = members
    folder, done = ran
    told, lines = told_in(folder), done.stdout.splitlines()
    command = next(line for line in lines if line.startswith("python -m recipes.ensemble"))
    assert max(len(line) for line in lines if line != command) <= 80
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert [row[0] for row in rows[:7]] == [
        *(f"snapshot-00{index}" for index in range(4)),
        "last 2",
        "last 3",
        "last 4",
    ]
    expected = worked_out(probs[0], labels)
    assert rows[0][2:5] == [f"{100 * expected['accuracy']:.2f}", f"{expected['nll']:.4f}", f"{expected['brier']:.4f}"]
    assert "Fitted on 240 validation samples, told on the test samples" in done.stdout
    assert f"{told['test']['advice']['sentence'][1:]}." in " ".join(done.stdout.split())


def test_the_loss_between_neighbours_starts_and_ends_at_the_members(ran):
    lines = told_in(ran[0])["lines"]
    assert [line["alphas"] for line in lines] == [[0.0, 0.5, 1.0]] * 3
    for before, after in itertools.pairwise(lines):
        assert before["losses"][-1] == after["losses"][0]


def test_one_model_of_them_all_is_told_and_can_be_loaded(ran):
    folder, done = ran
    average = told_in(folder)["average"]
    probs, labels = probabilities(load_file(folder / "average.safetensors"))
    assert average["scores"] == pytest.approx(worked_out(probs, labels), abs=1e-5)
    assert len(average["members"]) == 4
    assert "One model, the uniform average of their weights: " in done.stdout


def test_a_refusal_to_average_loses_nothing_of_the_rest(trained, members, tmp_path):
    # Two networks of other beginnings: their mean is no network.
    done = run("train", *TRAINED, "seed=1", "hydra.run.dir=other", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = [folder / "snapshots" / "snapshot-003.safetensors" for folder in (trained / "run", tmp_path / "other")]
    said = f"snapshots=[{','.join(map(str, files))}]"
    data = ("data=digits", "data.test_size=300", "data.split_seed=5")
    done = run("ensemble", said, *data, "average=uniform", "lines=null", "hydra.run.dir=told", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    refused = told_in(tmp_path / "told")["average"]["refused"]
    assert f"! average=uniform: {refused}" in " ".join(done.stdout.split())
    assert not (tmp_path / "told" / "average.safetensors").exists()
    first, second = members[0][3], probabilities(load_file(files[1]))[0]
    expected = worked_out((first + second) / 2, members[1])
    assert told_in(tmp_path / "told")["test"]["ensemble"] == pytest.approx(expected, abs=1e-5)


def test_the_command_that_it_ends_in_writes_one_file_that_runs_without_this_package(ran, trained, members, tmp_path):
    _, done = ran
    (command,) = [line for line in done.stdout.splitlines() if line.startswith("python -m recipes.ensemble")]
    _, _, _, *overrides = shlex.split(command)
    m = int(next(each for each in overrides if each.startswith("last_m=")).removeprefix("last_m="))
    (tmp_path / "run").symlink_to(trained / "run")
    exported = run("ensemble", *overrides, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    digits = Digits(test_size=300, split_seed=5)
    digits.setup("test")
    torch.save(digits.test.tensors[0], tmp_path / "images.pt")
    code = (
        "import sys, torch\n"
        "program = torch.export.load(sys.argv[1]).module()\n"
        "torch.save(program(torch.load('images.pt')), 'probs.pt')\n"
        "assert 'lightning_lr' not in sys.modules\n"
    )
    alone = python("-c", code, f"last_{m}.pt2", cwd=tmp_path, path=tmp_path)
    assert alone.returncode == 0, alone.stderr
    probs = torch.load(tmp_path / "probs.pt", weights_only=True).double().numpy()
    assert np.abs(probs - np.mean(members[0][-m:], axis=0)).max() < 1e-5


def test_the_options_are_what_is_told(trained, members, tmp_path):
    overrides = ("last_m=2", "pooling=geometric", "member_weights=[1,3]", "temperature=0.5", "lines=null")
    done = run("ensemble", f"snapshots={trained / 'run' / 'snapshots'}", *overrides, "hydra.run.dir=told", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    probs, labels = members
    logs = 0.25 * np.log(probs[2]) + 0.75 * np.log(probs[3])
    # Normalised before the temperature or not: it is the same after it.
    pooled = np.exp(2 * logs)
    expected = worked_out(pooled / pooled.sum(1, keepdims=True), labels)
    told = told_in(tmp_path / "told")
    assert told["test"]["ensemble"] == pytest.approx(expected, abs=1e-5)
    assert "lines" not in told
    assert not (tmp_path / "told" / "lines.png").exists()


def test_paths_are_relative_to_where_the_command_was_typed(trained, tmp_path):
    (tmp_path / "run").symlink_to(trained / "run")
    chdir = ("hydra.job.chdir=true", "hydra.run.dir=told", "lines=null", "export=mine.pt2")
    done = run("ensemble", "snapshots=run", *chdir, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"run", "told", "mine.pt2"}
    assert (tmp_path / "told" / "ensemble.json").exists()


def test_a_sweep_has_a_folder_each(trained, tmp_path):
    done = run("ensemble", "-m", f"snapshots={trained / 'run'}", "last_m=1,3", "lines=null", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = [told_in(file.parent) for file in sorted(tmp_path.glob("multirun/*/*/*/ensemble.json"))]
    assert [len(each["test"]["members"]) for each in told] == [1, 3]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "snapshots: missing; pass snapshots=DIR, a folder of snapshots or a run of recipes.train"),
        (["snapshots=gone"], "snapshots=gone: not there; pass a folder of snapshots, a run of recipes.train"),
        (["snapshots={run}", "model.width=16"], "snapshots[0] (snapshot-000.safetensors): does not fit the module: "),
        (["snapshots={run}", "model.width=0"], "model: width=0: out of range; pass an int of at least 1"),
        (["snapshots={run}", "last_m=9"], "last_m=9: there are only 4 snapshots; pass at most that"),
        (["snapshots={run}", "average=mean"], "average='mean': unknown; pass 'uniform' or 'greedy'"),
        (["snapshots={run}", "lines=2"], "lines=2: out of range; pass an int of at least 3"),
        (["snapshots={run}", "device=abacus"], "device='abacus': not one of this machine's; pass auto, cpu or cuda:0"),
        (["snapshots={run}", "export=model.pt"], "export: path="),
        (["snapshots={run}", "export=gone/model.pt2"], "export: path="),
        (["snapshots={run}", "+max_epochs=3"], "max_epochs: there is no such option; choose from seed, threads, "),
    ],
)
def test_bad_input_ends_in_a_line(overrides, said, trained, tmp_path):
    done = run("ensemble", *(each.format(run=trained / "run") for each in overrides), cwd=tmp_path)
    assert done.returncode == 1
    assert any(line.startswith(said) for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("ensemble.json"))


def test_a_file_does_not_decide_what_is_run(trained, tmp_path):
    evil = {"data": {"_target_": "os.system", "command": f"touch {tmp_path / 'pwned'}"}}
    (tmp_path / "copy").mkdir()
    for file in (trained / "run" / "snapshots").iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(evil))
    done = run("ensemble", "snapshots=copy", cwd=tmp_path)
    assert done.returncode == 1
    said = f"{tmp_path / 'config.yaml'}: data is 'os.system', not one of this recipe's own"
    assert any(line.startswith(said) for line in done.stderr.splitlines()), done.stderr
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("there", ["ensemble.json", "result.json"])
def test_nothing_is_overwritten(there, trained, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / there).write_text("precious")
    done = run("ensemble", f"snapshots={trained / 'run'}", "hydra.run.dir=mine", cwd=tmp_path)
    assert done.returncode == 1
    said = f"hydra.run.dir=mine: holds a run already ({there}); choose another folder or move that run"
    assert said in done.stderr.splitlines()
    assert (tmp_path / "mine" / there).read_text() == "precious"


def test_a_damaged_snapshot_is_named(trained, tmp_path):
    for file in (trained / "run" / "snapshots").iterdir():
        data = bytearray(file.read_bytes())
        if file.name == "snapshot-002.safetensors":
            data[-5] ^= 1
        (tmp_path / file.name).write_bytes(data)
    (tmp_path / "config.yaml").write_bytes((trained / "run" / "config.yaml").read_bytes())
    done = run("ensemble", f"snapshots={tmp_path}", cwd=tmp_path)
    assert done.returncode == 1
    assert "snapshot-002.safetensors: damaged" in done.stderr
    assert "Traceback" not in done.stderr
