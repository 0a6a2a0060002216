"""How the folder of snapshots is written, so that a process may die at any instant."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lr.durable import make_folder, staged
from lightning_lr.snapshots.manifest import (
    MANIFEST,
    Snapshot,
    file_of,
    read_manifest,
    snapshots_in,
    unfinished_in,
    write_manifest,
)
from lightning_lr.snapshots.weights import as_floating_dtype, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import torch

_CHUNK = 1 << 18


class SnapshotWriter:
    """The one who writes the folder of one run. The manifest on disk is its only memory.

    Args:
        dirpath: The folder; made when it is opened.
        run_id: Of the run that writes. A folder with another run's snapshots is refused.
    """

    def __init__(self, dirpath: str | os.PathLike[str], run_id: str) -> None:
        self.dirpath = Path(dirpath)
        self.run_id = run_id

    def check(self, overwrite: bool = False) -> None:
        """See that the folder may be written, and change nothing.

        Args:
            overwrite: Whether another run's snapshots may be replaced.

        Raises:
            FileExistsError: If there are snapshots of another run, or the path is a file.
            PermissionError: If the folder cannot be written.
            ValueError: If there is a manifest that cannot be read.
        """
        place = next(path for path in (self.dirpath, *self.dirpath.absolute().parents) if path.exists())
        if not place.is_dir():
            raise FileExistsError(f"dirpath={str(self.dirpath)!r}: {place} is a file; give a folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(f"dirpath={str(self.dirpath)!r}: {place} cannot be written; give another folder")
        owner, rows = self._read()
        if overwrite or owner == self.run_id:
            return
        if rows:
            what = f"holds {len(rows)} snapshots of run {owner}, and this is run {self.run_id}"
        elif any(snapshots_in(self.dirpath)):
            which = "no manifest" if owner is None else "a manifest that does not name them"
            what = f"holds snapshots and {which}, so whose they are is not known"
        else:
            return
        raise FileExistsError(
            f'dirpath={str(self.dirpath)!r}: {what}; give another dirpath, or on_existing="overwrite" to replace them'
        )

    def open(self, overwrite: bool = False) -> None:
        """Make the folder this run's: made where it is missing, rid of what a killed process left half written.

        Args:
            overwrite: Whether another run's snapshots may be replaced. They are deleted: the files its manifest names.

        Raises:
            FileExistsError: If there are snapshots of another run, or the path is a file.
            PermissionError: If the folder cannot be written.
            ValueError: If there is a manifest that cannot be read.
        """
        self.check(overwrite)
        make_folder(self.dirpath)
        for path in unfinished_in(self.dirpath):
            path.unlink()
        owner, rows = self._read()
        if owner != self.run_id:
            # The manifest goes first: whenever a process is killed, all that it names is there.
            self._commit(())
            for row in rows:
                (self.dirpath / row.file).unlink(missing_ok=True)

    @property
    def rows(self) -> tuple[Snapshot, ...]:
        """What the manifest on disk says. Empty where somebody deleted it.

        Raises:
            RuntimeError: If another run has taken the folder.
        """
        owner, rows = self._read()
        if owner not in (None, self.run_id):
            raise RuntimeError(
                f"dirpath={str(self.dirpath)!r}: run {owner} took the folder while this run ({self.run_id}) was "
                "writing to it; give each run a folder of its own"
            )
        return rows

    def write(
        self,
        state_dict: Mapping[str, Any],
        *,
        cycle: int,
        step: int,
        epoch: int,
        lr: float | None,
        complete: bool = True,
        dtype: torch.dtype | str | None = None,
    ) -> Snapshot:
        """Write a snapshot and its row. A row of the same cycle is replaced.

        Args:
            state_dict: Tensors by name, of any device.
            cycle: Index of the cycle, from 0.
            step: Optimizer updates applied.
            epoch: Epoch, from 0.
            lr: Learning rate of the last update.
            complete: False where the run ended inside the cycle.
            dtype: Floating tensors are cast to it; None leaves them as they are.

        Raises:
            TypeError: If an entry is no tensor.
            ValueError: If a tensor cannot be stored.
            OSError: If the disk refuses; what was in the folder before can still be read.
        """
        rows = self.rows
        others = [row for row in rows if row.cycle != cycle]
        parts = pieces(state_dict, as_floating_dtype(dtype))
        digest = hashlib.sha256()

        def hashed() -> Iterator[bytes]:
            for part in parts:
                for start in range(0, len(part), _CHUNK):
                    # A copy, small enough for the cache: what is hashed is what is written, whoever trains on.
                    chunk = bytes(part[start : start + _CHUNK])
                    digest.update(chunk)
                    yield chunk

        make_folder(self.dirpath)
        path = self.dirpath / file_of(cycle)
        with staged(path, hashed()) as publish:
            sha256 = digest.hexdigest()
            same = [row for row in rows if row.cycle == cycle and row.sha256 == sha256]
            if not same and len(others) < len(rows):
                # Else a process killed between the two renames would leave a row whose hash is not its file's.
                self._commit(others)
            publish()
        row = Snapshot(
            file=path.name,
            cycle=cycle,
            step=step,
            epoch=epoch,
            lr=lr,
            # A run that was resumed from before the cycle's end comes by here again.
            metrics=same[0].metrics if same else None,
            sha256=sha256,
            versions=_versions(),
            complete=complete,
        )
        self._commit([*others, row])
        return row

    def set_metrics(self, cycle: int, metrics: Mapping[str, float]) -> None:
        """Put a validation's metrics into the row of a cycle; a row that has been dropped since is left dropped."""
        self._commit(replace(row, metrics=dict(metrics)) if row.cycle == cycle else row for row in self.rows)

    def keep_last(self, count: int) -> None:
        """Drop all snapshots but those of the newest cycles.

        Args:
            count: How many are kept.
        """
        rows = self.rows
        if len(rows) > count:
            self._commit(rows[-count:])
        self.sweep()

    def sweep(self) -> None:
        """Delete the files of the cycles before the first row's: `keep_last` was killed before it had got to them."""
        rows = self.rows
        for path, cycle in snapshots_in(self.dirpath).items():
            if rows and cycle < rows[0].cycle:
                path.unlink()

    def _read(self) -> tuple[str | None, tuple[Snapshot, ...]]:
        """Run id and rows of the manifest on the disk; no id where there is none."""
        path = self.dirpath / MANIFEST
        return read_manifest(path) if path.exists() else (None, ())

    def _commit(self, rows: Iterable[Snapshot]) -> None:
        text = write_manifest(self.run_id, rows)
        with staged(self.dirpath / MANIFEST, f"{text}\n".encode()) as publish:
            publish()


@functools.cache
def _versions() -> dict[str, str]:
    from lightning_lr import __version__  # when called, for this module is part of what the package imports

    packages = {name: importlib.metadata.version(name) for name in ("lightning", "safetensors", "torch")}
    return {"lightning_lr": __version__, "python": platform.python_version(), **packages}
