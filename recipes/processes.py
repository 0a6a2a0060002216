"""The processes of one run, which end together: in one line, at once, and with an exit code that tells.

Lightning starts them, and looks every five seconds whether one has died; then it kills them all, the first one too:
exit code 137, and nothing put away. And it kills none when the first process itself fails.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.strategies.launchers import subprocess_script
from torch import distributed

from . import ending
from .run_id import is_first, started_outside

# Seconds until a process that should have noticed is believed to wait for somebody who is gone.
_GRACE = 10.0
_POLL = 0.1


@contextmanager
def together() -> Iterator[None]:
    """End all processes that Lightning starts inside, when the first of them ends.

    Also a decorator. Where torchrun or srun has started them, that is theirs to do.

    Raises:
        RuntimeError: If one of the others has failed, in the place of what the first saw of it.
    """
    if started_outside() or not is_first() or threading.current_thread() is not threading.main_thread():
        yield
        return
    peers = _Peers()
    try:
        with _in_the_place_of_lightning(peers.observe):
            yield
    except BaseException as error:
        lost = _lost_contact(error)
        failed = peers.failed(wait=2.0) if lost else None
        peers.kill()
        if failed is not None:
            raise RuntimeError(f"{failed}, and the others with it") from error
        raise
    finally:
        peers.close()


class _Peers:
    """The other processes of a run, as its first one sees them."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        self._signals: tuple[socket.socket, socket.socket, int] | None = None

    def observe(self, processes: list[subprocess.Popen[bytes]]) -> None:
        """Begin; called by Lightning as soon as they are started."""
        self._processes = processes
        # What comes while the main thread waits for another process is seen here, and not there.
        heard, told = socket.socketpair()
        for end in (heard, told):
            end.setblocking(False)
        self._signals = heard, told, signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True, name="peers").start()

    def failed(self, wait: float = 0.0) -> str | None:
        """Return which of them has failed, in words, and how.

        Args:
            wait: Seconds to wait for one to be through with failing.
        """
        until = time.monotonic() + wait
        while True:
            for rank, process in enumerate(self._processes, start=1):
                if process.poll():
                    return f"process {rank} ended with {ending.said(process.returncode)}"
            if time.monotonic() >= until:
                return None
            time.sleep(_POLL)

    def kill(self) -> None:
        """End them: nothing that they have is not the first one's too."""
        for process in self._processes:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop observing; wait for those that are still on their way out."""
        self._over.set()
        if self._signals is not None:
            heard, told, before = self._signals
            signal.set_wakeup_fd(before)
            heard.close()
            told.close()
        for process in self._processes:
            try:
                process.wait(ending.PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self) -> None:
        failing = interrupted = None
        while not self._over.wait(_POLL):
            now = time.monotonic()
            interrupted = interrupted or (now if self._interrupted() else None)
            failing = failing or (now if self.failed() else None)
            # Lightning ignores further signals as soon as it is about to put its things away.
            noticed = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            if interrupted and now - interrupted > (ending.PATIENCE if noticed else _GRACE):
                self._force(ending.INTERRUPTED, "stopped while it waited for another process")
            if failing and not interrupted and now - failing > _GRACE:
                self._force(1, f"{self.failed()}, and the others with it")

    def _interrupted(self) -> bool:
        if self._signals is None:
            return False
        try:
            return signal.SIGINT in self._signals[0].recv(64)
        except (BlockingIOError, OSError):
            return False

    def _force(self, code: int, said: str) -> None:
        self.kill()
        print(said, file=sys.stderr)
        ending.at_once(code)


def _lost_contact(error: BaseException) -> bool:
    """Whether an error is what a process sees of another one's end."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


@contextmanager
def _in_the_place_of_lightning(observe: Callable[[list[subprocess.Popen[bytes]]], None]) -> Iterator[None]:
    """Have Lightning start processes that leave Ctrl-C to the first one, and us observe them."""
    launcher: Any = subprocess_script._SubprocessScriptLauncher
    module: Any = subprocess_script
    start, watch = launcher._call_children_scripts, module._launch_process_observer
    environment = {name: os.environ.get(name) for name in (ending.PARENT, ending.ROLE)}

    def start_deaf(self: Any) -> None:
        os.environ.update({ending.PARENT: str(os.getpid()), ending.ROLE: ending.RANK})
        # What is blocked here is blocked in them for good, from their first instruction on; what comes meanwhile comes
        # to this process afterwards.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            start(self)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for name, value in environment.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)

    launcher._call_children_scripts, module._launch_process_observer = start_deaf, observe
    try:
        yield
    finally:
        launcher._call_children_scripts, module._launch_process_observer = start, watch
