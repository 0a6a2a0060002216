"""A snapshot ensemble against whatever else the same training, or m times as much, could have bought."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from benchmarks.cells import Outcome, report
from benchmarks.claims import one_cycle, sgdr
from benchmarks.claims.curves import draw_points
from benchmarks.ledger import Bench
from benchmarks.settings import Setting
from benchmarks.telling import Difference, Figure, difference, listed, percent, verdict
from benchmarks.told import Told

NAME = "ensembles"
CLAIM = "Train 1, get M for free: the snapshots of one run together beat the best single model of the same budget."
INDEPENDENT = 3  # networks, of the seeds at hand
SCORES = ("accuracy", "nll", "ece", "disagreement")
SNAPSHOTS, LATEST, LAST = "snapshot ensemble", "its latest two thirds", "last snapshot"
SINGLE, NO_CYCLE, APART = "best single model", "NoCycle snapshots", f"{INDEPENDENT} independent networks"


def plans(setting: Setting) -> list[tuple[int, int]]:
    """Epochs and cycles: short ones and long ones."""
    whole, short, least, _ = one_cycle.budgets(setting)
    return [(least, 3), (short, 5), (whole, 5), (whole, 10)]


def arms(bench: Bench, setting: Setting, epochs: int, cycles: int) -> tuple[dict[str, list[dict[str, float]]], str]:
    """Return the scores of each arm, a dict a seed, and which single model is the best."""
    snapshots = sgdr.runs(bench, setting, epochs, cycles)
    decay = one_cycle.runs(bench, setting, "step decay", epochs)
    singles = {kind: one_cycle.runs(bench, setting, kind, epochs) for kind in ("step decay", "1cycle")}
    # On validation data: chosen on the test set it would be the luckier.
    best = max(singles, key=lambda kind: fmean(each.val["accuracy"] for each in singles[kind]))
    scores: dict[str, list[dict[str, float]]] = {
        SNAPSHOTS: [pooled(each.readings, each.target) for each in snapshots],
        LATEST: [pooled(each.readings[-round(cycles * 2 / 3) :], each.target) for each in snapshots],
        LAST: [pooled(each.readings[-1:], each.target) for each in snapshots],
        SINGLE: [pooled(each.readings[-1:], each.target) for each in singles[best]],
        NO_CYCLE: [pooled(every(each.readings, cycles), each.target) for each in decay],
        APART: [together(singles[best], start) for start in range(len(bench.size.seeds))],
    }
    return scores, best


def pooled(readings: Tensor | Sequence[Tensor], target: Tensor) -> dict[str, float]:
    """Scores of the mean of the members' probabilities, and the share of samples that two of them name differently."""
    told = report(list(readings), target)
    pairs = [value for i, row in enumerate(told.disagreement()) for value in row[:i]]
    return {**told.score(), "disagreement": fmean(pairs) if pairs else 0.0}


def every(readings: Tensor, members: int) -> Tensor:
    """So many of a run's weights, evenly, the last among them."""
    apart, rest = divmod(len(readings), members)
    if rest:
        raise ValueError(f"members={members}: {len(readings)} weights cannot be taken evenly")
    return readings[apart - 1 :: apart]


def together(runs: Sequence[Outcome], start: int) -> dict[str, float]:
    """Three runs of neighbouring seeds. Each run is in three such: the five figures are not independent."""
    chosen = [runs[(start + place) % len(runs)] for place in range(INDEPENDENT)]
    return pooled([each.readings[-1] for each in chosen], chosen[0].target)


def measure(bench: Bench) -> Told:
    rows, table, found, pays, ahead = [], [], [], [], 0
    for setting in bench.size.settings:
        gains: dict[tuple[int, int], Difference] = {}
        for epochs, cycles in plans(setting):
            scores, best = arms(bench, setting, epochs, cycles)
            accuracy = {arm: percent([each["accuracy"] for each in of]) for arm, of in scores.items()}
            plan = f"{epochs} epochs, {cycles} cycles"
            for arm, of in scores.items():
                figures = {name: Figure(tuple(each[name] for each in of)) for name in SCORES}
                apart = difference(accuracy[SNAPSHOTS], accuracy[arm])
                rows.append(
                    {
                        "setting": setting.name,
                        "plan": plan,
                        "epochs": epochs,
                        "cycles": cycles,
                        "arm": arm,
                        "single": best,
                        "cost": INDEPENDENT if arm == APART else 1,
                        **{name: figure.kept() for name, figure in figures.items()},
                        "ensemble_less_this": apart.kept(),
                    }
                )
                cells = [accuracy[arm].told(), figures["nll"].told(3), percent(figures["ece"].each).told()]
                differ = "" if arm in (LAST, SINGLE) else percent(figures["disagreement"].each).told()
                named = f"{arm} ({best})" if arm == SINGLE else arm
                table.append([setting.name, plan, named, *cells, differ, "" if arm == SNAPSHOTS else apart.told()])
            gains[epochs, cycles] = difference(accuracy[SNAPSHOTS], accuracy[SINGLE])
            found.append(sentence(setting, plan, best, scores, accuracy))
        pays.append(where_it_pays(setting, gains))
        told, apart = of_any_budget(bench, setting)
        found.append(told)
        ahead += apart.low > 0
    columns = [
        "data, network",
        "run",
        "what",
        "accuracy %",
        "NLL",
        "ECE %",
        "disagreement %",
        "snapshot ensemble less this, accuracy",
    ]
    return Told(
        f"Against the best single model of the same budget, {'; '.join(pays)}. Each at the budget that is best for it, "
        f"the ensemble is ahead on {ahead} of {len(bench.size.settings)} data sets.",
        found,
        {"seeds": len(bench.size.seeds)},
        columns,
        table,
        rows,
        {},
    )


