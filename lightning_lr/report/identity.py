"""What tells the samples of a data set apart, whatever their order and the batches they come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor


def identities(x: Any, samples: int) -> tuple[bytes, ...]:
    """Return a digest of each sample's own part of a batch of inputs.

    Args:
        x: A tensor with the samples in its first dimension, a NumPy array, a list of one item a sample, or any nesting
            of them in dicts, lists and tuples. What is not one entry a sample is the batch's own and left out. A list
            of as many tensors as samples, each with as many rows, is taken for inputs that belong together.
        samples: How many there are in the batch.

    Raises:
        TypeError: If there is nothing in it that is one entry a sample.

    Example:
        >>> one, two = identities({"pixels": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "scale": 0.5}, 2)
        >>> identities({"pixels": torch.tensor([[3.0, 4.0]]), "scale": 0.5}, 1) == (two,)
        True
    """
    parts = _each(x, samples)
    if parts is None:
        raise TypeError(
            f"input={type(x).__name__}: nothing in it is one entry a sample, of {samples}; "
            "pass identify=, a function of the batch that returns one value a sample"
        )
    return tuple(parts)


def named(values: Any, samples: int) -> tuple[bytes, ...]:
    """Return a digest of each of the values by which a user's own function tells samples apart.

    Args:
        values: A list of one value a sample, or a tensor or an array with the samples in its first dimension.
        samples: How many there are in the batch.

    Raises:
        TypeError: If there is not one value a sample.
    """
    parts = _each(values, samples)
    if parts is None:
        raise TypeError(
            f"identify={type(values).__name__}: not one value for each of {samples} samples; return a list of "
            "strings or numbers of that length, or a tensor"
        )
    return tuple(parts)


def shared(first: frozenset[bytes], second: frozenset[bytes]) -> float:
    """Return the share of the samples that two splits have in common, of the smaller one.

    Example:
        >>> shared(frozenset({b"a", b"b"}), frozenset({b"b", b"c", b"d"}))
        0.5
    """
    smaller = min(len(first), len(second))
    return len(first & second) / smaller if smaller else 0.0


def _each(x: Any, samples: int) -> list[bytes] | None:
    """What belongs to each of the samples, as bytes; None where nothing does."""
    if isinstance(x, Tensor | np.ndarray):
        tensor = torch.as_tensor(x).detach().cpu()
        return _digests(tensor) if tensor.ndim > 0 and len(tensor) == samples else None
    if isinstance(x, Mapping):
        return _joined([_each(x[key], samples) for key in x])
    if isinstance(x, list | tuple):
        joined = _joined([_each(item, samples) for item in x])
        # A list of one thing a sample: texts, or images of several sizes.
        return _digests(x) if joined is None and len(x) == samples else joined
    return None


def _joined(parts: Sequence[list[bytes] | None]) -> list[bytes] | None:
    own = [part for part in parts if part is not None]
    return [_digest(b"".join(row)) for row in zip(*own, strict=True)] if own else None


def _digests(items: Iterable[Any]) -> list[bytes] | None:
    wholes = [_whole(item) for item in items]
    return None if None in wholes else [_digest(whole) for whole in wholes if whole is not None]


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _whole(item: Any) -> bytes | None:
    """Everything that is in one item, as bytes; None where that cannot be told."""
    if isinstance(item, np.ndarray):
        item = torch.as_tensor(item)
    if isinstance(item, Tensor):
        flat = item.detach().cpu().contiguous().reshape(-1)
        if flat.is_floating_point():
            # The same in double precision is the same sample, and so is 0 with another sign.
            flat = flat.double() + 0.0
        kind = f"{flat.dtype} {tuple(item.shape)} ".encode()
        return kind + (flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    if isinstance(item, str | bytes | Number):
        return repr(item).encode()
    if isinstance(item, Mapping):
        item = [part for pair in item.items() for part in pair]
    if isinstance(item, list | tuple):
        digests = _digests(item)
        # Digests are all of one length: what stood in one part cannot pass for the beginning of the next.
        return None if digests is None else b"".join(digests)
    return None
