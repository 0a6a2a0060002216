"""Files that are complete or absent, whenever a process dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING = ".staging-"
"""What the name of a file begins with that is not complete yet."""


@contextmanager
def staged(target: Path, data: bytes) -> Iterator[Callable[[], None]]:
    """Write beside the target and force it to the disk; what is yielded puts it in place.

    The same folder, for a rename from another disk is a copy, which can be cut short.

    Args:
        target: The file that is to be.
        data: All of its bytes.

    Raises:
        OSError: If the disk refuses; it names the target, which is as it was.
    """
    staging = target.with_name(f"{STAGING}{target.name}")

    def publish() -> None:
        os.replace(staging, target)
        _fsync_folder(target.parent)

    try:
        with staging.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield publish
    except OSError as error:
        if error.filename is not None and error.filename != str(staging):
            raise
        # The system's own message does not say which file it was.
        what = f"{error.strerror or error}; not written, see to the disk and resume from the last checkpoint"
        raise OSError(error.errno or 0, what, str(target)) from error
    finally:
        staging.unlink(missing_ok=True)


def _fsync_folder(path: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, and a rename is durable without it
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
