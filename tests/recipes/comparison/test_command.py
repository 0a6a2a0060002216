"""`python -m recipes.compare` within this process: what is said, what is left, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import recipes
from recipes.compare import main

ROOT = Path(recipes.__file__).resolve().parent.parent


def test_compares(three, capsys, tmp_path):
    assert main(["sgdr", "one"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line for line in lines if not line.startswith(("┏", "┃", "┡", "│", "└"))] == [
        "Test scores (mean ± sd over seeds), by accuracy of the ensemble".ljust(len(lines[0])),
        "Calibration".ljust(len(next(line for line in lines if line.startswith("Calibration")))),
        "Cost".ljust(len(next(line for line in lines if line.startswith("Cost")))),
        "Best by accuracy of the ensemble: schedule=one_cycle, 96.33 ± 1.53 % (n=3); next: schedule=sgdr, "
        "92.00 ± 2.00 % (n=3). The difference is more than noise: +4.33 points, 95 % interval +2.90 to +5.77 points, "
        "p = 0.0059 by a t-test paired by seed, 3 pairs.",
        "The target is 90 % validation accuracy (the highest that every run reached; --target sets another).",
        "6 runs in 2 groups; the page is compare/index.html",
    ]
    assert said.err == ""
    assert {file.name for file in (tmp_path / "compare").iterdir()} == {
        *("compare.json", "compare.csv", "groups.csv", "curves.png", "index.html")
    }
    assert "python -m recipes.compare sgdr one" in (tmp_path / "compare" / "index.html").read_text()


def test_once_more_gives_the_same(three, tmp_path):
    arguments = [".", "--metric=last.nll", "--target=0.9", "--out=here"]
    assert main(arguments) == 0
    first = {file.name: file.read_bytes() for file in (tmp_path / "here").iterdir()}
    assert main(arguments) == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "here").iterdir()} == first
    content = json.loads(first["compare.json"])
    assert (content["metric"], content["target"]) == ("last.nll", 0.9)


def test_what_is_left_out_is_told_and_under_strict_it_is_a_failure(leave, capsys):
    leave("good")
    leave("bad", "{")
    assert main(["."]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("Cannot be used: bad/result.json: damaged (")
    assert said.out.splitlines()[-1] == "1 run in 1 group; the page is compare/index.html"
    assert main([".", "--strict"]) == 1
    assert main(["good", "--strict"]) == 0


@pytest.mark.parametrize("doubt", ["unfinished", "duplicate"])
def test_under_strict_a_run_that_does_not_count_is_a_failure(doubt, leave, tmp_path):
    leave("a")
    if doubt == "duplicate":
        leave("b")
    else:
        (tmp_path / "b" / "checkpoints").mkdir(parents=True)
    assert main(["."]) == 0
    assert main([".", "--strict"]) == 1


def test_nothing_to_compare(leave, capsys, tmp_path):
    leave("bad", "{")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_text("step\n")
    assert main(["."]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("bad/result.json: damaged (")
    assert lines[1:] == [
        "run: no result.json (before its first update): failed, stopped, or still running",
        ".: no result.json that could be compared; 1 not finished; pass folders with runs of recipes.train",
    ]
    assert not (tmp_path / "compare").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone"], "gone: not there; pass folders with runs of recipes.train in them\n"),
        ([".", "--out=mine"], "--out=mine: holds index.html, which is no comparison's; choose another folder\n"),
        ([".", "--metric=seconds_to_target"], "--metric=seconds_to_target: no run has that; choose another target "),
    ],
)
def test_wrong_usage_ends_in_a_line(arguments, said, leave, capsys, tmp_path):
    leave("a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("precious")
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith(said)
    assert len(told.err.splitlines()) == 1
    assert told.out == ""
    assert (tmp_path / "mine" / "index.html").read_text() == "precious"
    assert not (tmp_path / "compare").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: DIR"),
        ([".", "--metric=loss"], "argument --metric: invalid choice: 'loss'"),
        ([".", "--target=95"], "argument --target: '95' is no accuracy; pass a share above 0 and up to 1, as 0.95"),
        ([".", "--target=nan"], "argument --target: 'nan' is no accuracy"),
        ([".", "--target=x"], "argument --target: 'x' is no accuracy"),
        ([".", "--targ=0.9"], "unrecognized arguments: --targ=0.9"),
    ],
)
def test_wrong_arguments_exit_with_two(arguments, said, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_a_disk_that_refuses_is_no_traceback(leave, capsys, monkeypatch):
    leave("a")

    def refuse(*_):
        raise OSError(28, "No space left on device", "compare/compare.json")

    monkeypatch.setattr("recipes.comparison.files.staged", refuse)
    assert main(["a"]) == 1
    assert capsys.readouterr().err == "[Errno 28] No space left on device: 'compare/compare.json'\n"


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from recipes.compare import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print({'torch', 'lightning', 'matplotlib', 'hydra', 'rich', 'numpy', 'scipy', 'yaml'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[0].startswith("usage: ")
    assert done.stdout.splitlines()[-1] == "set()"
    assert done.returncode == 0, done.stderr


def test_comparing_needs_neither_torch_nor_lightning(three, tmp_path):
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from recipes.compare import main\n"
        "assert main(['.']) == 0\n"
        "print({'torch', 'lightning', 'sklearn', 'torchvision', 'matplotlib.pyplot'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
