"""A result file: what was found, with all that is needed to find it again."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def commit(*own: str) -> str:
    """Of the code, with a plus behind it where what is measured, or what measures, was changed since.

    Args:
        own: Files and folders of this one that measure; all of them where none is named.
    """
    folder = Path(__file__).parent

    def said(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, cwd=folder, check=False).stdout.strip()

    measured = ("../lightning_lr", "../recipes", "../conf", *(own or (".", ":!results")))
    changed = said("status", "--porcelain", "--untracked-files=no", "--", *measured)
    return said("rev-parse", "HEAD") + ("+" if changed else "")


def machine() -> str:
    """In words, without its name."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores = os.cpu_count()
    return f"{platform.machine()}, {cores} cores, {device}, {platform.system()}, Python {platform.python_version()}"


def write(
    name: str,
    *,
    claim: str,
    found: Sequence[str],
    verdict: str | None = None,
    command: str,
    n: int | dict[str, int],
    table: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    seconds: float,
    size: str = "cpu",
    packages: Sequence[str] = ("torch", "lightning", "torchvision", "torchmetrics", "scikit-learn"),
    results: Path = RESULTS,
    **more: Any,
) -> Path:
    """Write ``<name>.json``; the picture beside it is ``<name>.png``.

    Args:
        name: Of the file.
        claim: One sentence: what was to be shown.
        found: A sentence a finding, made of the figures; what did not hold as well.
        verdict: What became of the claim, in one sentence; the first finding where there is none.
        command: That measures it.
        n: Seeds, or repetitions.
        table: ``columns``, and ``rows`` of as many strings.
        rows: The figures themselves.
        seconds: That measuring took.
        size: As on the command line.
        packages: Whose versions count.
        results: The folder.
        more: Whatever else belongs into the file.
    """
    content = {
        "name": name,
        "claim": claim,
        "verdict": verdict or found[0],
        "found": list(found),
        "command": command,
        "size": size,
        "n": n,
        "commit": more.pop("commit", None) or commit(),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "seconds": round(seconds, 1),
        "picture": more.pop("picture", f"{name}.png"),
        "table": table,
        **more,
        "rows": list(rows),
    }
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{name}.json"
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return file
