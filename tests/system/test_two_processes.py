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


ROOT = Path(__file__).parents[2]


def run(*arguments, cwd):
    # Where the ranks part, each waits for the other until the time is over.
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    finished = run(ROOT / "tests/system/two_processes.py", folder, cwd=folder)
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


def test_a_metric_that_one_rank_logs_for_itself_does_not_part_the_ranks(tmp_path):
    (tmp_path / "fit.py").write_text(
        "import torch\n"
        "from lightning_lr import SGDR, SnapshotCheckpoint\n"
        "from tests.fits import Recording, loader, trainer\n"
        "class OneLogs(Recording):\n"
        "    def validation_step(self, batch, batch_idx):\n"
        "        if self.trainer.is_global_zero:\n"
        "            self.log('val/own', 0.5 + self.trainer.global_step, rank_zero_only=True)\n"
        "if __name__ == '__main__':\n"
        "    torch.set_num_threads(1)\n"
        "    run = trainer(\n"
        "        SGDR(0.1, cycles=3), SnapshotCheckpoint('snapshots'), strategy='ddp', devices=2, max_epochs=3\n"
        "    )\n"
        "    run.fit(OneLogs(), loader(8), loader(2))\n"
    )
    finished = run("fit.py", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    rows = json.loads((tmp_path / "snapshots" / "manifest.json").read_text())["snapshots"]
    assert [(row["step"], row["metrics"]) for row in rows] == [
        (4, {"val/own": 4.5}),
        (8, {"val/own": 8.5}),
        (12, {"val/own": 12.5}),
    ]
