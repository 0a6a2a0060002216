"""Recipes as a user starts them: waited for, stopped, and looked for afterwards. And networks that misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import recipes

ROOT = Path(recipes.__file__).resolve().parent.parent
IN_TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
LIMIT = 200

# A person's own networks, of their own module.
MISBEHAVING = """
import os, signal
import torch
from recipes.models.small_cnn import SmallCNN

class Broken(SmallCNN):
    def __init__(self, channels, num_classes, on, how):
        super().__init__(channels, num_classes)
        self.on, self.how, self.seen = str(on), how, 0

    def forward(self, images):
        self.seen += self.training
        # In the second epoch: there is a checkpoint by then.
        if self.seen > 12 and os.environ.get("LOCAL_RANK", "0") == self.on:
            if self.how == "raise":
                raise ValueError(f"broken in process {self.on}")
            os.kill(os.getpid(), getattr(signal, self.how))
        return super().forward(images)

def leaky(channels, num_classes):
    # What a job may leave to the next one of its process.
    torch.set_default_dtype(torch.float64)
    os.environ["LEAKED"] = "1"
    return SmallCNN(channels, num_classes)

def missing(channels, num_classes):
    raise ValueError("there is no such network")
"""


def environment(cwd):
    """That of a shell, from which none of ours, no launcher and no other test has started anything."""
    launcher = ("LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "HYDRA_FULL_ERROR")
    kept = {each: value for each, value in os.environ.items() if each not in launcher}
    return kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{cwd}", "OMP_NUM_THREADS": "1"}


class Command:
    """One that runs, in a folder and a process group of its own.

    Args:
        arguments: What comes after `python`.
        cwd: The folder. What it prints goes there too, for a pipe would be held open by whoever is left behind.
    """

    def __init__(self, *arguments, cwd):
        (cwd / "misbehaving.py").write_text(MISBEHAVING)
        self.cwd = cwd
        with (cwd / "stdout").open("w") as stdout, (cwd / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=cwd,
                env=environment(cwd),
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def until(self, found):
        """Wait until something is found; returns it."""
        return until(found, self)

    def ended(self, within=LIMIT):
        """Wait for its end; returns its exit code."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            for process in [self.process.pid, *self.left_behind()]:
                os.kill(process, signal.SIGKILL)
            raise AssertionError(f"still running:\n{self.stdout}\n{self.stderr}") from None

    @property
    def stdout(self):
        return (self.cwd / "stdout").read_text()

    @property
    def stderr(self):
        return (self.cwd / "stderr").read_text()

    def left_behind(self):
        """The processes that work in its folder."""
        return processes_in(self.cwd)

    def orphans(self):
        """The command lines of those that are left, after those on their way out are gone."""
        deadline = time.monotonic() + 20
        while self.left_behind() and time.monotonic() < deadline:
            time.sleep(0.2)
        return [Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0") for each in self.left_behind()]


def until(found, command):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and command.process.poll() is None:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError(f"did not come to it:\n{command.stdout}\n{command.stderr}")


def processes_in(folder):
    """The processes whose working directory is this folder, but for this one; with Linux's /proc."""
    return {int(each.name) for each in Path("/proc").glob("[0-9]*") if _works_in(each, folder)} - {os.getpid()}


def state(process):
    """The letter for what a process does: R runs, S sleeps, T is stopped, Z is gone and not yet buried."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def _works_in(process, folder):
    try:
        return state(process.name) != "Z" and Path(os.readlink(process / "cwd")) == folder.resolve()
    except OSError:
        return False


def run(*arguments, cwd):
    """A command from its beginning to its end."""
    command = Command(*arguments, cwd=cwd)
    command.ended()
    return command


def files(folder, pattern="snapshots/*.safetensors"):
    """The bytes of each file, by name."""
    return {each.name: each.read_bytes() for each in sorted(folder.glob(pattern))}
