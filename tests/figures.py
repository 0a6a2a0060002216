"""Figures with a unit in prose, and the numbers in a result file that they are to be.

| in a page | what it says |
|---|---|
| `[57 %](results.json "rows.3.within")` | the number at that path, rounded to what is shown; a share as per cent |
| `[2 to 7 ms](results.json "rows[a=b].low; rows[a=b].high")` | a path for each number |
| `<!-- figures: results.json -->` | each figure of this paragraph, list or table is somewhere in that file |
| `<!-- figures: results.json rows[half=held-out] -->` | ... somewhere below that path |

A path is made of names, indices and selections, `rows[finder=ours: max_lr,half=held-out].mean`: the entries of a list
that have these values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_NUMBER = r"[-+\u2212]?\d+(?:,\d{3})*(?:\.\d+)?"
_UNIT = r"(?:%|[mµu]?s|[KMG]iB|[kMG]B|(?:minute|second|hour|point|error)s?|times|[x\u00d7](?!\s*\d))"
_AND = r"(?:,|,? to|,? and|,? or|\u2013|\s*±)\s*"
FIGURE = re.compile(rf"(?<![\w.])(?P<numbers>{_NUMBER}(?:\s?%?{_AND}{_NUMBER})*)\s?(?P<unit>{_UNIT})(?!\w)")
_LINK = re.compile(r'\[(?P<text>[^\]]*)\]\((?P<file>[^)\s]+\.json)\s+"(?P<paths>[^"]+)"\)')
_COMMENT = re.compile(r"<!-- figures: (?P<file>\S+\.json)(?: (?P<path>.+?))? -->")
_STEP = re.compile(r"\.?(?P<name>[^.\[\]]+)|\[(?P<having>[^\]]+)\]")


class Linked(NamedTuple):
    """A figure and where it is said to be from: the file as linked, a path for each of its numbers."""

    text: str
    file: str
    paths: list[str]


def linked(block: str) -> list[Linked]:
    """The figures of a block that are links into a result file."""
    return [
        Linked(found["text"], found["file"], [path.strip() for path in found["paths"].split(";")])
        for found in _LINK.finditer(block)
    ]


def behind(block: str) -> list[tuple[str, str | None]]:
    """The files that a block names for all of its figures, with the path below which to look."""
    return [(found["file"], found["path"]) for found in _COMMENT.finditer(block)]


def plain(block: str) -> str:
    """What is left of a block without linked figures, comments, code, pictures and the targets of links."""
    block = _LINK.sub(" ", block)
    block = re.sub(r"<!--.*?-->", " ", block, flags=re.DOTALL)
    block = re.sub(r"(`+).+?\1", "`", block, flags=re.DOTALL)
    block = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", block)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", block)


def unlinked(block: str) -> list[str]:
    """The figures of a block that are no links; of a table for which a file is named, each number that fills a cell."""
    text = plain(block)
    found = [match[0] for match in FIGURE.finditer(text)]
    if behind(block):
        cells = (cell.strip(" *") for line in text.splitlines() if line.startswith("|") for cell in line.split("|"))
        found += [cell for cell in cells if re.fullmatch(_NUMBER, cell)]
    return found


def numbers(text: str) -> list[str]:
    return re.findall(_NUMBER, text)


def at(content: Any, path: str) -> Iterator[Any]:
    """Every value at a path."""
    found, end = [content], 0
    for step in _STEP.finditer(path):
        assert step.start() == end, f"{path!r} cannot be read from {path[end:]!r} on"
        end = step.end()
        if step["having"]:
            wanted = [pair.split("=", 1) for pair in re.split(r",\s*(?=\w+=)", step["having"])]
            found = [
                entry
                for each in found
                for entry in each
                if all(_said(entry.get(key)) == value for key, value in wanted)
            ]
        else:
            found = [each[int(step["name"]) if isinstance(each, list) else step["name"]] for each in found]
    assert end == len(path), f"{path!r} cannot be read from {path[end:]!r} on"
    yield from found


def leaves(content: Any) -> Iterator[float]:
    """Every number below."""
    if isinstance(content, bool):
        return
    if isinstance(content, int | float):
        yield content
    elif isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from leaves(each)


def shows(shown: str, value: float, *, per_cent: bool) -> bool:
    """Whether a number as it is written is that value, rounded to the digits written."""
    if per_cent and 0 <= value <= 1:
        value *= 100
    digits = len(shown.partition(".")[2])
    return abs(float(shown.replace(",", "").replace("\u2212", "-")) - value) <= 0.5 * 10**-digits * (1 + 1e-9)


def read(page: Path, file: str) -> Any:
    """A result file, from where a page links to it."""
    return json.loads((page.parent / file).read_text())


def wrong(page: Path, block: str) -> Iterator[str]:
    """What is wrong with the figures of a block for which a file is named, in words."""
    for text, file, paths in linked(block):
        shown = numbers(text)
        if len(shown) != len(paths):
            yield f"[{text}]: {len(shown)} numbers and {len(paths)} paths"
            continue
        for number, path in zip(shown, paths, strict=True):
            values = list(at(read(page, file), path))
            if len(values) != 1:
                yield f"[{text}]: {path} is {len(values)} values of {file}"
            elif not shows(number, values[0], per_cent="%" in text):
                yield f"[{text}]: {path} is {values[0]} in {file}"
    if not (named := behind(block)):
        return
    known = [value for file, path in named for each in at(read(page, file), path or "") for value in leaves(each)]
    for text in unlinked(block):
        for number in numbers(text):
            if not any(shows(number, value, per_cent="%" in text) for value in known):
                yield f"{text}: {number} is not in {', '.join(file for file, _ in named)}"


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
