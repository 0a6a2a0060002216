"""What a suggestion costs: the points of validation accuracy by which it is below the best LR of the grid."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import statistics
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from range_test_curves import NAMES, SEEDS, curve_cells
from range_test_data import chance
from range_test_settings import LONG, Setting, half
from range_test_truth import SCHEDULES, Truth, grid_lr, truth_cells
from range_test_truth import SEEDS as TRUTH_SEEDS

from lightning_lr.range_test.readings import Run, Settings
from lightning_lr.range_test.result import RangeTest
from lightning_lr.range_test.suggestions import RULES

DEFAULT = {"1cycle": "max_lr", "fixed": "fixed_lr"}
AT_PEAK = "ours, momentum of the peak"
BLIND = {"sgd": 0.1, "adam": 1e-3}
BLIND_NAME = "no test (SGD 0.1, Adam 0.001)"
PEERS = tuple(name for names in NAMES.values() for name in names)
GROUPS = ("all", "digits", "table", "text", "cifar10", "SGD", "Adam", "long")
PACKAGES = ("torch", "lightning", "scikit-learn", "torch-lr-finder", "fastai")


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
    content = {
        "command": f"python benchmarks/range_test.py report --half {'both' if len(halves) == 2 else halves.pop()}",
        "commit": commit(),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in PACKAGES},
        "n": {
            "settings": len({r.setting.key for r in readings}),
            "seeds_of_the_truth": len(TRUTH_SEEDS),
            "seeds_of_the_curves": len(SEEDS),
        },
        "noise": round(statistics.median(spreads), 2),
        "defaults": {schedule: default(schedule) for schedule in SCHEDULES},
        "not_measured": missing,
        "rows": rows,
        "with_and_without_notes": trusted(readings),
        "worst_of_our_default": [row for schedule in SCHEDULES for row in worst(readings, schedule)],
    }
    target = folder.with_suffix(".json")
    target.write_text(json.dumps(content, indent=2) + "\n")
    show(content)
    picture(readings, folder.with_suffix(".png"))


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


def commit() -> str:
    told = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return told.stdout.strip()


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def show(content: dict[str, Any]) -> None:
    if content["not_measured"]:
        print("not measured yet: " + "; ".join(content["not_measured"]))
    for schedule in SCHEDULES:
        for part in ("tuning", "held-out"):
            rows = [row for row in content["rows"] if (row["lr_of"], row["half"]) == (schedule, part)]
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


def picture(readings: list[Reading], path: Path) -> None:
    """Each suggestion's regret, a row a finder; left the peak of a 1cycle, right a fixed LR."""
    from matplotlib.figure import Figure

    parts = sorted({half(reading.setting) for reading in readings})
    part = "held-out" if "held-out" in parts else "tuning"
    figure = Figure(figsize=(13, 6), layout="constrained")
    for axes, schedule in zip(figure.subplots(1, 2), SCHEDULES[::-1], strict=True):
        told = [r for r in readings if r.schedule == schedule and half(r.setting) == part]
        names = [name for name in (default(schedule), *PEERS, BLIND_NAME) if any(r.finder == name for r in told)]
        finders = {name: [r for r in told if r.finder == name] for name in names}
        shown = sorted(finders, key=lambda name: order(finders[name]), reverse=True)
        for row, name in enumerate(shown):
            regrets = [r.regret for r in finders[name]]
            # Side by side instead of on top of each other: the place in the row says nothing.
            heights = [row + 0.3 * ((index * 0.618) % 1 - 0.5) * 2 for index in range(len(regrets))]
            colour = "tab:blue" if name == default(schedule) else "0.45"
            axes.scatter(regrets, heights, s=14, alpha=0.6, color=colour, linewidths=0)
        figures = {name: summary(finders[name]) for name in shown}
        axes.set_yticks(
            range(len(shown)),
            [
                f"{name}\n{of['within_1_point']:.0f} % within 1, {of['lost_over_10']:.0f} % over 10"
                for name, of in figures.items()
            ],
            fontsize=8,
        )
        axes.set_xscale("symlog", linthresh=1)
        axes.axvline(1, color="0.7", linewidth=1)
        axes.axvline(10, color="tab:red", linewidth=1)
        axes.set_xlim(-0.1, 100)
        axes.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        axes.set_xlabel("points of validation accuracy below the best LR of the grid")
        axes.set_title({"1cycle": "as the peak of a 1cycle", "fixed": "as one fixed LR"}[schedule])
    settings = len({r.setting.key for r in readings if half(r.setting) == part})
    figure.suptitle(f"What a suggested LR costs: {settings} settings of the {part} half, {len(SEEDS)} seeds each")
    figure.savefig(path, dpi=120)
