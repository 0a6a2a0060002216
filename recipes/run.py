"""One training run: what it is made of, and the order of events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from lightning_lr import LRRangeTest, Schedule, SnapshotCheckpoint, Snapshots

from . import pictures, report
from .building import build_task
from .evaluation import Evaluation, evaluate, samples
from .log import MetricsFile
from .processes import together
from .resume import CHECKPOINT
from .scaling import schedule_of
from .stopwatch import Stopwatch
from .take_over import TakeOver
from .terminal import Bar, console, quiet

# What says that a folder is somebody's.
_OF_A_RUN = (
    *("result.json", "metrics.csv", "snapshots", "checkpoints"),
    *("range_test*.json", "ensemble.json", "average.safetensors", "*.png"),
)


@dataclass(frozen=True)
class Parts:
    """What a run is made of."""

    trainer: pl.Trainer
    module: pl.LightningModule
    datamodule: pl.LightningDataModule
    policy: Schedule
    snapshots: SnapshotCheckpoint | None
    range_test: LRRangeTest | None
    stopwatch: Stopwatch


@together()
def run(config: DictConfig) -> float:
    """Train, test and report in Hydra's folder of the run; return the ensemble's accuracy.

    Raises:
        FileExistsError: If the folder holds a run already.
    """
    began = time.perf_counter()
    folder = Path(HydraConfig.get().runtime.output_dir)
    composed = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    resumed = config.resume is not None
    if not resumed:
        claim(folder, composed)
    with quiet():
        parts = build(config, folder)
        if resumed:
            take_over = TakeOver(folder, composed)
            # First: the checkpoint callback has to stay the last.
            parts.trainer.callbacks.insert(0, take_over)  # type: ignore[attr-defined]
            with take_over():
                fit(parts, folder / CHECKPOINT)
        else:
            fit(parts, None)
        if parts.policy.step == 0:
            raise ValueError("trainer: no update was applied, there is nothing to test; give it epochs and batches")
        found = None if parts.snapshots is None else Snapshots(cast(Path, parts.snapshots.dirpath))
        evaluation = evaluate(parts.trainer, parts.module, parts.datamodule, found)
    if parts.trainer.is_global_zero:
        leave(parts, evaluation, folder, composed, began)
    return evaluation.ensemble.accuracy


def fit(parts: Parts, checkpoint: Path | None) -> None:
    """Train.

    Args:
        parts: The run.
        checkpoint: What to go on from.
    """
    parts.trainer.fit(parts.module, datamodule=parts.datamodule, ckpt_path=checkpoint, weights_only=True)


def leave(parts: Parts, evaluation: Evaluation, folder: Path, composed: dict[str, Any], began: float) -> None:
    """Draw, write and print what came of the run.

    Args:
        parts: The run, after its fit.
        evaluation: Its scores.
        folder: Where its files go.
        composed: What it was composed of.
        began: The clock at its start.
    """
    steps, horizon = parts.policy.step, parts.policy.horizon
    steps_per_epoch = None if horizon is None else horizon.steps_per_epoch
    pictures.draw(
        folder,
        cycles=parts.policy.run_cycles,
        steps_per_epoch=steps_per_epoch,
        title=type(parts.policy).__name__,
    )
    if parts.range_test is not None and parts.range_test.result is not None:
        parts.range_test.result.save(folder / "range_test.json")
        parts.range_test.result.plot(folder / "lr_range.png")
    # Last: where there is a result, there is all that it speaks of.
    seconds = time.perf_counter() - began
    report.write_result(
        folder / "result.json",
        evaluation,
        composed,
        found=parts.policy.found,
        steps=steps,
        seconds=seconds,
        fit_seconds=parts.stopwatch.seconds,
        clock=parts.stopwatch.readings,
        device=report.device_of(parts.trainer),
        steps_per_epoch=steps_per_epoch,
    )
    test_size = samples(parts.trainer, parts.datamodule)
    screen = console()
    screen.print(report.table(evaluation, steps, test_size))
    screen.print(report.verdict(evaluation, test_size), soft_wrap=True)
    if parts.policy.found:
        rates = ", ".join(f"{name}={rate:.2g}" for name, rate in parts.policy.found.items())
        screen.print(f"A range test found {rates}; see lr_range.png", soft_wrap=True)
    screen.print(f"{steps} updates in {seconds:.0f} s; all of it is in {shown(folder)}", soft_wrap=True)


def build(config: DictConfig, folder: Path) -> Parts:
    """Seed everything, then make all parts of the run.

    Args:
        config: As composed from `conf/train.yaml`.
        folder: Where the run leaves its files.
    """
    module, datamodule = build_task(config)
    policy = instantiate(schedule_of(config), _convert_="all")
    snapshots = None
    if policy.cyclic:
        snapshots = instantiate(config.snapshots, dirpath=folder / "snapshots", _convert_="all")
    # Not left to the policy, for what it was that told the rate.
    range_test = None if policy.auto is None else LRRangeTest(momentum=policy.auto.momentum)
    callbacks: list[Callback | None] = [
        policy,
        range_test,
        snapshots,
        LearningRateMonitor(logging_interval="step", log_momentum=True),
        # One file, replaced each time: what a run that was stopped goes on from.
        instantiate(
            config.checkpoint,
            dirpath=folder / CHECKPOINT.parent,
            filename=CHECKPOINT.stem,
            save_top_k=1,
            enable_version_counter=False,
        ),
        stopwatch := Stopwatch(),
        Bar(),
    ]
    trainer = instantiate(
        config.trainer,
        callbacks=[callback for callback in callbacks if callback is not None],
        logger=loggers(config.logger, folder),
        default_root_dir=folder,
        enable_model_summary=False,
        # schedule.png is drawn from what the optimizer used, at every update.
        log_every_n_steps=1,
        _convert_="all",
    )
    return Parts(trainer, module, datamodule, policy, snapshots, range_test, stopwatch)


def loggers(config: DictConfig, folder: Path) -> list[Logger]:
    """Make the logger that was chosen, and the file that every run has.

    Args:
        config: The section of the chosen one.
        folder: Of the run.
    """
    chosen = instantiate(config, save_dir=folder, _convert_="all")
    return [chosen] if isinstance(chosen, MetricsFile) else [MetricsFile(folder), chosen]


@rank_zero_only
def claim(folder: Path, composed: dict[str, Any]) -> None:
    """Write ``config.yaml`` into the folder of a run, which must be nobody's yet.

    Raises:
        FileExistsError: If it holds a run already.
    """
    for pattern in _OF_A_RUN:
        for found in folder.glob(pattern):
            raise FileExistsError(
                f"hydra.run.dir={shown(folder)}: holds a run already ({found.name}); "
                "choose another folder or move that run"
            )
    file = folder / "config.yaml"
    keys = {line.partition(":")[0] for line in file.read_text(errors="replace").splitlines()} if file.exists() else None
    # That of a run that was refused is replaced: such a run has nothing else.
    if keys is not None and not composed.keys() <= keys:
        raise FileExistsError(f"hydra.run.dir={shown(folder)}: holds another {file.name}; choose another folder")
    OmegaConf.save(OmegaConf.create(composed), file)


def shown(folder: Path) -> str:
    """Return the folder as seen from the working directory."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
