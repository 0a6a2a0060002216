"""What runs of `recipes.train` left behind, and what of it another command takes up: snapshots, data and model.

Nothing that a file names is run because the file names it: what is taken up is a section that one of this recipe's own
schemas describes, value by value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from .schema import SCHEMAS
from .schema.data import OF_NO_SPLIT
from .schema.places import here

GROUPS = ("data", "model")

_LEAK = "what it was trained on may be among these samples"


@dataclass(frozen=True)
class Found:
    """Where members are, and what their runs were composed of.

    Args:
        members: A folder of snapshots, or files.
        configs: The ``config.yaml`` of each run that they are of; none where there is none.
    """

    members: Path | list[Path]
    configs: tuple[Path, ...]


def locate(snapshots: Any, here: Path) -> Found:
    """Find the members that a user named.

    Args:
        snapshots: A folder of snapshots, a run's folder that has one, a file, or a list of files.
        here: The folder that relative paths start from.

    Raises:
        FileNotFoundError: If something is not there.
        ValueError: If it is nothing of the kind.
    """
    if isinstance(snapshots, str) and snapshots:
        named = [snapshots]
    elif isinstance(snapshots, Sequence) and snapshots and all(isinstance(each, str) and each for each in snapshots):
        named = list(snapshots)
    else:
        raise ValueError(f"snapshots={snapshots!r}: no path; pass a folder of snapshots, a run, or [file,file]")
    paths = [here / Path(each).expanduser() for each in named]
    for path, said in zip(paths, named, strict=True):
        if not path.exists():
            raise FileNotFoundError(
                f"snapshots={said}: not there; pass a folder of snapshots, a run of recipes.train, or [file,file]"
            )
    if isinstance(snapshots, str) and paths[0].is_dir():
        folder = _snapshots_in(paths[0], snapshots)
        return Found(folder, _configs([folder]))
    for path, said in zip(paths, named, strict=True):
        if path.is_dir():
            raise ValueError(f"snapshots: {said} is a folder, in a list of files; pass a folder alone, or its files")
    return Found(paths, _configs([path.parent for path in paths]))


def adopt(config: DictConfig, found: Found, said: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """Return the configuration with the runs' own data and model, and what there is to say about that.

    What the command line says is stronger: a group that it chooses is its own altogether, a value that it sets is put
    into the run's section.

    Args:
        config: As composed from `conf/ensemble.yaml`.
        found: What the snapshots are of.
        said: The overrides of the command line.

    Raises:
        ValueError: If a file names something that is not this recipe's own, or the runs differ.
    """
    config = config.copy()
    keys = [each.lstrip("+~").partition("=")[0] for each in said]
    notes = []
    runs = _runs(found.configs, needed=not set(GROUPS) <= set(keys))
    for group in GROUPS:
        sections = {file: run[group] for file, run in runs.items() if group in run}
        if sections and group not in keys:
            adopted = _same(group, sections)
            for key in keys:
                if key.startswith(f"{group}."):
                    put(adopted, key, config)
            config[group] = adopted
        if group == "data" and (sections or group not in keys):
            # A folder of this command's own has a config.yaml too, and says nothing of what was trained on.
            trained = {file: section for file, section in sections.items() if "trainer" in runs[file]}
            notes += _not_of_the_run(config.data, trained)
    return config, notes


def _snapshots_in(folder: Path, said: str) -> Path:
    # The name of `lightning_lr.snapshots.manifest.MANIFEST`, which takes seconds to import.
    for candidate in (folder, folder / "snapshots"):
        if (candidate / "manifest.json").is_file():
            return candidate
    raise FileNotFoundError(
        f"snapshots={said}: neither has snapshots nor is a run that has; pass what SnapshotCheckpoint wrote, "
        "or train with a schedule that has cycles"
    )


def _configs(folders: Sequence[Path]) -> tuple[Path, ...]:
    # Of a run's folder, and of a folder in it: `snapshots`, `checkpoints`.
    files: dict[Path, None] = {}
    for folder in map(Path.resolve, folders):
        candidates = [each / "config.yaml" for each in (folder, folder.parent)]
        files |= dict.fromkeys([file for file in candidates if file.is_file()][:1])
    return tuple(files)


def _runs(files: Sequence[Path], *, needed: bool) -> dict[Path, dict[str, Any]]:
    runs = {}
    for file in files:
        try:
            runs[file] = read(file)
        except ValueError:
            if needed:
                raise
    return runs


def read(file: Path) -> dict[str, Any]:
    """Return what a run was composed of.

    Args:
        file: Its ``config.yaml``.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read ({' '.join(str(error).split())}); {_remedy(*GROUPS)}") from error
    if not isinstance(loaded, dict):
        return {}
    for section in loaded.values():
        # A wheel and a clone name the same class differently, and each tells the runs of the other.
        if isinstance(section, dict) and isinstance(section.get("_target_"), str):
            section["_target_"] = here(section["_target_"])
    return cast(dict[str, Any], loaded)


