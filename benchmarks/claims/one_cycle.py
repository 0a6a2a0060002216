"""1cycle reaches the final accuracy of step decay in a fraction of its updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import schedules
from benchmarks.cells import Cell, Outcome
from benchmarks.claims.curves import side_by_side
from benchmarks.ledger import Bench
from benchmarks.settings import Setting
from benchmarks.telling import Figure, difference, listed, percent
from benchmarks.told import Told
from lightning_lr.plots.axes import written
from lightning_lr.plots.frame import DASHES, PALETTE, save

NAME = "one_cycle"
CLAIM = "1cycle reaches step decay's final accuracy in a fraction of its updates."
KINDS = {
    "step decay": schedules.step_decay,
    "1cycle": schedules.one_cycle,
    "1cycle, momentum not cycled": schedules.one_cycle_steady_momentum,
}
MARGIN = 1.0  # points: what is no further below counts as even
PARTS = 10  # of a run of step decay, at whose ends weights are kept: the claim on ensembles asks for them


def budgets(setting: Setting) -> list[int]:
    """Epochs: all, a half, and somewhat less than a third and a fifth."""
    return [setting.epochs, setting.short, round(setting.epochs * 0.29), round(setting.epochs * 0.19)]


def rate(bench: Bench, setting: Setting, kind: str) -> float:
    """The rate of a schedule: step decay's chosen at the whole budget, that of 1cycle at the short one."""
    if kind == "step decay":
        return bench.best_rate(setting, KINDS[kind], setting.epochs, PARTS)
    return bench.best_rate(setting, KINDS[kind], budgets(setting)[2])


def runs(bench: Bench, setting: Setting, kind: str, epochs: int) -> list[Outcome]:
    """Of each seed."""
    members = 0 if kind != "step decay" else 3 if epochs == budgets(setting)[2] else PARTS
    said = KINDS[kind](rate(bench, setting, kind))
    return bench.run([Cell(setting, said, epochs, seed, members) for seed in bench.size.seeds])


def measure(bench: Bench) -> Told:
    rows, table, found, shares = [], [], [], []
    for setting in bench.size.settings:
        accuracy: dict[tuple[str, int], Figure] = {}
        for kind in KINDS:
            for epochs in budgets(setting):
                outcomes = runs(bench, setting, kind, epochs)
                accuracy[kind, epochs] = percent([each.last["accuracy"] for each in outcomes])
                steps, lr = outcomes[0].steps, rate(bench, setting, kind)
                against = difference(accuracy[kind, epochs], accuracy["step decay", setting.epochs])
                rows.append(
                    {
                        "setting": setting.name,
                        "schedule": kind,
                        "lr": lr,
                        "epochs": epochs,
                        "steps": steps,
                        "accuracy": accuracy[kind, epochs].kept(),
                        "against_step_decay_at_full_budget": against.kept(),
                    }
                )
                whole = kind == "step decay" and epochs == setting.epochs
                told = "" if whole else against.told()
                table.append(
                    [setting.name, kind, written(lr), f"{epochs} ({steps})", accuracy[kind, epochs].told(), told]
                )
        found += sentences(setting, accuracy)
        shares.append(f"{setting.name}: {share(setting, accuracy)}")
    columns = [
        "data, network",
        "schedule",
        "peak LR",
        "epochs (updates)",
        "test accuracy %",
        "against all of step decay",
    ]
    return Told(f"{'; '.join(shares)}.", found, {"seeds": len(bench.size.seeds)}, columns, table, rows, {})


def share(setting: Setting, accuracy: dict[tuple[str, int], Figure]) -> str:
    """Say which share of step decay's updates 1cycle asks for."""
    whole = accuracy["step decay", setting.epochs]
    good = [epochs for epochs in budgets(setting) if accuracy["1cycle", epochs].mean >= whole.mean]
    even = [epochs for epochs in budgets(setting) if difference(accuracy["1cycle", epochs], whole).low > -MARGIN]

    def told(epochs: list[int]) -> str:
        return (
            f"after {100 * min(epochs) / setting.epochs:.0f} % of the updates"
            if epochs
            else "at no budget that was tried"
        )

    return f"1cycle is as accurate as step decay {told(good)}, and less than a point below it {told(even)}"


def sentences(setting: Setting, accuracy: dict[tuple[str, int], Figure]) -> list[str]:
    """Say at which budget 1cycle is still as good, and what momentum does."""
    whole, said = accuracy["step decay", setting.epochs], []
    for kind in list(KINDS):
        shorter = [epochs for epochs in budgets(setting) if (kind, epochs) != ("step decay", setting.epochs)]
        good = [epochs for epochs in shorter if accuracy[kind, epochs].mean >= whole.mean]
        even = [epochs for epochs in shorter if difference(accuracy[kind, epochs], whole).low > -MARGIN]
        told = f"{setting.name}: step decay has {whole.told()} % after {setting.epochs} epochs; {kind} "
        if good:
            least = min(good)
            part = f"{100 * least / setting.epochs:.0f} % of the updates"
            told += f"has as much after {least} ({part}, {accuracy[kind, least].told()} %)"
        else:
            told += "has as much at no shorter budget" if kind == "step decay" else "has as much at no budget"
        least = min(even) if even else None
        if least is not None and (not good or least < min(good)):
            told += f", and less than a point below it, with 95 % confidence, after {least}"
            told += f" ({accuracy[kind, least].told()} %)"
        said.append(told + ".")
    equal = [
        f"{difference(accuracy['1cycle', epochs], accuracy['step decay', epochs]).told()} at {epochs} epochs"
        for epochs in budgets(setting)
    ]
    said.append(f"{setting.name}, 1cycle less step decay, both of the same budget: {listed(equal)}.")
    for epochs in (budgets(setting)[0], budgets(setting)[2]):
        apart = difference(accuracy["1cycle", epochs], accuracy["1cycle, momentum not cycled", epochs])
        word = "helps" if apart.low > 0 else "harms" if apart.high < 0 else "makes no difference that can be told"
        said.append(f"{setting.name}: cycling momentum {word} at {epochs} epochs, {apart.told()}.")
    return said


def draw(content: dict[str, Any], path: Path) -> None:
    settings = (row["setting"] for row in content["rows"])
    figure, panels = side_by_side(path, settings, height=3.6, quantity="test accuracy %", xlabel="budget, epochs")
    for setting, panel in panels.items():
        for index, kind in enumerate(KINDS):
            mine = [row for row in content["rows"] if (row["setting"], row["schedule"]) == (setting, kind)]
            values = [[row["accuracy"][name] for row in mine] for name in ("mean", "sd")]
            look = {"color": PALETTE[index], "linestyle": DASHES[index], "marker": "o", "capsize": 3}
            panel.errorbar([row["epochs"] for row in mine], values[0], yerr=values[1], label=kind, **look)
    title = "Final accuracy by budget, each run of that length"
    save(figure, path, [*panels.values()], title, xlabel="budget, epochs")
