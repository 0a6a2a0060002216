"""What a user did wrong, in one line instead of a page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import CompactHydraException, InstantiationException

# What the library, Lightning and torch refuse with. Anything else is a fault of the code, and keeps its traceback.
_REFUSALS = (ValueError, TypeError, RuntimeError, OSError, InstantiationException)


@contextmanager
def one_line() -> Iterator[None]:
    """Turn a refusal into one line; Hydra prints it and exits with 1, and shows all under ``HYDRA_FULL_ERROR=1``."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, _REFUSALS) and type(error).__name__ != "MisconfigurationException":
            raise
        raise CompactHydraException(_line(error)) from error


def _line(error: Exception) -> str:
    where = ""
    if isinstance(error, InstantiationException):
        key = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
        where = f"{key[1]}: " if key else ""
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    rank = os.environ.get("LOCAL_RANK", "0")
    process = "" if rank == "0" else f"[process {rank}] "
    return process + where + (" ".join(str(error).split()) or type(error).__name__)
