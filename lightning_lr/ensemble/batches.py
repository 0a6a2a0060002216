"""A batch taken apart: what the network takes of it, and what it should have said.

>>> pair_of({"image": "x", "label": "y"}, lambda batch: (batch["image"], batch["label"]))
('x', 'y')
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

Unpack: TypeAlias = Callable[[Any], tuple[Any, Any]]
"""``unpack(batch) -> (input, target)``."""


def pair_of(batch: Any, unpack: Unpack | None = None) -> tuple[Any, Any]:
    """Input and target of a batch.

    Args:
        batch: What a dataloader gave.
        unpack: ``unpack(batch) -> (input, target)``; None takes a batch that is a pair as it is.

    Raises:
        TypeError: If there is no pair.
    """
    pair = batch if unpack is None else unpack(batch)
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        source = "unpack: it returned" if unpack is not None else "unpack=None: the batch is"
        raise TypeError(
            f"{source} {described(pair)}, not an (input, target) pair; pass unpack=, a function that makes one"
        )
    return pair[0], pair[1]


def input_of(batch: Any, unpack: Unpack | None = None) -> Any:
    """Input of a batch that may have no target: a tensor alone, a list of one, or what `pair_of` takes.

    Args:
        batch: What a dataloader gave.
        unpack: ``unpack(batch) -> (input, target)``; None takes a batch as it is.

    Raises:
        TypeError: If none of these is what it is.
    """
    if unpack is None and isinstance(batch, Tensor):
        return batch
    if unpack is None and isinstance(batch, list | tuple) and len(batch) == 1:
        return batch[0]
    return pair_of(batch, unpack)[0]


def described(value: object) -> str:
    """Name a value in a message, ``a tensor of torch.float32 and shape (2, 3)``."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple) else "")
