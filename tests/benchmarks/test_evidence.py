"""The page of the evidence says what the result files say, and each file says how it was made."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks import evidence, record
from benchmarks.__main__ import CLAIMS

ROOT = record.RESULTS.parent.parent
FILES = sorted(record.RESULTS.glob("*.json"))
ON_THE_PAGE = [name for names in evidence.SECTIONS.values() for name in names]


def test_the_page_is_made_of_the_files():
    assert evidence.PAGE.read_text() == evidence.page(record.RESULTS)


def test_each_claim_is_on_the_page_with_its_picture():
    page = evidence.PAGE.read_text()
    for name in CLAIMS:
        assert name in ON_THE_PAGE
        assert f"[{name}.json](../benchmarks/results/{name}.json)" in page
        assert f"(../benchmarks/results/{name}.png)" in page


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_result_file_says_how_it_was_made(file):
    content = json.loads(file.read_text())
    assert content["command"].startswith(("python benchmarks/", "python -m benchmarks"))
    assert all(re.fullmatch(r"[0-9a-f]{40}\+?", commit) for commit in content["commit"].split(", "))
    assert "Python" in content["machine"]
    assert content["versions"]
    assert "n" in content
    if content.get("picture"):
        assert (record.RESULTS / content["picture"]).stat().st_size > 5_000


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_has_five_seeds_and_a_spread(name):
    content = json.loads((record.RESULTS / f"{name}.json").read_text())
    assert content["n"]["seeds"] >= 5
    assert content["found"]
    # Some stand one below: an accuracy at each share of the budget.
    values = [value for row in content["rows"] for value in row.values() if isinstance(value, dict)]
    values += [below for value in values for below in value.values() if isinstance(below, dict)]
    figures = [value for value in values if "each" in value]
    assert figures
    for figure in figures:
        assert figure["n"] == len(figure["each"]) == content["n"]["seeds"]
        assert figure["mean"] == pytest.approx(sum(figure["each"]) / figure["n"], abs=2e-4)


def written(folder, **changed):
    content = {
        "name": "sgdr",
        "claim": "One thing is better than another.",
        "verdict": "It is.",
        "found": ["It is.", "It is not."],
        "command": "python -m benchmarks sgdr size=cpu",
        "size": "cpu",
        "n": {"seeds": 5},
        "commit": "a" * 40,
        "machine": "x86_64",
        "versions": {"torch": "2.0"},
        "seconds": 90.0,
        "cells": 3,
        "picture": "sgdr.png",
        "table": {"columns": ["what", "accuracy %"], "rows": [["a|b", "1.0 ± 0.1"]]},
        "rows": [],
        **changed,
    }
    (folder / f"{content['name']}.json").write_text(json.dumps(content))


def test_a_section_holds_sentences_picture_table_and_command(tmp_path):
    written(tmp_path)
    assert evidence.page(tmp_path).removeprefix(evidence.TOP) == (
        "\n| | what is claimed | what was found | n |\n|---|---|---|---|\n"
        "| [SGDR against step decay, along the run](#sgdr) | One thing is better than another. | It is. | 5 seeds |\n"
        '\n## The claims\n\n<a id="sgdr"></a>\n\n### SGDR against step decay, along the run\n'
        "\n> One thing is better than another.\n\n**It is.**\n"
        "\n- It is not.\n"
        "\n![One thing is better than another.](../benchmarks/results/sgdr.png)\n"
        "\n| what | accuracy % |\n|---|---|\n| a\\|b | 1.0 ± 0.1 |\n"
        "\nn: 5 seeds. `python -m benchmarks sgdr size=cpu`; 2 minutes of training in 3 runs; x86_64; torch 2.0; "
        "commit aaaaaaaaa. [sgdr.json](../benchmarks/results/sgdr.json)\n"
    )


def test_what_was_measured_at_another_size_stands_beside(tmp_path):
    written(tmp_path)
    written(tmp_path, name="sgdr_paper", claim="On a GPU.")
    page = evidence.page(tmp_path)
    assert page.index('id="sgdr"') < page.index('id="sgdr_paper"')
