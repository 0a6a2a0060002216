"""Who measured the cells of `benchmarks/range_test.py`, which code on which machine: the report is made later."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.costs import installed

PACKAGES = ("torch", "lightning", "scikit-learn", "torch-lr-finder", "fastai")
FILE = "measured.json"


@contextmanager
def noted(part: str, folder: Path) -> Iterator[None]:
    """Add a row to the folder's list if cells are measured within."""
    before = _state(folder)
    try:
        yield
    finally:
        if _state(folder) != before:
            row = {
                "part": part,
                "commit": record.commit(),
                "machine": record.machine(),
                "versions": {name: importlib.metadata.version(name) for name in PACKAGES if installed(name)},
            }
            rows = [each for each in read(folder) if each != row] + [row]
            (folder / FILE).write_text(json.dumps(rows, indent=1) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    file = folder / FILE
    return json.loads(file.read_text()) if file.exists() else []


def told(folder: Path) -> dict[str, Any]:
    """Return commit, machine and versions as a result file has them, of all that have measured."""
    rows = read(folder)
    versions: dict[str, list[str]] = {}
    for row in rows:
        for name, version in row["versions"].items():
            versions.setdefault(name, []).append(version)
    return {
        "commit": ", ".join(dict.fromkeys(row["commit"] for row in rows)),
        "machine": "; ".join(dict.fromkeys(row["machine"] for row in rows)),
        "versions": {name: " and ".join(dict.fromkeys(each)) for name, each in versions.items()},
    }


def _state(folder: Path) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.jsonl"))]
