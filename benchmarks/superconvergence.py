"""`experiment=superconvergence_cifar10` to 94 % on the test set, beside airbench94 on the same GPU, by turns.

    git clone https://github.com/KellerJordan/cifar10-airbench ../cifar10-airbench
    python benchmarks/superconvergence.py --data data --airbench ../cifar10-airbench
    python benchmarks/superconvergence.py --data data --airbench ../cifar10-airbench trainer.max_epochs=20

`--data` holds cifar-10-batches-py. What follows is said to the experiment too. Both train to their end with ten seeds,
by turns, after a run of each that does not count; both have their data on the GPU by then. What is timed of ours is the
fit, with its callbacks, loggers and the snapshot, without validation; of airbench94 what it times itself: training, and
the test with its images moved and mirrored, which ours does without. A ratio counts where both means are at 94 %.

Without a CUDA device it says so, in the results file too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning.pytorch as pl
import torch
from hydra import compose, initialize_config_dir

from recipes.data.vision import CIFAR10
from recipes.evaluation import evaluate
from recipes.run import build
from recipes.terminal import quiet
from recipes.train import CONF

TARGET, AIM = 0.94, 1.5
RESULT = Path(__file__).parent / "results" / "superconvergence.json"


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


def summary(runs: Sequence[Trained]) -> dict[str, Any]:
    def told(values: list[float], digits: int) -> dict[str, Any]:
        spread = statistics.stdev(values) if len(values) > 1 else None
        return {
            "mean": round(statistics.fmean(values), digits),
            "sd": None if spread is None else round(spread, digits),
            "each": [round(value, digits) for value in values],
        }

    return {"accuracy": told([run.accuracy for run in runs], 5), "seconds": told([run.seconds for run in runs], 3)}


def compared(mine: Sequence[Trained], theirs: Sequence[Trained]) -> dict[str, Any]:
    """What the two say together; the ratio is that of the means."""
    means = [statistics.fmean(run.accuracy for run in runs) for runs in (mine, theirs)]
    seconds = [statistics.fmean(run.seconds for run in runs) for runs in (mine, theirs)]
    return {
        "ours": summary(mine),
        "airbench94": summary(theirs),
        "both_at_target": min(means) >= TARGET,
        "ratio": round(seconds[0] / seconds[1], 3),
    }


def measure(data: str, checkout: Path, seeds: int, overrides: Sequence[str]) -> dict[str, Any]:
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
    return compared(mine, theirs)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="data", help="holds cifar-10-batches-py (%(default)s)")
    parser.add_argument(
        "--airbench", type=Path, default=Path("../cifar10-airbench"), help="a clone of it (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=10, help="(%(default)s)")
    parser.add_argument("overrides", nargs="*", help="what else is said to the experiment")
    asked = parser.parse_args(arguments)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    result = {
        "command": "python benchmarks/superconvergence.py --data data --airbench ../cifar10-airbench",
        "claim": f"{TARGET:.0%} on CIFAR-10's test set under Lightning, in at most {AIM} times the time of airbench94",
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {"torch": torch.__version__, "lightning": pl.__version__},
        "device": device,
        "overrides": asked.overrides,
        "n": asked.seeds if device else 0,
        "aim": AIM,
    }
    if device is None:
        result["result"] = "not measured: no CUDA device"
    else:
        result |= measure(asked.data, asked.airbench, asked.seeds, asked.overrides)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: result[key] for key in ("device", "result", "ratio", "both_at_target") if key in result}))


if __name__ == "__main__":
    main()
