"""The Python of each page of the docs runs as it stands, from its top to its end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


def python_of(page):
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))


PAGES = [page for page in sorted(DOCS.rglob("*.md")) if python_of(page)]


def test_there_is_something_to_run():
    assert "coming-from" in {page.stem for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page):
    exec(compile(python_of(page), page.name, "exec"), {"__name__": page.stem})
