"""Peak memory of an ensemble by its number of members: `loop` beside a plain list of modules.

    python benchmarks/ensemble_memory.py

ResNet-18 snapshots on the disk, a batch of 32 images of 32 x 32. Each figure is the peak resident set of a process of
its own, imports and the pages of mapped files included (`VmHWM`, so on Linux only): the mean of three processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision

from benchmarks.costs import MARKERS, MISSED, SHOWN, WORDS, Cost, Rows, Said, verdict
from benchmarks.telling import Figure
from lightning_lr import SnapshotEnsemble, Snapshots
from lightning_lr.plots.frame import DASHES, PALETTE, figure_for, save, style
from lightning_lr.snapshots import SnapshotWriter

COUNTS = (1, 5, 20)
BATCHES = 3
DTYPES = ("float32", "float16")
PROCESSES = 3
NAMES = {"loop": "ours, loop", "vmap": "ours, vmap", "plain": "a list of modules"}


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


def measure(count: int, dtype: str) -> dict[str, Any]:
    row: dict[str, Any] = {"members": count, "stored_as": dtype, "n": PROCESSES}
    with tempfile.TemporaryDirectory() as folder:
        writer = SnapshotWriter(folder, run_id="benchmark")
        writer.open()
        for cycle in range(count):
            writer.write(network().state_dict(), cycle=cycle, step=cycle + 1, epoch=0, lr=0.1, dtype=dtype)
        for way in NAMES:
            ran = [
                subprocess.run([sys.executable, __file__, way, folder], stdout=subprocess.PIPE, check=True)
                for _ in range(PROCESSES)
            ]
            figure = Figure(tuple(float(each.stdout) for each in ran))
            row |= {f"{way}_mb": round(figure.mean), f"{way}_mb_sd": round(figure.sd, 1)}
    return row


def tell(rows: Rows) -> Said:
    found, table, outcomes = [], [], {}
    for dtype in dict.fromkeys(row["stored_as"] for row in rows):
        mine = [row for row in rows if row["stored_as"] == dtype]
        several = [row for row in mine if row["members"] > 1]
        first, last = several[0], several[-1]
        more = last["members"] - first["members"]
        grown = {way: (last[f"{way}_mb"] - first[f"{way}_mb"]) / more for way in NAMES}
        share = grown["loop"] / grown["plain"]
        was = outcomes[f"snapshots of {dtype}"] = SHOWN if grown["loop"] <= 0 else MISSED
        found.append(
            f"{dtype}: from {first['members']} to {last['members']} members each one more takes {grown['loop']:.1f} MB "
            f"with ours, loop, {share:.0%} of the {grown['plain']:.1f} MB with a list of modules, {WORDS[was]}; with "
            f"vmap {grown['vmap']:.1f} MB."
        )
        for row in mine:
            spreads = [f" ± {row[f'{way}_mb_sd']:.0f}" if row["n"] > 1 else "" for way in NAMES]
            figures = [f"{row[f'{way}_mb']:.0f}{spread}" for way, spread in zip(NAMES, spreads, strict=True)]
            table.append([dtype, str(row["members"]), *figures, str(row["n"])])
    columns = ["stored as", "members", *(f"{name}, MB" for name in NAMES.values()), "processes"]
    return Said(verdict(outcomes), found, columns, table)


def draw(content: dict[str, Any], path: Path) -> None:
    kinds = list(dict.fromkeys(row["stored_as"] for row in content["rows"]))
    figure = figure_for(path, height=3.4)
    panels = list(figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0])
    for panel, kind in zip(panels, kinds, strict=True):
        style(panel, "peak of the process, MB" if panel is panels[0] else "")
        panel.set_title(f"snapshots of {kind}", fontsize=10)
        panel.set_xlabel("members", fontsize=10)
        mine = [row for row in content["rows"] if row["stored_as"] == kind]
        counts = [row["members"] for row in mine]
        for index, (way, name) in enumerate(NAMES.items()):
            means, sds = [row[f"{way}_mb"] for row in mine], [row.get(f"{way}_mb_sd", 0.0) for row in mine]
            look = {"color": PALETTE[index], "linestyle": DASHES[index], "marker": MARKERS[index], "markersize": 5}
            panel.errorbar(counts, means, yerr=sds, capsize=3, label=name, **look)
        panel.set_xticks(counts)
        panel.set_ylim(bottom=0)
    title = f"Memory by the number of members: ResNet-18\nmean and standard deviation, n = {content['rows'][0]['n']}"
    save(figure, path, panels, title, xlabel="members")


COST = Cost("ensemble_memory", "The memory of an ensemble does not grow with the number of its members.", tell, draw)


def main() -> None:
    if len(sys.argv) == 3:
        print(peak(sys.argv[1], sys.argv[2]))
        return
    began = time.perf_counter()
    rows = []
    for dtype in DTYPES:
        for count in COUNTS:
            rows.append(measure(count, dtype))
            print(json.dumps(rows[-1]), flush=True)
    COST.write(
        rows,
        command="python benchmarks/ensemble_memory.py",
        n={"processes_a_figure": PROCESSES},
        seconds=time.perf_counter() - began,
    )


if __name__ == "__main__":
    main()
