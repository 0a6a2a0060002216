"""A model of what the configuration names and what the data tell."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

import lightning.pytorch as pl
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from ..schema.checks import require_complete

FROM_DATA = ("channels", "num_classes", "shape")
"""What a model may ask of the data, by the name of its argument."""


def build_model(config: DictConfig, datamodule: pl.LightningDataModule) -> nn.Module:
    """Make the model, with those of `FROM_DATA` that its signature names; what the configuration says is stronger.

    Args:
        config: With a ``_target_``, a class or a function that returns a module.
        datamodule: Tells `FROM_DATA` before its `setup`.

    Raises:
        ValueError: If the target is missing or cannot be imported, or needs what the data do not tell.
        TypeError: If it is nothing to call, or returns no module.
    """
    require_complete(config, "model", _target_="my_package.MyNet", name="resnet18", depth="20")
    target = config._target_
    named = _signature(target)
    told = {}
    for name in FROM_DATA:
        if name not in named or name in config:
            continue
        value = getattr(datamodule, name, None)
        if value is not None:
            told[name] = value
        elif named[name].default is inspect.Parameter.empty:
            raise ValueError(
                f"model: {_last(target)} needs {name}, which {type(datamodule).__name__} does not tell; "
                f"choose a model for such data, as model=mlp is for tables, or pass +model.{name}=..."
            )
    # Lists as lists: torch knows nothing of OmegaConf.
    model = instantiate(config, **told, _convert_="all")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model._target_={target}: made {type(model).__name__}, no torch.nn.Module; name one that does")
    return model


def _signature(target: str) -> dict[str, inspect.Parameter]:
    try:
        found = _find(target)
    except Exception as error:
        # A package or a name that is not there, or whatever its own code raises when it is imported.
        raise ValueError(
            f"model._target_={target}: cannot be imported ({type(error).__name__}: {error}); see whether the name is "
            "right and its package is installed, or its folder on PYTHONPATH"
        ) from error
    if not callable(found):
        raise TypeError(f"model._target_={target}: {type(found).__name__} cannot be called; name a class or a function")
    try:
        return dict(inspect.signature(found).parameters)
    except ValueError:
        # Written in C, some have no signature: such a one names nothing.
        return {}


def _find(target: str) -> Any:
    # Hydra's own look-up logs a second message, of several lines.
    first, *rest = target.split(".")
    found: Any = importlib.import_module(first)
    path = first
    for part in rest:
        path = f"{path}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            if not isinstance(found, ModuleType):
                raise
            found = importlib.import_module(path)
    return found


def _last(target: str) -> str:
    return target.rpartition(".")[2]
