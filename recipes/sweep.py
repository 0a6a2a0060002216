"""What a sweep leaves behind of the jobs that failed, and what is said of them at its end.

Jobs run in other processes, or on other machines: all that they and the sweep have in common is the sweep's folder.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from . import ending
from .run_id import is_first

FAILED = "failed.json"

# In the environment, so that jobs in other processes know whose they are.
_SWEEP = "LIGHTNING_LR_SWEEP"
_NONE = '{"name": "", "host": "", "process": 0, "said": []}'

_folder: Path | None = None
_following = False


@dataclass(frozen=True)
class Failure:
    """A job that failed.

    Args:
        job: Its number in the sweep.
        overrides: What it does not have in common with the other jobs.
        error: What went wrong, in one line.
        traceback: Where.
        sweep: Which sweep it was of: another one may have had the same folder.
    """

    job: int
    overrides: tuple[str, ...]
    error: str
    traceback: str
    sweep: str

    def __str__(self) -> str:
        own = f" ({shlex.join(self.overrides)})" if self.overrides else ""
        return f"job {self.job}{own}: {self.error}"


class Watch(Callback):
    """Notes where the sweep of this process is; an entry of `hydra.callbacks`."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before the first job, in the process that the sweep was started in."""
        global _folder
        _folder = Path(config.hydra.sweep.dir).absolute()
        os.environ[_SWEEP] = json.dumps(
            {
                "name": f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}",
                "host": socket.gethostname(),
                "process": os.getpid(),
                "said": list(config.hydra.overrides.task),
            }
        )


def end_with_it() -> None:
    """End this process when that of the sweep is gone, where it is on the same machine and not the same.

    What SLURM has been given is SLURM's: it stays when who gave it has gone.
    """
    global _following
    ours = _ours()
    elsewhere = ours["host"] != socket.gethostname() or "SLURM_JOB_ID" in os.environ
    if not elsewhere and ours["process"] != os.getpid() and not _following:
        ending.with_process(ours["process"])
        _following = True


def describe(error: BaseException) -> str:
    """Return an error in one line: a refusal as it stands, anything else with its kind."""
    line = " ".join(str(error).split())
    known = type(error).__name__ in ("CompactHydraException", "JobError")
    return line if known and line else f"{type(error).__name__}: {line}".rstrip(": ")


def record(folder: Path, job: int, overrides: Sequence[str], error: BaseException) -> Failure:
    """Write ``failed.json`` into the folder of a job, the first of its processes for all; return what it holds."""
    trace = "".join(traceback.format_exception(error))
    ours = _ours()
    # What is the same for all jobs says nothing of this one.
    own = tuple(each for each in overrides if each not in ours["said"])
    failure = Failure(job, own, describe(error), trace, ours["name"])
    if is_first():
        (folder / FAILED).write_text(f"{json.dumps(asdict(failure), indent=2)}\n")
    return failure


def recorded(folder: Path) -> Failure | None:
    """Return what the folder of a job says of its failure; None where it did not fail."""
    file = folder / FAILED
    if not file.exists():
        return None
    found = json.loads(file.read_text())
    return Failure(**found | {"overrides": tuple(found["overrides"])})


def summary(*, stopped: bool = False) -> tuple[bool, str]:
    """Return whether a job of the sweep that this process has started failed, and what there is to say at its end.

    No words where there was no sweep, or where it came to no job.

    Args:
        stopped: Whether it was stopped by hand.
    """
    if _folder is None:
        return False, ""
    sweep = _ours()["name"]
    found = {file: each for file in _folder.rglob(FAILED) if (each := recorded(file.parent)) and each.sweep == sweep}
    failures = sorted(found.items(), key=lambda each: each[1].job)
    jobs = len(list(_folder.rglob(".hydra")))
    if not jobs and not failures:
        return False, ""
    if stopped:
        lines = [f"The sweep was stopped; what was done until then is in {_shown(_folder)}"]
    elif failures:
        lines = [f"{len(failures)} of {_count(jobs)} failed; the others are in {_shown(_folder)}"]
    else:
        lines = [f"{_count(jobs)}, none failed; all of it is in {_shown(_folder)}"]
    return bool(failures), "\n  ".join([*lines, *(f"{each}; see {_shown(file)}" for file, each in failures)])


def _ours() -> dict[str, Any]:
    """The sweep that this process works for."""
    return cast(dict[str, Any], json.loads(os.environ.get(_SWEEP, _NONE)))


def _count(jobs: int) -> str:
    return f"{jobs} job{'' if jobs == 1 else 's'}"


def _shown(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
