"""Every picture of the project. Matplotlib is imported in this package, when one is drawn, and nowhere else."""

from lightning_lr.plots.loss import plot_loss as plot_loss
from lightning_lr.plots.range_test import plot_range_test as plot_range_test
from lightning_lr.plots.range_tests import plot_range_tests as plot_range_tests
from lightning_lr.plots.schedule import plot_schedule as plot_schedule
