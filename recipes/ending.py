"""How a process ends: by Ctrl-C with 130, with whoever started it, and never as an orphan."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

# In the environment of a process that is to end with the one that started it, and as what it was started.
PARENT = "LIGHTNING_LR_PARENT"
ROLE = "LIGHTNING_LR_ROLE"
# One of several processes of a run; the one process of a job of a sweep, which starts the others.
RANK, FRESH = "rank", "fresh"

INTERRUPTED = 130

PATIENCE = 60.0
"""Seconds that a run which was stopped has to put its things away."""


def role() -> str | None:
    """Return as what this process was started by one of ours; None if by somebody else."""
    return os.environ.get(ROLE) if os.environ.get(PARENT) == str(os.getppid()) else None


def with_parent() -> None:
    """End this process when the one that started it is gone, without waiting for anybody.

    A process that waits for others in a collective operation learns nothing of their end. Only for one that was started
    by one of ours.
    """
    mine, parent = role(), os.getppid()
    if mine is not None:
        _follow(lambda: os.getppid() == parent, gently=mine == FRESH)


def with_process(process: int) -> None:
    """End this process when another one on this machine is gone, as if by hand.

    Args:
        process: Its number.
    """

    def lives() -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        return True

    _follow(lives, gently=True)


def by_hand(error: BaseException | None) -> bool:
    """Return whether it was Ctrl-C that something ended by.

    Lightning turns it into an exit with code 1.

    Example:
        >>> by_hand(KeyboardInterrupt()), by_hand(SystemExit(1))
        (True, False)
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__ if isinstance(error, SystemExit) else None
    return False


def said(code: int) -> str:
    """Return how a process ended, in words.

    Example:
        >>> said(1), said(-9)
        ('exit code 1', 'signal SIGKILL')
    """
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def at_once(code: int) -> NoReturn:
    """End this process here, with all that it has written.

    Not by way of the interpreter's end, where a communicator may wait for processes that are gone.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _follow(lives: Callable[[], bool], *, gently: bool) -> None:
    def follow() -> None:
        while lives():
            time.sleep(0.25)
        if gently:
            # It keeps what was done, and ends those that it has started.
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)
        os._exit(1)

    threading.Thread(target=follow, daemon=True, name="follow").start()
