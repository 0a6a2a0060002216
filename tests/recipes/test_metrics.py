"""What a run has logged, over all of its parts."""

from __future__ import annotations

import csv

import pytest

from recipes.metrics import read


def write(file, *rows):
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(rows)


def test_the_last_value_of_an_update_counts(tmp_path):
    write(tmp_path / "metrics.csv", ["step", "a", "b"], [1, 0.5, ""], [0, 0.25, 2.0], [1, 0.75, ""])
    assert read(tmp_path) == {"a": [(0, 0.25), (1, 0.75)], "b": [(0, 2.0)]}


def test_a_resumed_run_counts_from_where_it_was_resumed(tmp_path):
    # Stopped in update 3, resumed at 2; stopped again in 4, resumed at 4.
    write(tmp_path / "metrics-0.csv", ["step", "a", "old"], *([step, 0.1 * step, 1.0] for step in range(4)))
    write(tmp_path / "metrics-1.csv", ["step", "a"], [2, 9.2], [3, 9.3], [4, 9.4])
    write(tmp_path / "metrics.csv", ["step", "a"], [4, 8.4], [5, 8.5])
    assert read(tmp_path) == {
        "a": [(0, 0.0), (1, 0.1), (2, 9.2), (3, 9.3), (4, 8.4), (5, 8.5)],
        "old": [(0, 1.0), (1, 1.0)],
    }


def test_a_part_that_is_empty_takes_nothing_away(tmp_path):
    write(tmp_path / "metrics-0.csv", ["step", "a"], [0, 1.0])
    write(tmp_path / "metrics.csv", ["step", "a"])
    assert read(tmp_path) == {"a": [(0, 1.0)]}


def test_a_run_that_was_stopped_before_it_logged_again_has_its_first_part(tmp_path):
    write(tmp_path / "metrics-0.csv", ["step", "a"], [0, 1.0])
    assert read(tmp_path) == {"a": [(0, 1.0)]}


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics.csv: not there; this is no run, or one that has logged"):
        read(tmp_path)
