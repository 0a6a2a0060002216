"""The arrows of the package go one way: what each module imports, read from its source."""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_lr

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lightning_lr"
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    # The wheel puts the recipes under the package: they are not of it.
    if path.relative_to(PACKAGE).parts[0] not in ("recipes", "conf")
}
CALLBACKS = sorted(name for name in SOURCES if name.startswith("lightning_lr.callbacks."))
ORDER = [
    "arguments",
    "durations",
    "schedules.cycles",
    "schedules.curves",
    "schedules.composition",
    "schedules.profiles",
    "schedules",
    "schedules.pace",
    "schedules.auto",
    "schedules.plan",
    "schedules.plateau",
    "range_test.suggestions",
    "range_test.readings",
]
# Each may import those before it; a plan draws itself, when it is asked to.
BELOW = {name: {*ORDER[:index], *(["plots"] if name == "schedules.plan" else [])} for index, name in enumerate(ORDER)}


def tree(name):
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"))


def imported(name):
    """Every module that this one imports, at its top or inside a function; by its full name."""
    path = SOURCES[name]
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])]
                )
            # `from lightning_lr import snapshots` is an import of lightning_lr.snapshots.
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in SOURCES else base for alias in node.names}
    return found


def ours(name):
    return {module for module in imported(name) if module.split(".")[0] == "lightning_lr"}


def roots(name):
    return {module.split(".")[0] for module in imported(name)} - {"lightning_lr"}


def under(package):
    """A package and all of its modules."""
    prefix = f"lightning_lr.{package}"
    return sorted(name for name in SOURCES if name == prefix or name.startswith(f"{prefix}."))


def present(*names):
    """Those of the modules that the package has by now."""
    return [f"lightning_lr.{name}" for name in names if f"lightning_lr.{name}" in SOURCES]


def test_there_is_something_to_read():
    needed = ["snapshots", "ensemble", "hyperparameters", "callbacks.schedule", *ORDER]
    assert {"lightning_lr", *(f"lightning_lr.{name}" for name in needed)} <= set(SOURCES)
    assert "lightning_lr.schedules.curves" in ours("lightning_lr.schedules")


@pytest.mark.parametrize("name", ORDER)
def test_the_pure_side_stands_on_the_standard_library_alone(name):
    assert roots(f"lightning_lr.{name}") <= sys.stdlib_module_names
    assert ours(f"lightning_lr.{name}") <= {f"lightning_lr.{below}" for below in BELOW[name]}


def test_hyperparameters_know_torch_and_nothing_else():
    assert roots("lightning_lr.hyperparameters") <= {"torch", *sys.stdlib_module_names}
    assert ours("lightning_lr.hyperparameters") <= {"lightning_lr.arguments"}


@pytest.mark.parametrize("name", [*under("snapshots"), "lightning_lr.durable"])
def test_snapshots_know_no_lightning_and_nothing_that_stands_on_them(name):
    assert not roots(name) & {"lightning", "pytorch_lightning", "lightning_fabric"}
    assert ours(name) <= {"lightning_lr", "lightning_lr.durable", *under("snapshots")}


@pytest.mark.parametrize("name", [*under("ensemble.tasks"), *present("ensemble.pooling", "ensemble.scores")])
def test_what_predictions_mean_is_known_without_lightning_and_snapshots(name):
    assert roots(name) <= {"torch", "torchmetrics", *sys.stdlib_module_names}
    beside = present("arguments", "ensemble.batches", "ensemble.pooling", "ensemble.scores")
    assert ours(name) <= {*beside, *under("ensemble.tasks")}


# Each stands on those before it.
@pytest.mark.parametrize(
    ("package", "above"),
    [
        ("snapshots", ["ensemble", "report", "weight_space", "callbacks"]),
        ("ensemble", ["report", "weight_space", "callbacks"]),
        ("report", ["weight_space", "callbacks"]),
        ("weight_space", ["report", "callbacks"]),
    ],
)
def test_packages_know_nothing_of_those_above_them(package, above):
    known = {module for name in under(package) for module in ours(name)}
    assert not known & {module for name in above for module in under(name)}


