"""The built wheel in a new environment, outside the clone: what is in it, its commands, its configuration."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import recipes
from lightning_lr import __version__

pytestmark = pytest.mark.slow

ROOT = Path(recipes.__file__).resolve().parent.parent
COMMANDS = ["lr-train", "lr-find", "lr-ensemble", "lr-compare"]
# What a clone has at its top, and the wheel has not: Hydra's plugins alone are where Hydra looks for them.
INSIDE = ("recipes", "conf")
BRIEF = ("trainer.max_epochs=2", "schedule.cycles=2")
IN_TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def run(*command, cwd, **environment):
    # The clone is on PYTHONPATH where this test runs; another test may have left a launcher's variables behind.
    left_out = ("PYTHONPATH", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "HYDRA_FULL_ERROR")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # Without isolation: what builds it is in the extra `dev`, and nothing is asked of a network.
    built = run(
        sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", folder, cwd=folder
    )
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    return file


def new_environment(folder, wheel):
    """A virtual environment with the wheel and nothing else; return its `bin`."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    done = run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel), cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return python.parent


@pytest.fixture(scope="module")
def bare(tmp_path_factory, wheel):
    return new_environment(tmp_path_factory.mktemp("bare"), wheel)


@pytest.fixture(scope="module")
def bin(tmp_path_factory, wheel):
    """With the dependencies of the environment that this test runs in, but for what leads from there to the clone."""
    folder = tmp_path_factory.mktemp("environment")
    found = new_environment(folder, wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A folder that a .pth file names is searched, and the .pth files in it, an editable install's, are not read.
    (packages / "dependencies.pth").write_text(
        "".join(f"{path}\n" for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
    )
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bin):
    """A folder with one run in one process and one in two, and what they said."""
    cwd = tmp_path_factory.mktemp("trained")
    one = run(bin / "lr-train", *BRIEF, "hydra.run.dir=runs/one", cwd=cwd)
    two = run(bin / "lr-train", *BRIEF, *IN_TWO, "hydra.run.dir=runs/two", cwd=cwd)
    return cwd, one, two


def test_holds_the_package_the_recipes_and_every_configuration_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(f"lightning_lr-{__version__}.dist-info/entry_points.txt").decode()
    sources = {
        f"{'lightning_lr/' if folder in INSIDE else ''}{file.relative_to(ROOT).as_posix()}"
        for folder in ("lightning_lr", "hydra_plugins", *INSIDE)
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {"lightning_lr/recipes/train.py", "lightning_lr/conf/train.yaml", "lightning_lr/py.typed"} <= sources
    about = {name for name in names if name.startswith(f"lightning_lr-{__version__}.dist-info/")}
    assert names - about == sources
    assert [line.split(" = ")[0] for line in entry_points.splitlines() if " = " in line] == sorted(COMMANDS)


def test_what_is_imported_is_the_wheels_and_nothing_of_the_clone(bin, tmp_path):
    code = (
        "import json, lightning_lr\n"
        "from importlib.metadata import version\n"
        "from importlib.util import find_spec\n"
        "print(json.dumps([lightning_lr.__file__, version('lightning_lr'), lightning_lr.__version__,"
        " [find_spec(name) is not None for name in ('recipes', 'conf', 'lightning_lr.recipes', 'lightning_lr.conf')]]))"
    )
    done = run(bin / "python", "-c", code, cwd=tmp_path)
    file, installed, version, found = json.loads(done.stdout)
    assert Path(file).is_relative_to(bin.parent)
    assert installed == version == __version__
    assert found == [False, False, True, True]


def test_trains_in_one_process_and_in_two(trained):
    cwd, *both = trained
    for name, done in zip(("one", "two"), both, strict=True):
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        result = json.loads((cwd / "runs" / name / "result.json").read_text())
        assert len(result["members"]) == 2
        assert result["config"]["data"]["_target_"] == "lightning_lr.recipes.data.digits.Digits"
    # 1,077 images in batches of 64, and in two shares of it.
    steps = [json.loads((cwd / "runs" / name / "result.json").read_text())["steps"] for name in ("one", "two")]
    assert steps == [34, 18]


def test_a_sweep_starts_its_jobs_of_two_processes_anew(bin, tmp_path):
    done = run(bin / "lr-train", "-m", *BRIEF, *IN_TWO, "seed=3", "hydra.sweep.dir=swept", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "swept" / "0" / "result.json").read_text())
    assert (result["config"]["seed"], result["steps"]) == (3, 18)


def test_finds_a_rate_and_names_the_installed_command_to_go_on_with(bin, tmp_path):
    done = run(bin / "lr-find", "range_test.steps=30", "range_test.repeats=1", "hydra.run.dir=found", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found" / "lr_range.png").is_file()
    (command,) = [line for line in done.stdout.splitlines() if "schedule.max_lr=" in line]
    assert command.split()[0] == "lr-train"
    # It is one that can be typed.
    assert run(bin / "lr-train", *shlex.split(command)[1:], "--cfg", "job", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("of", ["one", "two"])
def test_tells_what_the_snapshots_are_worth(of, trained, bin, tmp_path):
    cwd, *_ = trained
    overrides = (f"snapshots={cwd / 'runs' / of}", "lines=null", "hydra.run.dir=told")
    done = run(bin / "lr-ensemble", *overrides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "told" / "ensemble.json").is_file()
    assert "python -m" not in done.stdout


def test_a_run_of_the_wheel_is_told_by_a_clone(trained, tmp_path):
    cwd, *_ = trained
    overrides = (f"snapshots={cwd / 'runs' / 'one'}", "lines=null", "hydra.run.dir=told")
    done = run(sys.executable, "-m", "recipes.ensemble", *overrides, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "told" / "ensemble.json").is_file()


def test_compares_runs(trained, bin):
    cwd, *_ = trained
    done = run(bin / "lr-compare", "runs", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 runs in 2 groups; the page is compare/index.html"
    assert (cwd / "compare" / "index.html").is_file()


def test_what_was_refused_is_the_exit_status(bin, tmp_path):
    assert run(bin / "lr-train", "schedule.cycles=0", cwd=tmp_path).returncode == 1
    assert run(bin / "lr-compare", "nowhere", cwd=tmp_path).returncode != 0


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_extra_a_line_says_what_to_install(command, bare, tmp_path):
    done = run(bare / command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "hydra, matplotlib, rich, scipy, sklearn, torchvision: not installed; "
        'the commands need an extra: pip install "lightning_lr[recipes]"\n'
    )


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        *((command, ["--help"]) for command in COMMANDS),
        *((command, ["--cfg", "job"]) for command in COMMANDS[:3]),
        ("lr-train", ["-sc", "query=bash"]),
    ],
)
def test_answers_without_what_takes_seconds_to_import(command, arguments, bin, tmp_path):
    python = (bin / "python", "-X", "importtime")
    done = run(*python, bin / command, *arguments, cwd=tmp_path, COMP_LINE="lr-train schedule=one", COMP_POINT="21")
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "lightning_lr.commands" in imported
    assert not imported & {"torch", "lightning", "sklearn", "matplotlib", "torchvision"}
    if "--help" in arguments:
        assert command in done.stdout
        assert "python -m" not in done.stdout


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("lr-train schedule=one", ["schedule=one_cycle"]),
        ("lr-train schedule.max_lr_", ["schedule.max_lr_decay="]),
        ("lr-find trainer=d", ["trainer=ddp", "trainer=default"]),
        ("lr-ensemble data=dig", ["data=digits"]),
    ],
)
def test_a_shell_completes(typed, completed, bin, tmp_path):
    # What bash does at the tab key, without one.
    command, word = typed.split()
    script = (
        f'eval "$({command} -sc install=bash)" && complete -p {command} >&2 && COMP_LINE={shlex.quote(typed)} '
        f"COMP_POINT={len(typed)} COMP_CWORD=1 && hydra_bash_completion && printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = run("bash", "-c", script, cwd=tmp_path, PATH=f"{bin}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert f"-F hydra_bash_completion {command}" in done.stderr
    assert sorted(done.stdout.split()) == completed, word


APP = """
import hydra

@hydra.main(version_base="1.3", config_path=None, config_name="mine")
def main(config):
    policy = hydra.utils.instantiate(config.schedule)
    data = hydra.utils.instantiate(config.data)
    print(type(policy).__name__, policy.preview(100, 10)["lr"][0], type(data).__module__, data.batch_size)

main()
"""
MINE = """
defaults:
  - data: digits
  - schedule: sgdr
  - _self_
hydra:
  searchpath: [%s]
  run: {dir: .}
  output_subdir: null
seed: 0
schedule: {max_lr: 0.25}
"""


@pytest.mark.parametrize(("where", "package"), [("wheel", "lightning_lr"), ("clone", "")])
def test_an_application_of_ones_own_finds_the_groups(where, package, bin, tmp_path):
    conf, homes = f"{package}.conf".lstrip("."), f"{package}.recipes".lstrip(".")
    (tmp_path / "app.py").write_text(APP.replace("config_path=None", 'config_path="."'))
    (tmp_path / "mine.yaml").write_text(MINE % f"pkg://{conf}")
    python, beside = (bin / "python", {}) if where == "wheel" else (sys.executable, {"PYTHONPATH": str(ROOT)})
    for arguments, said in [
        ([], f"SGDR 0.25 {homes}.data.digits 64\n"),
        (["schedule=one_cycle", "schedule.pct_start=0.01"], f"OneCycle 0.25 {homes}.data.digits 64\n"),
    ]:
        done = run(python, "app.py", *arguments, cwd=tmp_path, **beside)
        assert (done.stdout, done.stderr) == (said, "")
    refused = run(python, "app.py", "schedule.max_l=1", cwd=tmp_path, **beside)
    assert refused.returncode == 1
    assert "Key 'max_l' not in 'SGDR'" in refused.stderr
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["schedule"] == {"max_lr": 0.25}
