"""What is said of the cells: rows, findings and the files."""

from __future__ import annotations

import json
import os
import time

import pytest

from benchmarks import peers
from benchmarks.peers import Cells, rates
from benchmarks.peers_lines import Lines
from benchmarks.peers_plan import RUNS
from benchmarks.peers_report import cells_of, findings, span, summary, write
from benchmarks.telling import Figure


def row(contender, tests, *, ours=False, cpu=2.0, rate=0.1, kind="1cycle", lines=(2, 15)):
    each = [
        {"seed": seed, "test": test, "cpu_seconds": cpu, "seconds": 2 * cpu, "mib": 800.4, "rate": rate}
        for seed, test in enumerate(tests)
        if isinstance(test, float)
    ]
    each += [{"seed": seed, "error": test} for seed, test in enumerate(tests) if isinstance(test, str)]
    told = {"data": "digits", "kind": kind, "contender": contender, "ours": ours}
    return {**told, "lines": Lines(*lines), "each": each}


OURS = row("OneCycle, ours", [0.9, 0.92, 0.94], ours=True)


def test_a_row_of_the_table():
    assert cells_of(summary(OURS)) == [
        *("digits", "1cycle", "OneCycle, ours", "92.0 ± 2.0", "0.1", "2.0 ± 0.0", "4.0 ± 0.0", "800", "2", "15")
    ]


def test_a_row_of_what_failed_everywhere_is_its_error():
    found = cells_of(summary(row("other", ["BasinError: over a barrier"] * 2)))
    assert found[3:] == ["none: BasinError: over a barrier", "-", "-", "-", "-", "2", "15"]


def test_a_row_of_what_failed_somewhere_tells_how_many_are_left():
    assert cells_of(summary(row("other", [0.9, 0.92, "TypeError: no"])))[3] == "91.0 ± 1.4 (n=2)"


@pytest.mark.parametrize(
    ("rates_found", "told"), [((0.1, 0.1, 0.1), "0.1"), ((0.3, 0.0123, 0.05), "0.05 (0.012 to 0.3)")]
)
def test_rates_are_told_by_their_ends(rates_found, told):
    assert span(Figure(rates_found)) == told


def test_equal_accuracies_are_said_to_be_the_same():
    other = row("OneCycleLR", [0.9, 0.92, 0.94], cpu=4.0, lines=(7, 20))
    assert findings([summary(OURS), summary(other)]) == [
        "Of 1 pairs, ours is more accurate in 0, less in 0, and no different as far as can be told in the others; "
        "it takes less processor time in 1, more in 0; it adds fewer lines in 1, more in 0, "
        "and has more lines in all in 0.",
        "digits, 1cycle: OneCycle, ours, 92.00 ± 2.00 % beside 92.00 ± 2.00 % of OneCycleLR: the same in every seed, "
        "n=3; 0.50 times its CPU seconds (2.0 to 4.0); lines added 2 to 7, in all 15 to 20.",
    ]


def test_ours_is_said_to_be_worse_where_it_is():
    together, found = findings([summary(OURS), summary(row("other", [0.93, 0.95, 0.97001], rate=0.3))])
    assert "more accurate in 0, less in 1," in together
    assert "of other: worse, -3.00 points (95 % interval -3.00 to -3.00), n=3" in found
    assert found.endswith("lines added 2 to 2, in all 15 to 15; rates 0.1 and 0.3.")


def test_what_noise_may_have_done_is_said_to_be_no_different():
    _, found = findings([summary(OURS), summary(row("other", [0.95, 0.9, 0.94]))])
    assert "no different as far as can be told, -1.00 points" in found


def test_only_seeds_that_both_have_are_held_against_each_other():
    found = findings([summary(OURS), summary(row("other", ["TypeError: no", 0.92, 0.94]))])
    assert found[1] == "digits, other: no network in 1 of 3 runs; the first says TypeError: no"
    assert "93.00 ± 1.41 % beside 93.00 ± 1.41 % of other: the same in every seed, n=2" in found[2]


