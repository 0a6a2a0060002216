"""`schedules` is where everything that a `Schedule` can be given is found."""

from __future__ import annotations

import importlib
from abc import ABCMeta

import pytest

from lightning_lr import schedules
from lightning_lr.schedules.curves import Curve


@pytest.mark.parametrize("module", ["composition", "curves", "profiles"])
def test_every_curve_of_a_module_is_in_it(module):
    home = importlib.import_module(f"lightning_lr.schedules.{module}")
    # Python 3.10 takes `list[int]` for a type, and then refuses to say of what it is a subclass.
    classes = [each for each in vars(home).values() if isinstance(each, ABCMeta) and issubclass(each, Curve)]
    ours = [each for each in classes if each.__module__ == home.__name__]
    assert ours
    for curve in ours:
        assert curve.__name__ in schedules.__all__
        assert getattr(schedules, curve.__name__) is curve


def test_what_it_lists_is_there():
    assert schedules.__all__ == sorted(schedules.__all__)
    assert all(hasattr(schedules, name) for name in schedules.__all__)
