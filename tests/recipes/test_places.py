"""What a clone and a wheel call the same things; what runs of the one are for the other."""

from __future__ import annotations

import copy
import importlib
import sys

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from recipes import schema
from recipes.run_folder import read, typed
from recipes.schema import places

BY_A_WHEEL = "data:\n  _target_: lightning_lr.recipes.data.digits.Digits\n  batch_size: 8\n"
BY_A_CLONE = BY_A_WHEEL.replace("lightning_lr.recipes", "recipes")


@pytest.fixture
def in_a_wheel(monkeypatch):
    """`recipes.schema.places` as it is where it was imported as `lightning_lr.recipes.schema.places`."""
    spec = importlib.util.spec_from_file_location("lightning_lr.recipes.schema.places", places.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("written", [BY_A_WHEEL, BY_A_CLONE], ids=["wheel", "clone"])
def test_a_run_is_understood_by_whom_did_not_make_it(written, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(written)
    section = typed(file, "data", read(file)["data"])
    assert section._target_ == "recipes.data.digits.Digits"
    assert section.batch_size == 8


@pytest.mark.parametrize("root", ["recipes", "lightning_lr.recipes"])
def test_a_target_is_named_as_it_is_here(root, in_a_wheel):
    assert places.here(f"{root}.data.x.Y") == "recipes.data.x.Y"
    assert in_a_wheel.here(f"{root}.data.x.Y") == "lightning_lr.recipes.data.x.Y"
    for elsewhere in ("lightning_lr.SGDR", "recipes_of_mine.x", "torch.load", "recipes"):
        assert places.here(elsewhere) == in_a_wheel.here(elsewhere) == elsewhere


def test_a_command_is_one_that_can_be_typed_there(in_a_wheel):
    assert places.command("find_lr") == ["python", "-m", "recipes.find_lr"]
    assert in_a_wheel.command("find_lr") == ["lr-find"]
    assert OmegaConf.create({"said": "${recipe_command:train} seed=1"}).said == "python -m recipes.train seed=1"


def test_hydras_store_is_not_copied_a_hundred_times_for_help():
    schema.register()
    store = ConfigStore.instance()
    assert copy.deepcopy(store) is store
    # What it hands out is a copy all the same.
    store.load("schema/data/digits.yaml").node.batch_size = 1
    assert store.load("schema/data/digits.yaml").node.batch_size == 64
