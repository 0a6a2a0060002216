"""To go on with a run that was stopped: its configuration, its folder, its checkpoint.

As with the members of an ensemble, nothing that a file names is run because the file names it: a section is taken up
where one of this recipe's own schemas describes it, value by value.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .run_folder import put, read, typed

CHECKPOINT = Path("checkpoints") / "last.ckpt"

# Chosen as a whole; the other sections have one schema each.
_GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "logger")
_SECTIONS = ("snapshots", "checkpoint")
# They set values all over the configuration, and the run's own are there already.
_ALL_OVER = ("experiment", "debug")
CONFIG = "config.yaml"
_PARTS = (CONFIG, "metrics.csv", "result.json")


def take_up(config: DictConfig, here: Path, said: Sequence[str]) -> DictConfig:
    """Return the configuration of the run to go on with, changed in what the command line says.

    Args:
        config: As composed from `conf/train.yaml`, with `resume`.
        here: The folder that a relative path starts from.
        said: The overrides of the command line.

    Raises:
        FileNotFoundError: If there is no run, or none that has got to a checkpoint.
        ValueError: If the run is at its end already and nothing is changed, or its configuration cannot be taken up.
    """
    folder = here / Path(config.resume).expanduser()
    file = folder / CONFIG
    if not file.is_file():
        raise FileNotFoundError(f"resume={config.resume}: no run of recipes.train (no {CONFIG} in it); pass its folder")
    if not (folder / CHECKPOINT).is_file():
        raise FileNotFoundError(
            f"resume={config.resume}: no {CHECKPOINT.as_posix()} in it: it was stopped before its first; train anew"
        )
    keys = [each.lstrip("+~").partition("=")[0] for each in said]
    for key in keys:
        if key in _ALL_OVER:
            raise ValueError(f"{key}: the run has its configuration already; leave it out, and set single values")
    changed = [key for key in keys if key != "resume" and not key.startswith("hydra")]
    if (folder / "result.json").exists() and not changed:
        raise ValueError(
            f"resume={config.resume}: the run is at its end (result.json); to train longer, pass "
            "trainer.max_epochs=... schedule.on_new_horizon=stretch"
        )
    return _merged(config, file, keys)


def require_own_folder(config: DictConfig, here: Path, there: Path) -> None:
    """Refuse to go on with a run anywhere but in its own folder, as a job of a sweep would.

    Args:
        config: As composed from `conf/train.yaml`, with `resume`.
        here: The folder that a relative path starts from.
        there: Hydra's folder of this run.

    Raises:
        ValueError: If it is another.
    """
    if (here / Path(config.resume).expanduser()).resolve() != there.resolve():
        raise ValueError(
            f"resume={config.resume}: a run goes on in its own folder, alone; leave out -m and hydra.run.dir"
        )


def set_aside(folder: Path) -> int:
    """Give what the run has written so far names with a number, before it is written anew; return the number.

    Args:
        folder: Of the run.
    """
    number = 0
    while any(earlier(folder, name, number).exists() for name in _PARTS):
        number += 1
    for name in _PARTS:
        if (folder / name).exists():
            # The configuration stays where other processes of this run may be reading it, until it is replaced.
            aside = shutil.copyfile if name == CONFIG else os.rename
            aside(folder / name, earlier(folder, name, number))
    return number


def put_back(folder: Path, number: int) -> None:
    """Undo what `set_aside` has done.

    Args:
        folder: Of the run.
        number: What it returned.
    """
    for name in _PARTS:
        aside = earlier(folder, name, number)
        if aside.exists():
            os.replace(aside, folder / name)
        else:
            # Begun since, with nothing in it that anybody trained.
            (folder / name).unlink(missing_ok=True)


def earlier(folder: Path, name: str, number: int) -> Path:
    """Return what a file of a run is called, when it has been resumed since.

    Args:
        folder: Of the run.
        name: Of the file.
        number: How often it had been resumed before.

    Example:
        >>> earlier(Path("outputs"), "metrics.csv", 0).as_posix()
        'outputs/metrics-0.csv'
    """
    return folder / f"{Path(name).stem}-{number}{Path(name).suffix}"


def _merged(config: DictConfig, file: Path, keys: Sequence[str]) -> DictConfig:
    """The run's configuration, with the command line's values in it."""
    sections = read(file)
    merged = config.copy()
    for group in _GROUPS:
        if group == "optimizer" and group in keys:
            _require_same(config, sections.get(group))
        if group in keys or group not in sections:
            continue
        adopted = typed(file, group, sections[group])
        for key in keys:
            if key.startswith(f"{group}."):
                put(adopted, key, config)
        merged[group] = adopted
    for name, value in sections.items():
        if name in keys or name in _GROUPS or name == "resume":
            continue
        _take(merged, name, value, file)
        for key in keys:
            if key.startswith(f"{name}.") and name in _SECTIONS:
                OmegaConf.update(merged, key, OmegaConf.select(config, key))
    return merged


def _require_same(config: DictConfig, section: Any) -> None:
    """Refuse another optimizer than the run's: what it has in the checkpoint is of no use to that."""
    was = section.get("_target_") if isinstance(section, dict) else None
    if was != config.optimizer._target_:
        raise ValueError(
            f"optimizer: is {config.optimizer._target_}, and the checkpoint has the state of {was}; "
            "leave it out, or train anew"
        )


def _take(config: DictConfig, name: str, value: Any, file: Path) -> None:
    if name in _SECTIONS and isinstance(value, dict) and value.get("_target_") != config[name]._target_:
        raise ValueError(f"{file}: {name} is {value.get('_target_')!r}, not what this recipe has there; train anew")
    try:
        OmegaConf.update(config, name, value)
    except OmegaConfBaseException as error:
        raise ValueError(
            f"{file}: {name}: {str(error).splitlines()[0]}; pass {name}=... on the command line"
        ) from error
