"""A run's result: as a file for programs, as a table and a sentence for people."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.table import Table

import lightning_lr
from lightning_lr.durable import staged

from .evaluation import Evaluation, Score

_PACKAGES = ("torch", "lightning", "torchmetrics", "safetensors", "hydra-core", "numpy", "scikit-learn")


def write_result(
    path: Path,
    evaluation: Evaluation,
    config: Mapping[str, Any],
    *,
    steps: int,
    seconds: float,
    found: Mapping[str, float] | None = None,
    fit_seconds: float | None = None,
    clock: Sequence[tuple[int, float]] | None = None,
    device: str | None = None,
    steps_per_epoch: int | None = None,
) -> dict[str, Any]:
    """Write ``result.json`` and return what it holds.

    Args:
        path: Where it goes; it is complete there or absent.
        evaluation: The scores.
        config: What the run was composed of, resolved.
        steps: Optimizer updates that were applied.
        seconds: From the start of the run to its last score.
        found: What each ``auto`` of the schedule stood for.
        fit_seconds: Of the fit alone, with what came before a resume.
        clock: Of each validation, the updates and the seconds of the fit before its end.
        device: What it ran on.
        steps_per_epoch: Optimizer updates of an epoch.

    What there is none of is left out of the file.
    """
    beside = {"fit_seconds": fit_seconds, "clock": clock, "device": device, "steps_per_epoch": steps_per_epoch}
    result = {
        "config": config,
        "versions": versions(),
        "last": asdict(evaluation.last),
        "members": [
            {"cycle": member.cycle, "step": member.step, **asdict(member.score)} for member in evaluation.members
        ],
        "ensemble": asdict(evaluation.ensemble),
        "steps": steps,
        "seconds": seconds,
        "objective": evaluation.ensemble.accuracy,
        **({"found": dict(found)} if found else {}),
        **{name: value for name, value in beside.items() if value is not None},
    }
    with staged(path, f"{json.dumps(result, indent=2)}\n".encode()) as publish:
        publish()
    return result


def device_of(trainer: pl.Trainer) -> str:
    """Return what a trainer runs on, in words: a time says nothing without it."""
    root, count = trainer.strategy.root_device, trainer.world_size
    name = torch.cuda.get_device_name(root) if root.type == "cuda" else root.type
    return name if count == 1 else f"{count} x {name}"


def versions() -> dict[str, str]:
    """Return the versions of all that a result may depend on."""
    return {
        "python": platform.python_version(),
        "lightning_lr": lightning_lr.__version__,
        **{package: version(package) for package in _PACKAGES},
    }


def table(evaluation: Evaluation, steps: int, test_size: int) -> Table:
    """Return the table of all scores.

    Args:
        evaluation: The scores.
        steps: Optimizer updates of the run.
        test_size: Samples that they were measured on.
    """
    scores = Table(title=f"{test_size} test samples", title_justify="left", title_style="bold")
    scores.add_column("model")
    for heading in ("after update", "accuracy %", "NLL", "ECE"):
        scores.add_column(heading, justify="right")
    for member in evaluation.members:
        scores.add_row(f"snapshot {member.cycle}", str(member.step), *_cells(member.score))
    scores.add_section()
    scores.add_row("last model", str(steps), *_cells(evaluation.last))
    if evaluation.members:
        scores.add_row(f"ensemble of {len(evaluation.members)}", "", *_cells(evaluation.ensemble), style="bold")
    return scores


def verdict(evaluation: Evaluation, test_size: int) -> str:
    """Return what the ensemble bought over the last model, counted in errors.

    Example:
        >>> last, ensemble = Score(0.98, 0.08, 0.01), Score(0.99, 0.05, 0.01)
        >>> from recipes.evaluation import Member
        >>> members = (Member(0, 10, last), Member(1, 20, last))
        >>> verdict(Evaluation(last, members, ensemble), test_size=100)
        'Against the last model the ensemble makes 1 error instead of 2, and its NLL is 37.5 % lower.'
    """
    last, ensemble = evaluation.last, evaluation.ensemble
    if len(evaluation.members) < 2:
        return "There are no snapshots to average." if not evaluation.members else "One snapshot: nothing to average."
    before, after = (round((1.0 - score.accuracy) * test_size) for score in (last, ensemble))
    errors = f"{after} error{'' if after == 1 else 's'}"
    errors = f"as many errors ({after})" if after == before else f"{errors} instead of {before}"
    change = (ensemble.nll / last.nll - 1.0) * 100.0
    nll = "the same" if abs(change) < 0.05 else f"{abs(change):.1f} % {'lower' if change < 0 else 'higher'}"
    return f"Against the last model the ensemble makes {errors}, and its NLL is {nll}."


def _cells(score: Score) -> tuple[str, str, str]:
    return f"{100 * score.accuracy:.2f}", f"{score.nll:.4f}", f"{score.ece:.4f}"
