"""To be the only run in a folder for as long as it goes on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .run_id import is_first

_held: set[int] = set()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder, as the first process of a run.

    Two that were started in one second have one folder by its name; and a run that still goes on can be resumed. The
    lock is the process's: it ends with it, however that ends, and leaves no file.

    Args:
        folder: Hydra's folder of the run.

    Raises:
        FileExistsError: If another run goes on in it.
    """
    if not is_first():
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(
                f"hydra.run.dir={os.path.relpath(folder)}: a run goes on in it; wait for its end, or choose another"
            ) from error
        except OSError:
            # A file system that cannot lock folders, as some on a network: then nobody is kept out, as before.
            pass
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _let_go() -> None:
    """In a fork, a worker of a loader, which may outlive the run by seconds: what it has of the lock would hold it."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)
