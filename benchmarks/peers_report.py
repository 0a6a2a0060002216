"""What the cells say: the table, the findings, and the result file."""

from __future__ import annotations

import importlib.metadata
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.peers_picture import draw
from benchmarks.telling import Difference, Figure, difference, percent, verdict

CLAIM = (
    "Ours trains as well as what others offer for the same, takes no more processor time, and asks for fewer lines of "
    "the user."
)
COLUMNS = (
    *("data", "for", "contender", "accuracy %", "rate", "CPU s", "wall s", "peak MiB"),
    *("lines added", "lines in all"),
)
PACKAGES = (
    *("torch", "lightning", "torchvision", "torchmetrics", "scikit-learn"),
    *("fastai", "torchensemble", "torch-uncertainty"),
)
NOT_MEASURED = "-"


def summary(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its figures over the seeds in the place of the cells; a failed seed has none."""
    done = [each for each in row["each"] if "error" not in each]
    failed = [each for each in row["each"] if "error" in each]
    figures: dict[str, Any] = {"seeds": [each["seed"] for each in done]}
    if done:
        figures["accuracy"] = percent([each["test"] for each in done])
        for name, key in {"cpu_seconds": "cpu_seconds", "seconds": "seconds", "mib": "mib", "rate": "rate"}.items():
            figures[name] = Figure(tuple(each[key] for each in done))
        if "averaged" in done[0]:
            figures["averaged"] = [each["averaged"] for each in done]
    if failed:
        figures["failed"] = len(failed)
        figures["error"] = failed[0]["error"]
    return {**{name: row[name] for name in ("data", "kind", "contender", "ours", "lines")}, **figures}


def cells_of(row: dict[str, Any]) -> list[str]:
    """Return a row as the table shows it."""
    lines = row["lines"]
    if "accuracy" in row:
        told = row["accuracy"].told(1) + (f" (n={len(row['seeds'])})" if "failed" in row else "")
        figures = [told, span(row["rate"]), row["cpu_seconds"].told(1), row["seconds"].told(1)]
        figures.append(f"{row['mib'].mean:.0f}")
    else:
        figures = [f"none: {_brief(row.get('error', 'not measured'))}", *[NOT_MEASURED] * 4]
    return [row["data"], row["kind"], row["contender"], *figures, str(lines.added), str(lines.total)]


def span(rates: Figure) -> str:
    """Tell the rates of the seeds: one, or the median and the ends."""
    low, high = min(rates.each), max(rates.each)
    if low == high:
        return f"{low:.2g}"
    return f"{statistics.median(rates.each):.2g} ({low:.2g} to {high:.2g})"


def findings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Say of each pair of ours and another one, for the same and on the same data, what the figures allow."""
    failed = [_failure(row) for row in rows if "failed" in row]
    pairs = [
        (first, second)
        for first in rows
        for second in rows
        if (first["data"], first["kind"]) == (second["data"], second["kind"])
        and first["ours"]
        and not second["ours"]
        and {*first["seeds"]} & {*second["seeds"]}
    ]
    return [*_all_together(pairs), *failed, *(_pair(first, second) for first, second in pairs)]


def _all_together(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Count what the claim holds for, and what it does not."""
    if not pairs:
        return []
    accuracy, cost = ([_of_both(*pair, name)[2] for pair in pairs] for name in ("accuracy", "cpu_seconds"))
    added, total = (
        [getattr(first["lines"], name) - getattr(second["lines"], name) for first, second in pairs]
        for name in ("added", "total")
    )
    return [
        f"Of {len(pairs)} pairs, ours is more accurate in {_count(accuracy, 1)}, less in {_count(accuracy, -1)}, and "
        f"no different as far as can be told in the others; it takes less processor time in {_count(cost, -1)}, more "
        f"in {_count(cost, 1)}; it adds fewer lines in {sum(each < 0 for each in added)}, more in "
        f"{sum(each > 0 for each in added)}, and has more lines in all in {sum(each > 0 for each in total)}."
    ]


def _count(differences: Sequence[Difference], sign: int) -> int:
    return sum(each.shown and each.mean * sign > 0 for each in differences)


def _failure(row: dict[str, Any]) -> str:
    count = row["failed"] + len(row["seeds"])
    return (
        f"{row['data']}, {row['contender']}: no network in {row['failed']} of {count} runs; the first says "
        f"{_brief(row['error'], 160)}"
    )


def _pair(first: dict[str, Any], second: dict[str, Any]) -> str:
    a, b, found = _of_both(first, second, "accuracy")
    same = "the same in every seed" if a.each == b.each else f"{verdict(found)}, {found.told(2)}"
    mine, theirs, _ = _of_both(first, second, "cpu_seconds")
    lines, others = first["lines"], second["lines"]
    said = (
        f"{first['data']}, {first['kind']}: {first['contender']}, {a.told(2)} % beside {b.told(2)} % of "
        f"{second['contender']}: {same}, n={len(a.each)}; {mine.mean / theirs.mean:.2f} times its CPU seconds "
        f"({mine.mean:.1f} to {theirs.mean:.1f}); lines added {lines.added} to {others.added}, in all {lines.total} to "
        f"{others.total}"
    )
    if first["rate"].each != second["rate"].each:
        said += f"; rates {span(first['rate'])} and {span(second['rate'])}"
    return said + "."


def _of_both(first: dict[str, Any], second: dict[str, Any], name: str) -> tuple[Figure, Figure, Difference]:
    """Return a figure of both, of the seeds that both have, and the first less the second."""
    both = [seed for seed in first["seeds"] if seed in second["seeds"]]
    a, b = (Figure(tuple(row[name].each[row["seeds"].index(seed)] for seed in both)) for row in (first, second))
    return a, b, difference(a, b)


def _brief(error: str, most: int = 70) -> str:
    return error if len(error) <= most else error[: most - 1].rstrip() + "…"


def write(
    measured: Sequence[dict[str, Any]], seeds: int, images: bool, seconds: float, results: Path | None = None
) -> Path:
    """Write the result file and the picture beside it.

    Args:
        measured: A row a contender and data, with what came of each seed.
        seeds: How many were asked for.
        images: Whether the second data set was measured.
        seconds: That this call took; what was kept took its own.
        results: The folder; None is the benchmarks' own.
    """
    rows = [summary(row) for row in measured]
    folder = results or record.RESULTS
    draw(rows, folder / "peers.png")
    spent = sum(each.get("seconds", 0.0) for row in measured for each in row["each"])
    return record.write(
        "peers",
        claim=CLAIM,
        found=findings(rows),
        command="python benchmarks/peers.py" + (" --images FOLDER" if images else ""),
        n={"seeds": seeds},
        packages=[name for name in PACKAGES if _installed(name)],
        table={"columns": list(COLUMNS), "rows": [cells_of(row) for row in rows]},
        rows=[_plain(row) for row in rows],
        seconds=max(seconds, spent),
        results=folder,
    )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value.kept() if isinstance(value, Figure) else value for name, value in row.items()}
    return {**kept, "lines": asdict(row["lines"])}


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
