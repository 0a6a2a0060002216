"""The page: whole in one file, escaped, and the same figures as everywhere."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from recipes.comparison.look import SCRIPT, STYLE
from recipes.comparison.page import page
from tests.recipes.comparison.conftest import ONE_CYCLE

PNG = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "img", "wbr", "line", "br"}


class Read(HTMLParser):
    """Tags with their attributes, the text, and the tables, of a page that is well formed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.tables = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data


def read(study, pictures=None, command="python -m recipes.compare .", drawn=12):
    return Read(page(study, pictures or {"curves.png": PNG}, command, drawn=drawn))


def test_the_same_figures_as_in_the_terminal(three, study):
    groups, differences, runs = read(study()).tables
    assert groups[0][:7] == ["group", "n", "against the first", "p", "members", "ensemble %", "last model %"]
    assert [row[:3] for row in groups[1:]] == [
        ["schedule=one_cycle", "3", "first"],
        ["schedule=sgdr schedule.max_lr=0.5", "3", "worse"],
        ["schedule=sgdr schedule.max_lr=0.05", "3", "worse"],
    ]
    assert [row[5] for row in groups[1:]] == ["96.33 ± 1.53", "92.00 ± 2.00", "80.00 ± 1.00"]
    assert differences == [
        ["group", "schedule", "schedule.max_lr"],
        ["schedule=one_cycle", "one_cycle", "0.1"],
        ["schedule=sgdr schedule.max_lr=0.5", "sgdr", "0.5"],
        ["schedule=sgdr schedule.max_lr=0.05", "sgdr", "0.05"],
    ]
    assert [row[0] for row in runs[1:]] == [f"{name}/{seed}" for name in ("one", "sgdr", "low") for seed in range(3)]
    assert [row[runs[0].index("ensemble %")] for row in runs[1:4]] == ["95.00", "96.00", "98.00"]
    assert len({len(row) for row in runs}) == 1


def test_verdict_target_command_and_versions_are_there(three, study):
    text = " ".join(read(study()).text)
    of = study()
    for said in (of.verdict, of.about_target(), "python -m recipes.compare .", "python 3.11.7; torch 2.14.1."):
        assert said in text


def test_opens_without_a_network(three, study):
    text = page(study(), {"curves.png": PNG, "seconds.png": PNG}, "x", drawn=12)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("data:image/png", ""))
    for tag, attributes in Read(text).tags:
        assert not attributes.keys() & {"href", "srcset", "action", "data", "poster"}, tag
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        if "src" in attributes:
            assert attributes["src"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert [tag for tag, _ in Read(text).tags].count("img") == 2


def test_only_its_own_script_and_style_may_run(three, study):
    (policy,) = [tag["content"] for name, tag in read(study()).tags if tag.get("http-equiv")]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (STYLE, SCRIPT)]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    text = page(study(), {}, "x", drawn=12)
    assert f"<style>{STYLE}</style>" in text
    assert f"<script>{SCRIPT}</script>" in text
    # No style and no handler of a single element: the policy would stop it.
    assert not re.search(r"<[^>]+ (style|on[a-z]+)=", text.replace(SCRIPT, ""))


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_whatever_comes_from_files_is_escaped(leave, study, tmp_path):
    name = EVIL.replace("/", "")
    leave(
        name,
        schedule__max_lr=EVIL,
        overrides=[f"schedule.max_lr={EVIL}"],
        beside={"device": EVIL, "versions": {EVIL: EVIL}},
    )
    leave("other", seed=EVIL, schedule=ONE_CYCLE | {EVIL: EVIL})
    leave(f"broken{name}", "{")
    leave(f"again{name}", schedule__max_lr=EVIL)
    leave(f"late{name}", schedule__max_lr=EVIL, logged=(), seed=7)
    made = read(study(), command=EVIL)
    tags = [tag for tag, _ in made.tags]
    assert tags.count("script") == 1
    assert tags.count("img") == 1
    assert not any(attribute.startswith("on") for _, attributes in made.tags for attribute in attributes)
    text = "".join(made.text)
    assert EVIL in text
    assert name in text
    assert f"broken{name}" in text


def test_cells_are_sorted_by_numbers_and_not_by_what_is_written(leave, study):
    leave("a", accuracy=0.9, seed=0)
    leave("b", accuracy=1.0, nll=float("nan"), seed=1, logged=(0.5,))
    text = page(study(target=0.9), {}, "x", drawn=12)
    rows = re.findall(r"<tr>.*?</tr>", text)
    first, second = (next(row for row in rows if f'data-value="{name}"' in row) for name in "ab")
    assert '<td data-value="0.9">90.00</td>' in first
    assert '<td data-value="1.0">100.00</td>' in second
    # What is no number has none to be sorted by, and stays at the end.
    assert "<td>nan</td>" in second
    assert '<td data-value="30.0">30</td>' in first or '<td data-value="30">30</td>' in first
    assert "<td>-</td>" in second


def test_groups_beyond_the_picture_have_no_line_of_it(three, study):
    tags = [tag for tag, _ in read(study(), drawn=2).tags]
    assert tags.count("svg") == 2


def test_the_commands_of_the_runs(leave, study):
    leave("a", seed=0, overrides=["schedule=sgdr", "seed=0", "hydra.run.dir=/home/me", "schedule.max_lr=1 2"])
    leave("b", seed=1, overrides=["seed=1"])
    text = " ".join(read(study()).text)
    assert "python -m recipes.train -m schedule=sgdr 'schedule.max_lr=1 2' seed=0,1" in text
    assert "/home/me" not in text


@pytest.mark.parametrize(("runs", "title"), [(1, "1 run in 1 group compared"), (2, "2 runs in 1 group compared")])
def test_the_title_counts(runs, title, leave, study):
    for seed in range(runs):
        leave(str(seed), seed=seed)
    made = read(study())
    assert made.text.count(title) == 2
    assert len(made.tables) == 2  # nothing differs


def test_remarks_are_on_the_page(leave, study):
    leave("a")
    leave("b")
    text = "".join(read(study()).text)
    assert all(remark in text for remark in study().remarks())
    assert "b (repeats a, not counted)" in text
