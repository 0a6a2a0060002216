"""One run of `recipes.ensemble`: the passes, the files, what is said, and the order of events."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lightning_lr import SnapshotEnsemble
from lightning_lr.arguments import require_choice, require_int
from lightning_lr.durable import staged
from lightning_lr.ensemble.export import new_file
from lightning_lr.plots import plot_lines
from lightning_lr.report import EnsembleReport
from lightning_lr.report.advice import Advice, advice
from lightning_lr.report.fitting import Fitted
from lightning_lr.snapshots.weights import pack
from lightning_lr.weight_space import BasinError, average_weights
from lightning_lr.weight_space.basin import Line, lines_between

from . import scoreboard
from .building import build_task
from .report import versions
from .run import claim, shown
from .run_folder import Found
from .terminal import busy, console, quiet

RESULT = "ensemble.json"
LINES = "lines.png"
AVERAGE = "average.safetensors"


def tell(config: DictConfig, found: Found, notes: list[str]) -> float:
    """Fit on the validation data, tell on the test data, draw and report in Hydra's folder of the run.

    Args:
        config: As composed from `conf/ensemble.yaml`, with the data and the model of the snapshots.
        found: The snapshots.
        notes: What there is to say about them.

    Returns:
        The ensemble's accuracy on the test data.

    Raises:
        FileExistsError: If the folder holds a run already, or what is to be exported is there.
        ValueError: If a member does not fit the model, or an option is out of range.
    """
    began = time.perf_counter()
    folder = Path(HydraConfig.get().runtime.output_dir)
    composed = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    target = _refuse_early(config)
    claim(folder, composed)
    with quiet():
        module, datamodule = build_task(config)
        ensemble = SnapshotEnsemble(module.to(_device(config.device)), found.members, **_as_configured(config))
        datamodule.prepare_data()
        for stage in ("fit", "validate", "test"):
            datamodule.setup(stage)
        with busy("Running the members on the validation data"):
            fit = EnsembleReport.collect(ensemble, datamodule.val_dataloader())
        with busy("Running the members on the test data"):
            told = EnsembleReport.collect(ensemble, datamodule.test_dataloader())
        with busy("Fitting and drawing"):
            fits = fit.fits()
            advised = advice(fit, told)
            told.plot(folder, fits)
        result: dict[str, Any] = {
            "config": composed,
            "versions": versions(),
            "notes": notes,
            "validation": fit.as_dict(),
            "test": told.as_dict(fits, advised),
        }
        # At once: what was measured is there, whatever becomes of the rest.
        _write(folder / RESULT, result)
        _print(fit, told, fits, notes)
        if config.lines is not None and len(told.names) > 1:
            with busy("Measuring the loss between neighbours"):
                lines = _lines(config, module, datamodule, found, folder)
            result["lines"] = [_of_line(line) for line in lines]
            _write(folder / RESULT, result)
            _say(scoreboard.barriers([line.rise for line in lines]))
        if config.average is not None:
            with busy("Averaging weights"):
                average = _average(config, module, datamodule, found, folder)
            result["average"] = average
            _write(folder / RESULT, result)
            _say(scoreboard.averaged(config.average, average, AVERAGE))
            _say(*(f"! {note}" for note in average.get("notes", ())))
        _say("", f"{advised.sentence[:1].upper()}{advised.sentence[1:]}.")
        if target is not None:
            with busy("Exporting"):
                x, _ = ensemble.split(next(iter(datamodule.test_dataloader())))
                ensemble.cpu().export(target, x)
        _next(config, advised, target)
        seconds = time.perf_counter() - began
        _say(f"{seconds:.0f} s; {RESULT} and the pictures are in {shown(folder)}", whole=True)
    return told.score()["accuracy"]


def _refuse_early(config: DictConfig) -> Path | None:
    """Refuse before the passes what would be refused after them; return where to export to."""
    if config.average is not None:
        require_choice("average", config.average, ("uniform", "greedy"))
    if config.lines is not None:
        require_int("lines", config.lines, at_least=3)
    if config.export is None:
        return None
    here = Path(HydraConfig.get().runtime.cwd)
    try:
        return new_file(here / Path(config.export).expanduser())
    except (ValueError, OSError) as error:
        raise type(error)(f"export: {error}") from error


def _device(named: str) -> torch.device:
    if named == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.empty(0, device=named).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={named!r}: not one of this machine's; pass auto, cpu or cuda:0") from error


def _as_configured(config: DictConfig) -> dict[str, Any]:
    names = ("last_m", "pooling", "member_weights", "temperature", "ckpt_weights")
    return {
        name: OmegaConf.to_container(config[name]) if OmegaConf.is_config(config[name]) else config[name]
        for name in names
    }


def _lines(
    config: DictConfig, module: pl.LightningModule, datamodule: Any, found: Found, folder: Path
) -> tuple[Line, ...]:
    lines = lines_between(
        module,
        found.members,
        datamodule.val_dataloader(),
        train_dataloader=datamodule.train_dataloader(),
        last_m=config.last_m,
        points=config.lines,
        ckpt_weights=config.ckpt_weights,
    )
    plot_lines(lines, folder / LINES)
    return lines


def _average(
    config: DictConfig, module: pl.LightningModule, datamodule: Any, found: Found, folder: Path
) -> dict[str, Any]:
    """Scores of one model of all members on the test data, or why there is none."""
    try:
        with warnings.catch_warnings(record=True) as warned:
            averaged = average_weights(
                module,
                found.members,
                datamodule.train_dataloader(),
                datamodule.val_dataloader(),
                last_m=config.last_m,
                method=config.average,
                ckpt_weights=config.ckpt_weights,
            )
    except BasinError as error:
        # An answer, and no reason to lose the rest.
        return {"refused": " ".join(str(error).split())}
    with staged(folder / AVERAGE, pack(averaged.state_dict())) as publish:
        publish()
    told = EnsembleReport.collect(SnapshotEnsemble(module, [averaged]), datamodule.test_dataloader())
    return {
        "scores": told.score(),
        "members": list(cast(tuple[str, ...], averaged.averaged)),
        "notes": [str(warning.message) for warning in warned],
    }


def _of_line(line: Line) -> dict[str, Any]:
    return {
        "names": list(line.names),
        "alphas": list(line.alphas),
        "losses": list(line.losses),
        "barrier": line.barrier,
        "rise": line.rise,
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with staged(path, f"{json.dumps(_plain(content), indent=2, allow_nan=False)}\n".encode()) as publish:
        publish()


def _plain(value: Any) -> Any:
    """Without NaN and infinities, of which JSON knows nothing."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(fit: EnsembleReport, told: EnsembleReport, fits: tuple[Fitted, ...], notes: list[str]) -> None:
    screen = console()
    # For softmax, the mean of the logits is the geometric mean of the probabilities.
    left_out = {"mean_logit", told.pooling, "geometric" if told.pooling == "mean_logit" else ""}
    poolings = {name: scores for name, scores in told.poolings().items() if name not in left_out}
    screen.print(scoreboard.members(len(told), told.names, told.so_far(), told.last_m(), poolings))
    after = {each.how: (told.cost(each).passes, told.score(each)) for each in _new(fits)}
    screen.print(scoreboard.fitted(len(fit), told.score(), told.cost().passes, after))
    _say(*(f"! {note}" for note in notes))
    _say(scoreboard.diversity(told.disagreement(), told.correlation()), scoreboard.cost(told.cost()))


def _new(fits: Sequence[Fitted]) -> list[Fitted]:
    """Those that differ: of one member there is nothing to select, and no weight to fit."""
    found: dict[tuple[Any, ...], Fitted] = {}
    for fit in fits:
        if len(fit.members) > 1 or fit.temperature is not None:
            found.setdefault((fit.member_weights, fit.temperature, fit.pooling), fit)
    return list(found.values())


def _next(config: DictConfig, advised: Advice, target: Path | None) -> None:
    """Say what to go on with."""
    if target is not None:
        _say(f"As it is, for use without this package: {shown(target)}", whole=True)
    if target is None or advised.use != advised.of:
        overrides = {"last_m": str(advised.use), "export": f"last_{advised.use}.pt2"}
        _say("To write that into one file:")
        _say(scoreboard.command(HydraConfig.get().overrides.task, overrides), whole=True)


def _say(*lines: str, whole: bool = False) -> None:
    # Whole: not broken where the screen ends, for it is to be copied.
    for line in lines:
        console().print(line, soft_wrap=whole, markup=False)