@pytest.mark.parametrize(
    "name",
    [
        *present("hyperparameters", "surroundings", "target", "undo", "updates"),
        *under("range_test"),
        *under("plots"),
    ],
)
def test_what_does_not_know_the_callbacks(name):
    assert not {module for module in ours(name) if module.startswith("lightning_lr.callbacks")}


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_knows_no_other_but_the_schedule(name):
    # `schedule`, and what is no callback itself.
    parts = ["schedule", "auto", "horizon", "ownership", "listeners", "neighbours", "description", "cycle_source"]
    shared = {f"lightning_lr.callbacks.{part}" for part in [*parts, "rank_zero"]}
    assert {module for module in ours(name) if module.startswith("lightning_lr.callbacks")} <= shared


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"lightning_lr"}))
def test_no_module_goes_through_the_front_door(name):
    assert "lightning_lr.public" not in ours(name)
    # The front door imports everything: an arrow to it is an arrow to all. The version alone stands there.
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom) and node.module == "lightning_lr":
            assert {alias.name for alias in node.names if f"lightning_lr.{alias.name}" not in SOURCES} <= {
                "__version__"
            }
        if isinstance(node, ast.Import):
            assert "lightning_lr" not in {alias.name for alias in node.names}


# `commands` finds the recipes by their names, when it is called; it imports none.
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_package_knows_no_recipe_and_no_picture(name):
    assert not roots(name) & {"recipes", "conf", "hydra", "omegaconf", "torchvision", "sklearn", "rich"}
    if not name.startswith("lightning_lr.plots"):
        assert "matplotlib" not in roots(name)
    if name != "lightning_lr.commands":
        strings = [node.value for node in ast.walk(tree(name)) if isinstance(node, ast.Constant)]
        assert not {"recipes", "lightning_lr.recipes"} & {text for text in strings if isinstance(text, str)}


@pytest.mark.parametrize("folder", ["lightning_lr", "recipes", "tests"])
def test_no_module_is_named_for_nothing(folder):
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    assert not [path for path in (ROOT / folder).rglob("*") if path.stem in vague]


def test_every_public_name_is_re_exported_one_by_one():
    names = []
    for node in tree("lightning_lr.public").body:
        assert isinstance(node, ast.Expr | ast.ImportFrom)
        if isinstance(node, ast.ImportFrom):
            assert len(node.names) == 1
            alias = node.names[0]
            assert alias.asname == alias.name != "*"
            assert node.module in SOURCES
            home = importlib.import_module(node.module)
            assert getattr(lightning_lr, alias.name) is getattr(home, alias.name)
            names.append(alias.name)
    assert len(set(names)) == len(names)
    assert {"SGDR", "OneCycle", "StepDecay", "Schedule", "Horizon", "Join", "Scale", "Repeat", "Cycle"} <= set(names)
    # Each from the module that defines it, not from one that passes it on.
    for name in names:
        thing = getattr(lightning_lr, name)
        if isinstance(thing, type):
            assert thing.__module__ in SOURCES
    assert lightning_lr.__all__ == sorted(names)
    public = {name for name in dir(lightning_lr) if not name.startswith("_")}
    modules = {name.split(".")[1] for name in SOURCES if "." in name}
    assert public - modules - {"recipes", "conf", "TYPE_CHECKING"} == set(names)


# Each in a process that has imported nothing yet: what the first one who asks gets.
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import lightning_lr, sys; print(lightning_lr.__version__, hasattr(lightning_lr, '__wrapped__'), "
            "'torch' in sys.modules)",
            "0.1.0 False False",
        ),
        (
            "from lightning_lr import snapshots; from lightning_lr import *; "
            "print(snapshots.__name__, SGDR.__module__)",
            "lightning_lr.snapshots lightning_lr.callbacks.cyclical",
        ),
        # Modules before which nothing was asked of the package, and which ask it for modules.
        ("from lightning_lr.ensemble import SnapshotEnsemble; print(SnapshotEnsemble.__name__)", "SnapshotEnsemble"),
        ("from lightning_lr.range_test.result import RangeTest; print(RangeTest.__name__)", "RangeTest"),
    ],
)
def test_the_front_door_opens_when_a_name_is_asked_for(code, said):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_names_are_pickled_by_their_homes():
    assert pickle.loads(pickle.dumps(lightning_lr.Horizon)) is lightning_lr.Horizon
    assert pickle.loads(b"clightning_lr\nHorizon\n.") is lightning_lr.Horizon


def test_a_mistyped_name_is_refused_by_name():
    with pytest.raises(AttributeError, match=r"^module 'lightning_lr' has no attribute 'SGRD'$"):
        lightning_lr.SGRD  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'SGRD' from 'lightning_lr'"):
        from lightning_lr import SGRD  # noqa: F401


def test_a_version():
    assert lightning_lr.__version__.count(".") == 2
