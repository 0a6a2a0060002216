"""An ensemble's report as text, as JSON and as pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lr.durable import staged

if TYPE_CHECKING:
    from lightning_lr.report.advice import Advice
    from lightning_lr.report.ensemble_report import EnsembleReport
    from lightning_lr.report.fitting import Fitted

FORMAT = 1
"""Version of the JSON file."""

_SHARES = ("accuracy", "ece")


def table(report: EnsembleReport, fits: Sequence[Fitted]) -> str:
    """See `EnsembleReport.table`."""
    members, cost = len(report.names), report.cost()
    last_m = {f"last {m} of {members}": scores for m, scores in enumerate(report.last_m(), start=1)}
    told = {fitted.how: report.score(fitted) for fitted in fits}
    sections = {
        "members": dict(zip(report.names, report.members(), strict=True)),
        "ensembles of the last members": last_m,
        "poolings of all members": _poolings(report),
        "the ensemble as it was made": {_settings(report): report.score()},
        **({"fitted on another split": told} if told else {}),
    }
    width = max(len(name) for rows in sections.values() for name in rows) + 2
    columns = list(report.score())
    lines = [f"{report.task}, {members} members, {len(report)} samples; accuracy and ece in %"]
    if report.task == "regression":
        lines = [f"{report.task}, {members} members, {len(report)} samples"]
    for title, rows in sections.items():
        lines += ["", f"{title:<{width + 2}}" + "".join(f"{column:>10}" for column in columns)]
        for name, scores in rows.items():
            lines.append(f"  {name:<{width}}" + "".join(f"{_shown(column, scores[column]):>10}" for column in columns))
    lines += ["", *_pairs(report)]
    lines.append(
        f"cost: {cost.passes} times that of one model, whose forward pass takes {cost.seconds_of_one * 1e3:.3g} ms a "
        f"sample (measured on {cost.device}, in batches of {cost.batch_size})"
    )
    lines += [f"! {name}: a prediction of it is not a number; leave it out" for name in report.broken]
    return "\n".join(line.rstrip() for line in lines)


def as_dict(report: EnsembleReport, fits: Sequence[Fitted], advice: Advice | None) -> dict[str, Any]:
    """See `EnsembleReport.as_dict`."""
    from lightning_lr import __version__

    classes = report.task != "regression"
    content = {
        "format": FORMAT,
        "lightning_lr": __version__,
        "task": report.task,
        "pooling": report.pooling,
        "temperature": report.temperature,
        "member_weights": report.member_weights,
        "samples": len(report),
        "members": [
            {"name": name, "step": step, "broken": name in report.broken, "scores": scores}
            for name, step, scores in zip(report.names, report.steps, report.members(), strict=True)
        ],
        "ensemble": report.score(),
        "last_m": report.last_m(),
        "so_far": [asdict(restart) for restart in report.so_far()],
        "poolings": report.poolings(),
        "disagreement": report.disagreement(),
        "correlation": report.correlation(),
        "calibration": [asdict(bar) for bar in report.calibration()] if classes else None,
        "cost": asdict(report.cost()),
        "fitted": [
            {
                "how": fitted.how,
                "pooling": fitted.pooling,
                "temperature": fitted.temperature,
                "member_weights": fitted.member_weights,
                "fitted_on": len(fitted.samples),
                "scores": report.score(fitted),
                "calibration": [asdict(bar) for bar in report.calibration(fitted)] if classes else None,
                "passes": report.cost(fitted).passes,
            }
            for fitted in fits
        ],
        "advice": None if advice is None else asdict(advice),
    }
    plain: dict[str, Any] = _plain(content)
    return plain


def write(report: EnsembleReport, path: str | Path, fits: Sequence[Fitted], advice: Advice | None) -> Path:
    """See `EnsembleReport.to_json`."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"path={str(path)!r}: a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; make it first")
    content = json.dumps(as_dict(report, fits, advice), indent=2, allow_nan=False, ensure_ascii=False)
    with staged(target, (content + "\n").encode()) as publish:
        publish()
    return target


def draw(report: EnsembleReport, folder: str | Path, fits: Sequence[Fitted]) -> tuple[Path, ...]:
    """See `EnsembleReport.plot`."""
    from lightning_lr import plots

    target = Path(folder)
    told = {fitted.how: report.score(fitted) for fitted in fits}
    target.mkdir(parents=True, exist_ok=True)
    members, several = report.members(), len(report.names) > 1
    written = [plots.plot_last_m(report.last_m(), members, target / "last_m.png", chosen=_chosen(report, fits))]
    steps = [step for step in report.steps if step is not None]
    if len(steps) == len(report.steps) and all(before < after for before, after in pairwise(steps)):
        together = [restart.together for restart in report.so_far()]
        written.append(plots.plot_training_spent(steps, members, together, target / "training_spent.png"))
    if several:
        written.append(plots.plot_poolings(_poolings(report) | told, target / "poolings.png"))
    if report.task != "regression":
        # What moves a probability without moving its rank: the temperature.
        diagrams = {_settings(report): report.calibration()}
        diagrams |= {fitted.how: report.calibration(fitted) for fitted in fits if fitted.temperature is not None}
        written.append(plots.plot_calibration(diagrams, target / "calibration.png"))
    if several:
        path, shares = target / "diversity.png", report.task != "regression"
        matrices = report.disagreement(), report.correlation()
        written.append(plots.plot_diversity(*matrices, report.names, path, shares=shares))
    return tuple(written)


def _settings(report: EnsembleReport) -> str:
    """How the ensemble was made."""
    words = [report.pooling] if report.task != "regression" else ["mean"]
    words += ["weighted"] if report.member_weights is not None else []
    words += [f"temperature {report.temperature:g}"] if report.temperature is not None else []
    return ", ".join(words)


def _poolings(report: EnsembleReport) -> dict[str, dict[str, float]]:
    """Scores of each pooling, in one row where two are the same by definition."""
    found = report.poolings()
    if "geometric" in found:
        order = {"mean_prob": "mean_prob", "mean_logit, geometric": "geometric", "vote": "vote"}
        found = {name: found[pooling] for name, pooling in order.items()}
    return found


def _chosen(report: EnsembleReport, fits: Sequence[Fitted]) -> int | None:
    """The m of the first of the fits that is an ensemble of the last m."""
    members = len(report.names)
    last = {(0.0,) * (members - m) + (1.0 / m,) * m: m for m in range(1, members + 1)}
    found = (last.get(fitted.member_weights) for fitted in fits if fitted.pooling == report.pooling)
    return next((m for m in found if m is not None), None)


def _pairs(report: EnsembleReport) -> list[str]:
    """How different the members are, between the two that are most alike and the two that are least."""
    lines = []
    for name, matrix in (("disagreement", report.disagreement()), ("correlation of errors", report.correlation())):
        pairs = [value for row, values in enumerate(matrix) for value in values[:row] if math.isfinite(value)]
        if pairs:
            percent = name == "disagreement" and report.task != "regression"
            low, high = (f"{100 * value:.2f} %" if percent else f"{value:.3g}" for value in (min(pairs), max(pairs)))
            lines.append(f"{name} of two members: {low} to {high}")
    return lines


def _shown(column: str, value: float) -> str:
    return f"{100 * value:.2f}" if column in _SHARES else f"{value:.4g}"


def _plain(value: Any) -> Any:
    """The same of types that JSON knows: it has no word for NaN or infinity."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
