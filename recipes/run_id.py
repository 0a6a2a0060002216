"""One name for a run that all of its processes find, whoever started them; and which of them is the first.

Known before anything is loaded: Hydra makes the run's folder from it. Registered as resolvers, for `conf`.
"""

from __future__ import annotations

import os
import re
import subprocess
from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf

from .schema.places import ours

_TIME = "%Y-%m-%d/%H-%M-%S"
_MADE_UP = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def register() -> None:
    """Make the resolvers known to OmegaConf: ``run_id``, ``run_dir``, ``of_first`` and ``of_rank``, and ``ours``."""
    # Cached, as Hydra's `now` is: a configuration that is asked twice, or copied to a job of a sweep, answers the same.
    OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("run_dir", run_dir, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("of_first", of_first, replace=True)
    OmegaConf.register_new_resolver("of_rank", of_rank, replace=True)
    OmegaConf.register_new_resolver("ours", ours, replace=True)


def run_dir(resume: str | None) -> str:
    """Return the folder of a run: that of the run to go on with, else a new one.

    Example:
        >>> run_dir("outputs/2026-01-31/12-00-00")
        'outputs/2026-01-31/12-00-00'
    """
    return f"outputs/{run_id()}" if resume is None else str(Path(resume).expanduser())


def run_id() -> str:
    """Return what all processes of a run agree on: by SLURM, by torchrun, or else the time.

    `srun` tells its processes a job and a step, `torchrun` an id if it was given one. Without, it is the time at which
    torchrun was started, which the processes of one machine read from their parent. What is started a second time by
    its scheduler is another run.
    """
    if _srun_tasks() > 1:
        again = os.environ.get("SLURM_RESTART_COUNT", "0")
        return f"slurm-{os.environ['SLURM_JOB_ID']}-{os.environ.get('SLURM_STEP_ID', '0')}{_again(again)}"
    elastic = os.environ.get("TORCHELASTIC_RUN_ID")
    if elastic is None:
        return datetime.now().strftime(_TIME)
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    # Where nobody named the run, torchrun makes a name up, or says that there is none.
    nameless = elastic == "none" or (os.environ.get("GROUP_WORLD_SIZE") == "1" and _MADE_UP.fullmatch(elastic))
    known_as = _start_of(os.getppid()) if nameless else f"torchrun-{re.sub(r'[^-.a-zA-Z0-9]', '_', elastic)}"
    return f"{known_as}{_again(again)}"


def is_first() -> bool:
    """Return whether this is the first process of its run, or the only one."""
    if _srun_tasks() > 1:
        return os.environ["SLURM_PROCID"] == "0"
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def of_first(name: str, resume: str | None = None) -> str | None:
    """Return what Hydra's own folder in a run's is called: one in it for a run that is gone on with, none of others.

    Args:
        name: Of a new run.
        resume: The run that is gone on with.
    """
    if not is_first():
        return None
    return name if resume is None else f"{name}/resumed"


def started_outside() -> bool:
    """Return whether torchrun or srun has started all processes of the run: then nobody starts more of them."""
    if _srun_tasks() > 1:
        return True
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def of_rank() -> str:
    """Return what tells apart a file of this process from the first one's: nothing in the first."""
    # A process that Lightning has started has a name of its own from it.
    rank = os.environ["SLURM_PROCID"] if _srun_tasks() > 1 else os.environ.get("RANK", "0")
    return "" if rank == "0" else f"-rank-{rank}"


def _srun_tasks() -> int:
    # An interactive shell is a step of one task, or of several that nobody talks to: Lightning has the same two names.
    if "SLURM_PROCID" not in os.environ or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return 1
    return int(os.environ.get("SLURM_NTASKS", "1"))


def _again(count: str) -> str:
    return "" if count == "0" else f"-{count}"


def _start_of(process: int) -> str:
    """The time at which a process was started, as text that is the same for whoever asks."""
    try:
        # After the name, which is in brackets and may hold anything; in ticks since the machine was started.
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except FileNotFoundError:
        # No Linux.
        said = subprocess.run(["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, check=True)
        return re.sub(r"\W+", "-", said.stdout.strip())
    return datetime.fromtimestamp(int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")).strftime(_TIME)
