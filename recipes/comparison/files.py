"""What a comparison leaves in its folder: two tables for programs, the same as JSON, pictures, and a page."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from lightning_lr.durable import make_folder, staged

from .grouping import Group
from .measures import MEASURES, reach
from .reading import OF, SCORES, Run
from .study import Study, versions_of

JSON, RUNS, GROUPS, PAGE = "compare.json", "compare.csv", "groups.csv", "index.html"
CURVES, CLOCK = "curves.png", "seconds.png"
_OURS = (JSON, RUNS, GROUPS, PAGE, CURVES, CLOCK)

_MADE_BY = "recipes.compare"
_DRAWN = 12  # groups; of more, nobody can tell the lines apart


def refuse(folder: Path, said: str) -> None:
    """Refuse a folder in which something of somebody's would be written over.

    That of an earlier comparison is replaced, and nothing else in the folder is touched.

    Args:
        folder: Where a comparison is to go.
        said: The same, as the user wrote it.

    Raises:
        FileExistsError: If there is something of the same name that is no comparison's.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"--out={said}: a file; choose a folder")
    there = [name for name in _OURS if (folder / name).exists()]
    if there and not _is_ours(folder / JSON):
        raise FileExistsError(f"--out={said}: holds {there[0]}, which is no comparison's; choose another folder")


def _is_ours(file: Path) -> bool:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("made_by") == _MADE_BY


def write(study: Study, folder: Path, command: str) -> list[Path]:
    """Write all of a comparison into its folder, each file complete or not at all.

    Args:
        study: What was compared.
        folder: Where it goes; it is made if it is not there.
        command: What reproduces it.

    Returns:
        The files written.

    Raises:
        OSError: If the disk refuses.
    """
    from .page import page

    make_folder(folder)
    # The mark of whose folder it is comes first: one that was cut short can be written over.
    texts = {
        JSON: f"{json.dumps(_plain(study, command), indent=2)}\n",
        RUNS: runs_csv(study),
        GROUPS: groups_csv(study),
    }
    for name, text in texts.items():
        _put(folder / name, text)
    pictures = draw(study, folder)
    for name in (CURVES, CLOCK):
        if name not in pictures:
            (folder / name).unlink(missing_ok=True)  # of an earlier comparison
    _put(folder / PAGE, page(study, {name: (folder / name).read_bytes() for name in pictures}, command, drawn=_DRAWN))
    return [folder / name for name in (*texts, *pictures, PAGE)]


def draw(study: Study, folder: Path) -> list[str]:
    """Draw what the runs have logged: against updates, and against seconds where there was a clock."""
    from lightning_lr.plots import plot_runs

    groups = study.groups[:_DRAWN]
    title = f"{_DRAWN} of {len(study.groups)} groups, the best ones" if len(study.groups) > _DRAWN else None
    by_updates = {
        group.label: [
            {"loss": run.curves.loss, "lr": run.curves.lr, "accuracy": run.curves.accuracy} for run in group.runs
        ]
        for group in groups
    }
    by_seconds = {group.label: [{"accuracy": each} for each in by_clock(group)] for group in groups}
    written = []
    for name, kinds, against in (
        (CURVES, by_updates, "optimizer updates"),
        (CLOCK, by_seconds, "seconds since the fit began (mean of the runs)"),
    ):
        values = (value for runs in kinds.values() for run in runs for series in run.values() for _, value in series)
        if any(map(math.isfinite, values)):
            plot_runs(kinds, folder / name, against=against, target=study.target, title=title)
            written.append(name)
    return written


def by_clock(group: Group) -> list[list[tuple[float, float]]]:
    """Return each run's validation accuracies against the mean seconds that the runs of its group had taken by then.

    Each against its own seconds, their mean would be one of different validations, and end with the fastest run.
    """
    clocks = [dict(run.curves.seconds) for run in group.runs]
    curves = [dict(run.curves.accuracy) for run in group.runs]
    steps = sorted(set.intersection(*(set(each) for each in (*clocks, *curves))))
    return [[(fmean(clock[step] for clock in clocks), curve[step]) for step in steps] for curve in curves]


def runs_csv(study: Study) -> str:
    """Return a row a run: where it is, what it counts for, its figures, and what the groups differ in."""
    return _csv(_row(study, group, run, repeats) for group in study.groups for run, repeats in _all(group))


def groups_csv(study: Study) -> str:
    """Return a row a group, the best first: mean, standard deviation, lowest and highest of each figure."""
    return _csv(_group(study, place) for place in range(len(study.groups)))


def _all(group: Group) -> list[tuple[Run, Run | None]]:
    return [*((run, None) for run in group.runs), *group.duplicates]


def _row(study: Study, group: Group, run: Run, repeats: Run | None) -> dict[str, Any]:
    accuracies = [value for _, value in run.curves.accuracy]
    got = None if study.target is None else reach(run, study.target)
    return {
        "run": run.name,
        "group": group.label,
        "seed": run.seed,
        "repeats": None if repeats is None else repeats.name,
        **{f"{of}.{score}": run.scores[f"{of}.{score}"] for of in OF for score in SCORES},
        "members": run.members,
        "steps": run.steps,
        "seconds": run.seconds,
        "fit_seconds": run.fit_seconds,
        "val.accuracy": accuracies[-1] if accuracies else None,
        "val.accuracy.best": max(accuracies) if accuracies else None,
        "steps_to_target": got.steps if got else None,
        "seconds_to_target": got.seconds if got else None,
        "device": run.device,
        **group.differences,
        **{f"found.{name}": rate for name, rate in run.found.items()},
    }


def _group(study: Study, place: int) -> dict[str, Any]:
    group = study.groups[place]
    contest = study.contests[place - 1] if place else None
    row: dict[str, Any] = {
        "group": group.label,
        "n": len(group.runs),
        "duplicates": len(group.duplicates),
        "seeds": " ".join(str(run.seed) for run in group.runs),
    }
    for measure in MEASURES.values():
        found = study.summary(group, measure)
        figures = {"mean": found.mean, "sd": found.sd, "min": found.low, "max": found.high} if found.n else {}
        row |= {f"{measure.key}.{name}": figures.get(name) for name in ("mean", "sd", "min", "max")}
    return row | {
        "reached_target": study.summary(group, MEASURES["steps_to_target"]).n,
        "against_the_first": study.standings[place],
        "difference": contest.difference if contest else None,
        "difference.low": contest.low if contest else None,
        "difference.high": contest.high if contest else None,
        "p": contest.p if contest else None,
        "test": contest.test if contest else None,
        **group.differences,
    }


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Numbers as Python writes them, which reads them back as the same; what is not there is empty."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plain(study: Study, command: str) -> Any:
    return _finite(
        {
            "made_by": _MADE_BY,
            "command": command,
            "metric": study.measure.key,
            "target": study.target,
            "verdict": study.verdict,
            "remarks": study.remarks(),
            "versions": {name: sorted(values) for name, values in versions_of(study.found.runs).items()},
            "groups": [_group(study, place) for place in range(len(study.groups))],
            "runs": [_row(study, group, run, repeats) for group in study.groups for run, repeats in _all(group)],
        }
    )


def _finite(value: Any) -> Any:
    """What JSON can hold: it has no nan and no infinity, and not every reader takes Python's."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _put(path: Path, text: str) -> None:
    with staged(path, text.encode("utf-8", "replace")) as publish:
        publish()
