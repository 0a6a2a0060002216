"""What an ensemble costs at each batch: `SnapshotEnsemble`, a plain Python loop, and torch-uncertainty's wrapper.

    python benchmarks/ensemble_inference.py
    python benchmarks/ensemble_inference.py --device cuda

All of them average the softmax of the same members, on the same batch, in one process and by turns; the plain loop is
the measure. Members are snapshots on the disk for ours and modules in memory for the others. torch-uncertainty is in
the extra `peers`; without it, its column stays empty.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import torch
import torchvision
from torch import Tensor, nn

from lightning_lr import SnapshotEnsemble
from lightning_lr.snapshots import SnapshotWriter
from recipes.models.small_cnn import SmallCNN

ROUNDS = 15
SECONDS = 0.15  # of each contestant in each round, at least; one call where it takes longer
RESULTS = Path(__file__).parent / "results"


def tiny_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def small_cnn() -> nn.Module:
    return SmallCNN(channels=3, num_classes=10)


def resnet18() -> nn.Module:
    return torchvision.models.resnet18(num_classes=10)


# Name, what is built, shape of one sample, numbers of members, sizes of batches.
CASES = (
    ("small CNN", small_cnn, (3, 32, 32), (5,), (1, 32, 256)),
    ("ResNet-18", resnet18, (3, 32, 32), (5,), (1, 32, 256)),
    ("tiny MLP", tiny_mlp, (64,), (5, 20, 50), (1, 32, 256)),
)


def peer(modules: list[nn.Module]) -> Callable[[Tensor], Tensor] | None:
    """torch-uncertainty's wrapper, with the averaging that its own routine does behind it."""
    try:
        from torch_uncertainty.methods import deep_ensembles
    except ImportError:
        return None
    wrapped = deep_ensembles(modules).eval()
    return lambda x: wrapped(x).unflatten(0, (len(modules), -1)).softmax(dim=-1).mean(dim=0)


def contestants(
    build: Callable[[], nn.Module], count: int, folder: Path, device: torch.device
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ways to average the same members."""
    torch.manual_seed(0)
    modules = [build().eval().requires_grad_(False) for _ in range(count)]
    writer = SnapshotWriter(folder, run_id="benchmark")
    writer.open()
    for cycle, module in enumerate(modules):
        writer.write(module.state_dict(), cycle=cycle, step=cycle + 1, epoch=0, lr=0.1)
    modules = [module.to(device) for module in modules]
    entered: dict[str, Callable[[Tensor], Tensor] | None] = {
        "plain": lambda x: torch.stack([module(x).softmax(dim=1) for module in modules]).mean(dim=0),
        "torch_uncertainty": peer(modules),
        "loop": SnapshotEnsemble(build(), folder).to(device),
        "vmap": SnapshotEnsemble(build(), folder, backend="vmap").to(device),
    }
    return {name: way for name, way in entered.items() if way is not None}


def milliseconds(way: Callable[[Tensor], Tensor], x: Tensor, calls: int) -> float:
    """Of one call, the mean of several."""
    if x.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(calls):
        way(x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / calls * 1e3


def measure(ways: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> dict[str, dict[str, float]]:
    """Milliseconds of each way, and its share of the plain loop's, by turns: the median of the rounds."""
    expected = ways["plain"](x)
    calls = {}
    for name, way in ways.items():
        torch.testing.assert_close(way(x), expected, rtol=1e-3, atol=1e-5, msg=f"{name} gives something else")
        calls[name] = max(1, round(SECONDS * 1e3 / milliseconds(way, x, 1)))
    rounds = []
    names = [*ways]
    for index in range(ROUNDS):
        turn = names[index % len(names) :] + names[: index % len(names)]
        rounds.append({name: milliseconds(ways[name], x, calls[name]) for name in turn})
    return {
        name: {
            "ms": round(statistics.median(times[name] for times in rounds), 3),
            "of_plain": round(statistics.median(times[name] / times["plain"] for times in rounds), 3),
        }
        for name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="where the members run")
    device = torch.device(parser.parse_args().device)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for name, build, shape, counts, batches in CASES:
        for count in counts:
            with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                ways = contestants(build, count, Path(folder), device)
                for batch in batches:
                    x = torch.randn(batch, *shape, device=device)
                    rows.append({"network": name, "members": count, "batch": batch, **measure(ways, x)})
                    print(json.dumps(rows[-1]), flush=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()}, one thread"
    result = {
        "command": "python benchmarks/ensemble_inference.py" + (f" --device {device}" if device.type != "cpu" else ""),
        "commit": commit.stdout.strip(),
        "machine": f"{machine}, {platform.system()}, Python {platform.python_version()}",
        "versions": {"torch": torch.__version__, "lightning": pl.__version__, "torchvision": torchvision.__version__},
        "n": ROUNDS,
        "rows": rows,
    }
    suffix = "" if device.type == "cpu" else f"_{device.type}"
    (RESULTS / f"ensemble_inference{suffix}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
