"""How the benchmarks of costs are told, drawn and kept; nothing is timed here."""

from __future__ import annotations

import importlib
import json

import pytest

from benchmarks import callback_cost, record
from benchmarks.costs import MISSED, MODULES, OPEN, SHOWN, Cost, Said, Span, draw_spans, outcome, verdict


def test_a_span_is_told_with_its_quartiles():
    # By the method of exclusion, n + 1 parts: a quarter of 1 to 7 lies at 2.
    span = Span.of([7.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert span == Span(4.0, 2.0, 6.0)
    assert span.told(1) == "4.0 (quartiles 2.0 to 6.0)"
    assert span.cell(0) == "4 (2 to 6)"
    assert span.kept("ratio") == {"ratio": 4.0, "ratio_quartiles": [2.0, 6.0]}
    assert Span.read(span.kept("ratio"), "ratio") == span


def test_a_figure_from_before_quartiles_were_kept_is_told_alone():
    assert Span.read({"ratio": 0.912}, "ratio").told() == "0.91"


@pytest.mark.parametrize(
    ("span", "was"),
    [
        (Span(0.9, 0.8, 1.0), SHOWN),
        (Span(0.9, 0.8, 1.1), OPEN),
        (Span(1.1, 1.0, 1.2), OPEN),
        (Span(1.2, 1.1, 1.3), MISSED),
    ],
)
def test_an_aim_between_the_quartiles_is_left_open(span, was):
    assert outcome(span, 1.0) == was


def test_a_verdict_says_where():
    said = verdict({"a": MISSED, "b": SHOWN, "c": SHOWN, "d": OPEN})
    assert said == "Shown for b and c; missed for a; open for d."


def test_what_another_device_has_shown_is_another_file(tmp_path, capsys):
    rows = [{"groups": 1, "n": 15, "ours_us": 2.3, "torch_us": 2.5, "ratio": 0.92}]
    said = {"command": "python benchmarks/callback_cost.py", "n": {"pairs": 15}, "seconds": 1.0, "results": tmp_path}
    assert callback_cost.COST.write(rows, **said) == tmp_path / "callback_cost.json"
    assert callback_cost.COST.write(rows, device="cuda", **said) == tmp_path / "callback_cost_cuda.json"
    content = json.loads((tmp_path / "callback_cost_cuda.json").read_text())
    assert (content["name"], content["picture"]) == ("callback_cost_cuda", "callback_cost_cuda.png")
    assert (content["verdict"], content["rows"]) == ("Shown for 1 param group.", rows)
    assert (tmp_path / "callback_cost_cuda.png").stat().st_size > 5_000
    assert capsys.readouterr().out.startswith("Shown for 1 param group.\n1 param group: an update of ours takes 2.3 µs")


def test_told_anew_a_file_keeps_when_and_where_it_was_measured(tmp_path):
    rows = [{"groups": 1, "n": 15, "ours_us": 2.3, "torch_us": 2.5, "ratio": 0.92}]
    old = {"claim": "Old.", "found": ["Old."], "commit": "c" * 40, "machine": "another", "n": {"pairs": 15}}
    file = tmp_path / "callback_cost.json"
    file.write_text(json.dumps({**old, "rows": rows}))
    callback_cost.COST.again(file)
    content = json.loads(file.read_text())
    assert (content["commit"], content["machine"], content["rows"]) == ("c" * 40, "another", rows)
    assert content["claim"] == callback_cost.COST.claim
    assert content["found"][0].endswith("0.92 times as long, as was to be shown.")
    assert file.with_suffix(".png").exists()


def test_without_rows_there_is_no_picture(tmp_path):
    cost = Cost("nothing", "Nothing.", lambda _: Said("Not measured.", ["None."], ["a"], []), lambda *_: 1 / 0)
    file = cost.write([], command="python benchmarks/x.py", n={"seeds": 0}, seconds=0.0, results=tmp_path)
    assert json.loads(file.read_text())["picture"] is None


def test_a_row_without_one_of_the_series_is_drawn(tmp_path):
    spans = {"a": {"x": Span(1.0, 0.9, 1.1), "y": Span(2.0, 2.0, 2.0)}, "b": {"x": Span(20.0, 20.1, 20.2)}}
    for log in (False, True):
        draw_spans(spans, tmp_path / f"{log}.png", "Title", 3, "ratio", aim=1.0, log=log)
        assert (tmp_path / f"{log}.png").stat().st_size > 5_000


@pytest.mark.parametrize("name", MODULES)
def test_each_file_says_what_its_rows_say(name):
    cost = importlib.import_module(f"benchmarks.{name}").COST
    assert cost.claim.endswith(".")
    content = json.loads((record.RESULTS / f"{cost.name}.json").read_text())
    said = cost.tell(content["rows"])
    assert said.kept() == {key: content[key] for key in ("verdict", "found", "table")}
    assert content["claim"] == cost.claim
    assert all(len(row) == len(said.columns) and all(isinstance(cell, str) for cell in row) for row in said.table)


@pytest.mark.parametrize("name", MODULES)
def test_each_is_measured_by_make_bench(name):
    script = f"python benchmarks/{importlib.import_module(f'benchmarks.{name}').COST.name}.py"
    root = record.RESULTS.parent.parent
    assert f"\t{script}" in (root / "Makefile").read_text().partition("\nbench:")[2]
    assert f"`{script}" in (root / "benchmarks" / "README.md").read_text()
