"""Schedules as pure values: everything that a `Schedule` callback can be given, in one place.

A curve bound to a horizon is a function from optimizer updates to a value (`lightning_lr.schedules.curves`):

- shapes: `Flat`, `Anneal`, `Staircase`, `Function`
- composition (`lightning_lr.schedules.composition`): `Join`, `Scale`, `Repeat`
- profiles of a whole run (`lightning_lr.schedules.profiles`): `Peak`, `Trapezoid`, `Triangles`

>>> sgdr = Join((Anneal(0.0, 0.1, "linear", "neither"), Repeat(Anneal(0.1, 0.0), cycles=2)), ("20%",))
>>> [cycle.start for cycle in sgdr.cycles(Horizon(10))]
[2, 6]
"""

from lightning_lr.durations import Horizon
from lightning_lr.schedules.composition import Join, Repeat, Scale
from lightning_lr.schedules.curves import Anneal, Curve, Flat, Function, Staircase
from lightning_lr.schedules.cycles import Cycle
from lightning_lr.schedules.profiles import Peak, Trapezoid, Triangles

__all__ = [
    "Anneal",
    "Curve",
    "Cycle",
    "Flat",
    "Function",
    "Horizon",
    "Join",
    "Peak",
    "Repeat",
    "Scale",
    "Staircase",
    "Trapezoid",
    "Triangles",
]
