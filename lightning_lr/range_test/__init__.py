"""The LR range test: its settings and readings, its result and the rules that read it, and how it is run."""

from lightning_lr.range_test.measure import lr_range_test as lr_range_test
from lightning_lr.range_test.measure import range_test_within as range_test_within
from lightning_lr.range_test.result import RangeTest as RangeTest
