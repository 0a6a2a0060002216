"""A cell that is finished is not run again, whatever stopped the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import cells, ledger, schedules
from benchmarks.cells import Cell, Outcome
from benchmarks.ledger import Bench
from benchmarks.settings import TINY

ROOT = Path(__file__).parent.parent.parent
SETTING = TINY.settings[0]


def test_what_is_kept_is_read_again(tmp_path):
    cell = Cell(SETTING, schedules.sgdr(0.1, 5), 15, 3, also=("optimizer=adam",))
    readings, target = torch.randn(2, 5, 3).log_softmax(-1), torch.tensor([0, 1, 2, 0, 1])
    outcome = Outcome(
        *(7, 2),
        train_loss=[1.5, float("nan")],
        val={"accuracy": 0.5, "nll": 1.0},
        diverged=True,
        readings=readings,
        target=target,
    )
    file = tmp_path / f"{cell.key}.json"
    ledger.keep(cell, outcome, file)
    found = ledger.read(file)
    assert (found.steps, found.val, found.diverged) == (7, {"accuracy": 0.5, "nll": 1.0}, True)
    assert found.train_loss[0] == 1.5
    assert found.train_loss[1] != found.train_loss[1]
    assert torch.equal(found.readings, readings)
    assert torch.equal(found.target, target)
    assert ledger.cell_in(file) == cell


def test_the_rate_is_the_best_on_validation_data_and_of_equals_the_likelier(tmp_path, monkeypatch):
    bench = Bench(TINY, tmp_path, {}, "c" * 40)
    scores = {0.03: (0.9, 0.3), 0.1: (0.95, 0.2), 0.3: (0.95, 0.1), 1.0: (0.2, 9.0)}

    def measured(missing):
        for cell in missing:
            assert cell.seed == ledger.TUNING_SEED
            accuracy, nll = scores[float(cell.schedule[1].partition("=")[2])]
            yield cell, Outcome(val={"accuracy": accuracy, "nll": nll})

    monkeypatch.setattr(bench, "measure", measured)
    assert bench.best_rate(SETTING, schedules.step_decay, 15) == 0.3
    assert ledger.TUNING_SEED not in TINY.seeds


def test_only_what_is_missing_is_run(tmp_path, monkeypatch):
    bench = Bench(TINY, tmp_path, {}, "c" * 40)
    ran = []

    def measured(missing):
        for cell in missing:
            ran.append(cell.seed)
            yield cell, Outcome(steps=cell.seed)

    monkeypatch.setattr(bench, "measure", measured)
    wanted = [Cell(SETTING, schedules.constant(0.1), 2, seed) for seed in (0, 1, 0)]
    assert [each.steps for each in bench.run(wanted)] == [0, 1, 0]
    assert [each.steps for each in bench.run([*wanted, Cell(SETTING, schedules.constant(0.1), 2, 5)])] == [0, 1, 0, 5]
    assert ran == [0, 1, 5]
    assert len(bench.asked) == 3


@pytest.mark.slow
def test_a_run_that_is_no_number_any_more_counts_as_knowing_nothing():
    outcome = cells.run(Cell(SETTING, schedules.constant(1e30), 2, 0), {}, "c")
    assert outcome.diverged
    assert outcome.last["nll"] == pytest.approx(2.302585, abs=1e-5)  # log 10


@pytest.mark.slow
def test_the_members_of_a_run_are_its_snapshots_and_the_last_is_the_last_model():
    cyclic = cells.run(Cell(SETTING, schedules.sgdr(0.1, 3), 3, 0), {}, "c")
    steps = cells.run(Cell(SETTING, schedules.step_decay(0.1), 3, 0, members=3), {}, "c")
    plain = cells.run(Cell(SETTING, schedules.step_decay(0.1), 3, 0), {}, "c")
    assert cyclic.readings.shape == steps.readings.shape == (3, 480, 10)
    assert plain.readings.shape == (1, 480, 10)
    # Watched or not, it is the same run.
    assert torch.equal(steps.readings[-1], plain.readings[0])
    assert not torch.equal(steps.readings[0], steps.readings[1])


def _trains(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_writes_every_table(tmp_path):
    kept, results = tmp_path / "cells", tmp_path / "results"
    command = [sys.executable, "-m", "benchmarks", "size=tiny", f"cells={kept}", f"results={results}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    stopped = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(1200):
        if len(list((kept / "tiny").glob("*.json"))) >= 5:
            break
        time.sleep(0.1)
    # That process alone: its workers have to see for themselves that nobody waits for them any more.
    workers = [int(pid) for pid in Path(f"/proc/{stopped.pid}/task/{stopped.pid}/children").read_text().split()]
    stopped.kill()
    stopped.wait()
    for _ in range(100):
        if not any(_trains(pid) for pid in workers):
            break
        time.sleep(0.1)
    assert not any(_trains(pid) for pid in workers)
    finished = {file: file.stat().st_mtime_ns for file in (kept / "tiny").glob("*.json")}
    assert len(finished) >= 5
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert finished == {file: file.stat().st_mtime_ns for file in finished}
    page = (results / "evidence.md").read_text()
    for name in ("rates", "clr", "one_cycle", "sgdr", "cycles", "ensembles", "search", "adam"):
        content = json.loads((results / f"{name}_tiny.json").read_text())
        assert content["table"]["rows"]
        assert all(len(row) == len(content["table"]["columns"]) for row in content["table"]["rows"])
        assert (results / f"{name}_tiny.png").read_bytes()[:4] == b"\x89PNG"
        assert all(sentence in page for sentence in content["found"])
    again = subprocess.run(
        [*command, "again=3"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert again.returncode == 0, again.stderr
    agreed = json.loads((results / "agreement.json").read_text())
    assert [row["difference"] for row in agreed["rows"]] == [0.0, 0.0, 0.0]
    assert all(row["same_losses"] for row in agreed["rows"])
