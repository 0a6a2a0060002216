"""What every test starts from."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import settings

# Where a change is judged, the same examples each time. Everywhere else new ones: that is how they find something.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # With two threads on a busy machine a small model's forward was up to two hundred times slower.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    # Lightning writes `lightning_logs` and checkpoints into the working directory unless it is told otherwise.
    monkeypatch.chdir(tmp_path)


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
