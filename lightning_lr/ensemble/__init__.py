"""The ensemble: its members, how they are run, and how what they say is pooled and scored."""

from lightning_lr.ensemble.snapshot_ensemble import SnapshotEnsemble as SnapshotEnsemble
