"""Every configuration composes and instantiates; what is wrong is refused when it is composed."""

from __future__ import annotations

import dataclasses
import inspect
import os
import subprocess
import sys

import lightning.pytorch as pl
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from hydra.utils import get_object
from omegaconf import MISSING, OmegaConf

from lightning_lr import Schedule, SnapshotEnsemble
from recipes.run import build
from recipes.schema import SCHEMAS, runs
from recipes.schema.checks import check, rates
from recipes.train import CONF
from tests.recipes.data_made import make

GROUPS = sorted({file.parent.name for file in CONF.glob("*/*.yaml")})
# Options of these set values all over the configuration; they have tests of their own.
ALL_OVER = ["debug", "experiment"]
OPTIONS = sorted((group, file.stem) for group in GROUPS for file in (CONF / group).glob("*.yaml"))
TYPED = [(group, option) for group, option in OPTIONS if group not in ALL_OVER]
# What the recipe passes itself, or has no use for, of classes that are ours.
LEFT_OUT = {
    "recipes.log.MetricsFile": {"save_dir"},
    "recipes.models.small_cnn.SmallCNN": {"channels", "num_classes"},
    "recipes.models.mlp.MLP": {"shape", "num_classes"},
    "recipes.models.resnet9.ResNet9": {"channels", "num_classes"},
    "recipes.models.cifar_resnet.CifarResNet": {"channels", "num_classes"},
    "recipes.models.wide_resnet.WideResNet": {"channels", "num_classes"},
    "recipes.models.from_torchvision.from_torchvision": {"channels", "num_classes", "shape", "options"},
    "lightning_lr.SnapshotCheckpoint": {"dirpath", "optimizer", "on_existing"},
    "lightning_lr.lr_range_test": {
        *("module", "train_dataloaders", "val_dataloaders", "datamodule", "trainer_kwargs"),
        "optimizer",
    },
}
# Without which an option is nothing yet.
NEEDED = {
    ("model", "custom"): ["model._target_=recipes.models.small_cnn.SmallCNN", "+model.width=3"],
    ("model", "torchvision"): ["model.name=mobilenet_v3_small"],
    ("optimizer", "custom"): ["optimizer._target_=torch.optim.NAdam", "+optimizer.weight_decay=0.01"],
}
CONFIGURED = [each for each in SCHEMAS.values() if getattr(each, "_target_", MISSING) != MISSING] + [
    runs.Snapshots,
    runs.RangeTest,
    runs.Checkpoint,
]


def own_fields(schema):
    return {field.name: field for field in dataclasses.fields(schema) if not field.name.startswith("_")}


def test_groups_are_those_of_a_run():
    typed = ["data", "logger", "model", "optimizer", "schedule", "trainer"]
    assert sorted(set(GROUPS) - set(ALL_OVER)) == typed
    assert set(typed) < set(own_fields(runs.Train))


def test_no_option_is_out_of_reach():
    # A file elsewhere in `conf` would be composed by nobody, and tested by nobody.
    files = {str(file.relative_to(CONF)) for file in CONF.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    reached = {f"{group}/{option}.yaml" for group, option in OPTIONS} | {
        *("train.yaml", "find_lr.yaml", "ensemble.yaml"),
        "hydra/job_logging/run.yaml",
        "hydra/sweeper/bayesian.yaml",
        # What makes the schemas known to who reads `pkg://lightning_lr.conf`.
        "__init__.py",
    }
    assert files == reached


@pytest.mark.parametrize(("group", "option"), TYPED)
def test_option_composes_typed_and_instantiates(group, option, composed, tmp_path, monkeypatch):
    needed = make(option, tmp_path / "data", monkeypatch) if group == "data" else NEEDED.get((group, option), [])
    config = composed(f"{group}={option}", *needed)
    assert dataclasses.is_dataclass(OmegaConf.get_type(config[group])), f"{group}/{option}.yaml extends no schema"
    assert not OmegaConf.missing_keys(config)
    parts = build(config, tmp_path)
    assert isinstance(parts.trainer, pl.Trainer)
    assert isinstance(parts.module, pl.LightningModule)
    assert isinstance(parts.datamodule, pl.LightningDataModule)
    assert isinstance(parts.policy, Schedule)
    parts.datamodule.setup("fit")
    images, _ = parts.datamodule.train[0]
    assert parts.module.eval()(images[None]).shape == (1, parts.datamodule.num_classes)
    used = parts.module.configure_optimizers().param_groups[0]
    assert (used["betas"][0] if "betas" in used else used["momentum"]) == 0.9


@pytest.mark.parametrize("option", sorted(option for group, option in OPTIONS if group == "debug"))
def test_a_way_to_debug_composes_over_everything_and_instantiates(option, composed, tmp_path):
    config = composed(f"debug={option}", "trainer.max_epochs=7")
    assert not OmegaConf.missing_keys(config)
    # What the command line says is stronger.
    assert build(config, tmp_path).trainer.max_epochs == 7
    assert config.trainer != composed("trainer.max_epochs=7").trainer


@pytest.mark.parametrize("configured", CONFIGURED, ids=lambda each: each.__name__)
def test_schema_has_the_fields_and_defaults_of_its_class(configured):
    parameters = dict(inspect.signature(get_object(configured._target_)).parameters)
    named = own_fields(configured)
    assert set(named) <= set(parameters)
    if configured._target_.startswith(("lightning_lr.", "recipes.")):
        assert set(parameters) - set(named) == LEFT_OUT.get(configured._target_, set())
    for name, field in named.items():
        default = parameters[name].default
        assert field.default == (MISSING if default is inspect.Parameter.empty else default), name
        if default is not inspect.Parameter.empty and default is not None:
            assert isinstance(field.default, bool) == isinstance(default, bool), name


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("schedule.min_lr=abc", "Value 'abc' of type 'str' could not be converted to Float"),
        ("schedule.max_lr=true", "Value 'True' of type 'bool' is incompatible with type hint"),
        ("schedule.cycles=2.5", "Value '2.5' of type 'float' could not be converted to Integer"),
        ("schedule.cycle_momentum=often", "Value 'often' is not a valid bool"),
        ("trainer.max_epochs=many", "Value 'many' of type 'str' could not be converted to Integer"),
        ("seed=one", "Value 'one' of type 'str' could not be converted to Integer"),
        ("schedule.maxlr=0.1", "Key 'maxlr' not in 'SGDR'"),
        ("trainer.epochs=3", "Key 'epochs' not in 'Trainer'"),
        ("epochs=3", "Key 'epochs' not in 'Train'"),
        ("trainer=dpp", "Available options in 'trainer':\n\tddp\n\tdefault\n"),
        ("schedule=coside", "Available options in 'schedule':\n\tconstant\n\tcosine\n\tcyclic\n"),
    ],
)
def test_wrong_override_is_refused_at_composition(override, said, composed):
    with pytest.raises(ConfigCompositionException) as refused:
        composed(override)
    assert said in f"{refused.value}\n{refused.value.__cause__}"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+epochs=3", "^epochs: there is no such option; choose from seed, threads, data, "),
        ("+schedule.maxlr=0.1", "^schedule.maxlr: there is no such option; choose from max_lr, min_lr, "),
    ],
)
def test_a_key_added_with_a_plus_is_refused_too(override, said, composed):
    with pytest.raises(ValueError, match=said):
        check(composed(override))
    check(composed())


