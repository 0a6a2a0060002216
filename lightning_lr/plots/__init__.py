"""Every picture of the project. Matplotlib is imported in this package, when one is drawn, and nowhere else."""

from lightning_lr.plots.calibration import plot_calibration as plot_calibration
from lightning_lr.plots.diversity import plot_diversity as plot_diversity
from lightning_lr.plots.lines import plot_lines as plot_lines
from lightning_lr.plots.loss import plot_loss as plot_loss
from lightning_lr.plots.members import plot_last_m as plot_last_m
from lightning_lr.plots.members import plot_training_spent as plot_training_spent
from lightning_lr.plots.poolings import plot_poolings as plot_poolings
from lightning_lr.plots.range_test import plot_range_test as plot_range_test
from lightning_lr.plots.range_tests import plot_range_tests as plot_range_tests
from lightning_lr.plots.runs import plot_runs as plot_runs
from lightning_lr.plots.schedule import plot_schedule as plot_schedule
