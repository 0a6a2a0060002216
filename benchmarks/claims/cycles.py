"""Cycles that lengthen and bounds that decay, against cycles that are all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import schedules
from benchmarks.cells import Cell, report
from benchmarks.claims import sgdr
from benchmarks.claims.curves import accuracy_curve, draw_points
from benchmarks.ledger import Bench
from benchmarks.settings import Setting
from benchmarks.telling import difference, percent, tally, verdict
from benchmarks.told import Told
from lightning_lr.plots.axes import written

NAME = "cycles"
CLAIM = "Cycles that lengthen (one epoch, two, four, …) and bounds that decay are better than equal cycles."
DECAY = 0.7
NAMES = {"last": "last model", "ensemble": "ensemble of all snapshots"}


def kinds(setting: Setting, lr: float) -> dict[str, schedules.Overrides]:
    """What is run, at one rate: that which is best for equal cycles."""
    doublings = setting.epochs.bit_length()
    return {
        f"{sgdr.CYCLES} equal cycles": schedules.sgdr(lr, sgdr.CYCLES),
        f"{2 * sgdr.CYCLES} equal cycles": schedules.sgdr(lr, 2 * sgdr.CYCLES),
        f"{doublings} cycles, doubling": schedules.sgdr_doubling(lr),
        f"{sgdr.CYCLES} cycles, max_lr times {DECAY} each": schedules.sgdr_decaying(lr, sgdr.CYCLES, DECAY),
    }


def measure(bench: Bench) -> Told:
    rows, table, found = [], [], []
    became: dict[str, list[str]] = {"better": [], "worse": [], "neither": []}
    for setting in bench.size.settings:
        lr = sgdr.rate(bench, setting)
        last, pooled = {}, {}
        for name, said in kinds(setting, lr).items():
            outcomes = bench.run([Cell(setting, said, setting.epochs, seed) for seed in bench.size.seeds])
            last[name] = percent([each.last["accuracy"] for each in outcomes])
            pooled[name] = percent([report(list(each.readings), each.target).score()["accuracy"] for each in outcomes])
            rows.append(
                {
                    "setting": setting.name,
                    "schedule": name,
                    "lr": lr,
                    "epochs": setting.epochs,
                    "last": last[name].kept(),
                    "ensemble": pooled[name].kept(),
                    "curve": accuracy_curve(outcomes),
                }
            )
        equal, *others = last
        for name in last:
            told = [difference(of[name], of[equal]).told() if name != equal else "" for of in (last, pooled)]
            table.append([setting.name, name, last[name].told(), told[0], pooled[name].told(), told[1]])
        for name in others:
            single, ensemble = (difference(of[name], of[equal]) for of in (last, pooled))
            for what, apart in (("last model", single), ("ensemble", ensemble)):
                which = "neither" if not apart.shown else "better" if apart.mean > 0 else "worse"
                became[which].append(f"{setting.name}, {name} ({what})")
            found.append(
                f"{setting.name}: against {equal} at {written(lr)}, {name}: the last model is {verdict(single)}, "
                f"{single.told()}; the ensemble of all snapshots is {verdict(ensemble)}, {ensemble.told()}."
            )
    conclusion = tally(
        {
            "better than five equal cycles:": became["better"],
            "worse:": became["worse"],
            "no difference can be told in": [
                f"{len(became['neither'])} of {sum(map(len, became.values()))} comparisons"
            ],
        }
    )
    columns = [
        "data, network",
        "schedule",
        "last model, test accuracy %",
        "difference",
        "ensemble, test accuracy %",
        "difference",
    ]
    return Told(conclusion, found, {"seeds": len(bench.size.seeds)}, columns, table, rows, {})


def draw(content: dict[str, Any], path: Path) -> None:
    groups: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for row in content["rows"]:
        told = {name: (row[key]["mean"], row[key]["sd"]) for key, name in NAMES.items()}
        groups.setdefault(row["setting"], {})[row["schedule"]] = told
    draw_points(groups, path, "One budget, cut into cycles in four ways", "test accuracy %")
