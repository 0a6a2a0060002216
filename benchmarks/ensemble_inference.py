"""What an ensemble costs at each batch: `SnapshotEnsemble`, a plain Python loop, and torch-uncertainty's wrapper.

    python benchmarks/ensemble_inference.py
    python benchmarks/ensemble_inference.py --device cuda

All of them average the softmax of the same members, on the same batch, in one process and by turns; the plain loop is
the measure. Members are snapshots on the disk for ours and modules in memory for the others. Medians of rounds and
their quartiles. torch-uncertainty is in the extra `peers`; without it, its column stays empty, and the file says so.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.costs import MISSED, OPEN, SHOWN, WORDS, Cost, Rows, Said, Span, draw_spans, outcome
from lightning_lr import SnapshotEnsemble
from lightning_lr.snapshots import SnapshotWriter
from recipes.models.small_cnn import SmallCNN

ROUNDS = 15
SECONDS = 0.15  # of each contestant in each round, at least; one call where it takes longer
AIM = 1.0  # of the plain loop's time
PEER = "torch-uncertainty"
NAMES = {"loop": "ours, loop", "vmap": "ours, vmap", "torch_uncertainty": PEER}


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


def measure(ways: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> dict[str, dict[str, Any]]:
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
            **Span.of([times[name] for times in rounds]).kept("ms"),
            **Span.of([times[name] / times["plain"] for times in rounds]).kept("of_plain"),
        }
        for name in names
    }


def tell(rows: Rows) -> Said:
    loops = {case_of(row): Span.read(row["loop"], "of_plain") for row in rows}
    outcomes = {case: outcome(share, AIM) for case, share in loops.items()}
    counts = Counter(outcomes.values())
    verdict = f"Shown in {counts[SHOWN]} of {len(loops)} cases, missed in {counts[MISSED]}"
    verdict += f", open in {counts[OPEN]}, {WORDS[OPEN]}." if counts[OPEN] else "."
    dearer = [f"{case}, {loops[case].told()} times" for case, was in outcomes.items() if was == MISSED]
    found = [f"The loop over the members takes longer than a plain one with {'; '.join(dearer)}."] if dearer else []
    faster = {case_of(row): row["vmap"]["of_plain"] for row in rows if row["vmap"]["of_plain"] < 1}
    told = "; ".join(f"{case}, {share:.2f} times" for case, share in faster.items())
    slowest = max(row["vmap"]["of_plain"] for row in rows)
    found.append(
        f"vmap is faster than the plain loop in {len(faster)} of {len(rows)} cases{f' ({told})' if told else ''}; at "
        f"the worst it takes {slowest:.1f} times as long."
    )
    with_peer = [row for row in rows if "torch_uncertainty" in row]
    if with_peer:
        shares = [row["torch_uncertainty"]["of_plain"] for row in with_peer]
        found.append(f"{PEER}'s wrapper takes {min(shares):.2f} to {max(shares):.2f} of the plain loop's time.")
    else:
        found.append(f'{PEER} was not installed, so it is not compared; `pip install -e ".[peers]"` brings it.')
    table = []
    for row in rows:
        ways = [Span.read(row[way], "of_plain").cell() if way in row else "" for way in NAMES]
        of = [row["network"], str(row["members"]), str(row["batch"]), f"{row['plain']['ms']:.2f}"]
        table.append([*of, *ways])
    columns = ["network", "members", "batch", "plain loop, ms", *(f"{name}, of it" for name in NAMES.values())]
    return Said(verdict, found, columns, table)


def case_of(row: dict[str, Any]) -> str:
    return f"{row['network']}, {row['members']} members, batch {row['batch']}"


def draw(content: dict[str, Any], path: Path) -> None:
    spans = {
        case_of(row): {name: Span.read(row[way], "of_plain") for way, name in NAMES.items() if way in row}
        for row in content["rows"]
    }
    title = "An ensemble's forward pass beside a plain loop's"
    draw_spans(
        spans, path, title, content["n"]["rounds"], "time in units of a plain loop's (log scale)", aim=AIM, log=True
    )


COST = Cost(
    "ensemble_inference",
    "An ensemble takes no longer than a plain loop over its members.",
    tell,
    draw,
    packages=("torch", "lightning", "torchvision", PEER),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="where the members run")
    device = torch.device(parser.parse_args().device)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    rows = []
    for name, build, shape, counts, batches in CASES:
        for count in counts:
            with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                ways = contestants(build, count, Path(folder), device)
                for batch in batches:
                    x = torch.randn(batch, *shape, device=device)
                    rows.append({"network": name, "members": count, "batch": batch, **measure(ways, x)})
                    print(json.dumps(rows[-1]), flush=True)
    COST.write(
        rows,
        command="python benchmarks/ensemble_inference.py" + (f" --device {device}" if device.type != "cpu" else ""),
        n={"rounds": ROUNDS},
        seconds=time.perf_counter() - began,
        device=device.type,
    )


if __name__ == "__main__":
    main()
