"""A folder of snapshots: how it is written, read and verified.

The folder holds one safetensors file a snapshot and ``manifest.json``, which names them. What the manifest does
not name does not count, so it is written last: a reader sees the state before a write or the state after it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lr.durable import STAGING, staged
from lightning_lr.manifest import MANIFEST, RESTORE, SNAPSHOT_FILE, Snapshot, read_manifest, write_manifest
from lightning_lr.weights import as_floating_dtype, load_weights, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import torch

__all__ = ["Snapshot", "SnapshotWriter", "Snapshots", "load_weights"]


class Snapshots:
    """The snapshots in a folder, in the order of their cycles. No pickle is read, and no file whose hash is wrong.

    Args:
        dirpath: The folder that `SnapshotCheckpoint` wrote.

    Raises:
        FileNotFoundError: If there is no such folder, or no manifest in it.
        ValueError: If the manifest cannot be read, or a later version of this package wrote it.

    Example:
        >>> import tempfile
        >>> import torch
        >>> folder = tempfile.TemporaryDirectory()
        >>> writer = SnapshotWriter(folder.name, run_id="d41f")
        >>> writer.open()
        >>> _ = writer.write({"weight": torch.ones(2)}, cycle=0, step=100, epoch=4, lr=0.001)
        >>> snapshots = Snapshots(folder.name)
        >>> len(snapshots), snapshots[-1].file, snapshots[-1].step
        (1, 'snapshot-000.safetensors', 100)
        >>> snapshots.load(0)
        {'weight': tensor([1., 1.])}
        >>> folder.cleanup()
    """

    def __init__(self, dirpath: str | os.PathLike[str]) -> None:
        self.dirpath = Path(dirpath)
        if not self.dirpath.is_dir():
            what = "a file" if self.dirpath.exists() else "there is no such folder"
            raise FileNotFoundError(f"dirpath={str(dirpath)!r}: {what}; pass the folder that SnapshotCheckpoint wrote")
        self.run_id, self.rows = read_manifest(self.dirpath / MANIFEST)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Snapshot:
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"index={index}: {self.dirpath} holds {len(self)} snapshots; pass an index that is smaller than that"
            )
        return self.rows[index]

    def __repr__(self) -> str:
        return f"Snapshots({str(self.dirpath)!r}): {len(self)} of run {self.run_id}"

    def load(self, index: int) -> dict[str, torch.Tensor]:
        """Read a snapshot: a state dict on the CPU, tied weights tied.

        Args:
            index: Of the row; a negative one counts from the end.

        Raises:
            FileNotFoundError: If the file is gone.
            ValueError: If the file is not the one that was written.
            IndexError: If there is no such row.
        """
        row = self[index]
        path = self.dirpath / row.file
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing, though the manifest names it; {RESTORE}")
        # Hashed in memory, so that the bytes that were checked are the bytes that are used.
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise ValueError(f"{path}: damaged, its SHA-256 is not the manifest's; {RESTORE}")
        return unpack(data)

    def problems(self) -> dict[str, str]:
        """What is wrong, by file: ``"missing"`` or ``"damaged"``. Empty where every file is as it was written."""
        found = {}
        for row in self.rows:
            path = self.dirpath / row.file
            if not path.is_file():
                found[row.file] = "missing"
            elif _sha256(path) != row.sha256:
                found[row.file] = "damaged"
        return found

    def verify(self) -> None:
        """Check every file against its hash.

        Raises:
            ValueError: If there is a damaged or a missing file; it names all of them.
        """
        if found := self.problems():
            named = ", ".join(f"{file} ({what})" for file, what in found.items())
            raise ValueError(f"{self.dirpath}: not as written: {named}; {RESTORE}")


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
        old = self._old()
        if overwrite or (old is not None and (old.run_id == self.run_id or not len(old))):
            return
        if old is not None:
            what = f"holds {len(old)} snapshots of run {old.run_id}, and this is run {self.run_id}"
        elif self._files():
            what = "holds snapshots and no manifest, so whose they are is not known"
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
        self.dirpath.mkdir(parents=True, exist_ok=True)
        for path in self.dirpath.glob(f"{STAGING}*"):
            if SNAPSHOT_FILE.fullmatch(name := path.name.removeprefix(STAGING)) or name == MANIFEST:
                path.unlink()
        old = self._old()
        if old is None or old.run_id != self.run_id:
            # The manifest goes last: killed in between, it still names what is left to delete.
            for row in old or ():
                (self.dirpath / row.file).unlink(missing_ok=True)
            self._commit(())

    @property
    def rows(self) -> tuple[Snapshot, ...]:
        """What the manifest on disk says. Empty where somebody deleted it.

        Raises:
            RuntimeError: If another run has taken the folder.
        """
        old = self._old()
        if old is not None and old.run_id != self.run_id:
            raise RuntimeError(
                f"dirpath={str(self.dirpath)!r}: run {old.run_id} took the folder while this run ({self.run_id}) was "
                "writing to it; give each run a folder of its own"
            )
        return () if old is None else old.rows

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
        data = pack(state_dict, as_floating_dtype(dtype))
        row = Snapshot(
            file=f"snapshot-{cycle:03d}.safetensors",
            cycle=cycle,
            step=step,
            epoch=epoch,
            lr=lr,
            metrics=None,
            sha256=hashlib.sha256(data).hexdigest(),
            versions=_versions(),
            complete=complete,
        )
        self.dirpath.mkdir(parents=True, exist_ok=True)
        with staged(self.dirpath / row.file, data) as publish:
            if any(old.file == row.file and old.sha256 != row.sha256 for old in rows):
                # Else a process killed between the two renames would leave a row whose hash is not its file's.
                self._commit(others)
            publish()
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
        kept = self.rows[-count:]
        if len(kept) < len(self.rows):
            self._commit(kept)
        # By what is there, not by what was dropped: a process killed right here leaves a file behind.
        for path in self._files():
            if kept and _cycle(path) < kept[0].cycle:
                path.unlink()

    def _files(self) -> list[Path]:
        return [path for path in self.dirpath.glob("snapshot-*.safetensors") if SNAPSHOT_FILE.fullmatch(path.name)]

    def _old(self) -> Snapshots | None:
        return Snapshots(self.dirpath) if (self.dirpath / MANIFEST).exists() else None

    def _commit(self, rows: Iterable[Snapshot]) -> None:
        text = write_manifest(self.run_id, rows)
        with staged(self.dirpath / MANIFEST, f"{text}\n".encode()) as publish:
            publish()


def _cycle(path: Path) -> int:
    match = SNAPSHOT_FILE.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    from lightning_lr import __version__  # when called, for this module is part of what the package imports

    packages = {name: importlib.metadata.version(name) for name in ("lightning", "safetensors", "torch")}
    return {"lightning_lr": __version__, "python": platform.python_version(), **packages}