def test_nothing_is_said_of_two_kinds_together():
    assert findings([summary(OURS), summary(row("other", [0.9, 0.9, 0.9], kind="warm restarts"))]) == []


def test_the_result_file_and_its_picture(tmp_path):
    rows = [OURS, row("other", ["TypeError: no"] * 3), row("SGDR, ours", [0.9, 0.9, 0.9], ours=True, kind="restarts")]
    write(rows, 3, images=False, seconds=1.0, results=tmp_path)
    kept = json.loads((tmp_path / "peers.json").read_text())
    assert (kept["name"], kept["n"], kept["picture"]) == ("peers", {"seeds": 3}, "peers.png")
    assert kept["command"] == "python benchmarks/peers.py"
    assert [len(each) for each in kept["table"]["rows"]] == [len(kept["table"]["columns"])] * 3
    assert kept["rows"][0]["accuracy"] == {"mean": 92.0, "sd": 2.0, "n": 3, "each": [90.0, 92.0, 94.0]}
    assert kept["rows"][1]["failed"] == 3
    # What the runs took, where it is more than the call did.
    assert kept["seconds"] == 24.0
    assert (tmp_path / "peers.png").stat().st_size > 10_000


class Known(Cells):
    """Cells of which all is known."""

    def __init__(self, found):
        self.found = found
        self.asked = []

    def get(self, said, images, *, measure=True):
        self.asked.append(said)
        return self.found.get(said["rate"])


def test_the_rate_that_is_most_accurate_on_validation_data_is_chosen():
    cells = Known({0.03: {"val": 0.8, "val_loss": 0.1}, 0.1: {"val": 0.9, "val_loss": 0.5}, 0.3: {"error": "no"}})
    assert set(rates(RUNS[0], cells, None, measure=False).values()) == {0.1}
    assert {said["seed"] for said in cells.asked} == {1000, 1001, 1002}


def test_of_equal_ones_that_with_the_least_loss_is():
    cells = Known({0.03: {"val": 0.9, "val_loss": 0.3}, 0.1: {"val": 0.9, "val_loss": 0.2}})
    assert set(rates(RUNS[0], cells, None, measure=False).values()) == {0.1}


def test_a_cell_that_was_measured_is_not_run_again(tmp_path, monkeypatch):
    file = tmp_path / "cells" / "cells.jsonl"
    said = {"data": "digits", "source": "peers_contenders:constant", "seed": 0}
    monkeypatch.setattr("benchmarks.peers._run", lambda said: {"test": 0.5})
    assert Cells(file).get(said, None) == {"test": 0.5}
    monkeypatch.setattr("benchmarks.peers._run", lambda said: {"test": 0.75})
    again = Cells(file).get(said, None)
    assert again is not None
    assert again["test"] == 0.5
    assert Cells(file).get({**said, "seed": 1}, None) == {"test": 0.75}
    assert Cells(file).get({**said, "seed": 2}, None, measure=False) is None
    assert len(file.read_text().splitlines()) == 2


def test_what_another_process_says_comes_back(monkeypatch):
    monkeypatch.setattr("benchmarks.peers_cell.measure", lambda said: {"test": said["seed"] / 2})
    assert peers._run({"seed": 1}) == {"test": 0.5}


def test_an_error_comes_in_one_line(monkeypatch):
    def refuse(said):
        raise ValueError("no:\n   never")

    monkeypatch.setattr("benchmarks.peers_cell.measure", refuse)
    assert peers._run({}) == {"error": "ValueError: no: never"}


def test_a_process_that_ends_without_a_word_is_an_error(monkeypatch):
    monkeypatch.setattr("benchmarks.peers_cell.measure", lambda said: os._exit(3))
    assert peers._run({}) == {"error": "ended without a word, exit status 3"}


def test_a_process_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(peers, "LONGEST", 0.2)
    monkeypatch.setattr("benchmarks.peers_cell.measure", lambda said: time.sleep(60))
    assert peers._run({}) == {"error": "no end after 0.2 s"}
