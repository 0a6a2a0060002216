"""The accuracy of SGDR at every point of the budget, against that of step decay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import schedules
from benchmarks.cells import Cell, Outcome, report
from benchmarks.claims import one_cycle
from benchmarks.claims.curves import accuracy_curve, draw_accuracy
from benchmarks.ledger import Bench
from benchmarks.settings import Setting
from benchmarks.telling import Figure, difference, listed, percent, verdict
from benchmarks.told import Told
from lightning_lr.plots.axes import written

NAME = "sgdr"
CLAIM = (
    "SGDR is ahead of step decay at every point of the budget: it is good at each restart, step decay at its end alone."
)
CYCLES = 5


def rate(bench: Bench, setting: Setting) -> float:
    """SGDR's, chosen at the whole budget with five cycles."""
    return bench.best_rate(setting, lambda lr: schedules.sgdr(lr, CYCLES), setting.epochs)


def runs(bench: Bench, setting: Setting, epochs: int, cycles: int) -> list[Outcome]:
    """Of each seed."""
    said = schedules.sgdr(rate(bench, setting), cycles)
    return bench.run([Cell(setting, said, epochs, seed) for seed in bench.size.seeds])


def measure(bench: Bench) -> Told:
    rows, table, found, verdicts = [], [], [], []
    for setting in bench.size.settings:
        decay = one_cycle.runs(bench, setting, "step decay", setting.epochs)
        restarts = runs(bench, setting, setting.epochs, CYCLES)
        every = one_cycle.PARTS // CYCLES
        along = {
            "step decay": [at(decay, (part + 1) * every - 1) for part in range(CYCLES)],
            "SGDR": [at(restarts, part) for part in range(CYCLES)],
        }
        rates = {"step decay": one_cycle.rate(bench, setting, "step decay"), "SGDR": rate(bench, setting)}
        for name, outcomes in (("step decay", decay), ("SGDR", restarts)):
            rows.append(
                {
                    "setting": setting.name,
                    "schedule": name,
                    "lr": rates[name],
                    "epochs": setting.epochs,
                    "accuracy_at": {f"{(part + 1) / CYCLES:.0%}": along[name][part].kept() for part in range(CYCLES)},
                    "curve": accuracy_curve(outcomes),
                }
            )
        words, at_which = [], {"ahead": [], "behind": [], "even, as far as can be told,": []}
        for part in range(CYCLES):
            share = f"{100 * (part + 1) / CYCLES:.0f} %"
            apart = difference(along["SGDR"][part], along["step decay"][part])
            which = "even, as far as can be told," if not apart.shown else "ahead" if apart.mean > 0 else "behind"
            at_which[which].append(share)
            words.append(f"{verdict(apart)} at {share} ({apart.told()})")
            told = [along[name][part].told() for name in ("step decay", "SGDR")]
            table.append([setting.name, share, *told, apart.told()])
        found.append(
            f"{setting.name}: against step decay at {written(rates['step decay'])}, SGDR at {written(rates['SGDR'])} "
            f"is {'; '.join(words)} of the budget."
        )
        places = [f"{word} at {listed(shares)}" for word, shares in at_which.items() if shares]
        verdicts.append(f"{setting.name}: SGDR is {', '.join(places)} of the budget")
    columns = [
        "data, network",
        "share of the budget",
        "step decay, test accuracy %",
        "SGDR, at a restart",
        "difference",
    ]
    return Told(f"{'; '.join(verdicts)}.", found, {"seeds": len(bench.size.seeds)}, columns, table, rows, {})


def at(outcomes: list[Outcome], member: int) -> Figure:
    """The test accuracy of one member, in percent."""
    return percent([report([each.readings[member]], each.target).members()[0]["accuracy"] for each in outcomes])


def draw(content: dict[str, Any], path: Path) -> None:
    draw_accuracy(content["rows"], path, "Validation accuracy along one run")
