"""Which runs are one group, and what groups are called."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.comparison.grouping import grouped
from recipes.comparison.reading import Run
from tests.recipes.comparison.conftest import ONE_CYCLE, config


def run(name="run", seed=0, accuracy=0.9, **changes):
    return Run(name, config(seed, **changes), {"ensemble.accuracy": accuracy}, members=0, steps=1, seconds=1.0)


def labels(*runs):
    return [group.label for group in grouped(runs)]


def test_runs_that_differ_in_their_seed_are_one_group_in_the_order_of_seeds():
    (group,) = grouped([run("c", 10), run("a", 2), run("b", 0)])
    assert [(each.name, each.seed) for each in group.runs] == [("b", 0), ("a", 2), ("c", 10)]
    assert group.duplicates == ()
    assert group.differences == {}


def test_one_group_has_the_name_of_its_schedule():
    assert labels(run(seed=0), run(seed=1)) == ["sgdr"]
    assert labels(run(schedule={"_target_": "mine.Wave"})) == ["Wave"]
    assert [group.label for group in grouped([Run("a", {"seed": 1}, {}, 0, 1, 1.0)])] == ["run"]


def test_groups_are_called_by_what_they_differ_in():
    assert labels(run(), run(schedule=ONE_CYCLE)) == ["schedule=sgdr", "schedule=one_cycle"]
    assert labels(run(), run(schedule__max_lr=0.05)) == ["schedule.max_lr=0.5", "schedule.max_lr=0.05"]
    assert labels(run(), run(trainer__max_epochs=30, model__width=8)) == [
        "model.width=16 trainer.max_epochs=8",
        "model.width=8 trainer.max_epochs=30",
    ]


def test_what_a_class_has_of_its_own_is_told_where_it_differs_within_the_class():
    runs = [run(), run(schedule__max_lr=0.05), run(schedule=ONE_CYCLE)]
    assert labels(*runs) == [
        "schedule=sgdr schedule.max_lr=0.5",
        "schedule=sgdr schedule.max_lr=0.05",
        "schedule=one_cycle",
    ]
    assert [group.differences for group in grouped(runs)] == [
        {"schedule._target_": "sgdr", "schedule.max_lr": "0.5"},
        {"schedule._target_": "sgdr", "schedule.max_lr": "0.05"},
        {"schedule._target_": "one_cycle", "schedule.max_lr": "0.1"},
    ]


def test_what_one_configuration_does_not_have_is_said_to_be_missing():
    new = run(compile=True)
    assert labels(run(), new) == ["compile=(not there)", "compile=true"]


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), ([1, "50%"], [1.0, "50%"]), ({"a": 1}, {"a": 1.0})],
)
def test_the_same_number_is_the_same_configuration(one, other):
    assert len(grouped([run(schedule__max_lr=one), run("b", 1, schedule__max_lr=other)])) == 1


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, None), ("1", 1), ([1, 2], [2, 1]), ({}, None)])
def test_what_only_looks_the_same_is_not(one, other):
    assert len(grouped([run(schedule__max_lr=one), run(schedule__max_lr=other)])) == 2


def test_how_a_run_is_logged_and_resumed_is_no_difference():
    other = run("b", 1, resume="/home/me/run", logger={"_target_": "x"}, checkpoint={"every_n_epochs": 3})
    assert len(grouped([run(), other])) == 1


def test_a_run_of_an_installed_wheel_is_one_of_a_clone():
    other = run("b", 1, model={"_target_": "lightning_lr.recipes.models.small_cnn.SmallCNN", "width": 16})
    assert len(grouped([run(), other])) == 1


def test_the_same_seed_again_does_not_count():
    runs = [run("a", 0), run("b", 1), run("c", 0), run("d", 0)]
    (group,) = grouped(runs)
    assert [each.name for each in group.runs] == ["a", "b"]
    assert [(again.name, first.name) for again, first in group.duplicates] == [("c", "a"), ("d", "a")]


def test_another_order_of_batches_is_other_evidence():
    other = run("b", 0)
    other.config["data"]["shuffle_seed"] = 5
    (group,) = grouped([run("a", 0), other])
    assert [each.name for each in group.runs] == ["a", "b"]
    assert group.duplicates == ()


def test_another_split_is_another_group():
    assert labels(run(), run(data__split_seed=1)) == ["data.split_seed=2017", "data.split_seed=1"]


def test_labels_say_nothing_of_where_this_machine_has_its_folders():
    assert labels(run(data__root="/home/me/data/a"), run(data__root="/home/me/data/b/")) == [
        "data.root=a",
        "data.root=b",
    ]
    windows, posix = run(data__root="C:\\me\\a"), run(data__root="/x/a")
    assert labels(windows, posix) == ["data.root=a", "data.root=a (2)"]


def test_values_are_written_as_on_the_command_line():
    runs = [run(schedule__cycles=value) for value in (None, True, ["50%", 2], 1e-05, "a\x1b\nb", "x" * 50)]
    assert labels(*runs) == [
        "schedule.cycles=null",
        "schedule.cycles=true",
        "schedule.cycles=[50%,2]",
        "schedule.cycles=1e-05",
        "schedule.cycles=a� b",
        f"schedule.cycles={'x' * 31}…",
    ]


def test_of_many_differences_the_label_has_four_and_the_group_all():
    changes = {"model__width": 8, "data__batch_size": 32, "optimizer__momentum": 0.8, "trainer__max_epochs": 30}
    groups = grouped([run(), run(schedule__max_lr=0.1, seed=0, threads=1, **changes)])
    assert groups[0].label == "schedule.max_lr=0.5 model.width=16 data.batch_size=64 optimizer.momentum=0.9 +2 more"
    assert [*groups[0].differences] == [
        "schedule.max_lr",
        "model.width",
        "data.batch_size",
        "optimizer.momentum",
        "trainer.max_epochs",
        "threads",
    ]


VALUES = st.sampled_from([0.1, 0.2, 1, 1.0, "a", None])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), VALUES, VALUES), min_size=1, max_size=12), st.randoms())
def test_every_run_is_in_one_place_and_every_label_is_another(drawn, random):
    runs = [
        run(str(index), seed, schedule__max_lr=lr, model__width=width) for index, (seed, lr, width) in enumerate(drawn)
    ]
    groups = grouped(runs)
    placed = [each.name for group in groups for each in (*group.runs, *(again for again, _ in group.duplicates))]
    assert sorted(placed) == sorted(each.name for each in runs)
    assert len({group.label for group in groups}) == len(groups) == len({(lr, width) for _, lr, width in drawn})
    for group in groups:
        seeds = [each.seed for each in group.runs]
        assert seeds == sorted(set(seeds))
    # Which are together is a matter of what they are, not of the order that they are found in.
    shuffled = random.sample(runs, len(runs))
    assert {frozenset(each.seed for each in group.runs) for group in grouped(shuffled)} == {
        frozenset(each.seed for each in group.runs) for group in groups
    }
    assert {group.label for group in grouped(shuffled)} == {group.label for group in groups}
