"""What a suggestion costs: the points of validation accuracy by which it is below the best LR of the grid."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import range_test_measured
from benchmarks.range_test_curves import NAMES, SEEDS, curve_cells
from benchmarks.range_test_data import chance
from benchmarks.range_test_settings import LONG, Setting, half
from benchmarks.range_test_told import COST, DEFAULT, part_of, shown
from benchmarks.range_test_truth import SCHEDULES, Truth, grid_lr, truth_cells
from benchmarks.range_test_truth import SEEDS as TRUTH_SEEDS
from lightning_lr.range_test.readings import Run, Settings
from lightning_lr.range_test.result import RangeTest
from lightning_lr.range_test.suggestions import RULES

AT_PEAK = "ours, momentum of the peak"
BLIND = {"sgd": 0.1, "adam": 1e-3}
BLIND_NAME = "no test (SGD 0.1, Adam 0.001)"
GROUPS = ("all", "digits", "table", "text", "cifar10", "SGD", "Adam", "long")


@dataclass(frozen=True)
class Reading:
    """One suggestion, and where it leads."""

    setting: Setting
    schedule: str
    finder: str
    seed: int
    lr: float | None
    accuracy: float
    best: float
    best_lr: float
    notes: tuple[str, ...] = ()

    @property
    def regret(self) -> float:
        return max(self.best - self.accuracy, 0.0)


def default(schedule: str) -> str:
    """The name under which our default goes: what `lr_range_test` answers where nothing else is said."""
    return f"ours: {DEFAULT[schedule]}"


def write_report(settings: Iterable[Setting], folder: Path) -> None:
    """Prints the figures, and writes them and a picture beside the folder; what is not measured yet is named."""
    truths, curves = truth_cells(folder), curve_cells(folder)
    readings: list[Reading] = []
    missing: list[str] = []
    spreads: list[float] = []
    for setting in settings:
        for schedule in SCHEDULES:
            truth = Truth(truths, setting, schedule)
            if truth.missing():
                missing.append(f"{setting.key}: truth, {schedule}")
                continue
            spreads.append(truth.spread)
            for finder, seed, lr, notes in suggested(setting, schedule, curves.rows):
                accuracy = chance(setting.data) if lr is None else truth.at(lr)
                best_lr = grid_lr(truth.best_index)
                readings.append(Reading(setting, schedule, finder, seed, lr, accuracy, truth.best, best_lr, notes))
        for finder in ("ours", *([AT_PEAK] if setting.has_momentum else []), *NAMES):
            if any((setting.name, finder, seed) not in curves.rows for seed in SEEDS):
                missing.append(f"{setting.name}: curve, {finder}")
    if not readings:
        raise SystemExit(f"{folder}: nothing to report yet; run the parts `truth` and `curves` first")
    rows = [row for schedule in SCHEDULES for row in summaries(readings, schedule)]
    halves = {half(reading.setting) for reading in readings}
    halves = {half(reading.setting) for reading in readings}
    content = {
        "not_measured": missing,
        "noise": round(statistics.median(spreads), 2),
        "with_and_without_notes": trusted(readings),
        "worst_of_our_default": [row for schedule in SCHEDULES for row in worst(readings, schedule)],
    }
    show(rows, content)
    measured = [row for row in truths.rows.values() if row["setting"] in {r.setting.key for r in readings}]
    COST.write(
        rows,
        command=f"python benchmarks/range_test.py report --half {'both' if len(halves) == 2 else halves.pop()}",
        n={
            "settings": len({r.setting.key for r in readings}),
            "seeds_of_the_truth": len(TRUTH_SEEDS),
            "seeds_of_the_curves": len(SEEDS),
        },
        seconds=sum(row["seconds"] for row in measured),
        results=folder.parent,
        cells=len(measured),
        defaults={schedule: default(schedule) for schedule in SCHEDULES},
        regrets=regrets(readings, rows),
        **range_test_measured.told(folder),
        **content,
    )


def regrets(readings: list[Reading], rows: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Of whom the picture shows: what each suggestion has cost."""
    half_shown = part_of(rows)
    return {
        schedule: {
            row["finder"]: [
                round(r.regret, 2)
                for r in readings
                if (r.schedule, r.finder, half(r.setting)) == (schedule, row["finder"], half_shown)
            ]
            for row in rows
            if shown(row) and (row["lr_of"], row["half"]) == (schedule, half_shown)
        }
        for schedule in SCHEDULES
    }


def suggested(
    setting: Setting, schedule: str, curves: dict[tuple[Any, ...], dict[str, Any]]
) -> Iterator[tuple[str, int, float | None, tuple[str, ...]]]:
    """Finder, seed, LR and notes; ours by every rule, from the stored curve."""
    for seed in SEEDS:
        yield BLIND_NAME, seed, BLIND[setting.kind], ()
        for peer in NAMES:
            for name, lr in curves.get((setting.name, peer, seed), {"suggestions": {}})["suggestions"].items():
                yield name, seed, lr, ()
        for ours in ("ours", AT_PEAK):
            # Without a momentum there is one curve, and it serves for both.
            kept = curves.get((setting.name, ours if setting.has_momentum else "ours", seed))
            if kept is not None:
                found = RangeTest(Settings(**kept["settings"]), (Run(tuple(kept["losses"]), kept["ended"]),))
                yield f"{ours}: {DEFAULT[schedule]}", seed, getattr(found, DEFAULT[schedule]), found.reliability
                for rule in RULES:
                    yield f"{ours}: {rule}", seed, found.suggestions.get(rule), found.reliability


