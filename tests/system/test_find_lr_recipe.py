"""`python -m recipes.find_lr` as a user types it, in one process and in two, and the run that it leads to."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import recipes
from lightning_lr import RangeTest

pytestmark = pytest.mark.slow

ROOT = Path(recipes.__file__).resolve().parent.parent
IN_TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def run(recipe, *overrides, cwd):
    # Another test of this process may have left a launcher's variables behind.
    launcher = ("LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "HYDRA_FULL_ERROR")
    inherited = {name: value for name, value in os.environ.items() if name not in launcher}
    return subprocess.run(
        [sys.executable, "-m", f"recipes.{recipe}", *overrides],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_folder(cwd):
    (folder,) = (cwd / "outputs").glob("*/*")
    return folder


def commands(done):
    return [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("python -m recipes.train")]


@pytest.fixture(scope="module")
def in_one(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("one")
    return cwd, run("find_lr", "trainer.accelerator=cpu", cwd=cwd)


@pytest.fixture(scope="module")
def in_two(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("two")
    return cwd, run("find_lr", *IN_TWO, "schedule=cyclic", cwd=cwd)


@pytest.fixture(params=["in_one", "in_two"])
def ran(request):
    return request.getfixturevalue(request.param)


def test_leaves_the_curve_the_figures_and_what_it_was_composed_of(ran):
    cwd, done = ran
    assert done.returncode == 0, done.stderr
    folder = run_folder(cwd)
    left = {path.name for path in folder.iterdir() if path.suffix != ".log"}
    assert left == {"lr_range.png", "range_test.json", "config.yaml", ".hydra"}
    assert (folder / "lr_range.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(path.name for path in cwd.iterdir()) == ["outputs"]
    found = RangeTest.load(folder / "range_test.json")
    assert len(found.runs) == 3
    assert len({run.losses for run in found.runs}) == 3
    assert [run.ended for run in found.runs] == ["diverged"] * 3


def test_what_it_finds_is_what_the_recipe_was_found_to_need(ran):
    # conf/schedule: of 0.1 to 1.0 those from 0.1 to 0.5 were best, by validation loss after 40 epochs; without a cycle
    # 0.1 and 0.2 were as good.
    found = RangeTest.load(run_folder(ran[0]) / "range_test.json")
    assert 0.1 < found.max_lr < 0.75
    assert 0.05 < found.fixed_lr < 0.4
    assert found.reliability == ()


def test_prints_once_and_in_80_columns_what_was_found_and_one_command(ran):
    cwd, done = ran
    folder = run_folder(cwd)
    assert done.stderr == ""
    found = RangeTest.load(folder / "range_test.json")
    assert done.stdout.count("LR range test, ") == 1
    assert done.stdout.split("\n\n")[1:3] == str(found).split("\n\n")[1:3]
    (command,) = commands(done)
    assert max(len(line) for line in done.stdout.splitlines() if line != shlex.join(command)) <= 80
    assert done.stdout.splitlines()[-1].endswith(str((folder / "lr_range.png").relative_to(cwd)))


def test_the_momentum_is_that_of_the_schedule_at_its_peak(in_one, in_two):
    # SGDR leaves the optimizer's as it is; CyclicLR has 0.8 where the rate is highest.
    assert RangeTest.load(run_folder(in_one[0]) / "range_test.json").settings.momentum is None
    assert RangeTest.load(run_folder(in_two[0]) / "range_test.json").settings.momentum == 0.8


def test_the_command_trains_with_what_was_found(in_two, tmp_path):
    cwd, done = in_two
    found = RangeTest.load(run_folder(cwd) / "range_test.json")
    ((_, _, _, *overrides),) = commands(done)
    assert overrides[: len(IN_TWO) + 1] == [*IN_TWO, "schedule=cyclic"]
    trained = run("train", *overrides, "trainer.max_epochs=8", "schedule.step_size_up=2ep", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    config = json.loads((run_folder(tmp_path) / "result.json").read_text())["config"]
    assert config["schedule"]["max_lr"] == pytest.approx(found.max_lr, rel=0.05)
    assert config["schedule"]["base_lr"] == pytest.approx(found.base_lr, rel=0.05)


def test_several_curves(tmp_path):
    done = run("find_lr", "over.momentum=[0.5,0.95]", "schedule=one_cycle", "range_test.repeats=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = run_folder(tmp_path)
    files = sorted(folder.glob("range_test*.json"))
    assert [file.name for file in files] == ["range_test_momentum=0.5.json", "range_test_momentum=0.95.json"]
    slow, fast = map(RangeTest.load, files)
    assert (slow.settings.momentum, fast.settings.momentum) == (0.5, 0.95)
    # The same weights and the same batches: the first loss does not know of the momentum.
    assert [run.losses[0] for run in slow.runs] == [run.losses[0] for run in fast.runs]
    assert (folder / "lr_range.png").exists()
    rows = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["0.5", "0.95"]
    assert f"{fast.max_lr:.2g}" in rows[1]
    for command in commands(done):
        assert command[3] == "schedule=one_cycle"
        assert command[4] in ("schedule.base_momentum=0.5", "schedule.base_momentum=0.95")


def test_a_sweep_has_a_folder_each(tmp_path):
    done = run("find_lr", "-m", "model.width=4,8", "range_test.repeats=1", "range_test.steps=30", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("multirun/*/*/*/range_test.json"))) == 2
    assert [command[3] for command in commands(done)] == ["model.width=4", "model.width=8"]


@pytest.mark.parametrize("where", [(), IN_TWO])
def test_auto_trains_with_what_the_test_finds_and_says_so(where, tmp_path):
    overrides = ("schedule.max_lr=auto", "trainer.max_epochs=3", "schedule.cycles=3")
    done = run("train", *overrides, *where, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = run_folder(tmp_path)
    found = RangeTest.load(folder / "range_test.json")
    result = json.loads((folder / "result.json").read_text())
    assert result["found"] == {"max_lr": found.max_lr}
    assert result["config"]["schedule"]["max_lr"] == "auto"
    with (folder / "metrics.csv").open(newline="") as file:
        used = [float(row["lr-SGD/pg1"]) for row in csv.DictReader(file) if row.get("lr-SGD/pg1")]
    assert max(used) == found.max_lr
    assert (folder / "lr_range.png").exists()
    assert f"A range test found max_lr={found.max_lr:.2g}; see lr_range.png" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["schedule.max_lr=abc"], "schedule.max_lr='abc': neither a number nor auto; pass a number above 0, or auto "),
        (["over.momentum=[0.9]"], "over.momentum=[0.9]: nothing to compare; pass two values or more, each once"),
        (["over.momentum=[often,0.9]"], "Value 'often' of type 'str' could not be converted to Float"),
        (["range_test.steps=2"], "range_test: steps=2: out of range; pass an int of at least 3"),
        (["range_test.repeats=0"], "range_test: repeats=0: out of range; pass an int of at least 1"),
        (["schedule.cycles=0"], "schedule: cycles=0: out of range; pass an int of at least 1"),
        (["data.batch_size=0"], "data: batch_size=0: out of range; pass an int of at least 1"),
        (
            ["schedule=one_cycle", "optimizer.momentum=0", "optimizer.nesterov=false"],
            "momentum=0.0: SGD has no momentum in param group 0; build it with one",
        ),
    ],
)
def test_bad_input_ends_in_a_line(overrides, said, tmp_path):
    done = run("find_lr", *overrides, cwd=tmp_path)
    assert done.returncode == 1
    assert any(line.startswith(said) for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("range_test*.json"))


@pytest.mark.parametrize(
    ("recipe", "there"),
    [("find_lr", "range_test_momentum=0.9.json"), ("find_lr", "result.json"), ("train", "range_test.json")],
)
def test_nothing_is_overwritten(recipe, there, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / there).write_text("precious")
    done = run(recipe, "hydra.run.dir=mine", cwd=tmp_path)
    assert done.returncode == 1
    said = f"hydra.run.dir=mine: holds a run already ({there}); choose another folder or move that run"
    assert said in done.stderr.splitlines()
    assert (tmp_path / "mine" / there).read_text() == "precious"
    assert not (tmp_path / "mine" / "config.yaml").exists()
