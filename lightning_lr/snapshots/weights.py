"""A state dict as the bytes of one safetensors file, and back: no pickle, and tied weights once."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch.nn.parameter import is_lazy

# What can be stored, by the names of the file format.
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
_METADATA = "__metadata__"


def as_floating_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Read a ``dtype`` argument: a torch dtype or its name, floating.

    Raises:
        ValueError: If there is no floating dtype of that name.
        TypeError: If it is neither a dtype nor a string.

    Example:
        >>> as_floating_dtype("bfloat16")
        torch.bfloat16
    """
    how = 'pass a floating dtype such as "float16", "bfloat16" or torch.float32, or None to keep what the module has'
    if dtype is None:
        return None
    if not isinstance(dtype, str | torch.dtype):
        raise TypeError(f"dtype={dtype!r}: not a dtype; {how}")
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point or found not in _NAMES:
        raise ValueError(f"dtype={dtype!r}: not a floating dtype that can be stored; {how}")
    return found


def check_state_dict(state_dict: Mapping[str, Any]) -> None:
    """See that every entry can be stored.

    Raises:
        TypeError: If an entry is no tensor.
        ValueError: If it is one that a safetensors file cannot hold.
    """
    for name, value in state_dict.items():
        if uncompiled(name) == _METADATA:
            raise ValueError(f"state_dict[{name!r}]: a name that the file format keeps for itself; rename it")
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"state_dict[{name!r}]: {type(value).__name__}, and a snapshot holds tensors only; make it a "
                "buffer, or return a tensor from get_extra_state"
            )
        if is_lazy(value) or value.is_meta:
            raise ValueError(
                f"state_dict[{name!r}]: has no values yet; run the lazy module on one batch before the fit"
            )
        if value.layout != torch.strided or value.dtype not in _NAMES:
            raise ValueError(
                f"state_dict[{name!r}]: {value.layout} of {value.dtype} cannot be stored; make it dense and of a "
                "common dtype, or register it with persistent=False"
            )


def uncompiled(name: str) -> str:
    """Return a parameter's name without what torch.compile puts before it: how it ran, not what it is.

    Example:
        >>> uncompiled("_orig_mod.encoder._orig_mod.weight")
        'encoder.weight'
    """
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def pack(state_dict: Mapping[str, Any], dtype: torch.dtype | None = None) -> bytes:
    """Turn a state dict into the bytes of a safetensors file: `pieces` in one.

    Example:
        >>> weight = torch.ones(2)
        >>> unpack(pack({"encoder.weight": weight, "decoder.weight": weight}))
        {'encoder.weight': tensor([1., 1.]), 'decoder.weight': tensor([1., 1.])}
    """
    return b"".join(pieces(state_dict, dtype))


def pieces(state_dict: Mapping[str, Any], dtype: torch.dtype | None = None) -> Iterator[bytes | memoryview]:
    """Turn a state dict into the bytes of a safetensors file, tensor by tensor.

    Where a tensor lies on the CPU as it is stored, its memory itself is what is given: nothing is copied.
    What ``torch.compile`` puts before a submodule's names is stripped; of tied weights one is stored, and the names of
    the others beside it.

    Args:
        state_dict: Tensors by name, of any device; not to be changed until the last piece has been taken.
        dtype: Floating tensors are cast to it; None leaves them as they are.

    Raises:
        TypeError: If an entry is no tensor.
        ValueError: If it is one that a safetensors file cannot hold.
    """
    check_state_dict(state_dict)
    tensors: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    stored: dict[tuple[object, ...], str] = {}
    for key, value in state_dict.items():
        name = uncompiled(key)
        if name in tensors or name in aliases:
            raise ValueError(
                f"state_dict[{key!r}]: a second entry is called {name!r} without torch.compile's prefix; rename one"
            )
        # A conjugate lies in the memory of what it is the conjugate of, and has other values.
        signs = value.is_conj(), value.is_neg()
        same = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride(), signs)
        if value.numel() and (first := stored.setdefault(same, name)) != name:
            aliases[name] = first
        else:
            tensors[name] = _cast(name, value.detach(), dtype)
    # The widest first, so that each begins at a multiple of its item's size.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, Any] = {_METADATA: {"aliases": json.dumps(aliases, sort_keys=True)}} if aliases else {}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        kind, shape = _NAMES[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return chain([len(text).to_bytes(8, "little") + text], (_memory(tensors[name]) for name in names))


def _memory(tensor: torch.Tensor) -> memoryview:
    """The tensor's values in the order of their indices, whatever their layout is, a copy only where it must be."""
    plain = tensor.cpu().resolve_conj().resolve_neg().contiguous()
    # Not `reshape`: it leaves a single element the stride of the tensor that it is a view of.
    return plain.as_strided((plain.numel(),), (1,)).view(torch.uint8).numpy().data


def _cast(name: str, tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    if dtype is None or tensor.dtype == dtype or not tensor.is_floating_point():
        return tensor
    tensor = tensor.cpu()
    cast = tensor.to(dtype)
    # A running variance over 65504 is nothing unusual, and in float16 it would be infinite.
    if _may_overflow(tensor, dtype) and bool((cast.isfinite().logical_not() & tensor.isfinite()).any()):
        warnings.warn(
            f"dtype={dtype}: {name!r} holds values that it cannot; kept in {tensor.dtype}, choose torch.bfloat16 to "
            "have all in one",
            stacklevel=2,
        )
        return tensor
    return cast


def _may_overflow(tensor: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether there may be a value out of the dtype's range. It costs a fiftieth of looking at each for itself."""
    if not tensor.numel():
        return False
    low, high = (float(bound) for bound in tensor.float().aminmax())
    limit = torch.finfo(dtype).max
    return not (-limit <= low and high <= limit)


def unpack(data: bytes) -> dict[str, torch.Tensor]:
    """Turn the bytes of a safetensors file into a state dict on the CPU; tied weights share their storage again.

    Raises:
        ValueError: If they are not such a file's.
    """
    try:
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(data)
    except SafetensorError as error:
        raise ValueError(f"not a whole safetensors file ({error})") from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    try:
        aliases = json.loads(header.get(_METADATA, {}).get("aliases", "{}"))
        return tensors | {alias: tensors[name] for alias, name in aliases.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("its names of tied weights lead nowhere") from error


def load_weights(path: str | PathLike[str]) -> dict[str, torch.Tensor]:
    """Read one snapshot file by itself: a state dict on the CPU. Nothing here knows its hash; `Snapshots.load` does.

    Args:
        path: A safetensors file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a whole safetensors file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"path={str(path)!r}: there is no such file; pass a snapshot-*.safetensors")
    try:
        return unpack(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"path={str(path)!r}: {error}; pass a file that SnapshotCheckpoint wrote") from error