def sentence(
    setting: Setting, plan: str, best: str, scores: dict[str, list[dict[str, float]]], accuracy: dict[str, Figure]
) -> str:
    nll = {arm: Figure(tuple(each["nll"] for each in of)) for arm, of in scores.items()}
    words = []
    named = {
        LAST: "its last snapshot",
        SINGLE: f"the best single model ({best})",
        NO_CYCLE: NO_CYCLE,
        APART: f"{APART} (three times the cost)",
    }
    for arm, name in named.items():
        apart = difference(accuracy[SNAPSHOTS], accuracy[arm])
        words.append(
            f"{verdict(apart)} than {name} ({apart.told()})"
            if apart.shown
            else f"{verdict(apart)} from {name} ({apart.told()})"
        )
    likelihood = difference(nll[SINGLE], nll[SNAPSHOTS])
    told = (
        f"its NLL is {verdict(likelihood)}, {nll[SNAPSHOTS].told(3)} against {nll[SINGLE].told(3)} of the single model"
    )
    return f"{setting.name}, {plan}: the ensemble of all snapshots is {'; '.join(words)}; {told}."


def of_any_budget(bench: Bench, setting: Setting) -> tuple[str, Difference]:
    """Hold the best ensemble against the best single model, each of the budget that is best for it on validation data.

    Where a network learns wrong labels by heart, a shorter run is the better one, and an ensemble of a long run is
    better than its last model without being worth anything.
    """
    budgets = sorted({epochs for epochs, _ in plans(setting)})
    singles = {
        (kind, epochs): one_cycle.runs(bench, setting, kind, epochs)
        for kind in ("step decay", "1cycle")
        for epochs in budgets
    }
    kind, epochs = max(singles, key=lambda each: fmean(run.val["accuracy"] for run in singles[each]))
    single = percent([pooled(run.readings[-1:], run.target)["accuracy"] for run in singles[kind, epochs]])
    # Of an ensemble no validation accuracy is kept: the one that is best on the test set is taken, in its favour.
    ensembles = {
        plan: percent([pooled(run.readings, run.target)["accuracy"] for run in sgdr.runs(bench, setting, *plan)])
        for plan in plans(setting)
    }
    plan = max(ensembles, key=lambda each: ensembles[each].mean)
    apart = difference(ensembles[plan], single)
    told = (
        f"{setting.name}, each at the budget that is best for it: the ensemble ({plan[0]} epochs, {plan[1]} cycles; "
        f"{ensembles[plan].told()} %, chosen on the test set, in its favour) beside the best single model ({kind}, "
        f"{epochs} epochs; {single.told()} %): {verdict(apart)}, {apart.told()}."
    )
    return told, apart


def where_it_pays(setting: Setting, gains: dict[tuple[int, int], Difference]) -> str:
    """Say at which budgets the ensemble has the higher accuracy, and at which that is more than noise."""
    told = {plan: f"{plan[0]} epochs in {plan[1]} cycles" for plan in gains}
    shown = [told[plan] for plan, gain in gains.items() if gain.low > 0]
    lost = [told[plan] for plan, gain in gains.items() if gain.high < 0]
    unknown = [told[plan] for plan, gain in gains.items() if not gain.shown]
    parts = [
        f"{words} {listed(plans)}"
        for words, plans in (("it pays at", shown), ("it costs accuracy at", lost), ("nothing can be told at", unknown))
        if plans
    ]
    return f"{setting.name}: {', '.join(parts)}"


def draw(content: dict[str, Any], path: Path) -> None:
    groups: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for row in content["rows"]:
        plan = f"{row['epochs']} epochs,\n{row['cycles']} cycles"
        figure = (100 * row["accuracy"]["mean"], 100 * row["accuracy"]["sd"])
        groups.setdefault(row["setting"], {}).setdefault(plan, {})[row["arm"]] = figure
    draw_points(groups, path, "One run's snapshots, and what else its budget buys", "test accuracy %")
