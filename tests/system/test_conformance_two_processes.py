"""Every case of the conformance table on two processes, all of them in one pair of processes.

Run as a program with a folder, this file is one of the two: it fits every case, and writes what its rank saw to
``FOLDER/rank-N.json``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.callbacks.conformance import CASES
from tests.callbacks.watched import Heard, Watched, foreseen, foretold
from tests.fits import loader, trainer

# Batches of both ranks; then updates of the run and of an epoch: two times six, and three times three, three, three and
# one batches a rank.
RUNS = [
    ({"max_epochs": 2}, 12, (12, 6)),
    ({"max_epochs": 3, "accumulate_grad_batches": 3}, 20, (12, 4)),
]


@pytest.mark.slow
def test_both_ranks_are_given_the_preview_at_every_update(tmp_path):
    root = Path(__file__).parents[2]
    finished = subprocess.run(
        [sys.executable, __file__, tmp_path],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))

    assert len(first) == 2 * len(CASES)
    # The weights too: the ranks' gradients are one.
    assert first == second
    for case in CASES:
        for index, (_, _, length) in enumerate(RUNS):
            policy, seen = case.build(), first[f"{case.name}, {index}"]
            expected = foreseen(policy, case.groups, *length)
            counts = [1] * 12 if index == 0 else [3, 3, 3, 1] * 3
            assert seen["updates"] == expected
            assert seen["forwards"] == [
                held for held, count in zip(expected, counts, strict=True) for _ in range(count)
            ]
            assert sorted(map(tuple, seen["told"])) == foretold(policy, *length)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    seen = {}
    for case in CASES:
        for index, (options, batches, _) in enumerate(RUNS):
            module, heard = Watched(case.groups), Heard()
            run = trainer(case.build(), heard, strategy="ddp", devices=2, **options)
            run.fit(module, loader(batches))
            seen[f"{case.name}, {index}"] = {
                "updates": module.updates,
                "forwards": module.forwards,
                "told": heard.told,
                "weight": repr(module.layer.weight.tolist()),
            }
    (folder / f"rank-{run.global_rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
