"""What a claim's measuring comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """Of a claim.

    Args:
        verdict: What became of the claim, in one sentence.
        found: A sentence a finding, made of the figures.
        n: Of what a mean is taken, in words: how many of them.
        columns: Of the table.
        table: Its rows, as they are shown.
        rows: The figures themselves.
        more: What else the picture needs.
    """

    verdict: str
    found: Sequence[str]
    n: dict[str, int]
    columns: Sequence[str]
    table: Sequence[Sequence[str]]
    rows: Sequence[dict[str, Any]]
    more: dict[str, Any]
