"""A snapshot file whose tensors lie in the file: mapped into memory, and let go after each use.

However many files are mapped, the memory that they take is that of the one in use.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lightning_lr.snapshots.manifest import RESTORE

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}

_SMALL = 1 << 20


class MappedFile:
    """The tensors of a safetensors file, mapped privately: what is written to them never reaches the file.

    A file of less than a mebibyte is read instead: to fetch its pages for each use would take as long as the network
    that they are for. The file may be deleted or replaced by another one while it is mapped, as `SnapshotCheckpoint`
    does; one that is written into is noticed. A copy shares the mapping; a pickle holds path and hash, and maps the
    file again.

    Args:
        path: A safetensors file.
        sha256: What its hash must be, in hex; None where nobody knows it.

    Attributes:
        tensors: By name; tied weights share their memory.
        sha256: The hash of the bytes that the tensors are made of.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its hash is another one, or it is not a whole safetensors file.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file({"weight": torch.ones(2)}, f"{folder}/one.safetensors")
        ...     mapped = MappedFile(f"{folder}/one.safetensors")
        >>> mapped.tensors
        {'weight': tensor([1., 1.])}
    """

    def __init__(self, path: str | os.PathLike[str], sha256: str | None = None) -> None:
        # A process that is started with a pickle of this may stand in another folder.
        self.path = Path(path).absolute()
        if not self.path.is_file():
            if sha256 is not None:
                raise FileNotFoundError(f"{path}: missing, though the manifest names it; {RESTORE}")
            raise FileNotFoundError(f"path={str(path)!r}: there is no such file; pass a snapshot-*.safetensors")
        with self.path.open("rb") as file:
            stat = os.fstat(file.fileno())
            self._identity, self._stamp = _marks(stat)
            self._mapping: mmap.mmap | None = None
            if stat.st_size >= _SMALL:
                self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            data = bytearray(file.read()) if self._mapping is None else self._mapping
        # The bytes that are checked are the bytes that are used.
        self.sha256 = hashlib.sha256(data).hexdigest()
        if sha256 is not None and self.sha256 != sha256:
            raise ValueError(f"{path}: damaged, its SHA-256 is not the manifest's; {RESTORE}")
        try:
            with safe_open(self.path, "pt"):
                self.tensors = _tensors(data)
        except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            raise ValueError(_not_whole(path, str(error))) from error
        self.release()

    def __repr__(self) -> str:
        return f"MappedFile({str(self.path)!r}): {len(self.tensors)} tensors"

    def __deepcopy__(self, memo: dict[int, Any]) -> MappedFile:
        return self

    def __reduce__(self) -> tuple[type[MappedFile], tuple[Path, str]]:
        return MappedFile, (self.path, self.sha256)

    def check(self) -> None:
        """See that nobody has written into the file: a mapping shows it, and dies where a file was cut short.

        Raises:
            RuntimeError: If somebody has.
        """
        if self._mapping is None:
            return
        try:
            identity, stamp = _marks(os.stat(self.path))
        except OSError:
            return
        # Another file under the old name, or none: the one that is mapped is as it was.
        if identity != self._identity or stamp == self._stamp:
            return
        if stamp[0] != self._stamp[0] or hashlib.sha256(self._mapping).hexdigest() != self.sha256:
            raise RuntimeError(
                f"{self.path}: was written into while its snapshot was in use; make the ensemble anew, and put files "
                "in place by renaming them"
            )
        self._stamp = stamp

    def release(self) -> None:
        """Let go of the memory: what is needed again is read again, from the system's cache as a rule."""
        if self._mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED)


def _tensors(data: mmap.mmap | bytearray) -> dict[str, Tensor]:
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    aliases = json.loads(header.pop("__metadata__", {}).get("aliases", "{}"))
    # Made in inference mode they could not be used outside of it.
    with torch.inference_mode(False):
        tensors = {name: _tensor(data, start, entry) for name, entry in header.items()}
    return tensors | {alias: tensors[name] for alias, name in aliases.items()}


def _tensor(data: mmap.mmap | bytearray, start: int, entry: dict[str, Any]) -> Tensor:
    shape, dtype, offset = entry["shape"], _DTYPES[entry["dtype"]], start + entry["data_offsets"][0]
    if prod(shape) == 0:
        return torch.empty(shape, dtype=dtype)
    tensor = torch.frombuffer(data, dtype=dtype, count=prod(shape), offset=offset).view(shape)
    # Other writers do not always align what they write.
    return tensor if offset % dtype.itemsize == 0 else tensor.clone()


def _marks(stat: os.stat_result) -> tuple[tuple[int, int], tuple[int, int]]:
    """Which file it is, and what changes when somebody writes into it."""
    return (stat.st_dev, stat.st_ino), (stat.st_size, stat.st_mtime_ns)


def _not_whole(path: str | os.PathLike[str], why: str) -> str:
    return f"path={str(path)!r}: not a whole safetensors file ({why}); pass a file that SnapshotCheckpoint wrote"
