"""Which runs there are below some folders, and what becomes of those that are none."""

from __future__ import annotations

import json
import os

import pytest

from recipes.comparison.reading import Curves, find
from tests.recipes.comparison.conftest import CONFIG, metrics, result


def test_all_of_a_run_is_read(leave, tmp_path):
    beside = {
        "members": [{}, {}],
        "found": {"max_lr": 0.25},
        "fit_seconds": 3.5,
        "clock": [[10, 1.5], [20, 2.5]],
        "device": "cpu",
    }
    leave("a/0", accuracy=0.97, nll=0.1, ece=0.03, last=0.96, seconds=7, beside=beside, overrides=["seed=0", "x=1"])
    (run,) = find(["a"], tmp_path).runs
    assert run.name == "a/0"
    assert run.config == CONFIG
    assert run.seed == 0
    assert run.scores == {
        "ensemble.accuracy": 0.97,
        "ensemble.nll": 0.1,
        "ensemble.ece": 0.03,
        "last.accuracy": 0.96,
        "last.nll": 0.1,
        "last.ece": 0.03,
    }
    assert (run.members, run.steps, run.seconds, run.fit_seconds, run.device) == (2, 100, 7.0, 3.5, "cpu")
    assert run.found == {"max_lr": 0.25}
    assert run.versions == {"torch": "2.14.1", "python": "3.11.7"}
    assert run.overrides == ("seed=0", "x=1")


def test_a_result_of_before_there_was_a_clock_is_read(leave, tmp_path):
    leave("a")
    (run,) = find(["a"], tmp_path).runs
    assert (run.fit_seconds, run.device, run.curves.seconds, run.overrides) == (None, None, [], None)


def test_a_validation_is_after_the_updates_that_were_applied_before_it(leave, tmp_path):
    leave("a", logged=(0.5, 0.75))
    curves = find(["a"], tmp_path).runs[0].curves
    assert curves.accuracy == [(10, 0.5), (20, 0.75)]
    assert curves.loss == [(10, 0.5), (20, 0.25)]
    assert [step for step, _ in curves.lr] == list(range(20))
    assert curves.lr[:2] == [(0, 0.1), (1, 0.05)]


def test_of_several_param_groups_the_fastest_is_the_learning_rate(leave, tmp_path):
    folder = leave("a", logged=())
    (folder / "metrics.csv").write_text(
        "lr-SGD/pg1,lr-SGD/pg1-momentum,lr-SGD/pg2,lr-SGD/pg2-weight_decay,step\n0.1,0.9,0.3,5,0\n0.4,0.9,0.2,5,1\n"
    )
    assert find(["a"], tmp_path).runs[0].curves.lr == [(0, 0.3), (1, 0.4)]


def test_curves_of_a_resumed_run_are_whole(leave, tmp_path):
    folder = leave("a", logged=())
    (folder / "metrics-0.csv").write_text("step,val/accuracy\n9,0.5\n19,0.6\n")
    (folder / "metrics.csv").write_text("step,val/accuracy\n19,0.7\n29,0.8\n")
    assert find(["a"], tmp_path).runs[0].curves.accuracy == [(10, 0.5), (20, 0.7), (30, 0.8)]


def test_jobs_are_in_the_order_of_their_numbers_each_once(leave, tmp_path):
    for number in (10, 9, 1, 0):
        leave(f"multirun/{number}", seed=number)
    names = [f"multirun/{number}" for number in (0, 1, 9, 10)]
    for named in (["multirun"], [".", "multirun", "multirun/9"], [str(tmp_path)], ["multirun/../multirun/"]):
        assert [run.name for run in find(named, tmp_path).runs] == names
    assert [run.name for run in find(["multirun/9/result.json"], tmp_path).runs] == ["multirun/9"]