def _same(group: str, sections: dict[Path, Any]) -> DictConfig:
    (first, section), *others = sections.items()
    for file, other in others:
        if _deciding(group, other) != _deciding(group, section):
            raise ValueError(f"{group}: {first} and {file} differ in it; {_remedy(group)}")
    return typed(first, group, section)


def _deciding(group: str, section: Any) -> Any:
    # Runs of several seeds differ in the order of the batches, which says nothing of what is told here.
    if group != "data" or not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if key not in OF_NO_SPLIT}


def typed(file: Path, group: str, section: Any) -> DictConfig:
    """Return the section as the schema of its class has it.

    Args:
        file: Where it stands.
        group: Which part of a configuration it is.
        section: As it was read.

    Raises:
        ValueError: If it names something that is not this recipe's own, or a value does not fit.
    """
    of_group = (
        each for path, each in SCHEMAS.items() if path == f"schema/{group}" or path.startswith(f"schema/{group}/")
    )
    schemas = {vars(each)["_target_"]: each for each in of_group}
    target = section.get("_target_") if isinstance(section, dict) else section
    # Known by its whole name: by the beginning of it, `recipes.data.digits.torch.load` would be one of ours.
    if not isinstance(target, str) or target not in schemas:
        raise ValueError(
            f"{file}: {group} is {target!r}, not one of this recipe's own, and a file does not decide what is run; "
            f"{_remedy(group)}"
        )
    for key, value in section.items():
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"{file}: {group}.{key}={value!r}: refers to something else; {_remedy(group)}")
    try:
        return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(schemas[target]), section))
    except OmegaConfBaseException as error:
        raise ValueError(f"{file}: {group}: {str(error).splitlines()[0]}; {_remedy(group)}") from error


def put(adopted: DictConfig, key: str, config: DictConfig) -> None:
    """Put a value that the command line set into a section that was taken up.

    Args:
        adopted: The section.
        key: Of the value, with the group before it.
        config: As composed from the command line.

    Raises:
        ValueError: If the section has no such option.
    """
    group, _, name = key.partition(".")
    try:
        OmegaConf.update(adopted, name, OmegaConf.select(config, key))
    except OmegaConfBaseException as error:
        raise ValueError(
            f"{key}: {adopted._target_.rpartition('.')[2]}, which is the run's {group}, has no such option; "
            f"{_remedy(group)}"
        ) from error


def _not_of_the_run(data: DictConfig, sections: dict[Path, Any]) -> list[str]:
    if not sections:
        return [f"data: no config.yaml tells the run's: {_LEAK}"]
    here = cast(dict[str, Any], OmegaConf.to_container(data, resolve=True))
    differ: dict[str, None] = {}
    for section in sections.values():
        there = section if isinstance(section, dict) else {}
        differ |= dict.fromkeys(
            key for key in [*here, *there] if key not in OF_NO_SPLIT and here.get(key) != there.get(key)
        )
    if not differ:
        return []
    return [f"data: not the run's ({', '.join(map(str, differ))}): {_LEAK}"]


def _remedy(*groups: str) -> str:
    return f"pass {' '.join(f'{group}=...' for group in groups)} on the command line"
