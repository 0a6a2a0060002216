"""No measured figure in README or docs without a result file behind it, and none that is not what the file says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.figures import at, linked, numbers, plain, read, shows, unlinked, wrong
from tests.markdown import DOCS, GENERATED, ROOT, blocks, called, fences, pages, sections

# What has a unit and was not measured by us: page, words, reason.
EXEMPT = {
    ("docs/range-test.md", "within 1 point"): "the head of a column: what is counted",
    ("docs/range-test.md", "over 10 points lost"): "the head of a column: what is counted",
    ("docs/recipes.md", "the source's, 94 %"): "somebody else's, and the row says whose",
}
# Blocks of `text` that no command has printed: page, first word, reason.
NOT_PRINTED = {("README.md", "lightning_lr/schedules/"): "a list of folders"}

DIARY = DOCS / "decisions.md"
"""What was measured at a time: a section with figures names the commit or the result file."""

PAGES = [page for page in pages("README.md") if page not in (DIARY, GENERATED)]
_OUTPUT = re.compile(
    r"<!-- output: (?P<file>\S+\.json) (?P<command>.+?) -->\n\n```text\n(?P<text>.*?)^```", re.M | re.S
)


def figures_of(page: Path) -> list[str]:
    """The blocks of a page, without what is exempt."""
    found = []
    for block in blocks(page.read_text()):
        for where, words in EXEMPT:
            if where == called(page):
                block = re.sub(re.escape(words).replace(r"\ ", r"\s+"), " ", block)
        found.append(block)
    return found


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_figures_are_those_of_the_result_files(page):
    assert [said for block in figures_of(page) for said in wrong(page, block)] == []


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_no_figure_is_without_a_result_file(page):
    assert [text for block in figures_of(page) if "<!-- figures: " not in block for text in unlinked(block)] == []


def test_there_are_figures_to_compare():
    links = sum(len(linked(block)) for page in PAGES for block in figures_of(page))
    tables = sum("<!-- figures: " in block for page in PAGES for block in figures_of(page))
    assert links >= 5
    assert tables >= 2


@pytest.mark.parametrize(("page", "words"), EXEMPT, ids=" ".join)
def test_what_is_exempt_is_there_and_has_a_figure(page, words):
    text = " ".join(plain((ROOT / page).read_text()).split())
    assert words in text
    assert unlinked(words)


@pytest.mark.parametrize(("title", "text"), sections(DIARY.read_text()).items(), ids=lambda each: each[:40])
def test_a_decision_with_figures_names_where_they_are_from(title, text):
    if unlinked(text):
        assert re.search(r"`[0-9a-f]{7,40}`|benchmarks/results/\w+\.json", text), title


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_what_a_command_has_printed_is_what_the_file_kept(page):
    text = page.read_text()
    shown = {block["text"] for block in _OUTPUT.finditer(text)}
    for block in _OUTPUT.finditer(text):
        (lines,) = at(read(page, block["file"]), f"outputs[command={block['command']}].lines")
        assert block["text"].splitlines() == lines
    others = [fence.text for fence in fences(text) if fence.language == "text" and fence.text not in shown]
    assert [
        (called(page), block.split()[0]) for block in others if (called(page), block.split()[0]) not in NOT_PRINTED
    ] == []


def test_there_are_outputs_to_compare():
    assert {page.name for page in PAGES if _OUTPUT.search(page.read_text())} >= {
        "README.md",
        "index.md",
        "ensembles.md",
    }


# The mechanism itself: what would pass by mistake otherwise.
RESULT = (
    """{"rows": [{"who": "a, b: c", "half": true, "share": 0.571, "ms": [2.449, 7.5]}, {"who": "d", "share": 0.01}]}"""
)


@pytest.fixture
def a_page(tmp_path):
    (tmp_path / "r.json").write_text(RESULT)
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    "text",
    [
        '[57 %](r.json "rows.0.share")',
        '[57.1 %](r.json "rows[who=a, b: c,half=true].share")',
        '[1 %](r.json "rows[who=d].share")',
        '[2.4 to 7.5 ms](r.json "rows.0.ms.0; rows.0.ms.1")',
        '[0.57 of it](r.json "rows.0.share")',
        "<!-- figures: r.json -->\n| 57 % | 2.449 | **1 %** |",
        "<!-- figures: r.json rows[who=d] -->\nIt is 1 %.",
    ],
)
def test_right_figures_are_right(text, a_page):
    assert list(wrong(a_page, text)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[58 %](r.json "rows.0.share")', "[58 %]: rows.0.share is 0.571 in r.json"),
        ('[0.57 %](r.json "rows.0.share")', "[0.57 %]: rows.0.share is 0.571 in r.json"),
        ('[57 %](r.json "rows.share")', None),
        ('[2.4 to 7.5 ms](r.json "rows.0.ms.0")', "[2.4 to 7.5 ms]: 2 numbers and 1 paths"),
        ('[57 %](r.json "rows[who=nobody].share")', "[57 %]: rows[who=nobody].share is 0 values of r.json"),
        ("<!-- figures: r.json -->\n| 57 % | 2.5 |", "2.5: 2.5 is not in r.json"),
        ("<!-- figures: r.json rows[who=d] -->\nIt is 57 %.", "57 %: 57 is not in r.json"),
    ],
)
def test_wrong_figures_are_wrong(text, said, a_page):
    if said is None:
        with pytest.raises((TypeError, ValueError)):
            list(wrong(a_page, text))
    else:
        assert list(wrong(a_page, text)) == [said]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It takes 3 s, or 1.5 to 2 ms a batch.", ["3 s", "1.5 to 2 ms"]),
        ("Of 480 samples 78 and 83 % are right: 4 errors.", ["78 and 83 %", "4 errors"]),
        ("3x as fast, 2.5 × or 4 times; 64 MiB.", ["3x", "2.5 ×", "4 times", "64 MiB"]),  # noqa: RUF001
        ("| a | 97.1 ± 0.4 % |", ["97.1 ± 0.4 %"]),
        ("Of 32 × 32 pixels, `30%` of the run, in 2017, with 5 snapshots.", []),  # noqa: RUF001
        ('[3 s](r.json "seconds") and ![10 %](x.png) and <!-- 5 % -->', []),
        ("[about 5 %](page.md)", ["5 %"]),
    ],
)
def test_figures_are_found_in_prose(text, found):
    assert unlinked(text) == found


def test_numbers_are_rounded_as_they_are_shown():
    assert numbers("1,797 of −0.25") == ["1,797", "−0.25"]  # noqa: RUF001
    assert shows("1,797", 1797.4, per_cent=False)
    assert shows("0.5", 0.45, per_cent=False)
    assert shows("−0.2", -0.24, per_cent=False)  # noqa: RUF001
    assert not shows("0.24", 0.2451, per_cent=False)
    assert shows("40", 40.2, per_cent=True)
    assert not shows("1", 0.5, per_cent=True)
