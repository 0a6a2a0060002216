"""Composing and building runs without a command line, and without a trace in the process."""

from __future__ import annotations

import os

import pytest
import torch
from hydra import compose, initialize_config_dir

from recipes.train import CONF


@pytest.fixture
def composed():
    """Compose `conf/train.yaml` with overrides."""

    def composed(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", overrides=list(overrides))

    return composed


@pytest.fixture(autouse=True)
def _process_as_before():
    # A run seeds, and asks for determinism, process-wide.
    environment, threads = dict(os.environ), torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(environment)