def test_names_outside_begin_below_what_is_above_them_all(leave, tmp_path):
    leave("private/sweeps/a/0")
    leave("private/sweeps/b/1")
    (tmp_path / "elsewhere").mkdir()
    found = find(["../private/sweeps/a", "../private/sweeps/b"], tmp_path / "elsewhere")
    assert [run.name for run in found.runs] == ["sweeps/a/0", "sweeps/b/1"]
    alone = find([str(tmp_path / "private" / "sweeps" / "a" / "0")], tmp_path / "elsewhere")
    assert [run.name for run in alone.runs] == ["0"]
    assert [run.name for run in find(["."], tmp_path / "private" / "sweeps" / "a" / "0").runs] == ["0"]


def test_what_is_inside_a_run_is_no_run(leave, tmp_path):
    folder = leave("a")
    for inside in ("snapshots", "checkpoints", ".hydra"):
        (folder / inside).mkdir()
        (folder / inside / "result.json").write_text("{}")
    found = find(["a"], tmp_path)
    assert [run.name for run in found.runs] == ["a"]
    assert found.broken == ()


BROKEN = {
    "cut": ('{"config": {', "damaged ("),
    "bytes": ("\x00\x01", "damaged ("),
    "list": ("[]", "not of recipes.train (no config in it); left out"),
    "foreign": ('{"accuracy": 1.0}', "not of recipes.train (no config in it); left out"),
    "half": ({"config": {"a": 1}, "ensemble": {"accuracy": 1}}, "not of recipes.train (no last in it); left out"),
    "percent": (result(99.0), "ensemble.accuracy=99.0 is not a share; left out"),
    "nan": (result(float("nan")), "ensemble.accuracy=nan is not a share; left out"),
    "words": (result(0.9, nll="low"), "not of recipes.train (ensemble.nll='low' is no number); left out"),
    "true": (result(0.9, steps=True), "not of recipes.train (steps=True is no number); left out"),
    "endless": (result(0.9, steps=float("inf")), "steps=inf is no number of updates; left out"),
    "huge": (result(0.9, seconds=10**400), "not of recipes.train (seconds is beyond every number); left out"),
    "clock": (result(0.9, beside={"clock": [["a", 1]]}), "not of recipes.train (clock='a' is no number); left out"),
    "deep": ("[" * 100_000, ""),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_result_that_cannot_be_used_is_named_in_a_line_and_the_rest_is_read(case, leave, tmp_path):
    content, said = BROKEN[case]
    leave(f"runs/{case}", content)
    leave("runs/good")
    found = find(["runs"], tmp_path)
    assert [run.name for run in found.runs] == ["runs/good"]
    (line,) = found.broken
    assert line.startswith(f"runs/{case}/result.json: {said}")
    assert "\n" not in line


def test_a_loss_that_is_nan_is_a_result(leave, tmp_path):
    leave("a", accuracy=0.1, nll=float("nan"))
    (run,) = find(["a"], tmp_path).runs
    assert run.scores["ensemble.nll"] != run.scores["ensemble.nll"]


def test_a_run_without_a_result_is_counted_and_told_how_far_it_got(leave, tmp_path):
    leave("runs/0")
    for name, text in (("runs/1", metrics((0.5,))), ("runs/2", "epoch,step\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(text)
    (tmp_path / "runs/3").mkdir()
    (tmp_path / "runs/3/config.yaml").write_text("seed: 0\nschedule:\n  max_lr: 0.1\n")
    found = find(["runs"], tmp_path)
    assert len(found.runs) == 1
    assert found.unfinished == (
        "runs/1: no result.json (logged up to update 10): failed, stopped, or still running",
        "runs/2: no result.json (before its first update): failed, stopped, or still running",
        "runs/3: no result.json (before its first update): failed, stopped, or still running",
    )


def test_folders_of_other_commands_are_no_unfinished_runs(tmp_path):
    texts = {"find_lr": "schedule:\n  max_lr: 1\nrange_test:\n  steps: 3\n", "ensemble": "last_m: 3\npooling: vote\n"}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    (tmp_path / "compare").mkdir()
    (tmp_path / "compare" / "compare.json").write_text("{}")
    found = find(["."], tmp_path)
    assert (found.runs, found.unfinished, found.broken) == ((), (), ())


@pytest.mark.parametrize(
    "text",
    [
        "step,val/accuracy\n9,half\n",
        "step,val/accuracy\nx,0.5\n",
        "accuracy\n0.5\n",
        "step,a\n9,1,2,3\n",
        "a,step\n1\n",
    ],
)
def test_metrics_that_cannot_be_read_cost_the_curves_and_not_the_run(text, leave, tmp_path):
    folder = leave("a", logged=())
    (folder / "metrics.csv").write_text(text)
    found = find(["a"], tmp_path)
    assert found.runs[0].curves == Curves()
    (line,) = found.doubts
    assert line.startswith("a: metrics.csv cannot be read (")
    assert line.endswith("): it has no curves")
    assert "\n" not in line


def test_a_run_without_metrics_is_told(leave, tmp_path):
    leave("a", logged=())
    found = find(["a"], tmp_path)
    assert (len(found.runs), found.doubts) == (1, ("a: no metrics.csv: it has no curves",))


@pytest.mark.parametrize(
    ("named", "kind", "said"),
    [
        ("gone", FileNotFoundError, "^gone: not there; pass folders with runs of recipes.train in them$"),
        ("a/metrics.csv", ValueError, r"^a/metrics.csv: a file, and no result.json; pass folders "),
    ],
)
def test_what_is_no_folder_is_refused(named, kind, said, leave, tmp_path):
    leave("a")
    with pytest.raises(kind, match=said):
        find(["a", named], tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="such names are there on POSIX alone")
def test_names_are_readable_whatever_they_are(leave, tmp_path):
    leave("a\x1b[31m\nb")
    leave(os.fsdecode(b"c\xff"))
    assert [run.name for run in find(["."], tmp_path).runs] == ["a�[31m b", "c�"]


def test_overrides_that_are_none_are_none(leave, tmp_path):
    for name, text in (("a", "- [1]"), ("b", "!!python/object/apply:os.system ['touch pwned']"), ("c", "- 'x")):
        folder = leave(name)
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "overrides.yaml").write_text(text)
    assert [run.overrides for run in find(["."], tmp_path).runs] == [None] * 3
    assert not list(tmp_path.rglob("pwned"))


def test_what_is_written_is_read(leave, tmp_path):
    from recipes.evaluation import Evaluation, Member, Score
    from recipes.report import write_result

    score = Score(0.98, 0.08, 0.02)
    (tmp_path / "a").mkdir()
    write_result(
        tmp_path / "a" / "result.json",
        Evaluation(score, (Member(0, 10, score),), Score(0.99, 0.06, 0.01)),
        CONFIG,
        steps=20,
        seconds=1.5,
        fit_seconds=0.5,
        clock=[(10, 0.25), (20, 0.5)],
        device="2 x cpu",
        found={"max_lr": 0.1},
    )
    (run,) = find(["a"], tmp_path).runs
    assert (run.members, run.steps, run.seconds, run.fit_seconds, run.device) == (1, 20, 1.5, 0.5, "2 x cpu")
    assert run.curves.seconds == [(10, 0.25), (20, 0.5)]
    assert run.scores["ensemble.accuracy"] == 0.99
    assert json.loads((tmp_path / "a" / "result.json").read_text())["found"] == dict(run.found)


def test_the_command_of_a_resumed_run_is_known_where_nothing_was_changed(leave, tmp_path):
    for name, before, after in (("same", 1, 1), ("longer", 1, 2)):
        folder = leave(name, overrides=["x=1"])
        (folder / "config-0.yaml").write_text(f"resume: null\ntrainer: {before}\n")
        (folder / "config.yaml").write_text(f"resume: run\ntrainer: {after}\n")
    half = leave("half", overrides=["x=1"])
    (half / "config-0.yaml").write_text("")
    assert {run.name: run.overrides for run in find(["."], tmp_path).runs} == {
        "same": ("x=1",),
        "longer": None,
        "half": None,
    }


def test_a_clock_without_numbers_leaves_gaps(leave, tmp_path):
    leave("a", beside={"clock": [[10, 1.0], [20, float("nan")], [float("inf"), 3.0], [40, 4.0]]})
    assert find(["."], tmp_path).runs[0].curves.seconds == [(10, 1.0), (40, 4.0)]
