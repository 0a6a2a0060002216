"""The three policies' formulas, written a second time from the papers and with nothing of ours."""

from __future__ import annotations

from math import cos, floor, pi
from typing import TypedDict


class Columns(TypedDict):
    lr: list[float]
    momentum: list[float]


def sgdr(updates: int) -> Columns:
    """`SGDR(0.1, 0.01, cycles=3, cycle_momentum=True)`: LR 0.1 → 0.01 and momentum 0.85 → 0.95, three times."""
    falls = []
    for cycle in range(3):
        length = updates * (cycle + 1) // 3 - updates * cycle // 3
        falls += [(1 + cos(pi * update / length)) / 2 for update in range(length)]
    return {
        "lr": [0.01 + (0.1 - 0.01) * fall for fall in falls],
        "momentum": [0.95 + (0.85 - 0.95) * fall for fall in falls],
    }


def one_cycle(updates: int) -> Columns:
    """`OneCycle(0.1)`: LR 0.004 → 0.1 → 4e-7 and momentum 0.95 → 0.85 → 0.95, with the peak at three tenths."""
    peak = max(0, floor(0.3 * updates + 0.5) - 1)

    def between(start: float, top: float, end: float, update: int) -> float:
        if update < peak:
            return top + (start - top) * (1 + cos(pi * update / peak)) / 2
        return end + (top - end) * (1 + cos(pi * (update - peak) / (updates - 1 - peak))) / 2

    return {
        "lr": [between(0.1 / 25, 0.1, 0.1 / 25 / 1e4, update) for update in range(updates)],
        "momentum": [between(0.95, 0.85, 0.95, update) for update in range(updates)],
    }


def step_decay(updates: int) -> Columns:
    """`StepDecay(0.8, factor=0.5, every=3)` on an optimizer with momentum 0.9."""
    return {"lr": [0.8 * 0.5 ** (update // 3) for update in range(updates)], "momentum": [0.9] * updates}
