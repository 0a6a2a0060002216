"""LightningCLI: every policy from the command line, from YAML, and from the configuration that a run has saved."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import jsonargparse
import lightning.pytorch as pl
import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI
from torch.utils.data import DataLoader, TensorDataset

import lightning_lr
from lightning_lr import Schedule, Snapshots

pytestmark = [
    # Lightning calls what jsonargparse has renamed since.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    # As an error it would be caught inside, and hide what users get: a saved value that cannot be read again.
    pytest.mark.filterwarnings(r"ignore:\s*Unable to serialize instance"),
]

POLICIES = {
    name
    for name, each in vars(lightning_lr).items()
    if isinstance(each, type) and issubclass(each, Schedule) and not name.startswith("_")
}
ANNEAL = {"class_path": "lightning_lr.Anneal", "init_args": {"start": 0.4, "end": 0.0, "shape": "linear"}}
WAVES = {"class_path": "lightning_lr.Repeat", "init_args": {"curve": ANNEAL, "cycles": 2}}

# What is given, and the LR of each of the four updates of a run of four epochs.
GIVEN = {
    "Constant": ({"lr": 0.1}, [0.1, 0.1, 0.1, 0.1]),
    "StepDecay": ({"initial_lr": 0.8, "factor": 0.5, "milestones": [1, "75%"]}, [0.8, 0.4, 0.4, 0.2]),
    "ExponentialDecay": ({"initial_lr": 1.0, "final_lr": 0.001}, [1.0, 0.1, 0.01, 0.001]),
    "CosineAnnealing": ({"max_lr": 0.1, "warmup": "25%"}, [0.05, 0.1, 0.075, 0.025]),
    "WarmupStableDecay": ({"max_lr": 0.1, "warmup": 1, "decay": "50%"}, [0.05, 0.1, 0.1, 0.05]),
    "CyclicLR": ({"base_lr": 0.1, "max_lr": 0.5, "step_size_up": "1ep", "mode": "triangular2"}, [0.1, 0.5, 0.1, 0.3]),
    "SGDR": ({"max_lr": 0.1, "cycle": "2ep", "cycle_momentum": True}, [0.1, 0.05, 0.1, 0.05]),
    "OneCycle": (
        {"max_lr": 1, "pct_start": 0.5, "anneal_strategy": "linear", "div_factor": 10, "final_div_factor": 10},
        [0.1, 1.0, 0.505, 0.01],
    ),
    # The metric does not move: the first reading is the best, and each after it one too many.
    "ReduceOnPlateau": (
        {"initial_lr": 0.1, "monitor": "train/constant", "mode": "max", "factor": 0.5, "patience": 0},
        [0.1, 0.1, 0.05, 0.025],
    ),
    "Schedule": ({"lr": ANNEAL, "momentum": 0.5}, [0.4, 0.3, 0.2, 0.1]),
}


@pytest.fixture(autouse=True)
def _own_command_line(monkeypatch):
    # Beside the arguments that it is passed, LightningCLI looks at those of the process.
    monkeypatch.setattr("sys.argv", ["fit.py"])


class Model(pl.LightningModule):
    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.layers = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(groups))
        self.lrs = []

    def training_step(self, batch, batch_idx):
        self.log("train/constant", 1.0)
        return sum(layer(batch[0]) for layer in self.layers).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD([{"params": layer.parameters()} for layer in self.layers], lr=0.5, momentum=0.9)

    def on_before_optimizer_step(self, optimizer):
        self.lrs.append([group["lr"] for group in optimizer.param_groups])


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.ones(1, 1)))


def cli(*arguments, folder, run=True):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return LightningCLI(
        Model,
        Data,
        args=[*(["fit"] if run else []), *arguments],
        run=run,
        seed_everything_default=False,
        trainer_defaults={"accelerator": "cpu", "max_epochs": 4, "default_root_dir": str(folder), **quiet},
        parser_kwargs={"exit_on_error": False} if not run else {"fit": {"exit_on_error": False}},
    )


def as_arguments(key, value):
    """`value` of `key`, as one types it."""
    if not isinstance(value, dict):
        return [f"--{key}={json.dumps(value) if isinstance(value, list) else value}"]
    typed = [f"--{key}={value['class_path']}"]
    for name, each in value.get("init_args", {}).items():
        typed += as_arguments(f"{key}.{name}", each)
    return typed


def as_file(path, name, given):
    callbacks = [{"class_path": f"lightning_lr.{name}", "init_args": given}]
    path.write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks}}))
    return f"--config={path}"


def ran_in_three_ways(name, given, folder, *more):
    """The LRs of a run from the command line, one from YAML, and one from what the first has saved."""
    (folder / "again").mkdir()
    typed = cli(
        *as_arguments("trainer.callbacks", {"class_path": name, "init_args": given}), *more, folder=folder / "typed"
    )
    read = cli(as_file(folder / "given.yaml", name, given), *more, folder=folder / "read")
    saved = folder / "typed" / "config.yaml"
    again = cli(f"--config={saved}", f"--trainer.default_root_dir={folder / 'again'}", folder=folder)
    return [run.model.lrs for run in (typed, read, again)]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_runs_as_it_was_configured(name, tmp_path):
    assert name in GIVEN, f"{name} is new: give it arguments, and the four LRs that they stand for"
    given, expected = GIVEN[name]
    for lrs in ran_in_three_ways(name, given, tmp_path):
        assert [lr for (lr,) in lrs] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("SGDR", {"max_lr": [0.1, 0.2], "cycles": 2}, [[0.1, 0.2], [0.05, 0.1]] * 2),
        ("Schedule", {"lr": [0.1, 0.2]}, [[0.1, 0.2]] * 4),
    ],
)
def test_a_list_has_one_rate_a_param_group(name, given, expected, tmp_path):
    for lrs in ran_in_three_ways(name, given, tmp_path, "--model.groups=2"):
        assert lrs == [pytest.approx(each, abs=1e-15) for each in expected]


@pytest.mark.parametrize(
    ("lr", "expected"),
    [
        (WAVES, [0.4, 0.2, 0.4, 0.2]),
        ([WAVES], [0.4, 0.2, 0.4, 0.2]),
        (
            {"class_path": "lightning_lr.Join", "init_args": {"curves": [ANNEAL, WAVES], "boundaries": ["50%"]}},
            [0.4, 0.2, 0.4, 0.4],
        ),
        # A function by its path: exp(0), exp(1), …
        ("math.exp", [1.0, 2.718281828459045, 7.38905609893065, 20.085536923187668]),
    ],
    ids=["a composition", "a list of curves", "a composition of compositions", "a function"],
)
def test_curves_of_all_kinds_are_read_from_yaml_and_saved(lr, expected, tmp_path):
    run = cli(as_file(tmp_path / "given.yaml", "Schedule", {"lr": lr}), folder=tmp_path / "read")
    saved = f"--config={tmp_path / 'read' / 'config.yaml'}"
    (tmp_path / "again").mkdir()
    again = cli(saved, f"--trainer.default_root_dir={tmp_path / 'again'}", folder=tmp_path)
    for each in (run, again):
        assert [lr for (lr,) in each.model.lrs] == pytest.approx(expected, rel=1e-15)


def test_a_policy_and_its_snapshots_from_one_command_line(tmp_path):
    cli(
        "--trainer.callbacks+=SGDR",
        "--trainer.callbacks.max_lr=0.1",
        "--trainer.callbacks.cycles=2",
        "--trainer.callbacks+=SnapshotCheckpoint",
        f"--trainer.callbacks.dirpath={tmp_path / 'snapshots'}",
        folder=tmp_path,
    )
    assert [Snapshots(tmp_path / "snapshots")[index].step for index in range(2)] == [2, 4]


def commands_of_the_docs():
    page = (Path(__file__).parent.parent / "docs" / "coming-from.md").read_text()
    return re.findall(r"^python fit\.py fit (.*)$", page, re.MULTILINE)


def test_the_docs_show_commands():
    assert len(commands_of_the_docs()) == 2


@pytest.mark.parametrize("command", commands_of_the_docs())
def test_each_command_of_the_docs_runs(command, tmp_path):
    # Five cycles need five updates.
    lrs = cli(*shlex.split(command), "--trainer.max_epochs=5", folder=tmp_path).model.lrs
    assert lrs[0] == [0.1]
    assert len(lrs) == 5


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        # By jsonargparse, from our annotations.
        ("SGDR", {"max_lr": "abc", "cycles": 2}, "Given value: abc"),
        ("SGDR", {"max_lr": 0.1, "cycles": 2.5}, "Expected a <class 'int'>"),
        ("StepDecay", {"initial_lr": 0.1, "milestones": [0.5, 0.75]}, "Given value: 0.5"),
        ("SGDR", {"max_lr": 0.1, "cyles": 2}, "Option 'cyles' is not accepted"),
        ("SGDR", {"cycles": 2}, "are required: max_lr"),
        ("SGDR", {"max_lr": 0.1, "cycles": 2, "cycle_momentum": "often"}, "Expected a <class 'bool'>"),
        ("OneCycle", {"max_lr": 0.1, "anneal_strategy": "cosine"}, "Literal['cos', 'linear']"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "mode": "square"}, "Literal['triangular', 'triangular2', "),
        ("Schedule", {"lr": {**ANNEAL, "init_args": {**ANNEAL["init_args"], "shape": "sine"}}}, "Literal['cos', "),
        # By our constructors, in our words.
        ("SGDR", {"max_lr": -1, "cycles": 2}, "max_lr=-1.0: out of range; pass a number above 0"),
        ("SGDR", {"max_lr": 0.1, "cycles": 0}, "cycles=0: out of range; pass an int of at least 1"),
        ("SGDR", {"max_lr": 0.1}, "cycles=None, cycle=None: one of them is needed; pass exactly one of them"),
        ("SGDR", {"max_lr": 0.1, "cycle": "2miles"}, "cycle='2miles': not a duration; write 500 or"),
        ("StepDecay", {"initial_lr": 0.1, "milestones": ["75%", "50%"]}, "milestones=['75%', '50%']: out of order"),
        ("Constant", {"lr": 0.1, "on_new_horizon": "shrink"}, "on_new_horizon='shrink': unknown; pass None or 'keep'"),
        ("Schedule", {}, "nothing to schedule; pass one of them"),
    ],
)
def test_what_is_wrong_is_refused_before_there_is_a_trainer(name, given, said, tmp_path):
    with pytest.raises((jsonargparse.ArgumentError, ValueError)) as from_file:
        cli(as_file(tmp_path / "given.yaml", name, given), folder=tmp_path, run=False)
    assert said in str(from_file.value)
    typed = as_arguments("trainer.callbacks", {"class_path": name, "init_args": given})
    with pytest.raises((jsonargparse.ArgumentError, ValueError)) as from_line:
        cli(*typed, folder=tmp_path, run=False)
    assert said in str(from_line.value)
