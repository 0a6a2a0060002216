"""What a training step of the recipe costs, beside a PyTorch loop written by hand.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --device cuda

The recipe is what `python -m recipes.train` builds: Lightning's Trainer with SGDR, snapshots, learning rate monitor,
bar, checkpoints, and loss, learning rate and momentum logged at every step. The loop by hand sets the learning rate of
the same SGD, and logs nothing. Same network, same data and loader, one process, one thread; both by turns in one fit, a
few steps each, so that whatever else the machine does is shared. Median of pairs and their quartiles; validation,
snapshots and checkpoints come after the steps that are timed.

By two clocks: the wall's, and that of the process, which does not count what other processes take of a busy machine.
The small network, whose step is short, shows what a step costs over that of the loop, whatever the network.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir

from benchmarks.costs import WORDS, Cost, Rows, Said, Span, draw_spans, outcome, verdict
from recipes.decay import kept_off
from recipes.run import build
from recipes.terminal import quiet
from recipes.train import CONF

AIM, AT = 1.05, "resnet18"  # of the recipe's time in the loop's; the network that it was said of


@dataclass(frozen=True)
class Case:
    """One network.

    Args:
        overrides: Of the recipe.
        batch: Images a batch.
        steps: Steps of a turn.
        pairs: Turns of each.
    """

    overrides: tuple[str, ...]
    batch: int
    steps: int
    pairs: int


CASES = {
    "cpu": {
        "resnet18": Case(("model=resnet18", "data.shape=[3,32,32]"), batch=32, steps=1, pairs=20),
        "small_cnn": Case(("model=small_cnn", "data.shape=[1,8,8]"), batch=64, steps=50, pairs=20),
    },
    "cuda": {
        "resnet18": Case(("model=resnet18", "data.shape=[3,32,32]"), batch=128, steps=20, pairs=40),
        "resnet18_bf16": Case(
            ("model=resnet18", "data.shape=[3,32,32]", "channels_last=true", "trainer.precision=bf16-mixed"),
            batch=512,
            steps=20,
            pairs=40,
        ),
        "small_cnn": Case(("model=small_cnn", "data.shape=[1,8,8]"), batch=64, steps=50, pairs=40),
    },
}
# Turns that warm up: allocator, caches, kernels that are chosen at the first call.
UNTIMED = 3


@dataclass(frozen=True)
class Clocks:
    """Seconds by the wall's clock and by the process's."""

    wall: float
    process: float

    @classmethod
    def now(cls) -> Clocks:
        """Read both, when all that was asked of the device is done."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return cls(time.perf_counter(), time.process_time())

    def after(self, began: Clocks, steps: int) -> Clocks:
        """What passed since then, of one step."""
        return Clocks((self.wall - began.wall) / steps, (self.process - began.process) / steps)


