"""Which rule of the LR range test should be the default, and how it does beside the other finders.

    python benchmarks/range_test.py truth --cifar10 cifar10.tar.xz
    python benchmarks/range_test.py curves --cifar10 cifar10.tar.xz
    python benchmarks/range_test.py report

`truth` trains at each LR of a grid, `curves` asks each finder (`pip install -e ".[peers]"`),
`report` says how far from the best each suggestion leads. One process and one thread; `truth` takes about three hours.
What has been measured is kept in `results/range_test`, a line a cell, and not measured again, unless `--again` is said:
after a change to what draws our curves, `curves --again --finders ours "ours, momentum of the peak"`.

Half of the settings are held out. `report` hides them unless it is told `--half both`, once no rule changes any more.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import torch

from benchmarks import range_test_data
from benchmarks.range_test_curves import FINDERS, measure_curves
from benchmarks.range_test_measured import noted
from benchmarks.range_test_report import write_report
from benchmarks.range_test_settings import LONG, SHORT, half
from benchmarks.range_test_truth import measure_truth

CELLS = Path(__file__).parent / "results" / "range_test"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["truth", "curves", "report"])
    parser.add_argument("--cifar10", type=Path, default=os.environ.get("CIFAR10"), help="folder or tar archive")
    parser.add_argument("--data", nargs="+", default=["digits", "table", "text", "cifar10"])
    parser.add_argument("--half", choices=["tuning", "held-out", "both"], help="of `report`: tuning, else both")
    parser.add_argument("--finders", nargs="+", choices=list(FINDERS), default=list(FINDERS), help="of `curves`")
    parser.add_argument("--again", action="store_true", help="of `curves`: forget what these finders have found")
    options = parser.parse_args()
    if options.cifar10:
        range_test_data.CIFAR10.append(Path(options.cifar10))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    CELLS.mkdir(parents=True, exist_ok=True)
    shown = options.half or ("tuning" if options.part == "report" else "both")
    halves = ["tuning", "held-out"] if shown == "both" else [shown]
    settings = [
        setting
        for part in halves
        for length in (SHORT, LONG)
        for name in options.data
        for setting in length
        if setting.data == name and half(setting) == part
    ]
    if options.part == "report":
        write_report(settings, CELLS)
        return
    with noted(options.part, CELLS):
        if options.part == "truth":
            measure_truth(settings, CELLS)
        else:
            measure_curves(settings, options.finders, CELLS, options.again)


if __name__ == "__main__":
    main()