def summaries(readings: list[Reading], schedule: str) -> Iterator[dict[str, Any]]:
    for part in ("tuning", "held-out"):
        for of in GROUPS:
            finders: dict[str, list[Reading]] = {}
            for reading in readings:
                setting = reading.setting
                long = {"long"} if setting in LONG else set()
                group = {"all", setting.data, "SGD" if setting.kind == "sgd" else "Adam"} | long
                if reading.schedule == schedule and half(setting) == part and of in group:
                    finders.setdefault(reading.finder, []).append(reading)
            for finder in sorted(finders, key=lambda name: order(finders[name])):
                yield {"lr_of": schedule, "half": part, "settings": of, "finder": finder} | summary(finders[finder])


def order(readings: list[Reading]) -> tuple[float, float]:
    figures = summary(readings)
    return (-figures["within_1_point"], figures["lost_over_10"])


def summary(readings: list[Reading]) -> dict[str, Any]:
    regrets = [reading.regret for reading in readings]
    return {
        "n": len(regrets),
        "within_1_point": share(regret <= 1 for regret in regrets),
        "lost_over_10": share(regret > 10 for regret in regrets),
        "mean": round(statistics.mean(regrets), 2),
        "sd": round(statistics.stdev(regrets), 2) if len(regrets) > 1 else None,
        "worst": round(max(regrets), 2),
        "no_suggestion": sum(reading.lr is None for reading in readings),
    }


def share(which: Iterable[bool]) -> float:
    """Percent."""
    return round(100 * statistics.mean(which), 1)


def trusted(readings: list[Reading]) -> list[dict[str, Any]]:
    """Our default, apart by whether it has said that something speaks against it."""
    rows = []
    for schedule in SCHEDULES:
        for part in ("tuning", "held-out"):
            mine = [
                r for r in readings if (r.schedule, r.finder, half(r.setting)) == (schedule, default(schedule), part)
            ]
            for noted in (False, True):
                some = [r for r in mine if bool(r.notes) == noted]
                if some:
                    rows.append({"lr_of": schedule, "half": part, "notes": noted} | summary(some))
    return rows


def worst(readings: list[Reading], schedule: str, count: int = 8) -> list[dict[str, Any]]:
    mine = [r for r in readings if r.schedule == schedule and r.finder == default(schedule)]
    return [
        {
            "lr_of": schedule,
            "half": half(r.setting),
            "setting": r.setting.key,
            "seed": r.seed,
            "regret": round(r.regret, 2),
            "lr": None if r.lr is None else float(f"{r.lr:.3g}"),
            "best_lr": float(f"{r.best_lr:.3g}"),
            "notes": list(r.notes),
        }
        for r in sorted(mine, key=lambda r: -r.regret)[:count]
    ]


def show(rows_of_all: list[dict[str, Any]], content: dict[str, Any]) -> None:
    if content["not_measured"]:
        print("not measured yet: " + "; ".join(content["not_measured"]))
    for schedule in SCHEDULES:
        for part in ("tuning", "held-out"):
            rows = [row for row in rows_of_all if (row["lr_of"], row["half"]) == (schedule, part)]
            if rows:
                show_half(schedule, part, rows)
    for name in ("with_and_without_notes", "worst_of_our_default"):
        print(f"\n{name.replace('_', ' ')}")
        for row in content[name]:
            print("  " + ", ".join(f"{key} {value}" for key, value in row.items()))
    print(f"\nnoise: at the best LR two seeds lie {content['noise']} points apart (median)")


def show_half(schedule: str, part: str, rows: list[dict[str, Any]]) -> None:
    """A row a finder: all settings, then `within 1 / over 10` in percent for each group of them."""
    groups = [group for group in GROUPS if any(row["settings"] == group for row in rows)]
    counts = {row["settings"]: row["n"] for row in rows}
    print(f"\n{schedule}, {part} half; n: {', '.join(f'{group} {counts[group]}' for group in groups)}")
    print(f"{'':48s}{'<= 1':>7s}{'> 10':>7s}{'mean':>8s}{'worst':>8s}{'none':>5s}", *(f"{g:>10s}" for g in groups[1:]))
    for row in rows:
        if row["settings"] == "all":
            cells = {each["settings"]: each for each in rows if each["finder"] == row["finder"]}
            print(
                f"{row['finder']:48s}{row['within_1_point']:6.0f}%{row['lost_over_10']:6.0f}%"
                f"{row['mean']:8.2f}{row['worst']:8.2f}{row['no_suggestion']:5d}",
                *(in_short(cells.get(group)) for group in groups[1:]),
            )


def in_short(row: dict[str, Any] | None) -> str:
    return f"{'':10s}" if row is None else f"{row['within_1_point']:6.0f}/{row['lost_over_10']:3.0f}"
