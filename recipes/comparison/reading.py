"""The runs below some folders: what is there, what cannot be read, and what has not come to a result."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..metrics import Series, read

RESULT = "result.json"
SCORES = ("accuracy", "nll", "ece")
OF = ("ensemble", "last")

# In a run's folder; there is no other run in them.
_INSIDE = ("snapshots", "checkpoints", "__pycache__")

# What a run has written before it comes to a result. A configuration alone may be that of another command.
_BEGUN = ("metrics.csv", "checkpoints")
_OF_TRAINING, _OF_OTHERS = "schedule:", "range_test:"


@dataclass(frozen=True)
class Curves:
    """What a run has logged, against optimizer updates.

    Args:
        loss: Validation loss, by the updates applied before the validation.
        accuracy: Validation accuracy, a share, by the same.
        lr: Learning rate of the fastest param group, by the update that it was used for, counted from 0.
        seconds: Seconds of the fit by then, by the updates applied; empty where no clock was read.
    """

    loss: Series = field(default_factory=list)
    accuracy: Series = field(default_factory=list)
    lr: Series = field(default_factory=list)
    seconds: Series = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A run that has come to a result.

    Args:
        name: Its folder, as it is shown.
        config: What it was composed of.
        scores: On the test set, by ``ensemble.accuracy`` and so on.
        members: How many snapshots are in the ensemble.
        steps: Optimizer updates.
        seconds: Of the whole run: data, fit, tests. Of a run that was resumed, since then.
        fit_seconds: Of the fit, from its first start on; None where it was not timed by itself.
        curves: What it has logged.
        overrides: Those of its command line; None where they are not known.
        device: What it ran on; None where it does not say.
        versions: Of what it depends on.
        found: What each ``auto`` of the schedule stood for.
    """

    name: str
    config: Mapping[str, Any]
    scores: Mapping[str, float]
    members: int
    steps: int
    seconds: float
    fit_seconds: float | None = None
    curves: Curves = field(default_factory=Curves)
    overrides: tuple[str, ...] | None = None
    device: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, float] = field(default_factory=dict)

    @property
    def seed(self) -> Any:
        """Of its initial weights."""
        return self.config.get("seed")


@dataclass(frozen=True)
class Found:
    """What there is below the folders that were named.

    Args:
        runs: Those with a result.
        broken: A line on each result that cannot be used.
        unfinished: A line on each run without a result.
        doubts: A line on each run that lacks something beside its result.
    """

    runs: tuple[Run, ...]
    broken: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def find(named: Sequence[str], here: Path) -> Found:
    """Read all runs below some folders, each once.

    Args:
        named: Folders, or a run's ``result.json``; as the user wrote them.
        here: The folder that relative paths start from.

    Raises:
        FileNotFoundError: If one is not there.
        ValueError: If one is a file, and no ``result.json``.
    """
    roots = [_root(each, here) for each in named]
    broken: list[str] = []
    folders: dict[Path, frozenset[str]] = {}
    for root in roots:
        folders |= _below(root, broken)
    begun = {folder: files for folder, files in folders.items() if RESULT in files or _has_begun(folder, files)}
    names = _names([*begun], here.resolve())
    runs, unfinished, doubts = [], [], []
    for folder, files in begun.items():
        curves, lacks = _curves(folder)
        if RESULT not in files:
            got_to = max((step for series in (curves.lr, curves.loss) for step, _ in series), default=None)
            until = "before its first update" if got_to is None else f"logged up to update {got_to}"
            unfinished.append(f"{names[folder]}: no {RESULT} ({until}): failed, stopped, or still running")
            continue
        try:
            runs.append(_run(folder, names[folder], curves))
        except (OSError, ValueError, RecursionError) as error:
            broken.append(f"{names[folder]}/{RESULT}: {readable(str(error))}")
            continue
        if lacks:
            doubts.append(f"{names[folder]}: {lacks}: it has no curves")
    return Found(tuple(runs), tuple(broken), tuple(unfinished), tuple(doubts))


def _root(said: str, here: Path) -> Path:
    path = here / Path(said).expanduser()
    if path.is_dir():
        return path.resolve()
    if not path.exists():
        raise FileNotFoundError(f"{said}: not there; pass folders with runs of recipes.train in them")
    if path.name != RESULT:
        raise ValueError(f"{said}: a file, and no {RESULT}; pass folders with runs of recipes.train in them")
    return path.resolve().parent


