"""What a page of Markdown is made of, as far as the tests of the documentation ask: fenced blocks and prose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GENERATED = DOCS / "evidence.md"
"""Written by a program, and held to the result files by a test of its own."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    language: str
    text: str
    line: int


def pages(*beside: str) -> list[Path]:
    """Every page of `docs/`, and those at the repository's top that are asked for."""
    return [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in beside)]


def called(page: Path) -> str:
    """The page's path in the repository, which is what tests call it by."""
    return page.relative_to(ROOT).as_posix()


def fences(text: str) -> list[Fence]:
    return [
        Fence(found["language"], found["text"], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def fenced(text: str, language: str) -> list[str]:
    return [fence.text for fence in fences(text) if fence.language == language]


def without_fences(text: str) -> str:
    return _FENCE.sub("", text)


def blocks(text: str) -> list[str]:
    """The paragraphs, lists and tables outside of fences; a comment that stands alone belongs to what follows it."""
    found = [block.strip("\n") for block in re.split(r"\n\s*\n", without_fences(text)) if block.strip()]
    joined: list[str] = []
    for block in found:
        alone = joined and re.fullmatch(r"<!--.*?-->", joined[-1].strip(), re.DOTALL)
        if alone:
            joined[-1] += "\n" + block
        else:
            joined.append(block)
    return joined


def sections(text: str) -> dict[str, str]:
    """The text below each heading of the second level, fences left out."""
    _, *parts = re.split(r"^## ", without_fences(text), flags=re.MULTILINE)
    return {title: rest for title, _, rest in (part.partition("\n") for part in parts)}
