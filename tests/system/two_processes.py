"""Fits of every policy on two processes; each rank writes what it saw to `FOLDER/rank-N.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from lightning_lr import SGDR, OneCycle, StepDecay
from tests.fits import CycleEnds, Recording, loader, sgd, trainer

POLICIES = {
    "sgdr": lambda: SGDR(0.1, 0.01, cycles=3, cycle_momentum=True),
    "one_cycle": lambda: OneCycle(0.1),
    "step_decay": lambda: StepDecay(0.8, factor=0.5, every=3),
}
# Twenty batches are ten a rank: ten updates, or four of three, three, three and one batches.
LENGTHS = [
    {"max_epochs": 2, "accumulate_grad_batches": 1},
    {"max_epochs": 2, "accumulate_grad_batches": 3},
    {"max_steps": 13, "accumulate_grad_batches": 1},
    {"max_steps": 7, "accumulate_grad_batches": 3},
]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    seen = []
    for name, build in POLICIES.items():
        for options in LENGTHS:
            module, policy, ends = Recording(sgd(momentum=0.9)), build(), CycleEnds()
            run = trainer(policy, ends, strategy="ddp", devices=2, **options)
            run.fit(module, loader(20))
            seen.append(
                {
                    "policy": name,
                    "options": options,
                    "updates": module.at_update,
                    "forwards": len(module.at_forward),
                    "ends": [step for step, _, _ in ends.told],
                    "weight": module.layer.weight.tolist(),
                }
            )
    (folder / f"rank-{run.global_rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
