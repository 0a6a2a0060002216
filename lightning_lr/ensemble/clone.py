"""A module's copy that runs by itself: no Trainer behind it, nothing compiled in it, nothing logged by it."""

from __future__ import annotations

import copy
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer


def copy_of(module: nn.Module, name: str = "module") -> nn.Module:
    """Copy a module deeply, so that the copy runs by itself.

    The Trainer that a LightningModule is attached to is not copied. What was compiled runs as it was written; compiled
    code would still run the original's weights.

    Args:
        module: Any module; it is not written to.
        name: What an error calls it.

    Raises:
        TypeError: If an attribute of the module cannot be copied.

    Example:
        >>> net = nn.Linear(2, 3)
        >>> copied = copy_of(torch.compile(net))
        >>> type(copied).__name__, copied.weight is net.weight, torch.equal(copied.weight, net.weight)
        ('Linear', False, True)
    """
    # Tensors that are made in inference mode could not be written to outside of it.
    with torch.inference_mode(False):
        copied = _copy(getattr(module, "_orig_mod", module), name)
    for part in copied.modules():
        part.__dict__.pop("_compiled_call_impl", None)
    return copied


def clone_of(module: nn.Module, name: str = "module") -> nn.Module:
    """Copy a module as `copy_of` does, to be a member: in evaluation mode, without gradients, and it logs nothing.

    Args:
        module: Any module; it is not written to.
        name: What an error calls it.

    Raises:
        TypeError: If an attribute of the module cannot be copied.

    Example:
        >>> clone = clone_of(nn.Linear(2, 3))
        >>> clone.training, clone.weight.requires_grad
        (False, False)
    """
    clone = copy_of(module, name)
    for part in clone.modules():
        if isinstance(part, pl.LightningModule):
            # It is not the copy that is trained or tested: Lightning would refuse it, or log it once for each member.
            part.__dict__.update(log=_silent, log_dict=_silent)
    for parameter in clone.parameters():
        # The method refuses the parameters of lazy layers.
        parameter.requires_grad = False
    return clone.eval()


def _copy(module: nn.Module, name: str) -> nn.Module:
    compiled: dict[str, Any] = getattr(module, "_compiler_ctx", None) or {}
    memo: dict[int, Any] = {id(compiled): None}
    # From the inside out, so that a compiled part within a compiled part is found in the memo.
    for part in reversed(list(module.modules())):
        for attribute, value in vars(part).items():
            if attribute in ("_trainer", "_fabric"):
                memo[id(value)] = None
            elif isinstance(value, Tensor) and not value.is_leaf:
                # A loss that was kept, say: it holds its graph, and torch refuses to copy it.
                memo[id(value)] = value.detach().clone()
        for buffer in part._buffers.values():
            if isinstance(buffer, UninitializedBuffer):
                # Of a lazy layer, and torch copies its parameters only.
                memo[id(buffer)] = UninitializedBuffer(device=buffer.device, dtype=buffer.dtype)  # type: ignore[call-arg]
    try:
        for part in reversed(list(module.modules())):
            if "_orig_mod" in part._modules:
                memo[id(part)] = copy.deepcopy(part._modules["_orig_mod"], memo)
        clone: nn.Module = copy.deepcopy(module, memo)
    except Exception as error:
        what = f"{name}={type(module).__name__}"
        reason = " ".join(str(error).split())
        raise TypeError(f"{what}: cannot be copied ({reason}); remove the attribute that stands in the way") from error
    for method in compiled:
        clone.__dict__.pop(method.removeprefix("original_"), None)
    return clone


def _silent(*args: Any, **kwargs: Any) -> None:
    """Stand in for `log` and `log_dict`."""
