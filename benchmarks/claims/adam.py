"""Whether 3e-4 is the best rate for Adam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import schedules
from benchmarks.cells import Cell
from benchmarks.ledger import Bench
from benchmarks.telling import difference, percent
from benchmarks.told import Told
from lightning_lr.plots.axes import set_rates, written
from lightning_lr.plots.frame import DASHES, GREY, PALETTE, figure_for, save, style

NAME = "adam"
CLAIM = "3e-4 is the best learning rate for Adam."
FOLKLORE = 3e-4
RATES = (3e-5, 1e-4, FOLKLORE, 1e-3, 3e-3, 1e-2, 3e-2)


def measure(bench: Bench) -> Told:
    rows, table, found, held = [], [], [], 0
    for setting in bench.size.adam:
        accuracy, val = {}, {}
        for rate in RATES:
            wanted = [
                Cell(setting, schedules.constant(rate), setting.epochs, seed, also=("optimizer=adam",))
                for seed in bench.size.seeds
            ]
            outcomes = bench.run(wanted)
            accuracy[rate] = percent([each.last["accuracy"] for each in outcomes])
            val[rate] = percent([each.val["accuracy"] for each in outcomes])
        # Chosen on validation data: the best on the test set is partly the luckiest there.
        best = max(RATES, key=lambda rate: val[rate].mean)
        apart = difference(accuracy[best], accuracy[FOLKLORE])
        rows += [
            {
                "setting": setting.name,
                "lr": rate,
                "epochs": setting.epochs,
                "best_on_validation": rate == best,
                "accuracy": accuracy[rate].kept(),
                "val_accuracy": val[rate].kept(),
            }
            for rate in RATES
        ]
        told = [f"**{accuracy[rate].told()}**" if rate == best else accuracy[rate].told() for rate in RATES]
        table.append([f"{setting.name}, {setting.epochs} epochs", *told])
        if best == FOLKLORE:
            held += 1
            found.append(
                f"{setting.name}, {setting.epochs} epochs: 3e-4 is the best of the seven, {accuracy[best].told()} %."
            )
        else:
            held += not apart.low > 0
            word = "more than 3e-4 gives" if apart.low > 0 else "no more than 3e-4 gives, as far as can be told"
            found.append(
                f"{setting.name}, {setting.epochs} epochs: {written(best)} is the best on validation data; its test "
                f"accuracy, {accuracy[best].told()} %, is {word} ({accuracy[FOLKLORE].told()} %): {apart.told()}."
            )
    conclusion = (
        f"Another of seven rates is shown to be better than 3e-4 on {len(bench.size.adam) - held} of "
        f"{len(bench.size.adam)} combinations of data and network."
    )
    columns = ["data, network", *(f"LR {written(rate)}" for rate in RATES)]
    return Told(conclusion, found, {"seeds": len(bench.size.seeds)}, columns, table, rows, {})


def draw(content: dict[str, Any], path: Path) -> None:
    figure = figure_for(path, height=3.6)
    panel = figure.subplots()
    style(panel, "points below the best rate")
    set_rates(panel, RATES[0], RATES[-1], log=True)
    settings = list(dict.fromkeys(row["setting"] for row in content["rows"]))
    for index, setting in enumerate(settings):
        mine = [row for row in content["rows"] if row["setting"] == setting]
        highest = max(row["accuracy"]["mean"] for row in mine)
        lost = [highest - row["accuracy"]["mean"] for row in mine]
        look = {"color": PALETTE[index], "linestyle": DASHES[index % 4], "marker": "o", "capsize": 3}
        panel.errorbar(
            [row["lr"] for row in mine], lost, yerr=[row["accuracy"]["sd"] for row in mine], label=setting, **look
        )
    panel.axvline(FOLKLORE, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), label="3e-4")
    save(figure, path, [panel], "Adam: what each fixed rate loses against the best", xlabel="learning rate")
