"""A job of a sweep, as one fresh process: what a run of several processes needs, and a sweep cannot give it.

Lightning starts the other processes of a run with the command line of the first: `-m` and all, each would run the whole
sweep. And what it tells them by the environment, the next job of the same process would take for its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig

from . import ending
from .sweep import recorded

# What says who started a process, and which of several it is. A fresh one is the first of its own.
_OF_A_LAUNCHER = ("SLURM_", "SUBMITIT_", "TORCHELASTIC_", "OMPI_", "PMI_", "PMIX_")
_OF_A_RANK = frozenset(
    {
        *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME"),
        *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
        *("MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"),
    }
)

# Overrides that are about the sweep, and not about the job.
_OF_THE_SWEEP = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.sweep", "hydra.run")
_SAID_ANEW = ("hydra.mode", "hydra.job.id", "hydra.job.num")


class JobError(RuntimeError):
    """A job that failed in its own process, by what that process said."""


def of_several_processes(trainer: DictConfig) -> bool:
    """Return whether a trainer may start processes, as far as this can be told without counting devices.

    Args:
        trainer: The section of a composed configuration.
    """
    if trainer.num_nodes > 1:
        return True
    devices = str(trainer.devices)
    if devices == "auto":
        return not (trainer.accelerator == "cpu" and trainer.strategy == "auto")
    named = [each for each in devices.strip("[]").split(",") if each.strip()]
    # A number alone is how many, and -1 is all.
    return named != ["1"] if "," not in devices and "[" not in devices else len(named) != 1


def start(module: str, job: HydraConf, folder: Path) -> float | None:
    """Run a job in a process of its own; return its objective, if it has one.

    Args:
        module: What the process runs: ``recipes.train``.
        job: Hydra's side of the job's configuration.
        folder: Of the job.

    Raises:
        JobError: If it fails.
    """
    process = subprocess.Popen(
        command(module, job, folder),
        cwd=job.runtime.cwd,
        env=environment(dict(os.environ)),
        # Away from the terminal: a Ctrl-C comes to it once, and through this process.
        start_new_session=True,
    )
    code = _wait(process)
    if code != 0:
        failure = recorded(folder)
        raise JobError(failure.error if failure else f"its process ended with {ending.said(code)}")
    result = folder / "result.json"
    return float(json.loads(result.read_text())["objective"]) if result.exists() else None


def command(module: str, job: Any, folder: Path) -> list[str]:
    """Return the command line that runs a job of a sweep alone.

    Args:
        module: What it runs.
        job: Hydra's side of the job's configuration.
        folder: Where it runs.
    """
    options = [f"--config-name={job.job.config_name}"]
    for source in job.runtime.config_sources:
        option = {"main": "--config-path", "command-line": "--config-dir"}.get(source.provider)
        if option and source.schema == "file":
            options.append(f"{option}={source.path}")
    kept = [each for each in job.overrides.hydra if not _of_the_sweep(each.lstrip("+~").partition("=")[0])]
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return [
        *(sys.executable, "-m", module),
        *options,
        *job.overrides.task,
        *kept,
        *("hydra.mode=RUN", f'hydra.run.dir="{quoted}"'),
        # For `${hydra:job.num}` in an override.
        *(f"hydra.job.num={job.job.num}", f"hydra.job.id={job.job.id}"),
    ]


def environment(inherited: dict[str, str]) -> dict[str, str]:
    """Return an environment without what a launcher, or another run of this process, has put there.

    Args:
        inherited: That of this process.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if name not in _OF_A_RANK and not name.startswith(_OF_A_LAUNCHER)
    }
    return kept | {ending.PARENT: str(os.getpid()), ending.ROLE: ending.FRESH}


def _of_the_sweep(key: str) -> bool:
    return key in _SAID_ANEW or any(key == each or key.startswith((f"{each}.", f"{each}/")) for each in _OF_THE_SWEEP)


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait()
    except BaseException:
        # Ctrl-C, most likely. It is passed on, and waited for again: the run keeps what was done.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(ending.PATIENCE)
        finally:
            process.kill()
            process.wait()
        raise
