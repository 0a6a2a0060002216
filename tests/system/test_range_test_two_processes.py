"""On two processes a range test leaves no trace in either, and reads the mean of their losses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    # Where the ranks part, each waits for the other until the time is over.
    finished = subprocess.run(
        [sys.executable, ROOT / "tests/system/range_test_two_processes.py", folder],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def test_a_fit_equals_one_without_the_test(ranks):
    for rank in ranks:
        assert len(rank["fits"]) == 66
        assert [(run["name"], run["way"], run["differs"]) for run in rank["fits"] if run["differs"]] == []


def test_every_object_is_itself_as_it_was(ranks):
    for rank in ranks:
        assert len(rank["objects"]) == 11
        assert [(run["name"], run["differs"]) for run in rank["objects"] if run["differs"]] == []


def test_a_reading_is_the_mean_over_the_batches_of_both(ranks):
    first, second = (rank["readings"] for rank in ranks)
    assert len(first) == 6
    for one, other in zip(first, second, strict=True):
        assert one["found"] == other["found"]
        assert len(one["found"]) == 8
        assert one["losses"] != other["losses"]
        # Eleven samples a rank are three batches an epoch: where they are accumulated, one update.
        batches = min(3, one["by"])
        losses = zip(*[iter(zip(one["losses"], other["losses"], strict=True))] * batches, strict=False)
        expected = [sum(map(sum, window)) / (2 * batches) for window in islice(losses, 8)]
        assert one["found"] == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_is_no_number_on_one_rank_ends_it_on_both(ranks):
    assert [rank["broken"] for rank in ranks] == [{"ended": "diverged", "readings": 5}] * 2
