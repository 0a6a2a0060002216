"""A folder of snapshots: how it is written, read and verified.

The folder holds one safetensors file a snapshot and ``manifest.json``, which names them. What the manifest does
not name does not count, so it is written last: a reader sees the state before a write or the state after it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lr.snapshots.manifest import MANIFEST, RESTORE, Snapshot, read_manifest, snapshots_in, unfinished_in
from lightning_lr.snapshots.weights import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


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
        >>> from lightning_lr.snapshots import SnapshotWriter
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
        # As `SnapshotCheckpoint` reads it.
        self.dirpath = Path(dirpath).expanduser()
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
        try:
            return unpack(data)
        except ValueError as error:
            # The hash is right: somebody wrote another file here, and its row.
            raise ValueError(f"{path}: {error}; {RESTORE}") from error

    def members(self) -> dict[str, str]:
        """What became of each file that the manifest names: ``"ok"``, ``"missing"``, ``"damaged"`` or ``"unreadable"``.

        Every file is read. A file that is whole where another stood is damaged too: it is not the one that was written.
        """
        return {row.file: _state(self.dirpath / row.file, row.sha256) for row in self.rows}

    def problems(self) -> dict[str, str]:
        """What is wrong, by file, as `members` tells it. Empty where every file is as it was written."""
        return {file: state for file, state in self.members().items() if state != "ok"}

    def strays(self) -> dict[str, str]:
        """The files beside the members, and why they are none. They do no harm, for nothing reads them.

        ``"not named by the manifest"`` is a snapshot of an earlier run, or of a process that died before it had noted
        it; ``"not complete"`` is a file that is being written, or that a process left which died.
        """
        named = {row.file for row in self.rows}
        found = {path.name: "not named by the manifest" for path in snapshots_in(self.dirpath)}
        found |= {path.name: "not complete" for path in unfinished_in(self.dirpath)}
        return {file: found[file] for file in sorted(found.keys() - named)}

    def verify(self) -> None:
        """Check every file against its hash. ``python -m lightning_lr verify DIR`` does it from a shell.

        Raises:
            ValueError: If there is a damaged or a missing file; it names all of them.
        """
        if found := self.problems():
            named = ", ".join(f"{file} ({what})" for file, what in found.items())
            raise ValueError(f"{self.dirpath}: not as written: {named}; {RESTORE}")


def _state(path: Path, sha256: str) -> str:
    if not path.is_file():
        return "missing"
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return "unreadable"
    return "ok" if digest.hexdigest() == sha256 else "damaged"
