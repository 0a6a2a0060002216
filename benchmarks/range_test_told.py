"""What the report of `benchmarks/range_test.py` says, and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.costs import MISSED, SHOWN, WORDS, Cost, Rows, Said, verdict
from lightning_lr.plots.frame import BLUE, GREY, VERMILLION, figure_for, save, style

DEFAULT = {"1cycle": "max_lr", "fixed": "fixed_lr"}
OF = {"1cycle": "the peak of a 1cycle", "fixed": "one fixed LR"}
WITHIN, LOST = 75.0, 0.0  # percent of the tests: at least within one point, at most over ten points lost
_ROW, _AROUND = 0.36, 2.2  # inches a finder and around all


def shown(row: dict[str, Any]) -> bool:
    """Whether the page has it: our defaults and the others, over all settings of a half."""
    ours, default = row["finder"].startswith("ours"), f": {DEFAULT[row['lr_of']]}"
    return row["settings"] == "all" and (not ours or row["finder"].endswith(default))


def part_of(rows: Rows) -> str:
    """Return the half that counts: what was held out, where it was not hidden."""
    return "held-out" if any(row["half"] == "held-out" for row in rows) else "tuning"


def tell(rows: Rows) -> Said:
    half = part_of(rows)
    found, table, outcomes = [], [], {}
    for of, name in OF.items():
        mine = [row for row in rows if shown(row) and (row["lr_of"], row["half"]) == (of, half)]
        default = f"ours: {DEFAULT[of]}"
        (ours,) = [row for row in mine if row["finder"] == default]
        others = [row for row in mine if not row["finder"].startswith(("ours", "no test"))]
        kept = ours["within_1_point"] >= WITHIN and ours["lost_over_10"] <= LOST
        was = outcomes[name] = SHOWN if kept else MISSED
        said = [
            f"As {name}, on the {half} half, the default ({default}) is within one point of the best LR of the grid "
            f"in {shares(ours)} of {ours['n']} tests, {WORDS[was]}{'' if kept else f' of {WITHIN:.0f} % and none'}",
            f"it loses {ours['mean']:.1f} ± {ours['sd']:.1f} points, {ours['worst']:.1f} at the worst",
        ]
        if half == "held-out":
            (tuned,) = [
                row for row in rows if shown(row) and row["finder"] == default and told_of(row) == (of, "tuning")
            ]
            said.append(f"on the half that the rules were tuned on: {shares(tuned)}")
        if others:
            best = max(others, key=lambda row: (row["within_1_point"], -row["lost_over_10"]))
            said.append(f"of the others' finders the best is {best['finder']}: {shares(best)}")
        said += [f"without a test: {shares(row)}" for row in mine if row["finder"].startswith("no test")]
        found.append("; ".join(said) + ".")
        for row in mine:
            percents = [f"{row[name]:.0f}" for name in ("within_1_point", "lost_over_10")]
            points = [f"{row['mean']:.1f} ± {row['sd']:.1f}", f"{row['worst']:.1f}"]
            table.append([name, row["finder"], *percents, *points, str(row["no_suggestion"]), str(row["n"])])
    columns = ["LR of", "finder", "within 1 point, %", "over 10 lost, %", "points lost", "worst", "says none", "tests"]
    return Said(verdict(outcomes), found, columns, table)


def told_of(row: dict[str, Any]) -> tuple[str, str]:
    return row["lr_of"], row["half"]


def shares(row: dict[str, Any]) -> str:
    return f"{row['within_1_point']:.0f} % (over ten points lost: {row['lost_over_10']:.0f} %)"


def draw(content: dict[str, Any], path: Path) -> None:
    """Each suggestion's regret, a row a finder; above the peak of a 1cycle, below a fixed LR."""
    half = part_of(content["rows"])
    rows = [row for row in content["rows"] if shown(row) and row["half"] == half]
    counts = [sum(row["lr_of"] == of for row in rows) for of in OF]
    figure = figure_for(path, height=_AROUND + _ROW * sum(counts))
    panels = list(figure.subplots(2, 1, sharex=True, height_ratios=counts))
    for panel, of in zip(panels, OF, strict=True):
        style(panel, "")
        panel.set_title(f"as {OF[of]}", fontsize=10)
        mine = [row for row in rows if row["lr_of"] == of]
        for place, row in enumerate(mine):
            regrets = content["regrets"][of][row["finder"]]
            # Side by side instead of on top of each other: the place in the row says nothing.
            heights = [place + 0.3 * ((index * 0.618) % 1 - 0.5) * 2 for index in range(len(regrets))]
            ours = row["finder"] == f"ours: {DEFAULT[of]}"
            look = {"s": 14, "alpha": 0.6, "linewidths": 0, "clip_on": False}
            panel.scatter(regrets, heights, color=BLUE if ours else GREY, **look)
        panel.set_yticks(range(len(mine)), [in_short(row) for row in mine], fontsize=8)
        panel.set_ylim(len(mine) - 0.5, -0.5)
        panel.grid(visible=False, axis="y")
        panel.set_xscale("symlog", linthresh=1)
        panel.axvline(1, color=GREY, linewidth=1)
        panel.axvline(10, color=VERMILLION, linewidth=1)
        panel.set_xlim(-0.05, 100)
        panel.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    tests = content["n"]["seeds_of_the_curves"]
    settings = rows[0]["n"] // tests
    title = (
        f"What a suggested LR costs: {settings} settings of the {half} half, {tests} tests each; "
        f"two seeds at the best LR lie {content['noise']} points apart"
    )
    save(figure, path, panels, title, xlabel="points of validation accuracy below the best LR of the grid")


def in_short(row: dict[str, Any]) -> str:
    return f"{row['finder']}\n{row['within_1_point']:.0f} % within 1, {row['lost_over_10']:.0f} % over 10"


COST = Cost(
    "range_test",
    "The range test's suggestion is within a point of the best rate in three settings of four, and ten off in none.",
    tell,
    draw,
)
