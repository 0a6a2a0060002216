"""What can be done from a shell: `python -m lightning_lr verify DIR...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_lr.snapshots.reader import Snapshots


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status.

    Args:
        arguments: Those of the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m lightning_lr", description="What is in a folder of snapshots.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="check every snapshot of a folder against its hash",
        description="Check every snapshot against the hash that the manifest has of it, and tell of each file what it "
        "is: ok, missing, damaged or unreadable; or no member, for the manifest does not name it, or not complete.",
        epilog="The exit status is 0 where all members of all folders are ok, else 1.",
    )
    verify.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a folder that SnapshotCheckpoint wrote")
    folders: list[Path] = parser.parse_args(arguments).folders
    # One after the other to the end: what is wrong with one says nothing of the next.
    return max([_verify(folder) for folder in folders])


def _verify(folder: Path) -> int:
    try:
        snapshots = Snapshots(folder)
        members = snapshots.members()
        strays = snapshots.strays()
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder / 'manifest.json'}: ok, it names {len(members)} snapshots of run {snapshots.run_id}")
    for file, state in {**members, **strays}.items():
        print(f"{folder / file}: {state}")
    return int(any(state != "ok" for state in members.values()))


if __name__ == "__main__":
    sys.exit(main())
