"""The README is run: its Python as it stands, and its commands as far as composing them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def recipe_commands() -> list[str]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m recipes.")]


@pytest.mark.slow
def test_the_python_runs_as_it_stands(tmp_path):
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks("python")))
    done = run([script.name], tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "snapshots").glob("*.safetensors")) == [
        f"snapshot-00{index}.safetensors" for index in range(5)
    ]
    accuracy = re.search(r"test/accuracy\W+([01]\.\d+)", done.stdout)
    assert accuracy is not None, done.stdout
    assert float(accuracy[1]) > 0.97
    assert (tmp_path / "schedule.png").stat().st_size > 10_000


def test_there_are_commands_for_each_claim():
    commands = recipe_commands()
    assert any("trainer=ddp" in command for command in commands)
    assert any(" -m schedule=" in command for command in commands)


@pytest.mark.parametrize("command", recipe_commands())
def test_each_command_composes(command, tmp_path):
    _, _, module, *given = shlex.split(command)
    overrides = [argument for argument in given if argument != "-m"]
    if overrides != given:
        # A sweep: one of its jobs.
        overrides = [argument.split(",")[0] for argument in overrides]
    # What is no application of Hydra's has no configuration to show, and reads what is not there.
    ask = ["--help"] if module == "recipes.compare" else ["--cfg", "job"]
    done = run(["-m", module, *overrides, *ask], tmp_path)
    assert done.returncode == 0, done.stderr
