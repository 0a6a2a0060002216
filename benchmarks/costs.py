"""What the benchmarks of costs share: how they are told, drawn and kept.

    python -m benchmarks.costs       # findings, tables and pictures anew, from the rows that the files hold

A cost is a ratio of two things that run by turns in one process, so that whatever else the machine does is shared. It
is told as the median of the pairs and their quartiles: the one turn that was disturbed would move a mean.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import record
from benchmarks.telling import tally
from lightning_lr.plots.frame import GREY, PALETTE, figure_for, save, style

MODULES = (
    *("callback_cost", "range_test_cost", "training_step", "loading", "ensemble_inference", "ensemble_memory"),
    *("snapshot_writes", "superconvergence", "range_test_told"),
)
DEVICES = ("cpu", "cuda")
MARKERS = ("o", "s", "^", "D")
_ROW, _AROUND = 0.32, 1.4  # inches a row and around all

Rows = Sequence[dict[str, Any]]


class Said(NamedTuple):
    """What the rows of a benchmark say.

    Args:
        verdict: What became of the claim, in one sentence.
        found: A sentence a finding.
        columns: Of the table.
        table: Its rows, as they are shown.
    """

    verdict: str
    found: list[str]
    columns: Sequence[str]
    table: list[list[str]]

    def kept(self) -> dict[str, Any]:
        """As a result file holds it."""
        table = {"columns": [*self.columns], "rows": self.table}
        return {"verdict": self.verdict, "found": self.found, "table": table}


@dataclass(frozen=True)
class Cost:
    """A benchmark of a cost.

    Args:
        name: Of its file.
        claim: One sentence: what was to be shown.
        tell: What its rows say.
        draw: Its picture, from the content of the file; None where there is none yet.
        packages: Whose versions count; what is not installed is left out.
    """

    name: str
    claim: str
    tell: Callable[[Rows], Said]
    draw: Callable[[dict[str, Any], Path], None]
    packages: tuple[str, ...] = ("torch", "lightning", "torchvision")

    def write(
        self,
        rows: Rows,
        *,
        command: str,
        n: dict[str, int],
        seconds: float,
        device: str = "cpu",
        results: Path | None = None,
        **more: Any,
    ) -> Path:
        """Write the file and draw the picture; what another device has shown stands beside, in a file of its own."""
        said = self.tell(rows)
        name = self.name if device == "cpu" else f"{self.name}_{device}"
        file = record.write(
            name,
            claim=self.claim,
            **said.kept(),
            command=command,
            n=n,
            rows=rows,
            seconds=seconds,
            size=device,
            packages=[package for package in self.packages if installed(package)],
            results=results or record.RESULTS,
            picture=f"{name}.png" if rows else None,
            **more,
        )
        self._draw(json.loads(file.read_text()), file)
        print(said.verdict, *said.found, file, sep="\n", flush=True)
        return file

    def again(self, file: Path) -> None:
        """Tell and draw what a file holds; when and where it was measured stays as it is."""
        content = json.loads(file.read_text())
        content |= {"claim": self.claim, **self.tell(content["rows"]).kept()}
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        self._draw(content, file)

    def _draw(self, content: dict[str, Any], file: Path) -> None:
        if content["rows"]:
            self.draw(content, file.with_suffix(".png"))


@dataclass(frozen=True)
class Span:
    """A median and its quartiles; all the same, where there is one value.

    Args:
        median: In the middle.
        low: A quarter is below it.
        high: A quarter is above it.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Span:
        low, _, high = statistics.quantiles(values, n=4)
        return cls(statistics.median(values), low, high)

    @classmethod
    def read(cls, row: Mapping[str, Any], name: str) -> Span:
        """From a row, as `kept` has put it there; files from before quartiles were kept have the median alone."""
        return cls(row[name], *row.get(f"{name}_quartiles", (row[name], row[name])))

    def kept(self, name: str, digits: int = 3) -> dict[str, Any]:
        quartiles = [round(self.low, digits), round(self.high, digits)]
        return {name: round(self.median, digits), f"{name}_quartiles": quartiles}

    def told(self, digits: int = 2) -> str:
        """In a sentence."""
        if self.low == self.high:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} (quartiles {self.low:,.{digits}f} to {self.high:,.{digits}f})"

    def cell(self, digits: int = 2) -> str:
        """In a table, whose columns say what it is."""
        return self.told(digits).replace("quartiles ", "")


