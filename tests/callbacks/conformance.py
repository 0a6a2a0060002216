"""What every pure policy is held against: a table of cases, with a few settings of each.

The literal values were worked out by hand, for a run of twelve updates with six an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import sqrt

import lightning_lr
from lightning_lr import (
    SGDR,
    Anneal,
    Constant,
    CosineAnnealing,
    CyclicLR,
    ExponentialDecay,
    Join,
    OneCycle,
    Repeat,
    Scale,
    Schedule,
    Staircase,
    StepDecay,
    WarmupStableDecay,
)
from tests.callbacks.formulas import (
    cosine,
    decays,
    fall,
    half_up,
    harmonic,
    lengths,
    line,
    peak,
    restarts,
    rise,
    shared,
    stairs_in_thirds,
    steps,
    trapezoid,
    triangles,
    warm_share,
    whole,
)

Columns = dict[str, list[float]]
PLATEAU = "ReduceOnPlateau"  # listens to a metric: there is nothing to foresee


@dataclass(frozen=True)
class Case:
    """One setting of a policy.

    Args:
        name: What the case is called in a report.
        build: Makes the policy; takes ``optimizer=`` and the other keywords that all policies take.
        formula: From updates of the run and of an epoch to the columns of its preview.
        literals: By column, what some of twelve updates use, six an epoch.
        bounds: By column, what no value may be below or above.
        cycles: Start, end, completeness and peak of each cycle of such a run; the peak is None at the start.
        shortest: The fewest updates that the policy fits.
    """

    name: str
    build: Callable[..., Schedule]
    formula: Callable[[int, int], Columns]
    literals: dict[str, dict[int, float]]
    bounds: dict[str, tuple[float, float]]
    cycles: tuple[tuple[int, int, bool, int | None], ...] = field(default=())
    shortest: int = 1

    @property
    def groups(self) -> int:
        """How many param groups it is for: two where it has a list."""
        return 1 + any(column.endswith("[1]") for column in self.literals)


def policies() -> list[type[Schedule]]:
    """Every policy that the package exports and that can be foreseen."""
    exported = vars(lightning_lr).values()
    classes = [each for each in exported if isinstance(each, type) and issubclass(each, Schedule)]
    return [policy for policy in classes if policy.__name__ != PLATEAU]


# The table

CASES = [
    Case(
        "constant",
        partial(Constant, 0.1),
        lambda n, e: {"lr": [0.1] * n},
        {"lr": {0: 0.1, 11: 0.1}},
        {"lr": (0.1, 0.1)},
    ),
    Case(
        "constant, a list",
        partial(Constant, [0.1, 0.02]),
        lambda n, e: {"lr[0]": [0.1] * n, "lr[1]": [0.02] * n},
        {"lr[0]": {0: 0.1, 11: 0.1}, "lr[1]": {0: 0.02, 11: 0.02}},
        {"lr[0]": (0.1, 0.1), "lr[1]": (0.02, 0.02)},
    ),
    Case(
        "step decay, every epoch",
        partial(StepDecay, 0.8, 0.5, every="1ep"),
        lambda n, e: {"lr": [0.8 * 0.5 ** (step // e) for step in range(n)]},
        {"lr": {0: 0.8, 5: 0.8, 6: 0.4, 11: 0.4}},
        {"lr": (0.0, 0.8)},
    ),
    Case(
        "step decay, milestones",
        partial(StepDecay, 0.8, milestones=["50%", "75%"]),
        lambda n, e: {"lr": steps(n, 0.8, 0.1, [half_up(Fraction(n, 2)), half_up(Fraction(3 * n, 4))])},
        {"lr": {0: 0.8, 5: 0.8, 6: 0.08, 8: 0.08, 9: 0.008, 11: 0.008}},
        {"lr": (0.0, 0.8)},
        shortest=4,
    ),
    Case(
        "step decay, a list",
        partial(StepDecay, [0.8, 0.4], 0.5, every=5),
        lambda n, e: {f"lr[{g}]": steps(n, lr, 0.5, range(5, n, 5)) for g, lr in enumerate((0.8, 0.4))},
        {"lr[0]": {0: 0.8, 4: 0.8, 5: 0.4, 10: 0.2}, "lr[1]": {0: 0.4, 4: 0.4, 5: 0.2, 10: 0.1}},
        {"lr[0]": (0.0, 0.8), "lr[1]": (0.0, 0.4)},
    ),
    Case(
        "exponential decay",
        partial(ExponentialDecay, 2.048, 0.001),
        lambda n, e: {"lr": decays(n, 2.048, 0.001)},
        # Halved by each of eleven updates.
        {"lr": {0: 2.048, 1: 1.024, 10: 0.002, 11: 0.001}},
        {"lr": (0.001, 2.048)},
    ),
    Case(
        "exponential decay, a list and one upwards",
        partial(ExponentialDecay, [2.048, 0.001], [0.001, 2.048]),
        lambda n, e: {"lr[0]": decays(n, 2.048, 0.001), "lr[1]": decays(n, 0.001, 2.048)},
        {"lr[0]": {0: 2.048, 10: 0.002, 11: 0.001}, "lr[1]": {0: 0.001, 1: 0.002, 11: 2.048}},
        {"lr[0]": (0.001, 2.048), "lr[1]": (0.001, 2.048)},
    ),
    Case(
        "cosine",
        partial(CosineAnnealing, 0.4),
        lambda n, e: {"lr": fall(0.4, 0.0, n)},
        {"lr": {0: 0.4, 3: 0.2 + 0.1 * sqrt(2), 4: 0.3, 6: 0.2, 8: 0.1, 11: 0.006814834742186}},
        {"lr": (0.0, 0.4)},
    ),
    Case(
        "cosine, warm-up",
        partial(CosineAnnealing, 0.4, 0.04, warmup=3),
        lambda n, e: {"lr": rise(0, 0.4, 3) + fall(0.4, 0.04, n - 3)},
        {"lr": {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 6: 0.31, 9: 0.13}},
        {"lr": (0.04, 0.4)},
        shortest=4,
    ),
    Case(
        "cosine, a list",
        partial(CosineAnnealing, [0.4, 0.1], [0.0, 0.1], "25%"),
        lambda n, e: {
            "lr[0]": rise(0, 0.4, warm_share(n)) + fall(0.4, 0.0, n - warm_share(n)),
            "lr[1]": rise(0, 0.1, warm_share(n)) + [0.1] * (n - warm_share(n)),
        },
        {"lr[0]": {0: 0.1, 2: 0.3, 3: 0.4, 6: 0.3, 9: 0.1}, "lr[1]": {0: 0.025, 2: 0.075, 3: 0.1, 11: 0.1}},
        {"lr[0]": (0.0, 0.4), "lr[1]": (0.0, 0.1)},
        shortest=2,
    ),
    Case(
        "warm-up, stable, decay",
        partial(WarmupStableDecay, 0.6, 2, 4),
        lambda n, e: {"lr": trapezoid(n, 0.6, 0.0, 2, 4)},
        {"lr": {0: 0.2, 1: 0.4, 2: 0.6, 7: 0.6, 8: 0.6, 9: 0.45, 10: 0.3, 11: 0.15}},
        {"lr": (0.15, 0.6)},
        shortest=6,
    ),
    Case(
        "warm-up, stable, decay, as it comes",
        partial(WarmupStableDecay, 0.6),
        lambda n, e: {"lr": trapezoid(n, 0.6, 0.0, half_up(Fraction(n, 20)), half_up(Fraction(n, 5)))},
        {"lr": {0: 0.3, 1: 0.6, 9: 0.6, 10: 0.6, 11: 0.3}},
        {"lr": (0.0, 0.6)},
        shortest=2,
    ),
    Case(
        "warm-up, stable, decay, a list",
        partial(WarmupStableDecay, [0.6, 0.3], warmup=0, decay="100%", min_lr=0.06),
        lambda n, e: {"lr[0]": fall(0.6, 0.06, n, line), "lr[1]": fall(0.3, 0.06, n, line)},
        {"lr[0]": {0: 0.6, 6: 0.33, 11: 0.105}, "lr[1]": {0: 0.3, 6: 0.18, 11: 0.08}},
        {"lr[0]": (0.06, 0.6), "lr[1]": (0.06, 0.3)},
    ),
    Case(
        "cyclic, uneven sides",
        partial(CyclicLR, 0.1, 0.5, 2, 4),
        lambda n, e: {"lr": triangles(n, 0.1, 0.5, 2, 4), "momentum": triangles(n, 0.9, 0.8, 2, 4)},
        {
            "lr": {0: 0.1, 1: 0.3, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.2, 6: 0.1, 8: 0.5, 11: 0.2},
            "momentum": {0: 0.9, 1: 0.85, 2: 0.8, 5: 0.875, 6: 0.9, 8: 0.8, 11: 0.875},
        },
        {"lr": (0.1, 0.5), "momentum": (0.8, 0.9)},
        ((0, 6, True, 2), (6, 12, True, 8)),
    ),
    Case(
        "cyclic, triangular2",
        partial(CyclicLR, 0.1, 0.5, 2, mode="triangular2"),
        lambda n, e: {
            "lr": triangles(n, 0.1, 0.5, 2, 2, lambda k, t: 0.5**k),
            "momentum": triangles(n, 0.9, 0.8, 2, 2, lambda k, t: 0.5**k),
        },
        {
            "lr": {0: 0.1, 2: 0.5, 4: 0.1, 6: 0.3, 7: 0.2, 8: 0.1, 10: 0.2, 11: 0.15},
            "momentum": {0: 0.9, 2: 0.8, 4: 0.9, 6: 0.85, 10: 0.875},
        },
        {"lr": (0.1, 0.5), "momentum": (0.8, 0.9)},
        ((0, 4, True, 2), (4, 8, True, 6), (8, 12, True, 10)),
    ),
    Case(
        "cyclic, exp_range, cut on the way up",
        partial(CyclicLR, 0.0, 0.5, 3, 2, "exp_range", 0.5, cycle_momentum=False),
        lambda n, e: {"lr": triangles(n, 0.0, 0.5, 3, 2, lambda k, t: 0.5**t)},
        # At the peaks 0.5 * 0.5**3 and 0.5 * 0.5**8.
        {"lr": {0: 0.0, 3: 0.0625, 5: 0.0, 8: 0.001953125, 10: 0.0}},
        {"lr": (0.0, 0.5)},
        # The run is over before the last peak.
        ((0, 5, True, 3), (5, 10, True, 8), (10, 12, False, 13)),
    ),
    Case(
        "cyclic, a list",
        partial(CyclicLR, [0.1, 0.0], [0.4, 0.3], "0.5ep"),
        lambda n, e: {
            **{
                f"lr[{group}]": triangles(n, base, base + 0.3, half_up(Fraction(e, 2)), half_up(Fraction(e, 2)))
                for group, base in enumerate((0.1, 0.0))
            },
            "momentum": triangles(n, 0.9, 0.8, half_up(Fraction(e, 2)), half_up(Fraction(e, 2))),
        },
        {
            "lr[0]": {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.3, 6: 0.1, 9: 0.4, 11: 0.2},
            "lr[1]": {0: 0.0, 3: 0.3, 6: 0.0, 9: 0.3, 11: 0.1},
            "momentum": {0: 0.9, 3: 0.8, 6: 0.9, 9: 0.8},
        },
        {"lr[0]": (0.1, 0.4), "lr[1]": (0.0, 0.3), "momentum": (0.8, 0.9)},
        ((0, 6, True, 3), (6, 12, True, 9)),
    ),
    Case(
        "warm restarts, a count",
        partial(SGDR, 0.1, 0.01, cycles=3, cycle_momentum=True),
        lambda n, e: {
            "lr": restarts(shared(0, n, [Fraction(1)] * 3), 0.1, 0.01),
            "momentum": restarts(shared(0, n, [Fraction(1)] * 3), 0.85, 0.95),
        },
        {
            "lr": {0: 0.1, 2: 0.055, 3: 0.055 - 0.0225 * sqrt(2), 4: 0.1, 6: 0.055, 8: 0.1, 10: 0.055},
            "momentum": {0: 0.85, 2: 0.9, 4: 0.85, 6: 0.9, 8: 0.85},
        },
        {"lr": (0.01, 0.1), "momentum": (0.85, 0.95)},
        ((0, 4, True, None), (4, 8, True, None), (8, 12, True, None)),
        shortest=3,
    ),
    Case(
        "warm restarts, warm-up and bounds that sink",
        partial(
            SGDR,
            0.4,
            0.08,
            cycles=2,
            cycle_mult=1.5,
            max_lr_decay=0.5,
            min_lr_decay=0.25,
            warmup=2,
            cycle_momentum=True,
        ),
        lambda n, e: {
            "lr": rise(0, 0.4, 2) + restarts(shared(2, n, [Fraction(1), Fraction(3, 2)]), 0.4, 0.08, (0.5, 0.25)),
            "momentum": rise(0.95, 0.85, 2) + restarts(shared(2, n, [Fraction(1), Fraction(3, 2)]), 0.85, 0.95),
        },
        {
            "lr": {0: 0.4 / 3, 1: 0.8 / 3, 2: 0.4, 4: 0.24, 6: 0.2, 8: 0.155, 9: 0.11},
            "momentum": {0: 2.75 / 3, 1: 2.65 / 3, 2: 0.85, 4: 0.9, 6: 0.85, 9: 0.9},
        },
        {"lr": (0.02, 0.4), "momentum": (0.85, 0.95)},
        ((2, 6, True, None), (6, 12, True, None)),
        shortest=5,
    ),
    Case(
        "warm restarts, a length, cut",
        partial(SGDR, 0.4, cycle="1ep", cycle_mult=2),
        lambda n, e: {"lr": restarts(lengths(n, e, 2), 0.4, 0.0)[:n]},
        {"lr": {0: 0.4, 3: 0.2, 6: 0.4, 9: 0.2 + 0.1 * sqrt(2), 10: 0.3}},
        {"lr": (0.0, 0.4)},
        ((0, 6, True, None), (6, 12, False, None)),
    ),
    Case(
        "warm restarts, a list",
        partial(SGDR, [0.4, 0.2], [0.04, 0.0], cycle=4, cycle_mult=2),
        lambda n, e: {
            "lr[0]": restarts(lengths(n, 4, 2), 0.4, 0.04)[:n],
            "lr[1]": restarts(lengths(n, 4, 2), 0.2, 0.0)[:n],
        },
        {"lr[0]": {0: 0.4, 2: 0.22, 4: 0.4, 8: 0.22}, "lr[1]": {0: 0.2, 2: 0.1, 4: 0.2, 8: 0.1}},
        {"lr[0]": (0.04, 0.4), "lr[1]": (0.0, 0.2)},
        ((0, 4, True, None), (4, 12, True, None)),
    ),
    Case(
        "one cycle, as it comes",
        partial(OneCycle, 0.1),
        lambda n, e: {
            "lr": peak(n, 0.1 / 25, 0.1, 0.1 / 25 / 1e4, Fraction(3, 10), cosine),
            "momentum": peak(n, 0.95, 0.85, 0.95, Fraction(3, 10), cosine),
        },
        {"lr": {0: 0.004, 3: 0.1, 7: 0.0500002, 11: 4e-7}, "momentum": {0: 0.95, 3: 0.85, 7: 0.9, 11: 0.95}},
        {"lr": (0.1 / 25 / 1e4, 0.1), "momentum": (0.85, 0.95)},
        ((0, 12, True, 3),),
    ),
    Case(
        "one cycle, three phases in lines",
        partial(OneCycle, 0.5, 0.375, "linear", div_factor=5, final_div_factor=10, three_phase=True),
        lambda n, e: {
            "lr": peak(n, 0.1, 0.5, 0.01, Fraction(3, 8), line, three=True),
            "momentum": peak(n, 0.95, 0.85, 0.95, Fraction(3, 8), line, three=True),
        },
        {
            "lr": {0: 0.1, 1: 0.2, 4: 0.5, 6: 0.3, 8: 0.1, 9: 0.07, 10: 0.04, 11: 0.01},
            "momentum": {0: 0.95, 2: 0.9, 4: 0.85, 6: 0.9, 8: 0.95, 11: 0.95},
        },
        {"lr": (0.01, 0.5), "momentum": (0.85, 0.95)},
        ((0, 12, True, 4),),
    ),
    Case(
        "one cycle, a list",
        partial(OneCycle, [0.1, 0.2], 0.25, cycle_momentum=False),
        lambda n, e: {
            f"lr[{group}]": peak(n, top / 25, top, top / 25 / 1e4, Fraction(1, 4), cosine)
            for group, top in enumerate((0.1, 0.2))
        },
        {"lr[0]": {0: 0.004, 1: 0.052, 2: 0.1, 11: 4e-7}, "lr[1]": {0: 0.008, 1: 0.104, 2: 0.2, 11: 8e-7}},
        {"lr[0]": (0.0, 0.1), "lr[1]": (0.0, 0.2)},
        ((0, 12, True, 2),),
    ),
    Case(
        "a function",
        partial(Schedule, lr=harmonic),
        lambda n, e: {"lr": [0.1 / (step + 1) for step in range(n)]},
        {"lr": {0: 0.1, 1: 0.05, 9: 0.01}},
        {"lr": (0.0, 0.1)},
    ),
    Case(
        "a warm-up joined to restarts",
        partial(
            Schedule, lr=Join((Anneal(0.0, 0.4, "linear", "neither"), Repeat(Anneal(0.4, 0.0), cycles=2)), ("25%",))
        ),
        lambda n, e: {
            "lr": rise(0, 0.4, warm_share(n)) + restarts(shared(warm_share(n), n, [Fraction(1)] * 2), 0.4, 0.0)
        },
        {"lr": {0: 0.1, 2: 0.3, 3: 0.4, 5: 0.2, 7: 0.4}},
        {"lr": (0.0, 0.4)},
        ((3, 7, True, None), (7, 12, True, None)),
        shortest=3,
    ),
    Case(
        "stairs, repeated and scaled, and a line of momentum",
        partial(
            Schedule,
            lr=Scale(Repeat(Staircase(1.0, 0.5, every="50%"), cycles=3), 0.2),
            momentum=Anneal(0.7, 0.92, "linear", "both"),
        ),
        lambda n, e: {"lr": stairs_in_thirds(n), "momentum": whole(0.7, 0.92, n, line)},
        {"lr": {0: 0.2, 1: 0.2, 2: 0.1, 3: 0.1, 4: 0.2, 8: 0.2, 11: 0.1}, "momentum": {0: 0.7, 1: 0.72, 11: 0.92}},
        {"lr": (0.05, 0.2), "momentum": (0.7, 0.92)},
        ((0, 4, True, None), (4, 8, True, None), (8, 12, True, None)),
        shortest=3,
    ),
    Case(
        "weight decay",
        partial(Schedule, weight_decay=Anneal(0.0, 0.55, "linear", "both")),
        lambda n, e: {"weight_decay": whole(0.0, 0.55, n, line)},
        {"weight_decay": {0: 0.0, 1: 0.05, 10: 0.5, 11: 0.55}},
        {"weight_decay": (0.0, 0.55)},
    ),
    Case(
        "all three, lists",
        partial(Schedule, lr=[harmonic, 0.2], momentum=[0.8, Anneal(0.9, 0.6, "linear")], weight_decay=[0.0, 0.1]),
        lambda n, e: {
            "lr[0]": [0.1 / (step + 1) for step in range(n)],
            "lr[1]": [0.2] * n,
            "momentum[0]": [0.8] * n,
            "momentum[1]": fall(0.9, 0.6, n, line),
            "weight_decay[0]": [0.0] * n,
            "weight_decay[1]": [0.1] * n,
        },
        {
            "lr[0]": {0: 0.1, 9: 0.01},
            "lr[1]": {0: 0.2, 11: 0.2},
            "momentum[0]": {0: 0.8, 11: 0.8},
            "momentum[1]": {0: 0.9, 4: 0.8, 11: 0.625},
            "weight_decay[0]": {0: 0.0, 11: 0.0},
            "weight_decay[1]": {0: 0.1, 11: 0.1},
        },
        {
            "lr[0]": (0.0, 0.1),
            "lr[1]": (0.2, 0.2),
            "momentum[0]": (0.8, 0.8),
            "momentum[1]": (0.6, 0.9),
            "weight_decay[0]": (0.0, 0.0),
            "weight_decay[1]": (0.1, 0.1),
        },
    ),
]
