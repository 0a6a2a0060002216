"""Measures the claims on schedules and ensembles, and writes a table and a picture of each.

    python -m benchmarks images=cifar10-jpeg.tar.xz      # all claims, on two processor cores
    python -m benchmarks sgdr ensembles images=...       # some
    python -m benchmarks size=paper images=data jobs=1   # what a GPU would run
    python -m benchmarks size=tiny results=tiny          # nothing worth telling, in two minutes: does it all work?
    python -m benchmarks again=20 images=...             # 20 finished cells once more: do they agree?
    python -m benchmarks draw                            # pictures and docs/evidence.md anew, from the files

A cell is one training run. A finished one is kept in `benchmarks/.cells` (`cells=FOLDER`) and never run again: a run
that was stopped goes on where it was. `images` is CIFAR-10 in torchvision's `ImageFolder` layout, a folder or an
archive; the environment variable CIFAR10 says the same.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch

from benchmarks import evidence, places, record
from benchmarks.agreement import agreement
from benchmarks.ledger import Bench
from benchmarks.settings import SIZES

CLAIMS = ("rates", "clr", "one_cycle", "sgdr", "cycles", "ensembles", "search", "adam")
OWN = ("claims", "cells.py", "ledger.py", "places.py", "schedules.py", "settings.py")
"""What decides on the figures of a cell; the rest of this folder does not."""


def main(arguments: Sequence[str]) -> int:
    if {"-h", "--help"} & {*arguments}:
        print(f"{__doc__}\nclaims: {', '.join(CLAIMS)}\nsizes: {', '.join(SIZES)}")
        return 0
    try:
        names, options = parsed(arguments)
        size, again = SIZES[options["size"]], int(options["again"])
        results, folder = Path(options["results"]), Path(options["cells"])
        if names != ["draw"]:
            found = places.prepare(size, folder / "data", options["images"] or None)
    except (ValueError, places.NoImagesError) as error:
        print(error, file=sys.stderr)
        return 2
    if names != ["draw"]:
        torch.set_num_threads(1)
        bench = Bench(size, folder / size.name, found, record.commit(*OWN), int(options["jobs"]))
        try:
            if again:
                agreement(bench, again, results)
            for name in names or (() if again else CLAIMS):
                measure(module(name), bench, results)
        finally:
            bench.close()
    draw(results)
    return 0


def parsed(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split claims from options, and refuse what is neither."""
    options = {
        "size": "cpu",
        "images": os.environ.get("CIFAR10", ""),
        "jobs": str(os.cpu_count() or 1),
        "cells": str(Path(__file__).parent / ".cells"),
        "results": str(record.RESULTS),
        "again": "0",
    }
    names = []
    for argument in arguments:
        key, said, value = argument.partition("=")
        if said and key in options:
            options[key] = value
        elif not said and key in (*CLAIMS, "draw"):
            names.append(key)
        else:
            told = f"a claim ({', '.join(CLAIMS)}), draw, or an option ({', '.join(f'{each}=' for each in options)})"
            raise ValueError(f"{argument}: not known; pass {told}")
    if "draw" in names and len(names) > 1:
        raise ValueError("draw: stands alone; name the claims, or draw")
    if options["size"] not in SIZES:
        raise ValueError(f"size={options['size']}: not known; pass one of {', '.join(SIZES)}")
    for name, least in (("jobs", 1), ("again", 0)):
        if not options[name].isdigit() or int(options[name]) < least:
            raise ValueError(f"{name}={options[name]}: not a number from {least} on; pass one")
    return names, options


def module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.claims.{name}")


def measure(claim: ModuleType, bench: Bench, results: Path) -> None:
    """Run what is missing of a claim, and write its file."""
    print(f"{claim.NAME}: {claim.CLAIM}", flush=True)
    bench.asked.clear()
    began = time.perf_counter()
    told = claim.measure(bench)
    # What was measured at another size stands beside what was measured on two cores, and does not replace it.
    name = claim.NAME if bench.size.name == "cpu" else f"{claim.NAME}_{bench.size.name}"
    images = " images=CIFAR10" if bench.size.needs_images else ""
    file = record.write(
        name,
        claim=claim.CLAIM,
        verdict=told.verdict,
        found=told.found,
        command=f"python -m benchmarks {claim.NAME} size={bench.size.name}{images}",
        n=told.n,
        table={"columns": [*told.columns], "rows": [[*row] for row in told.table]},
        rows=told.rows,
        seconds=sum(each.seconds for each in bench.asked.values()),
        size=bench.size.name,
        results=results,
        commit=", ".join(sorted({each.commit for each in bench.asked.values()})),
        cells=len(bench.asked),
        **told.more,
    )
    claim.draw(json.loads(file.read_text()), file.with_suffix(".png"))
    print("\n".join(f"  {sentence}" for sentence in told.found))
    print(f"  {file}, {time.perf_counter() - began:.0f} s", flush=True)


def draw(results: Path) -> None:
    """Draw the pictures of all claims that have a file, and write the page."""
    for name in CLAIMS:
        for file in evidence.files(results, name):
            module(name).draw(json.loads(file.read_text()), file.with_suffix(".png"))
    page = evidence.PAGE if results == record.RESULTS else results / "evidence.md"
    page.write_text(evidence.page(results))
    print(page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
