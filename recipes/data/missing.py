"""What is said when a file is not there: which, where it belongs, and where it can be had."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def require(root: str, names: Iterable[str], reader: str, source: str) -> None:
    """Refuse a root without all of these files or folders. Nothing is ever downloaded.

    Args:
        root: The argument.
        names: Below the root.
        reader: The class that reads them, or downloads them where there is a network.
        source: Where they can be had.

    Raises:
        FileNotFoundError: If one is missing.
    """
    for name in names:
        if not (Path(root).expanduser() / name).exists():
            raise FileNotFoundError(
                f"root={root!r}: {Path(root) / name} is missing; put what {reader} reads there, unpacked: {source} "
                "(nothing is downloaded)"
            )
