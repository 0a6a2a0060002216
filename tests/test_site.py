"""The documentation site: it builds without a warning, holds what it links to, and needs no network to be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import lightning_lr
from tests.markdown import DOCS, ROOT, pages


class Page(HTMLParser):
    """What a page loads, where it leads, and what can be led to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.leads.append(given["href"])
        elif tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loads.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def built(site):
    # The page for what is not there is served from any depth, by links from the server's root.
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def inside(page, link):
    return (page.parent / unquote(link.partition("#")[0].partition("?")[0])).resolve() if link[0] != "#" else page


@pytest.mark.slow
def test_every_page_of_the_docs_is_there(site, built):
    wanted = {page.relative_to(DOCS).with_suffix(".html") for page in pages()}
    wanted |= {Path("CONTRIBUTING.html"), Path("CHANGELOG.html")}
    assert {path.relative_to(site) for path in built} == wanted


@pytest.mark.slow
def test_nothing_is_asked_of_another_server(site, built):
    for path, page in built.items():
        assert [link for link in page.loads if re.match(r"(https?:)?//", link)] == [], path.name
        assert [link for link in page.loads if not inside(path, link).is_file()] == [], path.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.mark.slow
def test_every_link_leads_somewhere(built):
    for path, page in built.items():
        for link in page.leads:
            if re.match(r"[a-z]+:", link):
                continue
            target, anchor = inside(path, link), link.partition("#")[2]
            assert target.is_file(), (path.name, link)
            if anchor and target in built:
                assert unquote(anchor) in built[target].ids, (path.name, link)


@pytest.mark.slow
def test_results_are_in_the_site_as_they_are_in_the_repository(site):
    results = [path for kind in ("json", "png") for path in (ROOT / "benchmarks" / "results").glob(f"*.{kind}")]
    assert len(results) > 10
    for path in results:
        assert (site / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_every_public_name_is_explained(site):
    ids = {each for path in (site / "api").glob("*.html") for each in Page(path).ids}
    assert {f"lightning_lr.{name}" for name in lightning_lr.__all__} <= ids
    policies = (site / "api" / "policies.html").read_text()
    # An example is shown as code, and what stands there is what the docstring has.
    assert "SGDR(max_lr=0.1, cycles=2).preview(total_steps=8)" in re.sub(r"<[^>]+>", "", policies)
    assert "Example:" not in policies


def test_every_page_is_in_the_navigation():
    # mkdocs has tags of its own in other settings; these have none.
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())

    def leaves(entry):
        if isinstance(entry, str):
            return [entry]
        return [leaf for each in (entry.values() if isinstance(entry, dict) else entry) for leaf in leaves(each)]

    listed = leaves(settings["nav"])
    assert sorted(listed) == sorted(
        {*(page.relative_to(DOCS).as_posix() for page in pages()), "CONTRIBUTING.md", "CHANGELOG.md", "evidence.md"}
    )
    assert settings["theme"]["font"] is False
    assert "repo_url" not in settings


def test_links_that_leave_the_docs_are_told_from_those_that_stay():
    pytest.importorskip("mkdocs")
    from docs.hooks import outside

    assert outside("range-test.md", "../benchmarks/results/range_test.json") == "benchmarks/results/range_test.json"
    assert outside("api/index.md", "../../benchmarks/results/range_test.png") == "benchmarks/results/range_test.png"
    assert outside("api/index.md", "../recipes.md") is None
    assert outside("range-test.md", "../nothing.json") is None
    assert outside("range-test.md", "../../elsewhere.json") is None
