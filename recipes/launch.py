"""What makes a command of a function: Hydra composes, a sweep goes on after a job that failed, the exit code tells.

| code | when |
|---|---|
| 0 | all is done |
| 1 | it was refused, or failed; of a sweep: at least one job |
| 130 | Ctrl-C |
"""

from __future__ import annotations

import gc
import inspect
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from . import ending, fresh_process, schema, sweep
from .run_id import is_first, started_outside
from .schema import places

Task: TypeAlias = Callable[[DictConfig], float | None]

# They go on after a job whose result is no number. Others are told by an exception: what follows is theirs to say.
_GO_ON = (
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra_plugins.lightning_lr_random.RandomSweeper",
)

schema.register()


def command(conf: Path, name: str) -> Callable[[Task], Callable[[], None]]:
    """Make a command of a function.

    Args:
        conf: The folder of configurations.
        name: The one to compose.
    """

    def decorate(task: Task) -> Callable[[], None]:
        # Not `task.__module__`, which is `__main__` under `python -m`.
        recipe = Path(inspect.getfile(task)).stem

        @wraps(task)
        def job(config: DictConfig) -> float | None:
            return run_job(task, config, recipe)

        composed = hydra.main(version_base="1.3", config_path=str(conf), config_name=name)(job)

        @wraps(task)
        def main() -> None:
            ending.with_parent()
            _end(_exit_code(composed))

        return main

    return decorate


def run_job(task: Task, config: DictConfig, recipe: str) -> float | None:
    """Run what was composed: as a run of its own, or as a job of a sweep.

    Args:
        task: What is run.
        config: What was composed.
        recipe: The name of its module.
    """
    with _stopped_by_hand(config, recipe):
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return _job_of_a_sweep(task, config, recipe)
        try:
            return task(config)
        except Exception as error:
            if ending.role() == ending.FRESH and is_first():
                # Who started this tells of it.
                sweep.record(_folder(), _number(), HydraConfig.get().overrides.task, error)
                raise SystemExit(1) from error
            if ending.role() == ending.RANK:
                # What all processes of a run refuse, the first one tells; and then it ends this one.
                time.sleep(1.0)
                print(sweep.describe(error), file=sys.stderr, flush=True)
                raise SystemExit(1) from error
            raise


def _job_of_a_sweep(task: Task, config: DictConfig, recipe: str) -> float | None:
    job, folder = HydraConfig.get(), _folder()
    (folder / sweep.FAILED).unlink(missing_ok=True)
    sweep.end_with_it()
    try:
        if "trainer" in config and not started_outside() and fresh_process.of_several_processes(config.trainer):
            return fresh_process.start(places.ours(recipe), job, folder)
        with _surroundings():
            return task(config)
    except Exception as error:
        failure = sweep.record(folder, _number(), job.overrides.task, error)
        if started_outside():
            # It may have failed in this process alone, and the others wait for it: who started them ends them all.
            raise
        if is_first():
            print(f"! {failure}", file=sys.stderr, flush=True)
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                print(failure.traceback, file=sys.stderr, flush=True)
        if job.sweeper._target_ in _GO_ON:
            return math.nan
        # Nothing but words: it may have to travel to another process.
        raise RuntimeError(failure.error) from None


@contextmanager
def _surroundings() -> Iterator[None]:
    """Leave the process to the next job as this one has found it: random states, switches of torch, environment."""
    # Here, not above: it imports torch.
    from lightning_lr.surroundings import Surroundings

    before = Surroundings()
    try:
        yield
    finally:
        before.restore()
        gc.collect()


@contextmanager
def _stopped_by_hand(config: DictConfig, recipe: str) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        if not ending.by_hand(end):
            raise
        if is_first() and ending.role() is None:
            print(_how_to_go_on(config, recipe), file=sys.stderr, flush=True)
        raise SystemExit(ending.INTERRUPTED) from end


def _how_to_go_on(config: DictConfig, recipe: str) -> str:
    folder = _folder()
    here = Path.cwd()
    shown = str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
    if "resume" not in config:
        return f"Stopped; what was done until then is in {shown}"
    if not any((folder / "checkpoints").glob("last.ckpt")):
        return f"Stopped, before the first checkpoint; what was done until then is in {shown}"
    return f"Stopped; to go on: {shlex.join([*places.command(recipe), f'resume={shown}'])}"


def _folder() -> Path:
    return Path(HydraConfig.get().runtime.output_dir)


def _number() -> int:
    return int(HydraConfig.get().job.num)


def _exit_code(composed: Callable[[], Any]) -> int:
    try:
        composed()
        code = 0
    except KeyboardInterrupt:
        code = ending.INTERRUPTED
    except SystemExit as end:
        code = ending.INTERRUPTED if ending.by_hand(end) else _as_number(end.code)
    failed, said = sweep.summary(stopped=code == ending.INTERRUPTED)
    if said and is_first():
        print(said, file=sys.stderr if failed or code else sys.stdout, flush=True)
    return code or int(failed)


def _as_number(code: str | int | None) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _end(code: int) -> None:
    if code == 0:
        return
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        ending.at_once(code)
    sys.exit(code)
