"""What a run says of itself."""

from __future__ import annotations

import io
import json
import sys

import pytest
import torch
from rich.console import Console

from recipes import report
from recipes.evaluation import Evaluation, Member, Score

LAST = Score(accuracy=0.98, nll=0.08, ece=0.02)
BETTER = Score(accuracy=0.99, nll=0.06, ece=0.01)
WORSE = Score(accuracy=0.97, nll=0.1, ece=0.03)


def of(*members, ensemble=BETTER):
    return Evaluation(LAST, tuple(Member(i, 10 * (i + 1), score) for i, score in enumerate(members)), ensemble)


def test_result_json_holds_all_that_was_found(tmp_path):
    report.write_result(tmp_path / "result.json", of(WORSE, LAST), {"seed": 3}, steps=20, seconds=1.5)
    result = json.loads((tmp_path / "result.json").read_text())
    versions = result.pop("versions")
    assert result == {
        "config": {"seed": 3},
        "last": {"accuracy": 0.98, "nll": 0.08, "ece": 0.02},
        "members": [
            {"cycle": 0, "step": 10, "accuracy": 0.97, "nll": 0.1, "ece": 0.03},
            {"cycle": 1, "step": 20, "accuracy": 0.98, "nll": 0.08, "ece": 0.02},
        ],
        "ensemble": {"accuracy": 0.99, "nll": 0.06, "ece": 0.01},
        "steps": 20,
        "seconds": 1.5,
        "objective": 0.99,
    }
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"lightning", "lightning_lr"} < set(versions)


def test_result_json_tells_what_auto_stood_for(tmp_path):
    for name, found in {"none": {}, "some": {"max_lr": 0.25}}.items():
        report.write_result(tmp_path / name, of(WORSE, LAST), {"seed": 3}, steps=20, seconds=1.5, found=found)
    assert json.loads((tmp_path / "some").read_text())["found"] == {"max_lr": 0.25}
    assert "found" not in json.loads((tmp_path / "none").read_text())


def test_result_json_is_complete_or_as_it_was(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("before")
    with pytest.raises(TypeError):
        report.write_result(path, of(WORSE, LAST), {"seed": object()}, steps=20, seconds=1.5)
    assert path.read_text() == "before"


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        (of(WORSE, LAST), "makes 1 error instead of 2, and its NLL is 25.0 % lower."),
        (of(WORSE, LAST, ensemble=WORSE), "makes 3 errors instead of 2, and its NLL is 25.0 % higher."),
        (of(WORSE, LAST, ensemble=LAST), "makes as many errors (2), and its NLL is the same."),
        (of(LAST, ensemble=LAST), "One snapshot: nothing to average."),
        (of(ensemble=LAST), "There are no snapshots to average."),
    ],
)
def test_verdict_says_what_the_ensemble_bought(evaluation, said):
    assert report.verdict(evaluation, test_size=100).endswith(said)


def test_table_has_a_row_for_every_model():
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(report.table(of(WORSE, LAST), steps=20, test_size=100))
    lines = [line.strip("│ ").split() for line in screen.export_text().splitlines() if line.startswith("│")]
    assert [[cell for cell in line if cell != "│"] for line in lines] == [
        ["snapshot", "0", "10", "97.00", "0.1000", "0.0300"],
        ["snapshot", "1", "20", "98.00", "0.0800", "0.0200"],
        ["last", "model", "20", "98.00", "0.0800", "0.0200"],
        ["ensemble", "of", "2", "99.00", "0.0600", "0.0100"],
    ]
