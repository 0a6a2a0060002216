"""Checkpoints of Lightning and state dicts of `torch.save`, read without running any code that is in them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_lr.snapshots.weights import uncompiled

CHOICES = (None, "raw", "averaged")
"""What ``ckpt_weights`` may be."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds of a module.

    Args:
        weights: Those under its ``state_dict``, or the state dict that it is.
        other: Those beside them: the raw ones where `weights` are an average, else the average.
        weights_averaged: Whether `weights` are known to be an average.
        other_key: Where `other` stands.
        step: Optimizer updates applied; None where it does not say.
    """

    weights: Mapping[str, Any]
    other: Mapping[str, Any] | None = None
    weights_averaged: bool = False
    other_key: str = ""
    step: int | None = None


def is_checkpoint(path: Path) -> bool:
    """Tell what `torch.save` wrote from a safetensors file, which a name that ends so is believed to be of."""
    if path.suffix == ".safetensors" or not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.read(9)
    return first[8:] != b"{"


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint with ``weights_only``: nothing in it is run, whatever its name.

    Args:
        path: A ``.ckpt`` of Lightning's, or a state dict that `torch.save` wrote.

    Raises:
        ValueError: If it is neither, is damaged, or holds what is code.
    """
    loaded = _load(path)
    if not isinstance(loaded, Mapping):
        raise ValueError(f"path={str(path)!r}: holds a {type(loaded).__name__}, not a state dict; {_REMEDY}")
    if not isinstance(loaded.get("state_dict"), Mapping):
        if not loaded or not all(isinstance(value, Tensor) for value in loaded.values()):
            keys = ", ".join(map(repr, list(loaded)[:3]))
            raise ValueError(f"path={str(path)!r}: neither a state dict nor a checkpoint, it holds {keys}; {_REMEDY}")
        return Checkpoint(loaded)
    step = loaded.get("global_step")
    step = step if isinstance(step, int) else None
    if isinstance(raw := loaded.get("current_model_state"), Mapping):
        if _mapping(loaded.get("averaging_state")).get("n_averaged", 1) == 0:
            # Saved before the averaging began: what stands under `state_dict` is the untrained module.
            return Checkpoint(raw, step=step)
        return Checkpoint(loaded["state_dict"], raw, True, "current_model_state", step)
    for key, state in _mapping(loaded.get("callbacks")).items():
        # `n_averaged` is 0 until the first epoch of the averaging: what stands there is the untrained module.
        if isinstance(state, Mapping) and state.get("n_averaged") and "average_model_state" in state:
            average = _mapping(state["average_model_state"])
            return Checkpoint(loaded["state_dict"], average, False, f"callbacks.{key}.average_model_state", step)
    return Checkpoint(loaded["state_dict"], step=step)


def weights_of(checkpoint: Checkpoint, ckpt_weights: str | None, module: nn.Module, name: str) -> dict[str, Any]:
    """Return the weights that are asked for, as tensors of their own.

    Args:
        checkpoint: What was read.
        ckpt_weights: "raw", "averaged", or None where there is nothing to choose.
        module: The module that they are for.
        name: What an error calls the checkpoint.

    Raises:
        ValueError: If there is a choice and none was made, or no average and one was asked for.
    """
    other = checkpoint.other
    parameters = {uncompiled(key) for key, _ in module.named_parameters(remove_duplicate=False)}
    if other is not None and not checkpoint.weights_averaged and _equal(checkpoint.weights, other, parameters):
        # The average has become the weights, with batch statistics of its own: the end of stochastic weight averaging.
        return _owned(checkpoint.weights)
    if other is None:
        if ckpt_weights == "averaged":
            raise ValueError(
                f'ckpt_weights="averaged": {name} holds one set of weights, and no averaged ones; pass "raw" or None'
            )
        return _owned(checkpoint.weights)
    if ckpt_weights is None:
        where = ("averaged", "raw") if checkpoint.weights_averaged else ("raw", "averaged")
        raise ValueError(
            f"ckpt_weights=None: {name} holds two sets of weights, {where[0]} ones under state_dict and {where[1]} "
            f'ones under {checkpoint.other_key}; pass ckpt_weights="raw" or "averaged"'
        )
    if (ckpt_weights == "averaged") == checkpoint.weights_averaged:
        return _owned(checkpoint.weights)
    if ckpt_weights == "averaged" and any(getattr(part, "running_mean", None) is not None for part in module.modules()):
        raise ValueError(
            f'ckpt_weights="averaged": {name} holds an average without batch statistics, which come when '
            'StochasticWeightAveraging ends; pass "raw": in a checkpoint of its end that is the average with them'
        )
    return _owned(other)


_REMEDY = "pass a Lightning checkpoint, or the state dict itself"


def _load(path: Path) -> object:
    zipped = zipfile.is_zipfile(path)
    try:
        # torch does not look at the check sums that it writes.
        if zipped:
            with zipfile.ZipFile(path) as archive:
                if (bad := archive.testzip()) is not None:
                    raise ValueError(f"{bad} in it is damaged")
        # Mapped, so that the optimizer's state is not read; files of torch before 1.6 cannot be.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged pickle leads to
        if (found := re.search(r"GLOBAL (\S+)|Trying to instantiate (\S+)", str(error))) is not None:
            raise ValueError(
                f"path={str(path)!r}: holds {found[1] or found[2]}, and code in a checkpoint is not run; if you trust "
                "the file, read it with torch.load(path, weights_only=False) and pass its state dict"
            ) from error
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"path={str(path)!r}: not a whole checkpoint ({why}); {_REMEDY}") from error


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _equal(first: Mapping[str, Any], second: Mapping[str, Any], names: set[str]) -> bool:
    one = {uncompiled(key): value for key, value in first.items()}
    two = {uncompiled(key): value for key, value in second.items()}
    return all(key in one and key in two and torch.equal(one[key], two[key]) for key in names)


def _owned(state: Mapping[str, Any]) -> dict[str, Any]:
    with torch.inference_mode(False):
        # A checkpoint is written into while training goes on: not to be mapped for long.
        return {key: value.detach().clone() if isinstance(value, Tensor) else value for key, value in state.items()}
