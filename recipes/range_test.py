"""One run of `recipes.find_lr`: the tests, their files, and the order of events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from lightning_lr import LRRangeTest, RangeTest
from lightning_lr.plots import plot_range_test, plot_range_tests
from lightning_lr.schedules.auto import Auto

from . import advice
from .building import build_task
from .processes import together
from .run import claim, shown
from .schema.checks import rates
from .schema.schedules import AUTO
from .terminal import console, quiet
from .variants import trained_alike, varied

PICTURE = "lr_range.png"

# How long a run is, what it validates and what it tests: the range test has its own answers.
_NOT_OF_A_TEST = frozenset(
    {
        "_target_",
        "max_epochs",
        "min_epochs",
        "max_steps",
        "min_steps",
        "max_time",
        "limit_val_batches",
        "limit_test_batches",
        "val_check_interval",
        "check_val_every_n_epoch",
        "num_sanity_val_steps",
    }
)


@together()
def find(config: DictConfig, tests: Mapping[str, DictConfig]) -> dict[str, RangeTest]:
    """Run the tests, draw and report them in Hydra's folder of the run; return what each found.

    Args:
        config: As composed from `conf/find_lr.yaml`.
        tests: The configuration of each test, by its label; of a single one by no words.

    Raises:
        FileExistsError: If the folder holds a run already.
    """
    began = time.perf_counter()
    folder = Path(HydraConfig.get().runtime.output_dir)
    claim(folder, cast(dict[str, Any], OmegaConf.to_container(config, resolve=True)))
    found = {}
    with quiet():
        _refuse_early(config, folder)
        for label, test in tests.items():
            found[label] = measure(test)
            if _is_first():
                # At once: what was measured is there, whatever becomes of the others.
                found[label].save(folder / file_of(label))
    if _is_first():
        _report(config, tests, found, folder, time.perf_counter() - began)
    return found


def measure(config: DictConfig) -> RangeTest:
    """Run one test, on the module and the data that `recipes.train` would make of this configuration."""
    momentum = config.range_test.momentum
    if momentum is None:
        momentum = waiting(config).momentum
    module, datamodule = build_task(config)
    test = instantiate(config.range_test, momentum=momentum, _convert_="all")
    found: RangeTest = test(module, datamodule=datamodule, **trainer_options(config))
    return found


def waiting(config: DictConfig) -> Auto:
    """Return the schedule's learning rate as it waits for a range test, whatever rates it was given."""
    policy = instantiate(config.schedule, **dict.fromkeys(rates(config.schedule), AUTO), _convert_="all")
    return cast(Auto, policy.auto)


def trainer_options(config: DictConfig) -> dict[str, Any]:
    """Return what the composed trainer says about how an update is made, and on what."""
    options = cast(dict[str, Any], OmegaConf.to_container(config.trainer, resolve=True))
    return {name: value for name, value in options.items() if name not in _NOT_OF_A_TEST}


def file_of(label: str) -> str:
    """Return the name of a test's file.

    Example:
        >>> file_of("momentum=0.9")
        'range_test_momentum=0.9.json'
    """
    return f"range_test_{label}.json" if label else "range_test.json"


def _is_first() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


def _refuse_early(config: DictConfig, folder: Path) -> None:
    # What a group refuses it refuses now, in its own name, and not when several tests are done.
    instantiate(config.trainer, default_root_dir=folder, logger=False, enable_checkpointing=False, _convert_="all")
    waiting(config)
    options = {str(name): value for name, value in config.range_test.items() if not str(name).startswith("_")}
    try:
        LRRangeTest(**options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"range_test: {error}") from error


def _report(
    config: DictConfig, tests: Mapping[str, DictConfig], found: Mapping[str, RangeTest], folder: Path, seconds: float
) -> None:
    screen, name = console(), varied(config)

    def say(*lines: str, whole: bool = False) -> None:
        # Whole: not broken where the screen ends, for it is to be copied.
        for line in lines:
            screen.print(line, soft_wrap=whole, markup=False)

    if name is None:
        (single,) = found.values()
        plot_range_test(single, folder / PICTURE)
        say(str(single), "")
    else:
        plot_range_tests(found, folder / PICTURE, title=f"LR range tests over {name.replace('_', ' ')}")
        screen.print(advice.table(name, found))
        say(*advice.comparison(found), "")
        for label, test in found.items():
            say(*(f"! {label}: {note}" for note in test.reliability))
    before, chosen = advice.choice(name, found)
    say(before)
    for label in chosen:
        say(*_commands(tests[label], found[label]), whole=True)
    say(f"{seconds:.0f} s; the curve is in {shown(folder / PICTURE)}", whole=True)


def _commands(config: DictConfig, found: RangeTest) -> list[str]:
    """The command to go on with, and what speaks against it."""
    auto = waiting(config)
    told = {name: getattr(found, known_as) for name, known_as in auto.asked.items()}
    written = {name: advice.shown(rate) for name, rate in told.items()}
    overrides = trained_alike(config) | {f"schedule.{name}": rate for name, rate in written.items()}
    command = advice.command(HydraConfig.get().overrides.task, overrides)
    try:
        auto.resolve({name: float(rate) for name, rate in written.items()})
    except ValueError as error:
        return [command, f"! It will be refused as it stands: schedule: {error}"]
    return [command]