SHOWN, MISSED, OPEN = "shown", "missed", "open"
WORDS = {
    SHOWN: "as was to be shown",
    MISSED: "which misses the aim",
    OPEN: "with the aim between the quartiles",
}


def outcome(ratio: Span, aim: float) -> str:
    """Return whether a ratio is at most what was aimed at; open where the quartiles lie on both sides."""
    return SHOWN if ratio.high <= aim else MISSED if ratio.low > aim else OPEN


def verdict(outcomes: Mapping[str, str]) -> str:
    """Return in one sentence where a claim was shown.

    Args:
        outcomes: By what they are of.
    """
    return tally({f"{each} for": [name for name, was in outcomes.items() if was == each] for each in WORDS})


def installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


Spans = Mapping[str, Mapping[str, Span]]
"""By row and series."""


def draw_spans(
    spans: Spans, path: Path, title: str, n: int, quantity: str, *, aim: float | None = None, log: bool = False
) -> None:
    """Draw a row a case and a mark a series: the median and its quartiles.

    Args:
        spans: By row and series.
        path: Of the picture.
        title: Above it.
        n: Of how many they are the quartiles.
        quantity: On the horizontal axis, with its unit.
        aim: A line: what was not to be passed.
        log: Whether that axis is logarithmic.
    """
    names, series = list(spans), list(dict.fromkeys(each for row in spans.values() for each in row))
    figure = figure_for(path, height=_AROUND + _ROW * len(names) * max(1.0, 0.5 * len(series)))
    panel = figure.subplots()
    style(panel, "")
    for index, one in enumerate(series):
        down = (index - (len(series) - 1) / 2) * 0.7 / len(series)
        found = {place + down: spans[name][one] for place, name in enumerate(names) if one in spans[name]}
        # Rounded on its own, a median may lie a digit outside of its quartiles.
        below = [max(span.median - span.low, 0.0) for span in found.values()]
        above = [max(span.high - span.median, 0.0) for span in found.values()]
        look = {"fmt": MARKERS[index], "color": PALETTE[index], "capsize": 3, "markersize": 5, "label": one}
        panel.errorbar([span.median for span in found.values()], list(found), xerr=[below, above], **look)
    panel.set_yticks(range(len(names)), names, fontsize=9)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.grid(visible=False, axis="y")
    for place in range(len(names) - 1):
        panel.axhline(place + 0.5, color="#E4E4E4", linewidth=0.7)
    if log:
        _logarithmic(panel)
    if aim is not None:
        low, high = panel.get_xlim()
        # So that a hundredth does not look like a gulf.
        panel.set_xlim(min(low, 0.9 * aim), max(high, 1.1 * aim))
        panel.axvline(aim, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=0, label="at most, it was said")
    save(figure, path, [panel], f"{title}\nmedian and quartiles, n = {n}", xlabel=quantity)


def _logarithmic(panel: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    panel.set_xscale("log")
    low, high = panel.get_xlim()
    panel.xaxis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0) if high > 10 * low else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
    )
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def main() -> None:
    for name in MODULES:
        cost: Cost = importlib.import_module(f"benchmarks.{name}").COST
        for device in DEVICES:
            file = record.RESULTS / f"{cost.name}{'' if device == 'cpu' else f'_{device}'}.json"
            if file.exists():
                cost.again(file)
                print(file)


if __name__ == "__main__":
    main()
