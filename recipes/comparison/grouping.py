"""Which runs are the same but for their seed, and what the others differ in, in few words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, count
from typing import Any

from ..schema import SCHEMAS
from ..schema.places import here
from .reading import Run, readable

ABSENT = "(not there)"

# What hangs on the seed, and what changes nothing of what is trained.
_SEEDS = ("seed", "data.shuffle_seed")
_BESIDE = ("resume", "logger", "checkpoint", "hydra")

# The order in which differences are told; whatever else there is comes between.
_FIRST, _LAST = ("schedule", "model", "data", "optimizer"), ("snapshots", "trainer", "threads")

_TOLD = 4  # differences in a label
_LETTERS = 32  # of a value

_EXACT = 2**53  # from there on, whole numbers are not told apart as floats

_TARGET = "_target_"
_NOT_SET = object()


@dataclass(frozen=True)
class Group:
    """Runs of one configuration with several seeds.

    Args:
        label: What it has that other groups have not: ``schedule=sgdr``.
        runs: One a seed; those that count.
        duplicates: Of each run that does not count, which one it repeats.
        config: What they were composed of, flat, without seeds.
        differences: Of what the groups differ in, what this one has.
    """

    label: str
    runs: tuple[Run, ...]
    duplicates: tuple[tuple[Run, Run], ...]
    config: Mapping[str, Any]
    differences: Mapping[str, str]


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Put runs together that differ only in their seed; in a group they are in the order of their seeds.

    Of several runs with the same configuration and the same seed, the first counts: the others are the same again and
    no further evidence, whether their results are equal or, on a GPU, nearly so.
    """
    together: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        same = together.setdefault(_fingerprint(_of_training(_flat(run.config))), {})
        same.setdefault(seeds_of(run), []).append(run)
    members = [[each[seeds] for seeds in sorted(each, key=_in_order)] for each in together.values()]
    configs = [_of_training(_flat(each[0][0].config)) for each in members]
    differences = [_told(config, configs) for config in configs]
    labels = _unique([_label(config, told) for config, told in zip(configs, differences, strict=True)])
    keys = _sorted({key for told in differences for key in told})
    return [
        Group(
            label,
            tuple(same[0] for same in each),
            tuple((again, same[0]) for same in each for again in same[1:]),
            config,
            {key: _shown(key, config.get(key, _NOT_SET)) for key in keys},
        )
        for label, each, config in zip(labels, members, configs, strict=True)
    ]


def seeds_of(run: Run) -> str:
    """Return what tells a run from others of its configuration, as one text: its seeds."""
    config = _flat(run.config)
    return _fingerprint([config.get(key) for key in _SEEDS])


def _in_order(seeds: str) -> tuple[list[float], str]:
    return [each if isinstance(each, float) else math.inf for each in json.loads(seeds)], seeds


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value by its whole name; a list is one value."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = here(value) if key == _TARGET and isinstance(value, str) else value
    return flat


def _of_training(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat.items() if key not in _SEEDS and key.partition(".")[0] not in _BESIDE}


def _fingerprint(value: Any) -> str:
    """The same text for the same value: 1 and 1.0 are one number, true and 1 are not."""

    def plain(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _EXACT:
            return float(value)
        if isinstance(value, Mapping):
            return {key: plain(each) for key, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list | tuple) else value

    return json.dumps(plain(value), sort_keys=True)


def _told(config: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that tell a configuration from the others.

    What a class has that others have not is told by the class; within one class, it is told where it differs.
    """
    told = []
    for key in {key for each in configs for key in each}:
        section = f"{key.partition('.')[0]}.{_TARGET}"
        alike = configs if key == section else [each for each in configs if each.get(section) == config.get(section)]
        if len({_fingerprint(each[key]) if key in each else None for each in alike}) > 1:
            told.append(key)
    return _sorted(told)


def _sorted(keys: Sequence[str] | set[str]) -> list[str]:
    def place(key: str) -> tuple[int, int, bool, str]:
        section = key.partition(".")[0]
        if section in _FIRST:
            return 0, _FIRST.index(section), not key.endswith(_TARGET), key
        return (2, _LAST.index(section), False, key) if section in _LAST else (1, 0, False, key)

    return sorted(keys, key=place)


def _label(config: Mapping[str, Any], told: Sequence[str]) -> str:
    """As it would be written on the command line; where nothing differs, the name of the schedule."""
    if not told:
        return _shown(f"schedule.{_TARGET}", config.get(f"schedule.{_TARGET}", "run"))
    words = [f"{key.removesuffix(f'.{_TARGET}')}={_shown(key, config.get(key, _NOT_SET))}" for key in told[:_TOLD]]
    return " ".join([*words, *([f"+{len(told) - _TOLD} more"] if len(told) > _TOLD else [])])


def _unique(labels: Sequence[str]) -> list[str]:
    unique: list[str] = []
    for label in labels:
        names = chain([label], (f"{label} ({number})" for number in count(2)))
        unique.append(next(name for name in names if name not in unique))
    return unique


def _shown(key: str, value: Any) -> str:
    """A value in few letters, and nothing of where this machine has its folders."""
    if value is _NOT_SET:
        return ABSENT
    if key.endswith(_TARGET) and isinstance(value, str):
        text = _options().get((key.partition(".")[0], value), value.rpartition(".")[2])
    elif isinstance(value, list | tuple):
        text = f"[{','.join(_shown('', each) for each in value)}]"
    elif isinstance(value, str):
        text = value.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or value
    elif isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        text = str(int(value))  # 1.0 and 1 are one configuration
    else:
        text = json.dumps(value)
    text = readable(text)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


@cache
def _options() -> Mapping[tuple[str, str], str]:
    """The names of this recipe's own options, by their group and class, where the class tells them."""
    options: dict[tuple[str, str], list[str]] = {}
    for path, schema in SCHEMAS.items():
        _, _, name = path.partition("/")
        group, _, option = name.partition("/")
        if target := vars(schema).get(_TARGET):
            options.setdefault((group, target), []).append(option)
    return {key: names[0] for key, names in options.items() if len(names) == 1}