def test_a_rate_is_a_number_or_auto(composed):
    assert composed("schedule.max_lr=auto").schedule.max_lr == "auto"
    assert composed("schedule.max_lr=1").schedule.max_lr == 1
    assert composed("schedule.max_lr=1e-3").schedule.max_lr == 0.001
    check(composed("schedule=cyclic", "schedule.base_lr=auto", "schedule.max_lr=auto"))
    said = "^schedule.max_lr='abc': neither a number nor auto; pass a number above 0, or auto for a range test"
    with pytest.raises(ValueError, match=said):
        check(composed("schedule.max_lr=abc"))


@pytest.mark.parametrize("option", sorted(option for group, option in OPTIONS if group == "schedule"))
def test_every_rate_that_a_schedule_takes_may_be_auto_and_no_other(option, composed, tmp_path):
    config = composed(f"schedule={option}")
    given = rates(config.schedule)
    policy = build(composed(f"schedule={option}", *(f"schedule.{name}=auto" for name in given)), tmp_path).policy
    assert sorted(policy.auto.asked) == sorted(given)
    others = {name for name in config.schedule if name.endswith("lr") and name not in given}
    assert others <= {"min_lr", "final_lr"}


def test_durations_pass_as_they_are_written(composed):
    assert composed("schedule.warmup=2ep").schedule.warmup == "2ep"
    assert composed("schedule.warmup=10").schedule.warmup == 10
    assert composed("schedule=step_decay", "schedule.milestones=[30,60%]").schedule.milestones == [30, "60%"]


def test_the_ensembles_options_are_those_of_the_library():
    # What the recipe decides: its task, and how its batches and outputs look.
    decided = {*("module", "snapshots", "self"), "task", "outputs", "num_classes", "unpack", "backend"}
    parameters = inspect.signature(SnapshotEnsemble).parameters
    options = own_fields(runs.Ensemble)
    assert set(parameters) - decided <= set(options)
    for name in set(parameters) - decided:
        assert options[name].default == parameters[name].default, name


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("last_m=few", "Value 'few' of type 'str' could not be converted to Integer"),
        ("temperature=hot", "Value 'hot' of type 'str' could not be converted to Float"),
        ("member_weights=[1,heavy]", "Value 'heavy' of type 'str' could not be converted to Float"),
        ("lines=straight", "Value 'straight' of type 'str' could not be converted to Integer"),
        ("max_epochs=3", "Key 'max_epochs' not in 'Ensemble'"),
        ("trainer=ddp", "Could not override 'trainer'"),
    ],
)
def test_wrong_override_of_an_ensemble_is_refused_at_composition(override, said):
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(ConfigCompositionException) as refused:
        compose("ensemble", overrides=[override])
    assert said in f"{refused.value}\n{refused.value.__cause__}"


@pytest.mark.parametrize("recipe", ["train", "find_lr", "ensemble"])
def test_composing_imports_neither_torch_nor_lightning(recipe):
    code = (
        "import atexit, runpy, sys\n"
        "heavy = {'torch', 'lightning', 'sklearn', 'matplotlib'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = [{recipe!r}, '--cfg', 'job']\n"
        f"runpy.run_module('recipes.{recipe}', run_name='__main__')\n"
    )
    root = CONF.parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "[]"
    assert yaml.safe_load(done.stdout)["data"]["test_size"] == 480
