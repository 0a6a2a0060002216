"""`python -m recipes.compare` on runs of `python -m recipes.train`, as a user types both."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import recipes

pytestmark = pytest.mark.slow

ROOT = Path(recipes.__file__).resolve().parent.parent
SCHEDULES, SEEDS = ("step_decay", "one_cycle", "sgdr"), (0, 1)


def python(*arguments, cwd):
    launcher = ("LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "HYDRA_FULL_ERROR")
    inherited = {name: value for name, value in os.environ.items() if name not in launcher}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep over schedules and seeds, one run again, and one that ends in an error."""
    cwd = tmp_path_factory.mktemp("swept")
    short = ("trainer.max_epochs=3",)
    grid = (f"schedule={','.join(SCHEDULES)}", f"seed={','.join(map(str, SEEDS))}")
    done = python("-m", "recipes.train", "-m", *grid, *short, "hydra.sweep.dir=multirun/one", cwd=cwd)
    assert done.returncode == 0, done.stderr
    again = python("-m", "recipes.train", "schedule=sgdr", *short, "hydra.run.dir=multirun/again", cwd=cwd)
    assert again.returncode == 0, again.stderr
    # More cycles than updates: refused by the policy, when the run has its folder already.
    failed = python("-m", "recipes.train", "schedule.cycles=999", *short, "hydra.run.dir=multirun/failed", cwd=cwd)
    assert failed.returncode == 1
    return cwd


@pytest.fixture(scope="module")
def compared(swept):
    return python("-m", "recipes.compare", "multirun", cwd=swept)


def test_every_run_is_in_its_group(swept, compared):
    assert compared.returncode == 0, compared.stderr
    with (swept / "compare" / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = {
        f"multirun/one/{len(SEEDS) * place + seed}": (f"schedule={schedule}", str(seed), "")
        for place, schedule in enumerate(SCHEDULES)
        for seed in SEEDS
    }
    # The folder that comes first counts.
    runs["multirun/again"] = ("schedule=sgdr", "0", "")
    runs["multirun/one/4"] = ("schedule=sgdr", "0", "multirun/again")
    assert {row["run"]: (row["group"], row["seed"], row["repeats"]) for row in rows} == runs
    for row in rows:
        result = json.loads((swept / row["run"] / "result.json").read_text())
        assert float(row["ensemble.accuracy"]) == result["ensemble"]["accuracy"]
        assert float(row["last.nll"]) == result["last"]["nll"]
        assert (int(row["steps"]), float(row["fit_seconds"])) == (51, result["fit_seconds"])
        assert row["device"] == result["device"]


def test_the_figures_are_those_of_the_results(swept, compared):
    with (swept / "compare" / "groups.csv").open(newline="") as file:
        groups = {row["group"]: row for row in csv.DictReader(file)}
    values = {}
    for place, schedule in enumerate(SCHEDULES):
        files = [swept / "multirun" / "one" / str(len(SEEDS) * place + seed) / "result.json" for seed in SEEDS]
        values[f"schedule={schedule}"] = [json.loads(file.read_text())["ensemble"]["accuracy"] for file in files]
    assert groups.keys() == values.keys()
    means = [np.mean(values[label]) for label in groups]
    assert means == sorted(means, reverse=True)
    first, *others = groups
    for label, row in groups.items():
        assert float(row["ensemble.accuracy.mean"]) == pytest.approx(np.mean(values[label]))
        assert float(row["ensemble.accuracy.sd"]) == pytest.approx(np.std(values[label], ddof=1))
        assert row["n"] == "2"
    # Counted in samples, differences may be equal in both seeds: then there is no test.
    tested = [label for label in others if groups[label]["p"]]
    for label in others:
        differences = np.subtract(values[first], values[label])
        assert (label in tested) == (np.ptp(differences) > 1e-9)
    raw = {label: stats.ttest_rel(values[first], values[label]).pvalue for label in tested}
    lowest = min(raw.values(), default=0.0)
    for label, p in raw.items():
        holm = max(p, len(raw) * lowest)
        assert float(groups[label]["p"]) == pytest.approx(min(1.0, holm))


def test_says_what_does_not_count(compared):
    assert "Not finished: multirun/failed: no result.json (before its first update): failed" in compared.stderr
    assert re.search(r"Counted once: multirun/one/4 repeats multirun/again, .*, and the same result\.", compared.stderr)
    assert compared.stdout.splitlines()[-1] == "6 runs in 3 groups; the page is compare/index.html"
    assert "Traceback" not in compared.stderr


def test_updates_and_seconds_are_both_drawn_and_both_on_the_page(swept, compared):
    for picture in ("curves.png", "seconds.png"):
        assert (swept / "compare" / picture).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    page = (swept / "compare" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")
    assert str(swept) not in page
    assert "python -m recipes.train -m schedule=one_cycle trainer.max_epochs=3 seed=0,1" in page.replace("<wbr>", "")


def test_a_resumed_run_goes_on_with_its_clock(swept):
    longer = ("trainer.max_epochs=4", "schedule.on_new_horizon=keep")
    before = json.loads((swept / "multirun" / "one" / "0" / "result.json").read_text())
    done = python("-m", "recipes.train", "resume=multirun/one/0", *longer, cwd=swept)
    assert done.returncode == 0, done.stderr
    after = json.loads((swept / "multirun" / "one" / "0" / "result.json").read_text())
    assert after["clock"][:3] == before["clock"]
    assert [step for step, _ in after["clock"]] == [17, 34, 51, 68]
    assert after["fit_seconds"] >= after["clock"][3][1] > after["clock"][2][1]
    alone = python("-m", "recipes.compare", "multirun/one/0", "--out=alone", cwd=swept)
    assert alone.returncode == 0, alone.stderr
    with (swept / "alone" / "compare.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["steps"], row["group"]) == ("68", "step_decay")
