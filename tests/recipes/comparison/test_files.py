"""The folder of a comparison: what is in it, and whose files are not written over."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from recipes.comparison.files import by_clock, groups_csv, refuse, runs_csv, write
from recipes.comparison.measures import MEASURES


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_a_run_reads_back_as_it_was(three, study):
    of = study()
    rows = table(runs_csv(of))
    assert [row["run"] for row in rows] == [f"{name}/{seed}" for name in ("one", "sgdr", "low") for seed in range(3)]
    runs = [run for group in of.groups for run in group.runs]
    for row, run in zip(rows, runs, strict=True):
        for key, value in run.scores.items():
            assert float(row[key]) == value
        assert (int(row["steps"]), float(row["seconds"]), row["seed"]) == (run.steps, run.seconds, str(run.seed))
        assert float(row["val.accuracy"]) == float(row["val.accuracy.best"]) == run.curves.accuracy[-1][1]
        assert (row["steps_to_target"], row["seconds_to_target"], row["repeats"]) == ("30", "", "")
    assert [row["schedule._target_"] for row in rows[::3]] == ["one_cycle", "sgdr", "sgdr"]
    assert [row["schedule.max_lr"] for row in rows[::3]] == ["0.1", "0.5", "0.05"]


def test_a_row_a_group_is_what_numpy_makes_of_the_rows_of_its_runs(three, study):
    of = study()
    runs, groups = table(runs_csv(of)), table(groups_csv(of))
    assert [row["group"] for row in groups] == [group.label for group in of.groups]
    assert [row["against_the_first"] for row in groups] == ["first", "worse", "worse"]
    for row in groups:
        for key in ("ensemble.accuracy", "last.nll", "steps_to_target"):
            values = [float(run[key]) for run in runs if run["group"] == row["group"]]
            assert float(row[f"{key}.mean"]) == pytest.approx(np.mean(values), rel=1e-14)
            assert float(row[f"{key}.sd"]) == pytest.approx(np.std(values, ddof=1), abs=1e-14)
            assert (float(row[f"{key}.min"]), float(row[f"{key}.max"])) == (min(values), max(values))
        assert (row["n"], row["duplicates"], row["seeds"], row["reached_target"]) == ("3", "0", "0 1 2", "3")
    assert groups[0]["p"] == ""
    assert float(groups[1]["p"]) < 0.05


def test_what_does_not_count_is_a_row_that_says_so(leave, study):
    leave("a", accuracy=0.9)
    leave("b", accuracy=0.8)
    rows = table(runs_csv(study()))
    assert [(row["run"], row["repeats"]) for row in rows] == [("a", ""), ("b", "a")]
    (group,) = table(groups_csv(study()))
    assert (group["n"], group["duplicates"], group["ensemble.accuracy.mean"]) == ("1", "1", "0.9")
    assert group["ensemble.accuracy.sd"] == ""


def test_names_with_commas_quotes_and_lines_survive(leave, study):
    leave('a,"b"', schedule__max_lr='x,"y"')
    leave("c", schedule__max_lr="z", seed=1)
    rows = table(runs_csv(study()))
    assert {(row["run"], row["group"]) for row in rows} == {
        ('a,"b"', 'schedule.max_lr=x,"y"'),
        ("c", "schedule.max_lr=z"),
    }


def test_the_folder_has_all_of_it(three, study, tmp_path):
    out = tmp_path / "new" / "compare"
    files = write(study(), out, "python -m recipes.compare .")
    assert [file.name for file in files] == ["compare.json", "compare.csv", "groups.csv", "curves.png", "index.html"]
    assert {file.name for file in out.iterdir()} == {file.name for file in files}
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    content = json.loads((out / "compare.json").read_text())
    assert (content["made_by"], content["metric"], content["target"]) == ("recipes.compare", "ensemble.accuracy", 0.79)
    assert content["verdict"] == study().verdict
    assert [row["group"] for row in content["groups"]] == [group.label for group in study().groups]
    assert len(content["runs"]) == 9


def test_json_has_no_nan(leave, study, tmp_path):
    leave("a", nll=math.nan)
    write(study(), tmp_path / "out", "")

    def refused(name):
        raise AssertionError(name)

    json.loads((tmp_path / "out" / "compare.json").read_text(), parse_constant=refused)


def test_an_earlier_comparison_is_replaced_and_nothing_else(leave, study, tmp_path):
    folder = leave("a", beside={"clock": [[10, 1.0], [20, 2.0]]})
    out = tmp_path / "out"
    write(study(), out, "first")
    (out / "mine.txt").write_text("precious")
    assert (out / "seconds.png").exists()
    (folder / "metrics.csv").unlink()
    refuse(out, "out")
    write(study(), out, "second")
    # Pictures of what is not there any more would lie.
    assert {file.name for file in out.iterdir()} == {
        "compare.json",
        "compare.csv",
        "groups.csv",
        "index.html",
        "mine.txt",
    }
    assert json.loads((out / "compare.json").read_text())["command"] == "second"
    assert "second" in (out / "index.html").read_text()
    assert (out / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("name", ["compare.json", "index.html", "curves.png", "groups.csv"])
@pytest.mark.parametrize("text", ["precious", "{}", '{"made_by": "me"}', "[]"])
def test_somebody_elses_files_are_not_written_over(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(FileExistsError, match=rf"^--out=here: holds {name}, which is no comparison's; choose another"):
        refuse(tmp_path, "here")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(FileExistsError, match=r"^--out=out: a file; choose a folder$"):
        refuse(tmp_path / "out", "out")
    refuse(tmp_path / "new", "new")
    refuse(tmp_path, "beside other files")


def test_against_seconds_each_validation_is_at_the_mean_of_the_groups_clocks(leave, study):
    leave("a", seed=0, logged=(0.5, 0.7, 0.9), beside={"clock": [[10, 1.0], [20, 2.0], [30, 3.0]]})
    leave("b", seed=1, logged=(0.4, 0.6, 0.8), beside={"clock": [[10, 3.0], [20, 6.0]]})
    (group,) = study().groups
    assert by_clock(group) == [[(2.0, 0.5), (4.0, 0.7)], [(2.0, 0.4), (4.0, 0.6)]]
    assert study().summary(group, MEASURES["seconds_to_target"]).n == 1
