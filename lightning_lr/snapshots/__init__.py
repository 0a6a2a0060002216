"""The snapshot folder: how it is written, read and verified. No Lightning in it."""

from lightning_lr.snapshots.manifest import Snapshot as Snapshot
from lightning_lr.snapshots.reader import Snapshots as Snapshots
from lightning_lr.snapshots.weights import load_weights as load_weights
from lightning_lr.snapshots.writer import SnapshotWriter as SnapshotWriter
