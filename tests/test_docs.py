"""The Python of each page of the docs runs as it stands, from its top to its end."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from recipes.train import CONF

DOCS = Path(__file__).parent.parent / "docs"


def python_of(page):
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))


PAGES = [page for page in sorted(DOCS.rglob("*.md")) if python_of(page)]


def test_there_is_something_to_run():
    assert "coming-from" in {page.stem for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page):
    exec(compile(python_of(page), page.name, "exec"), {"__name__": page.stem})


def commands_of(page):
    """The overrides of each command of the recipes that a page shows; of a sweep, those of its first job."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["python", "-m"] and words[2].startswith("recipes.") and words[2] != "recipes.compare":
                found.append((words[2].removeprefix("recipes."), [word for word in words[3:] if word != "-m"]))
    return found


COMMANDS = [
    pytest.param(recipe, overrides, id=f"{page.stem} {recipe} {' '.join(overrides)}")
    for page in sorted(DOCS.rglob("*.md"))
    for recipe, overrides in commands_of(page)
]


def test_there_are_commands_to_compose():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize(("recipe", "overrides"), COMMANDS)
def test_each_command_of_a_page_composes(recipe, overrides):
    # A sweep: one of its jobs. What is drawn between two bounds has no first value.
    job = [
        f"{each.get_key_element()}={next(each.sweep_string_iterator())}"
        if each.is_sweep_override()
        else each.input_line
        for each in OverridesParser.create().parse_overrides(overrides)
        if not each.is_interval_sweep()
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose(recipe, overrides=job, return_hydra_config=True)


# What the page calls a finder of the benchmark.
CALLED = {
    "ours: max_lr": "**`max_lr`**",
    "ours: fixed_lr": "**`fixed_lr`**",
    "ours, momentum of the peak: max_lr": '`max_lr`, with the momentum of the peak (`"auto"`)',
    "torch-lr-finder": "torch-lr-finder",
    "fastai minimum": "fastai, minimum/10",
    "fastai steep": "fastai, steep",
    "fastai slide": "fastai, slide",
    "fastai valley": "fastai, valley",
    "Lightning": "Lightning",
    "no test (SGD 0.1, Adam 0.001)": "no test",
}


def test_the_figures_of_the_range_test_are_those_measured():
    measured = json.loads((DOCS.parent / "benchmarks" / "results" / "range_test.json").read_text())
    page = (DOCS / "range-test.md").read_text()
    of = {"1cycle": page.split("| peak of a 1cycle |")[1].split("\n\n")[0]}
    of["fixed"] = page.split("| one fixed LR |")[1].split("\n\n")[0]
    told = 0
    for row in measured["rows"]:
        if (row["half"], row["settings"]) == ("held-out", "all") and row["finder"] in CALLED:
            within, over = f"{row['within_1_point']:.0f} %", f"{row['lost_over_10']:.0f} %"
            cells = [CALLED[row["finder"]], within, over, f"{row['mean']:.1f}", f"{row['worst']:.1f}"]
            assert f"| {' | '.join(cells)} |" in of[row["lr_of"]].splitlines()
            told += 1
    assert told == 17
    assert all(table.count("\n| ") == rows for table, rows in ((of["1cycle"], 9), (of["fixed"], 8)))
