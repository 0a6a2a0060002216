"""What a data module asks of its trainer, without one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch


def process(rank: int = 0, of: int = 1, **more: Any) -> SimpleNamespace:
    """A trainer's one process of so many."""
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    state = SimpleNamespace(fn=None)
    told = {"world_size": of, "global_rank": rank, "num_devices": of, "overfit_batches": 0, "max_epochs": None}
    return SimpleNamespace(**{**told, "strategy": strategy, "state": state, **more})
