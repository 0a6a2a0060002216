"""Which parameters weight decay is for: weights, not biases and not what normalisation layers scale and shift with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from torch import nn
from torch.optim import Optimizer

Groups: TypeAlias = list[dict[str, Any]]
"""Param groups, as an optimizer takes them."""

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter] | Groups], Optimizer]
"""Makes an optimizer of parameters or of param groups: ``partial(torch.optim.SGD, momentum=0.9)``."""

_NORMALISATIONS = (
    # The base of every batch and instance normalisation, which torch has no public name for.
    nn.modules.batchnorm._NormBase,
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
)


def optimizer_of(module: nn.Module, make: MakeOptimizer, *, decay_all: bool = False) -> Optimizer:
    """Make the optimizer, with weight decay kept off the parameters that `kept_off` names.

    Those are in a second param group with ``weight_decay=0``. There is one group where nothing would differ: the
    optimizer has no weight decay, or every parameter would be in the same group.

    Args:
        module: Whose parameters.
        make: Makes the optimizer; its weight decay is what it was given, or its default.
        decay_all: Decay every parameter, as the older papers do.

    Example:
        >>> from functools import partial
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
        >>> optimizer = optimizer_of(network, partial(torch.optim.SGD, weight_decay=5e-4))
        >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
        [(1, 0.0005), (3, 0.0)]
    """
    optimizer = make(module.parameters())
    if decay_all or not optimizer.defaults.get("weight_decay"):
        return optimizer
    exempt = kept_off(module)
    groups: Groups = [
        {"params": [each for name, each in module.named_parameters() if name not in exempt]},
        {"params": [each for name, each in module.named_parameters() if name in exempt], "weight_decay": 0.0},
    ]
    if not groups[1]["params"]:
        return optimizer
    # Without an empty first group: a schedule, and who logs it, look at the first.
    return make([group for group in groups if group["params"]])


def kept_off(module: nn.Module) -> set[str]:
    """Return the names of the parameters that are not decayed.

    All parameters of normalisation layers; all biases, by their names; and whatever has no more than one dimension, for
    the layers that somebody wrote himself: it scales or shifts, and does not mix. A tied parameter has one name, and is
    kept off where any of its places says so.

    Example:
        >>> sorted(kept_off(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU())))
        ['0.bias', '1.bias', '1.weight', '2.weight']
    """
    exempt = {
        id(parameter)
        for each in module.modules()
        for name, parameter in each.named_parameters(recurse=False)
        if isinstance(each, _NORMALISATIONS) or parameter.ndim <= 1 or _is_bias(name)
    }
    return {name for name, parameter in module.named_parameters() if id(parameter) in exempt}


def _is_bias(name: str) -> bool:
    # "bias"; and "in_proj_bias", "bias_hh_l0", "relative_position_bias_table".
    return "bias" in name.split("_")
