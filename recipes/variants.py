"""What several range tests differ in: one hyper-parameter, as in Smith, "A disciplined approach", 2018."""

from __future__ import annotations

import math

from omegaconf import DictConfig, OmegaConf

_MOMENTUM = "range_test.momentum"

# Where a value of `over` goes in a test's configuration.
_KEYS = {"momentum": _MOMENTUM, "weight_decay": "optimizer.weight_decay", "batch_size": "data.batch_size"}

# Checked here, before the first test, and not by whoever is given the value when its turn comes.
_LOWEST = {"momentum": 0, "weight_decay": 0, "batch_size": 1}
_BELOW = {"momentum": 1}


def varied(config: DictConfig) -> str | None:
    """Return what the tests differ in; None where there is a single one."""
    return next((name for name, values in config.over.items() if values is not None), None)


def variants(config: DictConfig) -> dict[str, DictConfig]:
    """Return the configuration of each test, by what tells it from the others; of a single one by no words.

    Raises:
        ValueError: If they would differ in more than one thing, or in nothing, or a value is out of range.
    """
    name = varied(config)
    if name is None:
        return {"": config}
    made = {}
    for value in _values(config, name):
        made[_label(name, value)] = variant = config.copy()
        OmegaConf.update(variant, _KEYS[name], value)
    return made


def _values(config: DictConfig, name: str) -> list[float]:
    given = [name for name, values in config.over.items() if values is not None]
    if len(given) > 1:
        raise ValueError(f"over.{', over.'.join(given)}: they exclude each other; pass one of them at a time")
    values = list(config.over[name])
    said = f"over.{name}=[{','.join(map(str, values))}]"
    if len({_label(name, value) for value in values}) < max(2, len(values)):
        raise ValueError(f"{said}: nothing to compare; pass two values or more, each once")
    lowest, below = _LOWEST[name], _BELOW.get(name, math.inf)
    if not all(lowest <= value < below for value in values):
        bound = f" and below {below}" if name in _BELOW else ""
        raise ValueError(f"{said}: out of range; pass numbers of at least {lowest}{bound}")
    group, _, field = _KEYS[name].partition(".")
    if field not in config[group]:
        raise ValueError(f"{said}: {group} has no {field}; choose another {group}, or compare something else")
    if name == "momentum" and config.range_test.momentum is not None:
        momentum = f"{_MOMENTUM}={config.range_test.momentum}"
        raise ValueError(f"{said}, {momentum}: they exclude each other; pass exactly one of them")
    return values


def trained_alike(config: DictConfig) -> dict[str, str]:
    """Return the overrides with which `recipes.train` trains as this test did, by key; its own momentum among them.

    Training has its momentum from the schedule where that cycles it, else from the optimizer. A rate that was measured
    on all processes is not to be scaled for them again.
    """
    name = varied(config)
    alike = {} if name is None else {_KEYS[name]: OmegaConf.select(config, _KEYS[name])}
    momentum = alike.pop(_MOMENTUM, config.range_test.momentum)
    if momentum is not None and not config.schedule.get("cycle_momentum", False):
        alike |= _of_optimizer(config.optimizer, momentum)
    elif momentum is not None:
        alike["schedule.base_momentum"] = momentum
        if momentum > config.schedule.max_momentum:
            alike["schedule.max_momentum"] = momentum
    if config.scale_lr:
        alike["scale_lr"] = "false"
    return {key: str(value) for key, value in alike.items()}


def _of_optimizer(optimizer: DictConfig, momentum: float) -> dict[str, object]:
    if "betas" in optimizer:
        return {"optimizer.betas": f"[{momentum},{optimizer.betas[1]}]"}
    return {"optimizer.momentum": momentum}


def _label(name: str, value: float) -> str:
    return f"{name}={value}"
