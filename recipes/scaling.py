"""Linear scaling of the learning rate: with N processes an update sees N times as many samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf


def schedule_of(config: DictConfig) -> DictConfig:
    """Return the schedule to instantiate: as it is composed, or with ``scale_lr=true`` scaled for all processes.

    Args:
        config: As composed from `conf/train.yaml`.
    """
    schedule = cast(DictConfig, config.schedule)
    if not config.scale_lr:
        return schedule
    # A trainer for the number alone: the run's own is made of callbacks, of which the schedule is one.
    trainer = instantiate(config.trainer, logger=False, enable_checkpointing=False, _convert_="all")
    return scaled(schedule, trainer.world_size)


def scaled(schedule: DictConfig, world_size: int) -> DictConfig:
    """Return a schedule's configuration with every learning rate times the number of processes.

    That is each number whose name is ``lr`` or ends with ``_lr``, ``min_lr`` and ``final_lr`` among them: the curve
    keeps its shape. ``auto`` stays, for a range test runs on all processes and sees the batch that the fit will see.

    Args:
        schedule: One of `conf/schedule`.
        world_size: How many processes there are.

    References:
        Goyal et al., "Accurate, large minibatch SGD", 2017, https://arxiv.org/abs/1706.02677

    Example:
        >>> print(scaled(OmegaConf.create({"max_lr": "auto", "min_lr": 0.25, "cycles": 5}), 4))
        {'max_lr': 'auto', 'min_lr': 1.0, 'cycles': 5}
    """
    made = schedule.copy()
    values = cast(Mapping[str, Any], OmegaConf.to_container(schedule, resolve=True))
    for name, value in values.items():
        if name == "lr" or name.endswith("_lr"):
            made[name] = _times(value, world_size)
    return made


def _times(value: Any, factor: int) -> Any:
    if isinstance(value, list):
        return [_times(each, factor) for each in value]
    return value * factor if isinstance(value, int | float) else value
