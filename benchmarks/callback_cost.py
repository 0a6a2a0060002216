"""What a schedule costs at each update, beside `torch.optim.lr_scheduler.OneCycleLR.step`.

    python benchmarks/callback_cost.py

Both set LR and momentum of SGD along a 1cycle; ours checks as well that nobody else has changed them. What is timed of
ours is the whole hook that runs after an optimizer step. One process and one thread, the two by turns, median of pairs.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch.optim import SGD

from lightning_lr import OneCycle

STEPS = 20_000
PAIRS = 15
RESULT = Path(__file__).parent / "results" / "callback_cost.json"


class Bare(pl.LightningModule):
    """As many param groups as are asked for, and nothing to learn."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(1)) for _ in range(groups))

    def training_step(self, batch: object, batch_idx: int) -> torch.Tensor:
        return sum(weight.sum() for weight in self.weights)

    def train_dataloader(self) -> list[int]:
        return [0]

    def configure_optimizers(self) -> SGD:
        return optimizer(self.weights)


class HookAtHand(pl.Callback):
    """Takes the policy's own hook out of a real fit, to be called by itself."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        (self.hook,) = trainer.optimizers[0]._optimizer_step_post_hooks.values()
        self.optimizer = trainer.optimizers[0]
        self.seconds = timed(lambda: self.hook(self.optimizer, (), {}))
        trainer.should_stop = True


def optimizer(weights: torch.nn.ParameterList) -> SGD:
    return SGD([{"params": [weight]} for weight in weights], lr=0.1, momentum=0.9)


def timed(call: Callable[[], object]) -> float:
    """Microseconds a call."""
    started = time.perf_counter()
    for _ in range(STEPS):
        call()
    return (time.perf_counter() - started) / STEPS * 1e6


def ours(groups: int) -> float:
    at_hand = HookAtHand()
    trainer = pl.Trainer(
        max_epochs=1,
        callbacks=[OneCycle(0.1, total_steps=STEPS + 2), at_hand],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Bare(groups))
    return at_hand.seconds


def torchs(groups: int) -> float:
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer(Bare(groups).weights), max_lr=0.1, total_steps=STEPS + 2)
    return timed(scheduler.step)


def measure(groups: int) -> dict[str, float]:
    pairs = [(ours(groups), torchs(groups)) for _ in range(PAIRS)]
    ratios = [mine / theirs for mine, theirs in pairs]
    return {
        "groups": groups,
        "ours_us": round(statistics.median(mine for mine, _ in pairs), 2),
        "torch_us": round(statistics.median(theirs for _, theirs in pairs), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
    }


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    result = {
        "command": "python benchmarks/callback_cost.py",
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {"torch": torch.__version__, "lightning": pl.__version__},
        "n": PAIRS,
        "steps": STEPS,
        "rows": [measure(groups) for groups in (1, 100)],
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["rows"], indent=2))


if __name__ == "__main__":
    main()