class ByTurns(pl.Callback):
    """Runs the loop by hand between steps of the fit, and takes the time of both."""

    def __init__(self, case: Case, model: torch.nn.Module, config: Any) -> None:
        self.case, self.model, self.config = case, model, config
        self.by_hand: list[Clocks] = []
        self.recipe: list[Clocks] = []
        self._since: Clocks | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.model.to(trainer.strategy.root_device)
        self.loop = self.steps(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % self.case.steps:
            return
        began = Clocks.now()
        if self._since is not None:
            self.recipe.append(began.after(self._since, self.case.steps))
        for _ in range(self.case.steps):
            next(self.loop)
        self._since = Clocks.now()
        self.by_hand.append(self._since.after(began, self.case.steps))

    def steps(self, trainer: pl.Trainer) -> Iterator[None]:
        """Train as PyTorch's tutorial does, a step at a time, with SGDR's formula."""
        off = kept_off(self.model)
        named = dict(self.model.named_parameters())
        optimizer = torch.optim.SGD(
            [
                {"params": [each for name, each in named.items() if name not in off], "weight_decay": 5e-4},
                {"params": [each for name, each in named.items() if name in off]},
            ],
            lr=0.01,
            momentum=0.9,
            nesterov=True,
        )
        device, last = trainer.strategy.root_device, self.config.channels_last
        amp = self.config.trainer.precision == "bf16-mixed"
        total = (UNTIMED + self.case.pairs + 1) * self.case.steps
        for step, (images, labels) in enumerate(trainer.datamodule.train_dataloader()):
            lr = 0.005 * (1 + math.cos(math.pi * step / total))
            for group in optimizer.param_groups:
                group["lr"] = lr
            images, labels = images.to(device), labels.to(device)
            if last:
                images = images.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                loss = F.cross_entropy(self.model(images), labels)
            loss.backward()
            optimizer.step()
            yield


def measure(name: str, case: Case, device: str) -> dict[str, Any]:
    batches = (UNTIMED + case.pairs + 1) * case.steps
    overrides = [
        *case.overrides,
        *("data=fake", f"data.batch_size={case.batch}", f"data.train_size={case.batch * batches}"),
        *("trainer.max_epochs=1", f"trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}"),
        *("trainer.limit_val_batches=0", "schedule.cycles=1", "schedule.max_lr=0.01"),
        # What one sets where speed matters; the loop by hand, in the same process, has them too.
        *(("trainer.deterministic=false", "trainer.benchmark=true") if device == "cuda" else ()),
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=overrides)
    with tempfile.TemporaryDirectory() as folder, quiet():
        parts = build(config, Path(folder))
        turns = ByTurns(case, deepcopy(parts.module.model), config)
        parts.trainer.callbacks.append(turns)
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
    # A pair is a turn by hand and the recipe's that follows it.
    pairs = list(zip(turns.recipe, turns.by_hand, strict=False))[UNTIMED:]
    return {
        "network": name,
        "parameters": sum(each.numel() for each in parts.module.model.parameters()),
        "batch": case.batch,
        "steps_of_a_turn": case.steps,
        "n": len(pairs),
        "wall": compared([(recipe.wall, by_hand.wall) for recipe, by_hand in pairs]),
        "process": compared([(recipe.process, by_hand.process) for recipe, by_hand in pairs]),
    }


def compared(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "recipe_ms": round(1e3 * statistics.median(recipe for recipe, _ in pairs), 3),
        "by_hand_ms": round(1e3 * statistics.median(by_hand for _, by_hand in pairs), 3),
        "over_us": round(1e6 * statistics.median(recipe - by_hand for recipe, by_hand in pairs)),
        **Span.of([recipe / by_hand for recipe, by_hand in pairs]).kept("ratio"),
    }


def tell(rows: Rows) -> Said:
    found, table, outcomes = [], [], {}
    for row in rows:
        wall, process = Span.read(row["wall"], "ratio"), Span.read(row["process"], "ratio")
        aimed = row["network"].startswith(AT)
        if aimed:
            outcomes[row["network"]] = outcome(wall, AIM)
        said = WORDS[outcome(wall, AIM)] if aimed else "of which nothing was to be shown"
        found.append(
            f"{row['network']}, batch {row['batch']}: a step of the recipe takes {wall.told()} times as long as one by "
            f"hand by the clock, {said}, and {process.told()} times by the process's; that is "
            f"{row['wall']['over_us'] / 1e3:+.1f} ms of {row['wall']['by_hand_ms']:.1f} ms."
        )
        for clock, ratio in (("the wall's", wall), ("the process's", process)):
            each = row["wall" if clock == "the wall's" else "process"]
            steps = [f"{each[name]:.1f}" for name in ("recipe_ms", "by_hand_ms")]
            table.append([row["network"], str(row["batch"]), clock, *steps, ratio.cell(), str(row["n"])])
    columns = ["network", "batch", "clock", "recipe, ms a step", "by hand, ms a step", "ratio", "pairs"]
    return Said(verdict(outcomes), found, columns, table)


def draw(content: dict[str, Any], path: Path) -> None:
    spans = {
        f"{row['network']},\nbatch {row['batch']}": {
            name: Span.read(row[clock], "ratio")
            for clock, name in (("wall", "by the clock"), ("process", "processor seconds"))
        }
        for row in content["rows"]
    }
    title = "A training step of the recipe beside a loop by hand"
    draw_spans(spans, path, title, content["n"]["pairs"], "in units of a step by hand", aim=AIM)


COST = Cost(
    "training_step",
    f"A training step of the recipe takes at most {AIM} times that of a loop by hand, at ResNet-18's size.",
    tell,
    draw,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=sorted(CASES), default="cpu")
    parser.add_argument("--only", choices=sorted({name for cases in CASES.values() for name in cases}))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cases = {name: case for name, case in CASES[options.device].items() if options.only in (None, name)}
    began = time.perf_counter()
    rows = [measure(name, case, options.device) for name, case in cases.items()]
    if options.only is None:
        COST.write(
            rows,
            command="python benchmarks/training_step.py" + (f" --device {options.device}" * (options.device != "cpu")),
            n={"pairs": rows[0]["n"]},
            seconds=time.perf_counter() - began,
            device=options.device,
        )
    else:
        print("\n".join(tell(rows)[0]))


if __name__ == "__main__":
    main()
