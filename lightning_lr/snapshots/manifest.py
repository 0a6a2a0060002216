"""``manifest.json``: the table of a snapshot folder, as rows, and as the text on the disk."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lightning_lr.durable import STAGING

FORMAT = 1
"""Version of the layout. A reader refuses a later one."""

MANIFEST = "manifest.json"
RESTORE = "restore it from a copy, or move the folder away and train again"
_SNAPSHOT_FILE = re.compile(r"snapshot-([0-9]{3,})\.safetensors")

_TYPES: dict[str, tuple[type, ...]] = {
    "file": (str,),
    "cycle": (int,),
    "step": (int,),
    "epoch": (int,),
    "lr": (int, float, type(None)),
    "metrics": (dict, type(None)),
    "sha256": (str,),
    "versions": (dict,),
    "complete": (bool,),
}


@dataclass(frozen=True)
class Snapshot:
    """One row of the manifest: where a snapshot is and how it came about.

    Args:
        file: Name of the file in the folder.
        cycle: Index of the cycle whose end it is, from 0.
        step: Optimizer updates applied when it was taken.
        epoch: Epoch, from 0, in which the last of them ran.
        lr: Learning rate of the last update, the largest among the param groups. None where it is not known.
        metrics: What the validation of these very weights gave. None where there was no such validation.
        sha256: Hash of the file, in hex.
        versions: Versions of the packages that wrote it.
        complete: False where the run ended inside the cycle.
    """

    file: str
    cycle: int
    step: int
    epoch: int
    lr: float | None
    metrics: Mapping[str, float] | None
    sha256: str
    versions: Mapping[str, str]
    complete: bool = True


def file_of(cycle: int) -> str:
    """Return the name of a cycle's snapshot.

    Example:
        >>> file_of(7)
        'snapshot-007.safetensors'
    """
    return f"snapshot-{cycle:03d}.safetensors"


def snapshots_in(folder: Path) -> dict[Path, int]:
    """The files that are snapshots by their names, whether the manifest names them or not, and their cycles."""
    files = folder.glob("snapshot-*.safetensors")
    return {path: int(match[1]) for path in files if (match := _SNAPSHOT_FILE.fullmatch(path.name))}


def unfinished_in(folder: Path) -> list[Path]:
    """The files of snapshots and manifests that are not complete: being written, or left by a process that died."""
    names = ((path, path.name.removeprefix(STAGING)) for path in folder.glob(f"{STAGING}*"))
    return [path for path, name in names if name == MANIFEST or _SNAPSHOT_FILE.fullmatch(name)]


def write_manifest(run_id: str, rows: Iterable[Snapshot]) -> str:
    """Return the text of a manifest, its rows in the order of their cycles.

    Example:
        >>> print(write_manifest("d41f", []))
        {
          "format": 1,
          "run_id": "d41f",
          "snapshots": []
        }
    """
    entries = [asdict(row) for row in sorted(rows, key=lambda row: row.cycle)]
    for entry in entries:
        # JSON has no word for NaN or infinity. Of a metric, null is read back as NaN.
        if entry["lr"] is not None and not math.isfinite(entry["lr"]):
            entry["lr"] = None
        if entry["metrics"] is not None:
            entry["metrics"] = {k: v if math.isfinite(v) else None for k, v in entry["metrics"].items()}
    return json.dumps({"format": FORMAT, "run_id": run_id, "snapshots": entries}, indent=2, allow_nan=False)


def read_manifest(path: Path) -> tuple[str, tuple[Snapshot, ...]]:
    """Return a manifest's run id and its rows.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read, or a later version of this package wrote it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"dirpath={str(path.parent)!r}: no {MANIFEST} in it; pass the folder that SnapshotCheckpoint wrote"
        )
    try:
        manifest = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); {RESTORE}") from error
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise ValueError(f"{path}: not a manifest of snapshots, it names no format; {RESTORE}")
    if manifest["format"] < 1:
        raise ValueError(f"{path}: format={manifest['format']}, which there never was; {RESTORE}")
    if manifest["format"] > FORMAT:
        raise ValueError(
            f"{path}: format={manifest['format']}, and this version reads up to {FORMAT}; install a newer lightning_lr"
        )
    entries = manifest.get("snapshots")
    if not isinstance(manifest.get("run_id"), str) or not isinstance(entries, list):
        raise ValueError(f"{path}: not a manifest of snapshots, run_id or snapshots is missing; {RESTORE}")
    rows = [_row(entry, f"{path}: snapshots[{i}]") for i, entry in enumerate(entries)]
    if len({row.cycle for row in rows}) < len(rows):
        raise ValueError(f"{path}: several rows of one cycle; {RESTORE}")
    return manifest["run_id"], tuple(sorted(rows, key=lambda row: row.cycle))


def _row(entry: object, where: str) -> Snapshot:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object; {RESTORE}")
    for name, types in _TYPES.items():
        # `type`, for in Python true and false are integers too.
        if name not in entry or type(entry[name]) not in types:
            raise ValueError(f"{where}: {name}={entry.get(name)!r} is not what belongs there; {RESTORE}")
    # A manifest is data from elsewhere: a name must neither lead out of the folder, nor to another row's file.
    if entry["cycle"] < 0 or entry["file"] != file_of(entry["cycle"]):
        raise ValueError(
            f"{where}: file={entry['file']!r} is not the name of a snapshot of cycle={entry['cycle']}; {RESTORE}"
        )
    values = {name: entry[name] for name in _TYPES}
    if values["metrics"] is not None:
        for name, metric in values["metrics"].items():
            # An integer of any length is JSON, and a float is not of any size.
            if type(metric) not in (int, float, type(None)) or (type(metric) is int and metric.bit_length() > 1023):
                raise ValueError(f"{where}: metrics[{name!r}]={metric!r} is not what belongs there; {RESTORE}")
        values["metrics"] = {k: math.nan if v is None else float(v) for k, v in values["metrics"].items()}
    return Snapshot(**values)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no word of it")
