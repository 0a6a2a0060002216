"""Smith's triangles reach the accuracy of the best fixed rate in fewer updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import schedules
from benchmarks.cells import Cell, Outcome
from benchmarks.claims.curves import accuracy_curve, draw_accuracy
from benchmarks.ledger import Bench
from benchmarks.telling import Figure, difference, percent, tally, verdict
from benchmarks.told import Told
from lightning_lr.plots.axes import written

NAME = "clr"
CLAIM = "Triangular rates between the bounds of a range test reach the best fixed rate's accuracy in fewer updates."
CYCLES = 3


def measure(bench: Bench) -> Told:
    rows, table, found, targets = [], [], [], {}
    words: dict[str, list[str]] = {"fewer": [], "more": [], "not fewer, as far as can be told": []}
    for setting in bench.size.settings:
        epochs, seeds = setting.short, bench.size.seeds
        (test,) = bench.run([Cell(setting, (), 0, 0)])
        low, high = (float(f"{test.found[name]:.2g}") for name in ("base_lr", "max_lr"))
        wanted = {f"fixed {written(rate)}": schedules.constant(rate) for rate in setting.rates}
        for mode in ("triangular", "triangular2"):
            wanted[mode] = schedules.triangular(low, high, f"{epochs / CYCLES / 2:g}ep", mode)
        cells = [Cell(setting, said, epochs, seed) for said in wanted.values() for seed in seeds]
        outcomes = bench.run(cells)
        runs = {name: outcomes[place * len(seeds) : (place + 1) * len(seeds)] for place, name in enumerate(wanted)}
        ends = {name: percent([settled(each) for each in each_seed]) for name, each_seed in runs.items()}
        best = max((name for name in wanted if name.startswith("fixed")), key=lambda name: ends[name].mean)
        target = targets[setting.name] = ends[best].mean
        tests = {name: percent([each.last["accuracy"] for each in each_seed]) for name, each_seed in runs.items()}
        reach = {
            name: Figure(tuple(float(epochs_to(each, target)) for each in each_seed))
            for name, each_seed in runs.items()
        }
        for name, each_seed in runs.items():
            missed = sum(time > epochs for time in reach[name].each)
            rows.append(
                {
                    "setting": setting.name,
                    "schedule": name,
                    "epochs": epochs,
                    "base_lr": low,
                    "max_lr": high,
                    "best_fixed": name == best,
                    "epochs_to_target": reach[name].kept(),
                    "not_reached": missed,
                    "val_accuracy": ends[name].kept(),
                    "test_accuracy": tests[name].kept(),
                    "curve": accuracy_curve(each_seed),
                }
            )
            reached = f"{reach[name].told()}" + (f" ({missed} never)" if missed else "")
            label = f"{name} (best fixed)" if name == best else name
            table.append([setting.name, label, ends[name].told(), reached, tests[name].told()])
        for mode in ("triangular", "triangular2"):
            apart = difference(reach[mode], reach[best])
            word = "fewer" if apart.high < 0 else "more" if apart.low > 0 else "not fewer, as far as can be told"
            last = difference(tests[mode], tests[best])
            words[word].append(f"{setting.name} ({mode})")
            found.append(
                f"{setting.name}: {mode} between {written(low)} and {written(high)} is at the best fixed rate's "
                f"validation accuracy ({best}, {target:.1f} %) after {reach[mode].told()} epochs, the fixed rate after "
                f"{reach[best].told()}: {word} ({apart.told(unit='epochs')}). "
                f"At the end its test accuracy is {verdict(last)}, {last.told()}."
            )
    told = {
        "fewer updates than the best fixed rate on": words["fewer"],
        "more on": words["more"],
        "no difference can be told on": words["not fewer, as far as can be told"],
    }
    return Told(
        tally(told),
        found,
        {"seeds": len(bench.size.seeds)},
        [
            "data, network",
            "schedule",
            "validation accuracy %, last three epochs",
            "epochs to the best fixed rate's",
            "test accuracy %",
        ],
        table,
        rows,
        {"targets": targets},
    )


def settled(outcome: Outcome) -> float:
    """Return the validation accuracy of the last three epochs: at a fixed rate one alone is mostly noise."""
    last = outcome.val_accuracy[-3:]
    return sum(last) / len(last)


def epochs_to(outcome: Outcome, target: float) -> int:
    """Return the first epoch at whose end the accuracy in percent is reached; where it never is, one after the last."""
    for epoch, accuracy in enumerate(outcome.val_accuracy, 1):
        if 100 * accuracy >= target:
            return epoch
    return len(outcome.val_accuracy) + 1


def draw(content: dict[str, Any], path: Path) -> None:
    rows = [
        {**row, "label": "best fixed rate" if row["best_fixed"] else row["schedule"]}
        for row in content["rows"]
        if row["best_fixed"] or not row["schedule"].startswith("fixed")
    ]
    title = "Validation accuracy: triangles against the best fixed rate"
    draw_accuracy(rows, path, title, targets=content["targets"])
