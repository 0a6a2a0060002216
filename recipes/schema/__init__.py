"""What a run's configuration may hold, and of which type: each group's YAML extends one of these.

Written out by hand, for composing must import neither torch nor lightning: `--cfg`, `--help` and completion answer at
once, and a value of the wrong type is refused before anything is loaded. A test holds each class against the signature
of its `_target_`, so that the two cannot drift apart.

The defaults are the target's own. What a run prefers to them stands in `conf`, with its reason.
"""

from __future__ import annotations

import shlex

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from .. import run_id
from . import data, loggers, models, optimizers, places, runs, schedules

_GROUPS = {"data": data, "model": models, "optimizer": optimizers, "schedule": schedules, "logger": loggers}

SCHEMAS: dict[str, type] = {
    **{f"schema/{group}/{name}": each for group, module in _GROUPS.items() for name, each in module.SCHEMAS.items()},
    "schema/trainer": runs.Trainer,
    "schema/train": runs.Train,
    "schema/find_lr": runs.FindLR,
    "schema/ensemble": runs.Ensemble,
}
"""Every schema by its place in Hydra's store."""


def register() -> None:
    """Make the schemas known to Hydra, ``${recipe_command:train}``, which tells how to start a recipe, and `run_id`'s.

    The schemas in a group of their own: beside the YAML files they would be options in what is said to a typing error.
    """
    OmegaConf.register_new_resolver("recipe_command", lambda recipe: shlex.join(places.command(recipe)), replace=True)
    run_id.register()
    store = ConfigStore.instance()
    for path, schema in SCHEMAS.items():
        group, name = path.rsplit("/", 1)
        store.store(group=group, name=name, node=schema)
    # Hydra copies it a hundred times to answer `--help`, which took 2.7 s. It hands out copies of what is in it anyway.
    vars(store)["__deepcopy__"] = _itself


def _itself(memo: object) -> ConfigStore:
    return ConfigStore.instance()
