"""How many lines a user writes, counted from the source that runs.

Counted are the lines of a function's body that hold code, without what it returns, which the measuring asks for. A
contender adds those that are not lines of the plain set-up, in the same order: a line that it changes is one of them.
All of it is the body, and `Plain`, the module, where the body names it: a package with a training loop of its own needs
none. The data, the network and the optimizer's options are the same for all, and nobody's lines.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

HERE = Path(__file__).parent
PLAIN, MODULE = "constant", "Plain"


@dataclass(frozen=True)
class Lines:
    """Of a contender.

    Args:
        added: Lines that are not in the plain set-up.
        total: All of them, the module included where there is one.
    """

    added: int
    total: int


def count(source: str, function: str, plain: str) -> Lines:
    """Count a function's lines.

    Args:
        source: Of the function's file.
        function: Its name.
        plain: Source of the file with the plain set-up.
    """
    body, beside = code(source, function), code(plain, PLAIN)
    kept = sum(block.size for block in SequenceMatcher(None, beside, body, autojunk=False).get_matching_blocks())
    named = {node.id for node in ast.walk(_find(source, function)) if isinstance(node, ast.Name)}
    return Lines(len(body) - kept, len(body) + (len(code(plain, MODULE, whole=True)) if MODULE in named else 0))


def code(source: str, name: str, *, whole: bool = False) -> list[str]:
    """Return the lines that hold code, of the body alone or of the whole definition."""
    node = _find(source, name)
    last = node.body[-1]
    end = last.lineno - 1 if isinstance(last, ast.Return) and not whole else node.end_lineno
    lines = source.splitlines()[(node.lineno if whole else node.body[0].lineno) - 1 : end]
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def of(place: str) -> Lines:
    """Count a contender by its module and function, ``"peers_others:one_cycle_fastai"``."""
    module, _, function = place.partition(":")
    sources = (HERE / f"{name}.py" for name in (module, "peers_contenders"))
    return count(next(sources).read_text(), function, next(sources).read_text())


def text(place: str) -> str:
    """Return a contender's source as it stands."""
    module, _, function = place.partition(":")
    source = (HERE / f"{module}.py").read_text()
    return ast.get_source_segment(source, _find(source, function)) or ""


def _find(source: str, name: str) -> ast.FunctionDef | ast.ClassDef:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    raise ValueError(f"name={name!r}: no such function or class in the file; name one that stands at its top level")
