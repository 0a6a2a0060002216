"""Peak memory of an ensemble by its number of members: `loop` beside a plain list of modules.

    python benchmarks/ensemble_memory.py

ResNet-18 snapshots on the disk, a batch of 32 images of 32 x 32. Each figure is the peak resident set of a process of
its own, imports and the pages of mapped files included (`VmHWM`, so on Linux only).
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
import torchvision

from lightning_lr import SnapshotEnsemble, Snapshots
from lightning_lr.snapshots import SnapshotWriter

COUNTS = (1, 5, 20)
BATCHES = 3
DTYPES = ("float32", "float16")
RESULT = Path(__file__).parent / "results" / "ensemble_memory.json"


def network() -> torch.nn.Module:
    return torchvision.models.resnet18(num_classes=10)


def peak(way: str, folder: str) -> float:
    """Run it here and return the peak of this process in MB."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if way == "plain":
        members = []
        for index in range(len(Snapshots(folder))):
            members.append(network().eval())
            members[-1].load_state_dict(Snapshots(folder).load(index))

        def run(x: torch.Tensor) -> torch.Tensor:
            return torch.stack([member(x).softmax(dim=1) for member in members]).mean(dim=0)

    else:
        run = SnapshotEnsemble(network(), folder, backend=way)
    x = torch.randn(32, 3, 32, 32)
    with torch.inference_mode():
        for _ in range(BATCHES):
            run(x)
    # Not getrusage: a new process inherits its parent's peak there.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def main() -> None:
    if len(sys.argv) == 3:
        print(peak(sys.argv[1], sys.argv[2]))
        return
    rows = []
    for dtype in DTYPES:
        for count in COUNTS:
            with tempfile.TemporaryDirectory() as folder:
                writer = SnapshotWriter(folder, run_id="benchmark")
                writer.open()
                for cycle in range(count):
                    state = network().state_dict()
                    writer.write(state, cycle=cycle, step=cycle + 1, epoch=0, lr=0.1, dtype=dtype)
                row: dict[str, object] = {"members": count, "stored_as": dtype}
                for way in ("loop", "vmap", "plain"):
                    ran = subprocess.run([sys.executable, __file__, way, folder], stdout=subprocess.PIPE, check=True)
                    row[f"{way}_mb"] = round(float(ran.stdout), 0)
            rows.append(row)
            print(json.dumps(row), flush=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    result = {
        "command": "python benchmarks/ensemble_memory.py",
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, one thread, {platform.system()}, Python {platform.python_version()}",
        "versions": {"torch": torch.__version__, "lightning": pl.__version__, "torchvision": torchvision.__version__},
        "n": 1,
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
