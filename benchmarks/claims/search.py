"""Grid against random search, at the same number of runs."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell
from benchmarks.ledger import Bench
from benchmarks.settings import Setting
from benchmarks.telling import difference, percent, verdict
from benchmarks.told import Told
from lightning_lr.plots.frame import DASHES, PALETTE, figure_for, save, style

NAME = "search"
CLAIM = "Random search finds a better network than a grid of as many runs."
BOX = {"lr": (1e-3, 3.0), "weight_decay": (1e-6, 1e-2), "one_less_momentum": (0.01, 0.5)}


def grid(side: int) -> list[tuple[float, ...]]:
    """The middles of so many equal parts in each direction, on a logarithmic scale."""
    sides = []
    for low, high in BOX.values():
        shares = [(2 * part + 1) / (2 * side) for part in range(side)]
        sides.append([low * (high / low) ** share for share in shares])
    return list(product(*sides))


def drawn(seed: int, side: int) -> list[tuple[float, ...]]:
    """As many from the same box, each side drawn evenly on a logarithmic scale."""
    random = np.random.default_rng(seed)
    lows, highs = ([math.log(bounds[end]) for bounds in BOX.values()] for end in (0, 1))
    return [tuple(map(float, point)) for point in np.exp(random.uniform(lows, highs, (side ** len(BOX), len(BOX))))]


def cell(setting: Setting, point: tuple[float, ...], seed: int) -> Cell:
    lr, decay, slack = point
    said = ("schedule=one_cycle", f"schedule.max_lr={lr:.4g}", "schedule.cycle_momentum=false")
    also = (f"optimizer.weight_decay={decay:.4g}", f"optimizer.momentum={1 - slack:.4g}")
    return Cell(setting, said, setting.epochs, seed, also=also)


def measure(bench: Bench) -> Told:
    setting, side = bench.size.search, bench.size.side
    runs = side ** len(BOX)
    order = np.random.default_rng(0).permutation(runs)  # of the grid: whoever stops early has tried a corner otherwise
    plans = {
        "grid": [[grid(side)[i] for i in order] for _ in bench.size.seeds],
        "random": [drawn(s, side) for s in bench.size.seeds],
    }
    rows, best, told_after = [], {}, [*(n for n in (3, 9) if n < runs), runs]
    for name, of_seeds in plans.items():
        wanted = [
            cell(setting, point, seed)
            for seed, points in zip(bench.size.seeds, of_seeds, strict=True)
            for point in points
        ]
        outcomes = bench.run(wanted)
        along = []
        for place in range(len(of_seeds)):
            mine = outcomes[place * runs : (place + 1) * runs]
            chosen = [
                max(mine[:n], key=lambda each: (each.val["accuracy"], -each.val["nll"])) for n in range(1, runs + 1)
            ]
            along.append([each.last["accuracy"] for each in chosen])
        best[name] = percent([curve[-1] for curve in along])
        rows.append(
            {
                "search": name,
                "setting": setting.name,
                "runs": runs,
                "accuracy": best[name].kept(),
                "after": {f"{n}": percent([curve[n - 1] for curve in along]).kept() for n in told_after},
                "curve": [percent([curve[n] for curve in along]).kept() for n in range(runs)],
            }
        )
    apart = difference(best["random"], best["grid"])
    found = [
        f"{setting.name}, {len(BOX)} hyper-parameters, {runs} runs of {setting.epochs} epochs: the run that is best on "
        f"validation data has {best['random'].told()} % test accuracy by random search, {best['grid'].told()} % by "
        f"grid search; random search is {verdict(apart)}, {apart.told()}."
    ]
    shares = [f"after {n} runs" for n in told_after]
    table = [[row["search"], *(f"{of['mean']:.1f} ± {of['sd']:.1f}" for of in row["after"].values())] for row in rows]
    conclusion = f"At {runs} runs each, random search is {verdict(apart)}: {apart.told()}."
    return Told(
        conclusion,
        found,
        {"seeds": len(bench.size.seeds), "runs": runs},
        ["search", *shares],
        table,
        rows,
        {"box": BOX},
    )


def draw(content: dict[str, Any], path: Path) -> None:
    figure = figure_for(path, height=3.4)
    panel = figure.subplots()
    style(panel, "test accuracy %, best so far")
    for index, row in enumerate(content["rows"]):
        means, sds = ([of[name] for of in row["curve"]] for name in ("mean", "sd"))
        runs, colour = range(1, len(means) + 1), PALETTE[index]
        low, high = ([m + sign * s for m, s in zip(means, sds, strict=True)] for sign in (-1, 1))
        panel.fill_between(runs, low, high, color=colour, alpha=0.15, linewidth=0)
        panel.plot(runs, means, color=colour, linestyle=DASHES[index], label=row["search"])
    # The first two runs may be anything, and would press the rest into a line.
    later = [of for row in content["rows"] for of in row["curve"][2:]]
    panel.set_ylim(min(of["mean"] - of["sd"] for of in later) - 1, max(of["mean"] + of["sd"] for of in later) + 1)
    save(figure, path, [panel], f"Grid and random search: {content['rows'][0]['setting']}", xlabel="runs")
