"""What an ensemble's members are called in a picture, where there is little room."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FROM_A_FILE = re.compile(r"\w+\[\d+\] \((.+)\)")


def member_names(names: Sequence[str], width: int) -> list[str]:
    """Return the members' names in a line of so many characters each: that of the file alone, if it tells them apart.

    Example:
        >>> member_names(["snapshots[0] (snapshot-000.safetensors)", "snapshots[1] (snapshot-001.safetensors)"], 24)
        ['snapshot-000', 'snapshot-001']
    """
    files = [
        match[1].removesuffix(".safetensors") if (match := _FROM_A_FILE.fullmatch(name)) else name for name in names
    ]
    return [_shortened(name, width) for name in (files if len(set(files)) == len(set(names)) else names)]


def _shortened(name: str, width: int) -> str:
    """A longer one without its middle: one end or the other tells it apart."""
    name, end = " ".join(name.split()), width // 3
    return name if len(name) <= width else f"{name[: width - end - 1]}…{name[len(name) - end :]}"
