"""A cell: what comes of one contender. Only those whose packages are always here."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from benchmarks.peers_cell import measure, told
from benchmarks.peers_plan import CONTENDERS
from lightning_lr import BasinError

HERE = [each.source for each in CONTENDERS if each.source.startswith("peers_contenders") and each.rate]


def measured(source, **more):
    return measure(
        {"source": source, "data": "digits", "seed": 0, "rate": 0.1, "epochs": 2, "cycles": 2, "timed": False, **more}
    )


def test_a_cell_tells_its_scores_and_what_they_cost():
    found = measured("peers_contenders:constant")
    # 597 images in batches of 64, twice; and of chance one in ten would be right.
    assert found["updates"] == 20
    assert found["test"] > 0.3
    assert found["mib"] > 100
    assert found["seconds"] > 0


def test_the_same_cell_comes_to_the_same():
    scores = [
        {name: measured("peers_contenders:constant", timed=timed)[name] for name in ("test", "val", "val_loss")}
        for timed in (False, True)
    ]
    assert scores[0] == scores[1]


@pytest.mark.slow
@pytest.mark.parametrize("source", HERE)
@pytest.mark.filterwarnings("ignore:average_weights")
def test_every_contender_under_lightning_trains(source):
    # `average_weights` may refuse.
    with contextlib.suppress(BasinError):
        assert measured(source, epochs=8)["test"] > 0.5


def test_nothing_is_left_behind(tmp_path):
    measured("peers_contenders:restarts_ours")
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_told_is_the_share_that_is_right_and_the_cross_entropy():
    part = TensorDataset(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([0, 1]))
    right, loss = told(lambda scores: scores, part)
    assert right == 0.5
    # The mean of log 2 and of log(1 + e^3).
    assert loss == pytest.approx((0.693147 + 3.048587) / 2, abs=1e-5)
