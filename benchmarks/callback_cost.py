"""What a schedule costs at each update, beside `torch.optim.lr_scheduler.OneCycleLR.step`.

    python benchmarks/callback_cost.py

Both set LR and momentum of SGD along a 1cycle; ours checks as well that nobody else has changed them. What is timed of
ours is the whole hook that runs after an optimizer step. One process and one thread, the two by turns, median of pairs
with its quartiles.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.optim import SGD

from benchmarks.costs import WORDS, Cost, Rows, Said, Span, draw_spans, outcome, verdict
from lightning_lr import OneCycle

STEPS = 20_000
PAIRS = 15
AIM = 1.0


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


def measure(groups: int) -> dict[str, Any]:
    pairs = [(ours(groups), torchs(groups)) for _ in range(PAIRS)]
    ratios = [mine / theirs for mine, theirs in pairs]
    return {
        "groups": groups,
        "n": PAIRS,
        **Span.of([mine for mine, _ in pairs]).kept("ours_us", 2),
        **Span.of([theirs for _, theirs in pairs]).kept("torch_us", 2),
        **Span.of(ratios).kept("ratio"),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
    }


def tell(rows: Rows) -> Said:
    found, table, outcomes = [], [], {}
    for row in rows:
        ratio = Span.read(row, "ratio")
        outcomes[groups_of(row)] = outcome(ratio, AIM)
        found.append(
            f"{groups_of(row)}: an update of ours takes {row['ours_us']:.1f} µs, of OneCycleLR "
            f"{row['torch_us']:.1f} µs: {ratio.told()} times as long, {WORDS[outcome(ratio, AIM)]}."
        )
        microseconds = [Span.read(row, name).cell(1) for name in ("ours_us", "torch_us")]
        table.append([groups_of(row), *microseconds, ratio.cell(), str(row["n"])])
    columns = ["of the optimizer", "ours, µs", "OneCycleLR, µs", "ratio", "pairs"]
    return Said(verdict(outcomes), found, columns, table)


def groups_of(row: dict[str, Any]) -> str:
    return f"{row['groups']} param group{'s' if row['groups'] > 1 else ''}"


def draw(content: dict[str, Any], path: Path) -> None:
    spans = {
        groups_of(row): {"ours": Span.read(row, "ours_us"), "torch's OneCycleLR": Span.read(row, "torch_us")}
        for row in content["rows"]
    }
    draw_spans(
        spans, path, "What a schedule costs at each update", content["n"]["pairs"], "µs an update (log scale)", log=True
    )


COST = Cost("callback_cost", "A schedule costs no more at each update than torch's own.", tell, draw)


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    began = time.perf_counter()
    rows = [measure(groups) for groups in (1, 100)]
    COST.write(
        rows,
        command="python benchmarks/callback_cost.py",
        n={"pairs": PAIRS},
        seconds=time.perf_counter() - began,
        steps=STEPS,
    )


if __name__ == "__main__":
    main()
