"""Files that are complete or absent, whenever a process dies."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAGING = ".staging-"
"""What the name of a file begins with that is not complete yet."""


@contextmanager
def staged(target: Path, data: bytes | Iterable[bytes | memoryview]) -> Iterator[Callable[[], None]]:
    """Write beside the target and force it to the disk; what is yielded puts it in place.

    The same folder, for a rename from another disk is a copy, which can be cut short.

    Args:
        target: The file that is to be.
        data: All of its bytes, in one piece or in several, which are asked for one at a time.

    Raises:
        OSError: If the disk refuses; it names the target, which is as it was.
    """
    staging = target.with_name(f"{STAGING}{target.name}")

    def publish() -> None:
        os.replace(staging, target)
        _fsync_folder(target.parent)

    try:
        with staging.open("wb") as file:
            for piece in (data,) if isinstance(data, bytes) else data:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        yield publish
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(staging):
            raise
        # The system's own message does not say which file it was.
        what = f"{error.strerror or error}; not written, see to the disk or choose another folder"
        raise OSError(error.errno or 0, what, str(target)) from error
    finally:
        # A disk that has just refused may refuse this too, and the first refusal is the one to be told.
        with suppress(OSError):
            staging.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, and force their names to the disk.

    Raises:
        OSError: If the disk refuses.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _fsync_folder(folder.parent)


def _fsync_folder(path: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, and a rename is durable without it
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        # Some network disks cannot do it for a folder. That is no failure of the write.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(folder)
