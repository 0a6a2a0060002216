"""What is told of an ensemble, and the command that it ends in."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from lightning_lr.report.tradeoff import Cost, Restart
from recipes import scoreboard


def scores(accuracy, nll=0.05, brier=0.02, ece=0.01):
    return {"accuracy": accuracy, "nll": nll, "brier": brier, "ece": ece}


def printed(table):
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(table)
    text = screen.export_text()
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in text.splitlines() if line[0] == "│"]
    return text, rows


NAMES = ("a", "snapshots[1] (snapshot-001.safetensors)", "averaged-by-somebody-last")
RUN = [
    Restart(10, scores(0.9), scores(0.9)),
    Restart(20, scores(0.95), scores(0.96)),
    Restart(None, scores(1.0, 0.123456), scores(0.98)),
]


def test_the_members_their_last_m_and_other_poolings_have_a_row_each():
    last_m = [scores(1.0, 0.123456), scores(0.97), scores(0.98)]
    text, rows = printed(scoreboard.members(480, NAMES, RUN, last_m, {"vote": scores(0.5)}))
    assert text.startswith("480 test samples")
    assert rows == [
        ["a", "10", "90.00", "0.0500", "0.0200", "0.0100", "90.00"],
        ["snapshot-001", "20", "95.00", "0.0500", "0.0200", "0.0100", "96.00"],
        ["averaged-…last", "-", "100.00", "0.1235", "0.0200", "0.0100", "98.00"],
        ["last 2", "", "97.00", "0.0500", "0.0200", "0.0100"],
        ["last 3", "", "98.00", "0.0500", "0.0200", "0.0100"],
        ["all, vote", "", "50.00", "0.0500", "0.0200", "0.0100"],
    ]


def test_a_single_member_is_told_once():
    _, rows = printed(scoreboard.members(480, NAMES[:1], RUN[:1], [scores(0.9)], {"vote": scores(0.9)}))
    assert [row[0] for row in rows] == ["a"]


def test_what_was_fitted_stands_below_what_is():
    after = {"last 1 of 3": (1, scores(1.0)), "fitted weights, temperature 0.872": (2, scores(0.99, math.nan))}
    text, rows = printed(scoreboard.fitted(240, scores(0.98), 3, after))
    assert text.startswith("Fitted on 240 validation samples, told on the test samples")
    assert rows[0] == ["as it is", "3", "98.00", "0.0500", "0.0200", "0.0100"]
    assert rows[1] == ["last 1 of 3", "1", "100.00", "0.0500", "0.0200", "0.0100"]
    assert rows[2][1:] == ["2", "99.00", "nan", "0.0200", "0.0100"]
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("disagreement", "correlation", "said"),
    [
        ([[0.0]], [[1.0]], "One member: nothing to differ from."),
        (
            [[0, 0.01, 0.02], [0.01, 0, 0.005], [0.02, 0.005, 0]],
            [[1, 0.5, -0.25], [0.5, 1, math.nan], [-0.25, math.nan, 1]],
            "Two members differ on 0.5 to 2.0 % of the samples, and their errors correlate by -0.25 to 0.50.",
        ),
        (
            [[0, 0], [0, 0]],
            [[math.nan, math.nan], [math.nan, math.nan]],
            "Two members differ on 0.0 % of the samples, and how their errors correlate cannot be told.",
        ),
    ],
)
def test_diversity_is_a_range_over_pairs(disagreement, correlation, said):
    assert scoreboard.diversity(disagreement, correlation) == said


def test_no_correlation_has_no_sign():
    said = scoreboard.diversity([[0, 0.01], [0.01, 0]], [[1, -0.001], [-0.001, 1]])
    assert said == "Two members differ on 1.0 % of the samples, and their errors correlate by 0.00."


def test_one_model_is_not_pooled():
    said = scoreboard.command(["snapshots=run", "pooling=vote"], {"last_m": "1", "export": "last_1.pt2"})
    assert said == "python -m recipes.ensemble snapshots=run lines=null last_m=1 export=last_1.pt2"


def test_one_model_costs_one_pass():
    told = scoreboard.cost(Cost(passes=1, seconds=2e-4, seconds_of_one=2e-4, batch_size=64, device="cpu"))
    assert told == "A prediction takes one forward pass, 0.2 ms a sample on cpu."


def test_the_average_is_told_by_its_scores():
    told = scoreboard.averaged("uniform", {"scores": scores(0.99375)}, "average.safetensors")
    assert told == (
        "One model, the uniform average of their weights: accuracy 99.38 %, NLL 0.0500, Brier 0.0200, ECE 0.0100; "
        "in average.safetensors."
    )


def test_the_command_keeps_what_was_chosen_and_says_anew_what_the_ensemble_is():
    said = [
        "snapshots=outputs/a b",
        "model=small_cnn",
        "++model.width=8",
        "pooling=geometric",
        "last_m=4",
        "+member_weights=[1,2,3,4]",
        "temperature=0.9",
        "lines=5",
        "average=greedy",
        "export=a.pt2",
        "hydra.run.dir=mine",
    ]
    assert scoreboard.command(said, {"last_m": "2", "export": "last_2.pt2"}) == (
        "python -m recipes.ensemble 'snapshots=outputs/a b' model=small_cnn ++model.width=8 pooling=geometric "
        "lines=null last_m=2 export=last_2.pt2"
    )
