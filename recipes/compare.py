"""Compare runs: group seeds, tell which kind is best and whether that is more than noise, draw them, write a page.

    python -m recipes.compare multirun/2026-01-31/12-00-00
    python -m recipes.compare multirun/one multirun/another --target=0.95 --metric=ensemble.nll --out=compare/nll

Every `result.json` below the folders is read, with the configuration in it and the metrics beside it. Runs that differ
in nothing but their seed are one group. A run with the configuration and the seed of another does not count; a run
without a result, and a file that cannot be read, are told and left out.

It exits with 0 where runs were compared, with 1 where there was nothing to compare (under --strict: or anything was
left out), and with 2 where the command line is wrong.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

# As in `recipes.comparison.measures`, which is not imported for `--help` alone; a test holds them together.
METRICS = (
    *("ensemble.accuracy", "last.accuracy", "ensemble.nll", "last.nll", "ensemble.ece", "last.ece"),
    *("steps", "seconds", "fit_seconds", "steps_to_target", "seconds_to_target"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; return the exit code.

    Args:
        arguments: Those of the command line; None for the process's own.
    """
    said = [*(sys.argv[1:] if arguments is None else arguments)]
    asked = _parser().parse_args(said)
    # Here, not above: `--help` and a wrong argument need nothing of all this.
    from .comparison.files import refuse, write
    from .comparison.measures import MEASURES
    from .comparison.reading import RESULT, find
    from .comparison.study import Study
    from .comparison.table import tables
    from .schema.places import command

    here = Path.cwd()
    folder = here / Path(asked.out).expanduser()
    try:
        refuse(folder, asked.out)
        found = find(asked.folders, here)
        if not found.runs:
            _tell([*found.broken, *found.unfinished])
            begun = f"; {len(found.unfinished)} not finished" if found.unfinished else ""
            named = " ".join(asked.folders)
            _tell([f"{named}: no {RESULT} that could be compared{begun}; pass folders with runs of recipes.train"])
            return 1
        study = Study.of(found, MEASURES[asked.metric], asked.target)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        _tell([str(error)])
        return 2
    try:
        written = write(study, folder, shlex.join([*command("compare"), *said]))
    except OSError as error:
        _tell([str(error)])
        return 1

    from rich.console import Console

    screen = Console(highlight=False, markup=False)
    if not screen.is_terminal:
        screen.width = 200  # a file has no edge at which a line would have to be broken
    for table in tables(study):
        screen.print(table)
    for line in (study.verdict, study.about_target()):
        screen.print(line, soft_wrap=True)
    _tell(study.remarks())
    page = written[-1]
    shown = page.relative_to(here) if page.is_relative_to(here) else page
    screen.print(f"{study.size}; the page is {shown}", soft_wrap=True)
    left_out = found.broken or found.unfinished or any(group.duplicates for group in study.groups)
    return 1 if asked.strict and left_out else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m recipes.compare" if sys.argv[0].endswith(".py") else None,
        description="Compare runs: group seeds, tell which kind is best and whether that is more than noise.",
        epilog="exit code: 0 compared, 1 nothing to compare (or, with --strict, something left out), 2 wrong usage",
        allow_abbrev=False,
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders with runs of recipes.train in them")
    parser.add_argument(
        "--metric", choices=METRICS, default=METRICS[0], metavar="NAME", help=f"what ranks: {', '.join(METRICS)}"
    )
    parser.add_argument(
        "--target",
        type=_share,
        metavar="ACCURACY",
        help="validation accuracy, above 0 and up to 1, for what it took to reach it (default: what every run reached)",
    )
    parser.add_argument(
        "--out", default="compare", metavar="DIR", help="where tables, pictures and page go (%(default)s)"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if a run was left out; all is written even so"
    )
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no accuracy; pass a share above 0 and up to 1, as 0.95")
    return value


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
