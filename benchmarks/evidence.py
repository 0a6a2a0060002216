"""`docs/evidence.md`, made of the result files: `python -m benchmarks draw`. Never written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.settings import SIZES

PAGE = Path(__file__).parent.parent / "docs" / "evidence.md"
RESULTS = "../benchmarks/results"
SECTIONS = {
    "The claims": {
        "rates": "Too low, right, too high",
        "clr": "Triangular rates against the best fixed rate",
        "one_cycle": "1cycle against step decay",
        "sgdr": "SGDR against step decay, along the run",
        "cycles": "Cycles that lengthen, bounds that decay",
        "ensembles": "Snapshot ensembles",
        "search": "Grid against random search",
        "adam": "Adam and 3e-4",
    },
    "Beside others": {
        "peers": "The same with other packages",
        "range_test": "The range test's suggestions, and other finders'",
    },
    "What it costs": {
        "callback_cost": "A schedule, an update",
        "range_test_cost": "A range test",
        "training_step": "A training step of the recipe",
        "loading": "Loading images",
        "ensemble_inference": "An ensemble's predictions",
        "ensemble_memory": "An ensemble's memory",
        "snapshot_writes": "Writing a snapshot",
        "superconvergence": "94 % on CIFAR-10",
    },
    "Once more": {"agreement": "The same again"},
}
"""The page: its sections, the result files in each, and what each is headed by."""

TOP = """# Evidence

<!-- Made by `python -m benchmarks draw` of the files in benchmarks/results. Do not edit. -->

What the sources of this project claim, measured: each with the command that measures it again, and with what did not
hold. `make bench` runs all claims on two processor cores; `python -m benchmarks --help` says how to run one, or what a
GPU would run.

- Accuracies are on test data that nothing was chosen by; rates are chosen on validation data, with a seed of its own.
- **±** is the standard deviation over the seeds. A difference is a mean over pairs of the same seed, with its 95 %
  interval by the paired t-test; "better" and "worse" are said where the interval leaves zero out, without a correction
  for how many comparisons the page makes: of twenty that show nothing, one will.
- The networks and the data are small, for two cores; a claim that fails here may hold at the size of its paper, and the
  other way round.
"""


def page(results: Path) -> str:
    """Return the page.

    Args:
        results: The folder of the result files.
    """
    found = {
        title: [
            (heading, json.loads(file.read_text())) for name, heading in names.items() for file in files(results, name)
        ]
        for title, names in SECTIONS.items()
    }
    parts = [TOP, "\n| | what is claimed | what was found | n |\n|---|---|---|---|\n"]
    parts += [_row(*each) for contents in found.values() for each in contents]
    for title, contents in found.items():
        if contents:
            parts += [f"\n## {title}\n", *(_section(*each) for each in contents)]
    return "".join(parts)


def files(results: Path, name: str) -> list[Path]:
    """The result files of a claim: measured on two cores, at other sizes, and of the costs on a GPU."""
    names = [name, *(f"{name}_{size}" for size in (*SIZES, "cuda"))]
    return [file for file in (results / f"{each}.json" for each in names) if file.exists()]


def _row(heading: str, content: dict[str, Any]) -> str:
    return (
        f"| [{heading}](#{content['name']}) | {content['claim']} | {content['verdict']} | {_counts(content['n'])} |\n"
    )


def _counts(n: int | dict[str, int]) -> str:
    return (
        ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in n.items()) if isinstance(n, dict) else str(n)
    )


def _section(heading: str, content: dict[str, Any]) -> str:
    name = content["name"]
    counts = _counts(content["n"])
    # A place to point at that stays where the heading is worded anew.
    lines = [f'\n<a id="{name}"></a>\n', f"### {heading}\n", f"> {content['claim']}\n", f"**{content['verdict']}**", ""]
    lines += [*(f"- {sentence}" for sentence in content["found"] if sentence != content["verdict"]), ""]
    if content.get("picture"):
        lines += [f"![{content['claim']}]({RESULTS}/{content['picture']})", ""]
    columns, rows = content["table"]["columns"], content["table"]["rows"]
    lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    versions = ", ".join(f"{package} {version}" for package, version in content["versions"].items())
    cells, seconds = content.get("cells"), content["seconds"]
    took = f" {seconds / 60:.0f} minutes of training in {cells} runs;" if cells else f" {seconds:.0f} s;"
    # Figures from before the time was kept have none.
    took = took if seconds else ""
    lines += [
        "",
        f"n: {counts}. `{content['command']}`;{took} {content['machine']}; {versions}; commit "
        f"{', '.join(commit[:9] for commit in content['commit'].split(', '))}. [{name}.json]({RESULTS}/{name}.json)",
        "",
    ]
    return "\n".join(lines)
