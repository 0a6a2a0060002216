"""The look-up behind `lr-train` and its like; what they do is told in `tests/system/test_wheel.py`."""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires
from types import SimpleNamespace

import pytest

from lightning_lr import commands


@pytest.fixture
def started(monkeypatch):
    """Which modules' `main` was called."""
    names = []

    def import_module(name):
        return SimpleNamespace(main=lambda: names.append(name))

    monkeypatch.setattr(commands, "import_module", import_module)
    return names


def test_a_clone_has_the_recipes_beside_the_package(started):
    for command in (commands.train, commands.find_lr, commands.ensemble, commands.compare):
        assert command() is None
    assert started == ["recipes.train", "recipes.find_lr", "recipes.ensemble", "recipes.compare"]


def test_a_wheel_has_them_in_it(started, monkeypatch, tmp_path):
    (tmp_path / "recipes").mkdir()
    monkeypatch.setattr(commands, "HERE", tmp_path)
    commands.train()
    assert started == ["lightning_lr.recipes.train"]


def test_recipes_of_another_project_are_not_taken_for_ours(started, monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "HERE", tmp_path / "lightning_lr")
    said = commands.train()
    assert said == (
        f"recipes: not found beside {tmp_path / 'lightning_lr'}; install the wheel, or the clone with pip install -e"
    )
    assert started == []


@pytest.mark.parametrize("missing", [["hydra"], ["hydra", "sklearn"]])
def test_without_the_extra_a_line_says_what_to_install(missing, started, monkeypatch):
    monkeypatch.setattr(commands, "find_spec", lambda name: None if name in missing else sys)
    said = commands.train()
    assert said == (
        f'{", ".join(missing)}: not installed; the commands need an extra: pip install "lightning_lr[recipes]"'
    )
    assert started == []


def test_what_is_looked_for_is_what_the_extra_brings():
    lines = [line for line in requires("lightning_lr") if re.search("extra == .recipes.", line)]
    brought = [re.match(r"[\w-]+", line)[0] for line in lines]
    named = {"hydra-core": "hydra", "scikit-learn": "sklearn"}
    assert {named.get(each, each) for each in brought} == set(commands.EXTRA)
