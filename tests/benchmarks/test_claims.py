"""What the claims run and count, without running it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from benchmarks import schedules
from benchmarks.__main__ import CLAIMS, main, module, parsed
from benchmarks.cells import Cell, Outcome
from benchmarks.claims import clr, cycles, ensembles, one_cycle, search
from benchmarks.settings import CPU, PAPER, SIZES, TINY
from recipes.train import CONF

DIGITS = CPU.settings[0]
EVERY_SCHEDULE = {
    "Constant": schedules.constant(0.1),
    "StepDecay": schedules.step_decay(0.1),
    "OneCycle": schedules.one_cycle(0.1),
    "SGDR": schedules.sgdr(0.1, 5),
    "CyclicLR": schedules.triangular(0.01, 0.1, "2.5ep"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_says_its_name_and_one_sentence(name):
    claim = module(name)
    assert name == claim.NAME
    assert claim.CLAIM.endswith(".")
    assert claim.CLAIM.count(". ") == 0


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_what_a_size_trains_composes(size):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for setting in (*size.settings, *size.adam, size.search):
            cell = Cell(setting, schedules.constant(0.1), 3, 7, also=("optimizer=adam",))
            config = compose(
                "train", overrides=[each.format(images="/images", table="/table") for each in cell.overrides]
            )
            assert (config.seed, config.trainer.max_epochs, config.schedule.lr) == (7, 3, 0.1)


@pytest.mark.parametrize(("policy", "said"), EVERY_SCHEDULE.items())
def test_a_schedule_is_the_policy_that_it_is_called_by(policy, said):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[*said])
    assert type(instantiate(config.schedule, _convert_="all")).__name__ == policy


def test_the_cycles_that_double_end_with_the_budget():
    for setting in (*CPU.settings, *PAPER.settings, *TINY.settings):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", overrides=[*schedules.sgdr_doubling(0.1)])
        policy = instantiate(config.schedule, _convert_="all")
        found = policy.cycles(setting.epochs * 10, 10)
        assert [cycle.end - cycle.start for cycle in found] == [10 * 2**i for i in range(len(found))]
        assert all(cycle.complete for cycle in found)
        assert f"{len(found)} cycles, doubling" in cycles.kinds(setting, 0.1)


def test_the_budgets_are_a_half_a_third_and_a_fifth_or_somewhat_less():
    assert one_cycle.budgets(DIGITS) == [31, 15, 9, 6]
    assert ensembles.plans(DIGITS) == [(9, 3), (15, 5), (31, 5), (31, 10)]


def test_a_cell_is_known_by_what_it_trains_and_not_by_where_the_data_lie():
    cell = Cell(CPU.settings[-1], schedules.sgdr(0.1, 5), 31, 0)
    assert "data.root={images}" in cell.overrides
    assert cell.key == replace(cell).key
    others = [
        replace(cell, seed=1),
        replace(cell, epochs=30),
        replace(cell, members=2),
        replace(cell, also=("seed=0",)),
    ]
    assert len({cell.key, *(other.key for other in others)}) == 5


def test_the_grid_and_the_random_points_lie_in_one_box_and_are_as_many():
    bounds = list(search.BOX.values())
    for points in (search.grid(3), search.drawn(0, 3)):
        assert len(points) == 27
        assert all(low < value < high for point in points for value, (low, high) in zip(point, bounds, strict=True))
    # A third of each side to each, on a logarithmic scale: 1e-3 to 3 has its middle at their geometric mean.
    assert sorted({point[0] for point in search.grid(3)})[1] == pytest.approx(math.sqrt(1e-3 * 3.0))
    assert [len({point[side] for point in search.grid(3)}) for side in range(3)] == [3, 3, 3]
    assert [len({point[side] for point in search.drawn(0, 3)}) for side in range(3)] == [27, 27, 27]
    assert search.drawn(0, 3) == search.drawn(0, 3) != search.drawn(1, 3)


def test_an_accuracy_that_is_never_reached_takes_an_epoch_more_than_there_are():
    outcome = Outcome(val_accuracy=[0.5, 0.7, 0.6])
    assert [clr.epochs_to(outcome, percent) for percent in (40, 50, 65, 70, 71)] == [1, 1, 2, 2, 4]


def test_members_are_taken_evenly_and_the_last_is_among_them():
    readings = torch.arange(10)
    assert ensembles.every(readings, 5).tolist() == [1, 3, 5, 7, 9]
    with pytest.raises(ValueError, match="members=3: 10 weights cannot be taken evenly"):
        ensembles.every(readings, 3)


def test_pooling_is_the_mean_of_probabilities_and_disagreement_that_of_pairs():
    probs = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.3, 0.7], [0.8, 0.2]]])
    told = ensembles.pooled(probs.log(), torch.tensor([0, 1]))
    # Means (0.6, 0.4) and (0.7, 0.3): the first is right, the second is not; on one sample of two the members differ.
    assert (told["accuracy"], told["disagreement"]) == (0.5, 0.5)
    assert told["nll"] == pytest.approx(-(math.log(0.6) + math.log(0.3)) / 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sgdrr"], "sgdrr: not known; pass a claim (rates, clr,"),
        (["speed=fast"], "speed=fast: not known"),
        (["size=huge"], "size=huge: not known; pass one of cpu, paper, tiny"),
        (["jobs=0"], "jobs=0: not a number from 1 on"),
        (["again=x"], "again=x: not a number from 0 on"),
        (["draw", "sgdr"], "draw: stands alone"),
    ],
)
def test_a_wrong_word_is_refused_in_one_line(arguments, said, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert told.count("\n") == 1


def test_without_images_nothing_is_begun(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("CIFAR10", raising=False)
    assert main([f"cells={tmp_path}"]) == 2
    assert capsys.readouterr().err.startswith("images=: not named; pass images=")
    assert main([f"cells={tmp_path}", f"images={tmp_path / 'nowhere'}"]) == 2
    assert "not there" in capsys.readouterr().err


def test_claims_and_options_are_told_apart():
    names, options = parsed(["adam", "jobs=3", "rates"])
    assert names == ["adam", "rates"]
    assert options["jobs"] == "3"
