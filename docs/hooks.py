"""What the site has beyond `docs/`: the files outside of it that its pages link to.

A page links as the repository has it, `../benchmarks/results/range_test.json`, so that it is right where it is read
as a file. For the site each such file is copied in under the same path, and the link is rewritten. A Markdown file
(`../CONTRIBUTING.md`) becomes a page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parent.parent
# Pages of the navigation that no page needs to link to.
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
RESULTS = "benchmarks/results"
_LINK = re.compile(r"(?<=\]\()(?:\.\./)+[^\s)#]+")


def outside(page: str, link: str) -> str | None:
    """Return the path in the repository that a page's link leads to, if it is a file outside of `docs/`.

    Args:
        page: The page's path in `docs/`.
        link: As it stands in the page.

    Example:
        >>> outside("recipes.md", "../CONTRIBUTING.md"), outside("api/index.md", "../recipes.md")
        ('CONTRIBUTING.md', None)
    """
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return path if not path.startswith(("docs/", "..")) and (ROOT / path).is_file() else None


def on_files(files: Files, config: Any) -> Files:
    """Add what is linked to, the results, and the two pages that lie at the repository's top."""
    wanted = set(PAGES)
    wanted |= {
        path.relative_to(ROOT).as_posix() for kind in ("json", "png") for path in (ROOT / RESULTS).glob(f"*.{kind}")
    }
    for page in files.documentation_pages():
        found = (outside(page.src_uri, link) for link in _LINK.findall(page.content_string))
        wanted |= {path for path in found if path is not None}
    for path in sorted(wanted):
        level = InclusionLevel.INCLUDED if path in PAGES else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path), inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links that lead out of `docs/`."""
    here = page.file.src_uri

    def rewritten(link: re.Match[str]) -> str:
        path = outside(here, link[0])
        return link[0] if path is None else posixpath.relpath(path, posixpath.dirname(here) or ".")

    # `docs/recipes.md` in a page from the top of the repository.
    if here in PAGES:
        return re.sub(r"(?<=\]\()docs/", "", markdown)
    return _LINK.sub(rewritten, markdown)
