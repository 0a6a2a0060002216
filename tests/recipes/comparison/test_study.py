"""A whole comparison of runs on disk, and the two tables of it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from recipes.comparison.table import tables
from tests.recipes.comparison.conftest import ONE_CYCLE


def rows(study, width=200):
    """The cells of each table."""
    told = []
    for table in tables(study):
        screen = Console(width=width, record=True, file=io.StringIO())
        screen.print(table)
        framed = [line for line in screen.export_text().splitlines() if line[:1] in "│┃"]
        heads = sum(line.startswith("┃") for line in framed)
        lines = [line.strip("│┃") for line in framed]
        cells = [[cell.strip() for cell in line.replace("┃", "│").split("│")] for line in lines]
        head = [" ".join(filter(None, column)) for column in zip(*cells[:heads], strict=True)]
        told.append([head, *cells[heads:]])
    return told


def test_the_tables(three, study):
    scores, calibration, cost = rows(study())
    assert scores == [
        ["group", "n", "against the first", "ensemble %", "last model %"],
        ["schedule=one_cycle", "3", "first", "96.33 ± 1.53", "96.33 ± 1.53"],
        ["schedule=sgdr schedule.max_lr=0.5", "3", "worse", "92.00 ± 2.00", "92.00 ± 2.00"],
        ["schedule=sgdr schedule.max_lr=0.05", "3", "worse", "80.00 ± 1.00", "80.00 ± 1.00"],
    ]
    assert calibration == [
        ["group", "n", "members", "NLL", "ECE %"],
        ["schedule=one_cycle", "3", "0", "0.3000 ± 0.0000", "2.00 ± 0.00"],
        ["schedule=sgdr schedule.max_lr=0.5", "3", "0", "0.3000 ± 0.0000", "2.00 ± 0.00"],
        ["schedule=sgdr schedule.max_lr=0.05", "3", "0", "0.3000 ± 0.0000", "2.00 ± 0.00"],
    ]
    # The lowest of the best validation accuracies is 0.79.
    assert cost == [
        ["group", "n", "updates", "seconds", "updates to target"],
        ["schedule=one_cycle", "3", "100", "5.0 ± 0.0", "30 ± 0"],
        ["schedule=sgdr schedule.max_lr=0.5", "3", "100", "5.0 ± 0.0", "30 ± 0"],
        ["schedule=sgdr schedule.max_lr=0.05", "3", "100", "5.0 ± 0.0", "30 ± 0"],
    ]
    assert study().about_target() == (
        "The target is 79 % validation accuracy (the highest that every run reached; --target sets another)."
    )


def test_who_never_reaches_the_target_is_counted(three, study):
    cost = rows(study(target=0.96))[-1]
    assert [row[-1] for row in cost] == ["updates to target", "30 ± 0 (2 of 3)", "0 of 3", "0 of 3"]
    assert study(target=0.96).about_target() == "The target is 96 % validation accuracy (set by --target)."
    with pytest.raises(ValueError, match=r"^--metric=steps_to_target: no run has that; choose another target"):
        study("steps_to_target", 0.999)


def test_what_ranks_is_in_the_table(leave, study):
    leave("a", last=0.9, beside={"fit_seconds": 3.0, "clock": [[10, 1.0], [20, 1.5], [30, 2.0]]})
    scores, _, cost = rows(study("last.ece"))
    assert scores[0] == ["group", "n", "ensemble %", "last model %", "ECE of the last %"]
    # The time of the fit stands for that of the whole run, where there is one.
    assert cost == [
        ["group", "n", "updates", "seconds of fit", "updates to target", "seconds to target"],
        ["sgdr", "1", "100", "3.0", "30", "2.0"],
    ]


def test_the_tables_fit_into_a_terminal(leave, three, study):
    clock = {"fit_seconds": 1234.5, "clock": [[10, 1000.5], [20, 1001.5], [30, 1200.5]]}
    for seed, accuracy in enumerate((0.5, 0.9)):
        leave(f"timed/{seed}", accuracy=accuracy, seed=seed, schedule__cycles=3, beside=clock)
    for table in tables(study()):
        screen = Console(width=80, record=True, file=io.StringIO())
        screen.print(table)
        text = screen.export_text()
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80
        assert all(line.endswith(("┓", "┃", "┩", "│", "┘")) for line in lines if line[0] in "┏┃┡│└")
        assert "…" not in text


def test_a_label_is_no_style(leave, study):
    leave("a", schedule__max_lr="[bold red]")
    leave("b", schedule__max_lr="[/bold]", seed=1)
    assert [row[0] for row in rows(study())[0][1:]] == ["schedule.max_lr=[bold red]", "schedule.max_lr=bold]"]


def test_remarks_on_what_does_not_count_and_may_not_be_comparable(leave, study, tmp_path):
    leave("0/a", accuracy=0.9, beside={"members": [{}] * 5, "device": "cpu"})
    leave("0/b", accuracy=0.9, beside={"device": "H100"})
    leave("0/c", accuracy=0.8)
    leave("0/d", accuracy=0.8, seed=1, schedule=ONE_CYCLE, data__split_seed=1, logged=())
    leave("0/e", "{")
    (tmp_path / "0" / "f").mkdir()
    (tmp_path / "0" / "f" / "metrics.csv").write_text("step\n")
    (tmp_path / "0/d/result.json").write_text((tmp_path / "0/d/result.json").read_text().replace("2.14.1", "2.11.0"))
    of = study()
    assert of.remarks() == [
        "Cannot be used: 0/e/result.json: damaged (Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)); left out",
        "Not finished: 0/f: no result.json (before its first update): failed, stopped, or still running",
        "Counted once: 0/b repeats 0/a, with the same configuration and seed, and the same result.",
        "Counted once: 0/c repeats 0/a, with the same configuration and seed, and another result: "
        "the run is not deterministic.",
        "0/d: no metrics.csv: it has no curves",
        "The groups differ in data.split_seed: they may not have been tested on the same samples.",
        "A prediction takes 1 to 5 forward passes: ensembles differ in their members.",
        "The runs had more than one device (H100, cpu): their seconds are not comparable.",
        "The runs were made with several versions: torch 2.11.0, 2.14.1.",
    ]
    assert [len(group.runs) for group in of.groups] == [1, 1]
    assert "not known" in of.verdict


def test_without_validation_there_is_no_target(leave, study):
    leave("a", logged=())
    of = study()
    assert of.about_target() == "No run has logged a validation accuracy: there is no target."
    assert rows(of)[2] == [["group", "n", "updates", "seconds"], ["sgdr", "1", "100", "5.0"]]


def test_other_batches_are_tested_on_the_same_samples_and_other_data_are_not(leave, study):
    leave("a")
    leave("b", data__batch_size=32)
    leave("c", data__cutout=8)
    assert study().remarks() == []
    leave("d", data={"_target_": "recipes.data.vision.MNIST", "batch_size": 64})
    assert study().remarks() == [
        "The groups differ in data: they may not have been tested on the same samples.",
    ]
