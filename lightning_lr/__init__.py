"""Learning rate and momentum per optimizer step, snapshots at each restart, and their ensemble."""

from lightning_lr.callbacks.annealing import Constant as Constant
from lightning_lr.callbacks.annealing import CosineAnnealing as CosineAnnealing
from lightning_lr.callbacks.annealing import ExponentialDecay as ExponentialDecay
from lightning_lr.callbacks.annealing import StepDecay as StepDecay
from lightning_lr.callbacks.annealing import WarmupStableDecay as WarmupStableDecay
from lightning_lr.callbacks.cyclical import SGDR as SGDR
from lightning_lr.callbacks.cyclical import CyclicLR as CyclicLR
from lightning_lr.callbacks.cyclical import OneCycle as OneCycle
from lightning_lr.callbacks.plateau import ReduceOnPlateau as ReduceOnPlateau
from lightning_lr.callbacks.range_test import LRRangeTest as LRRangeTest
from lightning_lr.callbacks.schedule import Schedule as Schedule
from lightning_lr.callbacks.snapshot import SnapshotCheckpoint as SnapshotCheckpoint
from lightning_lr.durations import Duration as Duration
from lightning_lr.durations import Horizon as Horizon
from lightning_lr.ensemble.snapshot_ensemble import SnapshotEnsemble as SnapshotEnsemble
from lightning_lr.range_test.measure import lr_range_test as lr_range_test
from lightning_lr.range_test.result import RangeTest as RangeTest
from lightning_lr.report.ensemble_report import EnsembleReport as EnsembleReport
from lightning_lr.schedules.composition import Join as Join
from lightning_lr.schedules.composition import Repeat as Repeat
from lightning_lr.schedules.composition import Scale as Scale
from lightning_lr.schedules.curves import Anneal as Anneal
from lightning_lr.schedules.curves import Curve as Curve
from lightning_lr.schedules.curves import Flat as Flat
from lightning_lr.schedules.curves import Function as Function
from lightning_lr.schedules.curves import Staircase as Staircase
from lightning_lr.schedules.cycles import Cycle as Cycle
from lightning_lr.schedules.profiles import Peak as Peak
from lightning_lr.schedules.profiles import Trapezoid as Trapezoid
from lightning_lr.schedules.profiles import Triangles as Triangles
from lightning_lr.snapshots.reader import Snapshots as Snapshots
from lightning_lr.weight_space.averaging import BasinError as BasinError
from lightning_lr.weight_space.averaging import average_weights as average_weights
from lightning_lr.weight_space.basin import Line as Line
from lightning_lr.weight_space.basin import lines_between as lines_between
from lightning_lr.weight_space.basin import loss_along_line as loss_along_line

__version__ = "0.1.0"
