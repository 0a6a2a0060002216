"""Two processes are at the same LR at every update: that of the closed form for the updates that they share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import closed_forms

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    root = Path(__file__).parents[2]
    finished = subprocess.run(
        [sys.executable, root / "tests/system/two_processes.py", folder],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def test_both_ranks_saw_the_same(ranks):
    first, second = ranks
    assert len(first) == 12
    assert first == second


@pytest.mark.parametrize(("length", "updates", "forwards"), [(0, 20, 20), (1, 8, 20), (2, 13, 13), (3, 7, 19)])
@pytest.mark.parametrize(
    ("policy", "closed_form"),
    [("sgdr", closed_forms.sgdr), ("one_cycle", closed_forms.one_cycle), ("step_decay", closed_forms.step_decay)],
)
def test_every_update_uses_the_closed_form(ranks, policy, closed_form, length, updates, forwards):
    expected = closed_form(updates)
    for rank in ranks:
        seen = [run for run in rank if run["policy"] == policy][length]
        assert seen["forwards"] == forwards
        for name in ("lr", "momentum"):
            assert [held[name] for held in seen["updates"]] == pytest.approx(expected[name], rel=0, abs=1e-12)


def test_both_ranks_are_told_of_every_cycles_end(ranks):
    for rank in ranks:
        assert [run["ends"] for run in rank if run["policy"] == "sgdr"] == [
            [6, 13, 20],
            [2, 5, 8],
            [4, 8, 13],
            [2, 4, 7],
        ]
