"""A folder is one run's while that goes on, and anybody's as soon as its process has ended, however it did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from recipes.alone import alone

HOLD = """
import os, sys, time
from pathlib import Path
from recipes.alone import alone
with alone(Path(sys.argv[1])):
    worker = os.fork()
    print(worker or "", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_until_the_first_is_gone_and_its_forks_hold_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, "run"], stdout=subprocess.PIPE, text=True)
    lines = {holder.stdout.readline().strip() for _ in range(2)}
    (worker,) = (int(line) for line in lines if line)
    try:
        said = r"^hydra.run.dir=run: a run goes on in it; wait for its end, or choose another$"
        with pytest.raises(FileExistsError, match=said), alone(tmp_path / "run"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        os.kill(worker, 0)  # it lives
        with alone(tmp_path / "run"):
            pass
    finally:
        holder.kill()
        holder.wait()
        os.kill(worker, signal.SIGKILL)
        holder.stdout.close()
    assert not list((tmp_path / "run").iterdir())


def test_one_run_after_another_and_the_other_processes_of_one(tmp_path, monkeypatch):
    for name in ("SLURM_PROCID", "RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for _ in range(2):
        with alone(tmp_path):
            monkeypatch.setenv("LOCAL_RANK", "1")
            with alone(tmp_path):
                pass
            monkeypatch.delenv("LOCAL_RANK")
