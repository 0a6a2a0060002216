"""`experiment=superconvergence_cifar10` to 94 % on the test set, beside airbench94 on the same GPU, by turns.

    git clone https://github.com/KellerJordan/cifar10-airbench ../cifar10-airbench
    python benchmarks/superconvergence.py --data data --airbench ../cifar10-airbench
    python benchmarks/superconvergence.py --data data --airbench ../cifar10-airbench trainer.max_epochs=20

`--data` holds cifar-10-batches-py. What follows is said to the experiment too. Both train to their end with ten seeds,
by turns, after a run of each that does not count; both have their data on the GPU by then. What is timed of ours is the
fit, with its callbacks, loggers and the snapshot, without validation; of airbench94 what it times itself: training, and
the test with its images moved and mirrored, which ours does without. A ratio counts where both means are at 94 %.

Without a CUDA device it says so, in the results file too, unless that holds what was measured before.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from benchmarks import record
from benchmarks.costs import MARKERS, Cost, Rows, Said
from benchmarks.telling import Figure, percent
from lightning_lr.plots.frame import GREY, PALETTE, figure_for, save, style
from recipes.data.vision import CIFAR10
from recipes.evaluation import evaluate
from recipes.run import build
from recipes.terminal import quiet
from recipes.train import CONF

TARGET, AIM = 0.94, 1.5
COMMAND = "python benchmarks/superconvergence.py --data data --airbench ../cifar10-airbench"


@dataclass(frozen=True)
class Trained:
    """A network that was trained to the end: its accuracy on the test set, and the seconds that took."""

    accuracy: float
    seconds: float


def ours(seed: int, root: str, overrides: Sequence[str], accelerator: str = "gpu") -> Trained:
    said = [
        "experiment=superconvergence_cifar10",
        *(f"data.root={root}", f"seed={seed}", f"trainer.accelerator={accelerator}"),
        # What airbench94 does between epochs is not timed, and it leaves no checkpoint.
        *("trainer.limit_val_batches=0", "trainer.num_sanity_val_steps=0", "checkpoint.every_n_epochs=1000"),
        *overrides,
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=said)
    with tempfile.TemporaryDirectory() as folder, quiet(), silent():
        parts = build(config, Path(folder))
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
        last = evaluate(parts.trainer, parts.module, parts.datamodule, None).last
    return Trained(last.accuracy, parts.stopwatch.seconds)


def airbench94(run: int | str, module: ModuleType) -> Trained:
    told: list[float] = []
    # It prints its time, and returns its accuracy alone.
    module.print_training_details = lambda variables, is_final_entry: told.append(variables["total_time_seconds"])
    if isinstance(run, int):
        torch.manual_seed(run)
    accuracy = module.main(run)
    return Trained(accuracy, told[-1])


def loaded(checkout: Path) -> ModuleType:
    file = checkout / "airbench94.py"
    if not file.is_file():
        raise FileNotFoundError(f"--airbench={checkout}: no airbench94.py in it; pass a clone of cifar10-airbench")
    spec = importlib.util.spec_from_file_location("airbench94", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hand_over(root: str, folder: Path) -> None:
    """Write the images as airbench94 keeps them: it would download them."""
    (folder / "cifar10").mkdir()
    data = CIFAR10(root)
    for name, train in (("train", True), ("test", False)):
        images, labels = data.read(train)
        kept = {"images": images.permute(0, 2, 3, 1).contiguous(), "labels": labels, "classes": list(range(10))}
        torch.save(kept, folder / "cifar10" / f"{name}.pt")


@contextlib.contextmanager
def silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def inside(folder: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def summary(who: str, runs: Sequence[Trained]) -> dict[str, Any]:
    """Return a row of the result file: accuracy in percent, seconds."""
    accuracy = percent([run.accuracy for run in runs])
    return {"who": who, "accuracy": accuracy.kept(3), "seconds": Figure(tuple(run.seconds for run in runs)).kept(3)}


def tell(rows: Rows) -> Said:
    """No rows: nothing was measured."""
    columns = ["who", "test accuracy %", "seconds", "n"]
    if not rows:
        found = f"Without a CUDA device nothing was measured; where there is one, `{COMMAND}` does it."
        return Said("Not measured: there was no CUDA device.", [found], columns, [])
    ours, theirs = rows
    ratio = ours["seconds"]["mean"] / theirs["seconds"]["mean"]
    short = [row for row in rows if row["accuracy"]["mean"] < TARGET * 100]
    if short:
        names = " and ".join(f"{row['who']}, {row['accuracy']['mean']:.2f} %" for row in short)
        said = f"nothing is shown, for not both are at {TARGET * 100:.0f} %: {names}"
    else:
        said = "shown" if ratio <= AIM else "missed"
    told = [[f"{row[name]['mean']:.2f} ± {row[name]['sd']:.2f}" for name in ("accuracy", "seconds")] for row in rows]
    found = [
        f"Ours reaches {told[0][0]} % in {told[0][1]} s, airbench94 {told[1][0]} % in {told[1][1]} s, n = "
        f"{ours['seconds']['n']}."
    ]
    table = [[row["who"], *figures, str(row["seconds"]["n"])] for row, figures in zip(rows, told, strict=True)]
    return Said(f"{ratio:.2f} times its time: {said}.", found, columns, table)


def draw(content: dict[str, Any], path: Path) -> None:
    figure = figure_for(path, height=3.4)
    panel = figure.subplots()
    style(panel, "test accuracy %")
    for index, row in enumerate(content["rows"]):
        look = {"marker": MARKERS[index], "color": PALETTE[index], "linestyle": "none", "markersize": 5}
        panel.plot(row["seconds"]["each"], row["accuracy"]["each"], label=row["who"], **look)
    panel.axhline(TARGET * 100, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), label=f"{TARGET * 100:.0f} %")
    panel.set_xlim(left=0)
    save(figure, path, [panel], "CIFAR-10 on one GPU, a mark a seed", xlabel="seconds")


COST = Cost(
    "superconvergence",
    f"{TARGET * 100:.0f} % on CIFAR-10's test set under Lightning, in at most {AIM} times the time of airbench94.",
    tell,
    draw,
)


def measure(data: str, checkout: Path, seeds: int, overrides: Sequence[str]) -> Rows:
    module, root = loaded(checkout), str(Path(data).resolve())
    mine, theirs = [], []
    with tempfile.TemporaryDirectory() as scratch, inside(scratch):
        hand_over(root, Path(scratch))
        # What does not count: kernels are chosen, memory is reserved.
        ours(seeds, root, [*overrides, "trainer.max_epochs=2"])
        airbench94("warmup", module)
        for seed in range(seeds):
            mine.append(ours(seed, root, overrides))
            theirs.append(airbench94(seed, module))
            print(f"seed {seed}: ours {mine[-1]}, airbench94 {theirs[-1]}", flush=True)
    return [summary("ours", mine), summary("airbench94", theirs)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="data", help="holds cifar-10-batches-py (%(default)s)")
    parser.add_argument(
        "--airbench", type=Path, default=Path("../cifar10-airbench"), help="a clone of it (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=10, help="(%(default)s)")
    parser.add_argument("overrides", nargs="*", help="what else is said to the experiment")
    asked = parser.parse_args(arguments)
    measured = torch.cuda.is_available()
    kept = record.RESULTS / f"{COST.name}.json"
    if not measured and kept.exists() and json.loads(kept.read_text()).get("rows"):
        print(f"no CUDA device; {kept.name} holds what was measured on one")
        return
    began = time.perf_counter()
    COST.write(
        measure(asked.data, asked.airbench, asked.seeds, asked.overrides) if measured else [],
        command=COMMAND,
        n={"seeds": asked.seeds if measured else 0},
        seconds=time.perf_counter() - began,
        overrides=asked.overrides,
    )


if __name__ == "__main__":
    main()
