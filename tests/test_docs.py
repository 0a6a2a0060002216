"""The docs are run: the Python of each page as it stands, each command as far as composing it; no name is missing."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import json
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

import lightning_lr
from recipes import compare
from recipes.train import CONF
from tests.markdown import DOCS, ROOT, called, fenced, fences, pages

if sys.version_info >= (3, 11):
    import tomllib
else:  # what pytest reads its own settings with
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGES = pages("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
# The README's is run by `tests/test_readme.py`.
WITH_PYTHON = [page for page in pages() if fenced(page.read_text(), "python")]
LANGUAGES = {"python", "console", "bash", "yaml", "text"}

# What is not ours, and not Python's: what of a page needs it is said there.
OF_A_CLUSTER = {"srun", "sbatch"}
OF_A_SHELL = {"source", "eval", "set"}
THE_READERS_OWN = {
    "fit.py": "a script for LightningCLI; tests/test_lightning_cli.py has one",
    "train.sh": "shown above it",
}
RECIPES = {f"lr-{name.replace('find_lr', 'find')}": name for name in ("train", "find_lr", "ensemble", "compare")}


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_every_block_is_in_a_language_that_is_checked(page):
    text = page.read_text()
    assert [fence for fence in fences(text) if fence.language not in LANGUAGES] == []
    # None is left open, or hidden in a list by another indent.
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(fences(text))


def test_there_is_something_to_run():
    wanted = {"index", "choosing", "range-test", "ensembles", "clusters", "coming-from"}
    assert wanted <= {page.stem for page in WITH_PYTHON}


@pytest.mark.parametrize("page", WITH_PYTHON, ids=called)
def test_the_python_of_a_page_runs(page):
    exec(compile("\n".join(fenced(page.read_text(), "python")), page.name, "exec"), {"__name__": page.stem})


def commands(language="console"):
    """Each command of each page, in words."""
    for page in PAGES:
        for block in fenced(page.read_text(), language):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                while "&&" in words:
                    yield page, words[: words.index("&&")]
                    words = words[words.index("&&") + 1 :]
                if words:
                    yield page, words


def recipe(words):
    """The recipe that a command runs, whoever starts it, and what the recipe is given."""
    if words[0] in RECIPES:
        return RECIPES[words[0]], words[1:]
    for index, word in enumerate(words[:-1]):
        if word == "-m" and words[index + 1].startswith("recipes."):
            return words[index + 1].removeprefix("recipes."), words[index + 2 :]
    return None


ALL = [*commands(), *commands("bash")]
COMMANDS = [
    pytest.param(found[0], [word for word in found[1] if word != "-m"], id=f"{page.stem} {' '.join(words)}")
    for page, words in ALL
    if (found := recipe(words)) and found[0] != "compare" and "-sc" not in words
]


def test_there_are_commands_to_compose():
    assert len(COMMANDS) > 40
    assert {"torchrun", "srun", "lr-train"} <= {words[0] for _, words in ALL if recipe(words)}


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


COMPARISONS = [found[1] for _, words in ALL if (found := recipe(words)) and found[0] == "compare"]


@pytest.mark.parametrize("given", COMPARISONS, ids=" ".join)
def test_each_comparison_of_a_page_can_be_asked_for(given, capsys):
    # There is nothing to compare here; a wrong option would be an exit.
    assert compare.main(given) in (1, 2)
    assert given[0] in capsys.readouterr().err


def known(words):
    """Whether there is what a command runs: by its first word, and by what that is given."""
    first, *given = words
    if first == "make":
        return all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in given)
    if first == "pip":
        extras = {extra for word in given for found in re.findall(r"\[(.+?)\]", word) for extra in found.split(",")}
        return given[0] == "install" and extras <= set(PROJECT["project"]["optional-dependencies"])
    if first == "pytest":
        markers = {marker.partition(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
        return all(given[index + 1] in markers for index, word in enumerate(given) if word == "-m")
    if first == "python":
        if given[0] == "-m":
            return importlib.util.find_spec(given[1]) is not None
        return (ROOT / given[0]).is_file() or given[0] in THE_READERS_OWN
    if first == "torchrun":
        return importlib.util.find_spec("torch.distributed.run") is not None and recipe(words) is not None
    if first in OF_A_CLUSTER:
        return recipe(words) is not None or given[0] in THE_READERS_OWN
    if first in OF_A_SHELL:
        inside = re.search(r"\$\((.+)\)", " ".join(given))
        return first != "eval" or (inside is not None and known(shlex.split(inside[1])))
    return first in PROJECT["project"]["scripts"]


@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)) for _, words in ALL])
def test_there_is_what_a_command_runs(words):
    assert known(words)


@pytest.mark.parametrize(
    "line",
    [
        "make sites",
        'pip install "lightning_lr[nothing]"',
        "pytest -m quick",
        "python -m recipes.trainer",
        "python nothing.py",
        "torchrun train.py",
        "srun nothing.sh",
        'eval "$(lr-nothing)"',
        "lr-nothing",
        "ls",
    ],
)
def test_what_is_not_there_is_not_known(line):
    assert not known(shlex.split(line))


def test_the_installed_commands_are_the_recipes():
    assert set(RECIPES) == set(PROJECT["project"]["scripts"])


def test_blocks_of_other_languages_can_be_read():
    texts = [page.read_text() for page in PAGES]
    documents, scripts = ([block for text in texts for block in fenced(text, each)] for each in ("yaml", "bash"))
    assert all(isinstance(yaml.safe_load(document), dict) for document in documents)
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert documents
    assert scripts


# Names of which no docstring has an example, and why.
NO_EXAMPLE = {"Duration": "the name of a type; its module has one"}


def has_example(name):
    thing = getattr(lightning_lr, name)
    # What the name of a type, which has no docstring of its own, would show is that of its class.
    found = doctest.DocTestFinder().find(thing, name) if inspect.isroutine(thing) or isinstance(thing, type) else []
    return any(each.examples for each in found)


# That they are right, `pytest --doctest-modules` sees.
@pytest.mark.parametrize("name", lightning_lr.__all__)
def test_every_public_name_has_an_example(name):
    assert has_example(name) == (name not in NO_EXAMPLE)


def test_every_public_name_is_on_one_page_of_the_api():
    text = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    shown = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    assert sorted(shown) == [f"lightning_lr.{name}" for name in lightning_lr.__all__]
    # And the list of them names each once.
    assert set(lightning_lr.__all__) <= set(re.findall(r"`(\w+)`", (DOCS / "api" / "index.md").read_text()))


def links(page):
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)", text) if "://" not in link and not link.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_every_link_leads_to_a_file_of_the_repository(page):
    paths = {link: (page.parent / link.partition("#")[0]).resolve() for link in links(page)}
    assert [link for link, path in paths.items() if not path.is_file() or not path.is_relative_to(ROOT)] == []


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
    measured = json.loads((ROOT / "benchmarks" / "results" / "range_test.json").read_text())
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
