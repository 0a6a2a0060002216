"""What a process has one of, and a trial run may change: random states, switches of torch, environment, signals."""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import Any

import numpy as np
import torch

from lightning_lr.undo import Undo

# What a launcher tells the processes that it has started: they still run after the trial.
_OF_THE_LAUNCHER = {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"}
_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")


class Surroundings:
    """The state of the process, as it is now."""

    def __init__(self) -> None:
        self._random = _random_states()
        self._switches = _switches()
        self._environment = dict(os.environ)
        self._signals = _signals()

    def restore(self, *, again: bool = False) -> None:
        """Put everything back.

        Args:
            again: Whether another trial follows: random numbers go on from where they are.
        """
        if not again:
            for each in self._random:
                each()
        for each in self._switches:
            each()
        for number, handler in self._signals.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        for name in os.environ.keys() - self._environment.keys() - _OF_THE_LAUNCHER:
            del os.environ[name]
        os.environ.update(self._environment)


def _random_states() -> list[Undo]:
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    states: list[Undo] = [
        lambda: random.setstate(python),
        lambda: np.random.set_state(numpy),
        lambda: torch.set_rng_state(cpu),
    ]
    if torch.cuda.is_available():
        cuda = torch.cuda.get_rng_state_all()
        states.append(lambda: torch.cuda.set_rng_state_all(cuda))
    if torch.backends.mps.is_available():
        mps = torch.mps.get_rng_state()
        states.append(lambda: torch.mps.set_rng_state(mps))
    return states


def _switches() -> list[Undo]:
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn
    benchmark, cudnn_deterministic, tf32 = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    precision, dtype = torch.get_float32_matmul_precision(), torch.get_default_dtype()
    gradients, threads = torch.is_grad_enabled(), torch.get_num_threads()
    anomaly, check_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()

    def undo_cudnn() -> None:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = benchmark, cudnn_deterministic, tf32

    def undo_threads() -> None:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    return [
        lambda: torch.use_deterministic_algorithms(deterministic, warn_only=warn_only),
        undo_cudnn,
        lambda: torch.set_float32_matmul_precision(precision),
        lambda: torch.set_default_dtype(dtype),
        lambda: torch.set_grad_enabled(gradients),
        lambda: torch.autograd.set_detect_anomaly(anomaly, check_nan),
        undo_threads,
    ]


def _signals() -> dict[int, Any]:
    # Only the main thread may set them.
    if threading.current_thread() is not threading.main_thread():
        return {}
    present = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    return {number: handler for number in present if (handler := signal.getsignal(number)) is not None}
