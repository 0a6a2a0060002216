"""Too low, right and too high a rate, and where the range test put them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import schedules
from benchmarks.cells import Cell, Outcome
from benchmarks.claims.curves import heading
from benchmarks.ledger import Bench
from benchmarks.telling import percent, tally
from benchmarks.told import Told
from lightning_lr.plots.axes import set_rates, written
from lightning_lr.plots.frame import PALETTE, figure_for, save, style

NAME = "rates"
CLAIM = "Too low a rate learns slowly, too high a rate badly or not at all, and a range test finds one between."
APART = 100.0  # a hundredth of the suggested rate, and a hundred times it
NAMES = {"too low": 1 / APART, "suggested": 1.0, "too high": APART}
POINTS = 120  # of a curve that is kept


def measure(bench: Bench) -> Told:
    rows, table, found, tests, right = [], [], [], {}, {}
    for setting in bench.size.settings:
        (test,) = bench.run([Cell(setting, (), 0, 0)])
        tests[setting.name] = {name: test.found[name] for name in ("fixed_lr", "lrs", "smoothed")}
        epochs, accuracy = setting.epochs // 4, {}
        for name, factor in NAMES.items():
            lr = float(f"{test.found['fixed_lr'] * factor:.2g}")
            outcomes = bench.run([Cell(setting, schedules.constant(lr), epochs, seed) for seed in bench.size.seeds])
            accuracy[name] = percent([each.last["accuracy"] for each in outcomes])
            last = [loss for each in outcomes for loss in each.train_loss[-each.steps_per_epoch :]]
            ends = sum(last) / len(last)
            rows.append(
                {
                    "setting": setting.name,
                    "rate": name,
                    "lr": lr,
                    "epochs": epochs,
                    "accuracy": accuracy[name].kept(),
                    "train_loss_of_the_last_epoch": round(ends, 4) if math.isfinite(ends) else None,
                    "diverged": sum(each.diverged for each in outcomes),
                    "curve": mean_curve(outcomes),
                }
            )
            loss = "not a number" if not math.isfinite(ends) else f"{ends:.2f}" if ends < 1e3 else f"{ends:.0e}"
            table.append([setting.name, name, written(lr), accuracy[name].told(), loss, f"{rows[-1]['diverged']}"])
        means = {name: figure.mean for name, figure in accuracy.items()}
        right[setting.name] = max(means, key=means.__getitem__) == "suggested"
        found.append(
            f"{setting.name}: after {epochs} epochs the rate that the range test suggests for a fixed one, "
            f"{written(test.found['fixed_lr'])}, has {accuracy['suggested'].told()} % accuracy; a hundredth of it "
            f"{accuracy['too low'].told()} %, a hundred times it {accuracy['too high'].told()} %"
            + ("." if right[setting.name] else ": the suggestion is not the best of the three.")
        )
    conclusion = tally(
        {
            "the suggested rate is the best of the three on": [name for name, best in right.items() if best],
            "it is not on": [name for name, best in right.items() if not best],
        }
    )
    return Told(
        conclusion,
        found,
        {"seeds": len(bench.size.seeds)},
        [
            "data, network",
            "rate",
            "LR",
            "test accuracy %",
            "training loss, last epoch",
            "runs with a loss that is no number",
        ],
        table,
        rows,
        {"tests": tests},
    )


def mean_curve(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Return the training loss, a mean over seeds and over as many updates as make 120 points of a run."""
    longest = max(len(each.train_loss) for each in outcomes)
    width = max(1, longest // POINTS)
    steps, losses = [], []
    for start in range(0, longest - width + 1, width):
        part = [loss for each in outcomes for loss in each.train_loss[start : start + width] if math.isfinite(loss)]
        if part:
            steps.append(start + width / 2)
            losses.append(round(sum(part) / len(part), 4))
    return {"steps": steps, "losses": losses}


def draw(content: dict[str, Any], path: Path) -> None:
    tests: dict[str, Any] = content["tests"]
    figure = figure_for(path, height=3.0 * len(tests))
    grid = figure.subplots(len(tests), 2, squeeze=False)
    for (test, curves), (setting, measured) in zip(grid, tests.items(), strict=True):
        rows = [row for row in content["rows"] if row["setting"] == setting]
        test.plot(measured["lrs"], measured["smoothed"], color="#6B6B6B", label="range test")
        style(test, f"{heading(setting)}\ntraining loss")
        set_rates(test, min(row["lr"] for row in rows), max(*measured["lrs"], *(row["lr"] for row in rows)), log=True)
        style(curves, "training loss")
        calm = max(
            measured["smoothed"][0], *(max(row["curve"]["losses"][:1]) for row in rows if row["rate"] != "too high")
        )
        for panel in (test, curves):
            panel.set_ylim(0, 1.25 * calm)
        for row, colour in zip(rows, (PALETTE[0], PALETTE[2], PALETTE[1]), strict=True):
            test.axvline(row["lr"], color=colour, linestyle="dashed", linewidth=1.4)
            curves.plot(row["curve"]["steps"], row["curve"]["losses"], color=colour, label=f"{row['rate']} rate")
        test.set_xlabel("learning rate", fontsize=10)
        curves.set_xlabel("optimizer updates", fontsize=10)
    title = "Where the range test puts a rate, and what other rates do"
    save(figure, path, list(grid.ravel()), title)