def _below(root: Path, broken: list[str]) -> Iterator[tuple[Path, frozenset[str]]]:
    def tell(error: OSError) -> None:
        broken.append(f"{readable(Path(error.filename or root).name)}: cannot be looked into ({error.strerror})")

    for folder, below, files in os.walk(root, onerror=tell):
        yield Path(folder), frozenset([*files, *below])
        # Hidden ones belong to Hydra and to launchers. Jobs are numbered: 10 comes after 9.
        below[:] = sorted((name for name in below if name not in _INSIDE and not name.startswith(".")), key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _has_begun(folder: Path, files: frozenset[str]) -> bool:
    lines: list[str] = []
    if "config.yaml" in files:
        # Not parsed: of a run that was killed while it wrote, half of it may be there.
        lines = (folder / "config.yaml").read_text(errors="replace").splitlines()
    if any(line.startswith(_OF_OTHERS) for line in lines):
        return False
    return any(name in files for name in _BEGUN) or any(line.startswith(_OF_TRAINING) for line in lines)


def _names(folders: Sequence[Path], here: Path) -> dict[Path, str]:
    """As seen from here; else from the folder above them all: a page is handed on, and paths are private."""
    outside = [folder for folder in folders if not folder.is_relative_to(here)]
    above = Path(os.path.commonpath(outside)).parent if outside else here
    names = {folder: folder.relative_to(above if folder in set(outside) else here).as_posix() for folder in folders}
    return {folder: readable(here.name if name == "." else name) for folder, name in names.items()}


def readable(text: str) -> str:
    r"""Return a text of somebody's in one line, without what a terminal takes for a command.

    Example:
        >>> readable("run\x1b[2J\n7")
        'run�[2J 7'
    """
    return "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))


def _curves(folder: Path) -> tuple[Curves, str]:
    """The curves, or none and why."""
    try:
        logged = read(folder)
    except FileNotFoundError:
        return Curves(), "no metrics.csv"
    # A line that was cut has too few values or too many, or half a number.
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        return Curves(), f"metrics.csv cannot be read ({readable(str(error)) or type(error).__name__})"
    rates: dict[int, float] = {}
    for name, series in logged.items():
        if name.startswith("lr-") and not name.endswith(("-momentum", "-weight_decay")):
            for step, value in series:
                rates[step] = max(value, rates.get(step, -math.inf))
    # Lightning logs a validation with the number of the update before it, and counts from 0.
    loss, accuracy = (
        [(step + 1, value) for step, value in logged.get(name, [])] for name in ("val/loss", "val/accuracy")
    )
    return Curves(loss, accuracy, sorted(rates.items())), ""


def _run(folder: Path, name: str, curves: Curves) -> Run:
    try:
        result = json.loads((folder / RESULT).read_bytes())
    except ValueError as error:
        raise ValueError(f"damaged ({error}); left out") from error
    sections = {each: _mapping(_mapping(result).get(each)) for each in ("config", *OF)}
    if missing := [each for each, section in sections.items() if not section]:
        raise ValueError(f"not of recipes.train (no {missing[0]} in it); left out")
    scores = {f"{of}.{score}": _number(sections[of].get(score), f"{of}.{score}") for of in OF for score in SCORES}
    for key in (f"{of}.accuracy" for of in OF):
        if not 0 <= scores[key] <= 1:
            raise ValueError(f"{key}={scores[key]!r} is not a share; left out")
    steps = _number(result.get("steps"), "steps")
    if steps != math.floor(steps) if math.isfinite(steps) else True:
        raise ValueError(f"steps={steps!r} is no number of updates; left out")
    fit = result.get("fit_seconds")
    device = result.get("device")
    return Run(
        name,
        sections["config"],
        scores,
        members=len(result["members"]) if isinstance(result.get("members"), list) else 0,
        steps=int(steps),
        seconds=_number(result.get("seconds"), "seconds"),
        fit_seconds=None if fit is None else _number(fit, "fit_seconds"),
        curves=replace(curves, seconds=_clock(result.get("clock"))),
        overrides=_overrides(folder),
        device=readable(device) if isinstance(device, str) else None,
        versions={readable(str(key)): readable(str(value)) for key, value in _mapping(result.get("versions")).items()},
        found={str(key): _number(value, f"found.{key}") for key, value in _mapping(result.get("found")).items()},
    )


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not of recipes.train ({what}={value!r} is no number); left out")
    try:
        return float(value)
    except OverflowError as error:  # an int beyond every float
        raise ValueError(f"not of recipes.train ({what} is beyond every number); left out") from error


def _clock(value: object) -> Series:
    """What a stopwatch read, of those that are pairs; one that is missing leaves a gap in a picture, no more."""
    pairs = [each for each in value if isinstance(each, list) and len(each) == 2] if isinstance(value, list) else []
    read = [(_number(step, "clock"), _number(seconds, "clock")) for step, seconds in pairs]
    return [(int(step), seconds) for step, seconds in read if math.isfinite(step) and math.isfinite(seconds)]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _same_again(folder: Path, first: Path) -> bool:
    """Whether a run was gone on with as it had been begun: then what was typed at its start is its command."""
    from yaml import YAMLError, safe_load  # type: ignore[import-untyped]

    try:
        before, after = (safe_load(file.read_text()) for file in (first, folder / "config.yaml"))
        return bool(before | {"resume": None} == after | {"resume": None})
    except (OSError, ValueError, TypeError, YAMLError, RecursionError):
        return False


def _overrides(folder: Path) -> tuple[str, ...] | None:
    """What its command line said: text, which nothing here runs."""
    from yaml import YAMLError, safe_load

    try:
        said = safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    except (OSError, ValueError, YAMLError, RecursionError):
        return None
    if not all(_same_again(folder, first) for first in folder.glob("config-*.yaml")):
        return None
    words = isinstance(said, list) and all(isinstance(each, str) for each in said)
    return tuple(map(readable, said)) if words else None
