"""A run that is resumed with another length: refused, kept to its old curve, or stretched."""

from __future__ import annotations

import pytest

from lightning_lr import SGDR, Anneal, Schedule
from tests.fits import CycleEnds, Recording, resume, stop

# The data of an update is drawn from its number: the loader's place in the epoch does not matter here.
pytestmark = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")


def exactly(values):
    return pytest.approx(values, rel=0, abs=1e-12)


def line(**options):
    """From 1 down to 0 in a line: the LR is one minus the share of the way."""
    return Schedule(lr=Anneal(1.0, 0.0, "linear"), **options)


@pytest.fixture
def halfway():
    """Stopped after five of ten updates."""
    return stop(line(), 5, max_epochs=1)


def test_another_horizon_is_refused_before_training(halfway):
    module = Recording()
    with pytest.raises(ValueError, match="on_new_horizon=None") as caught:
        resume(line(), halfway, module=module)
    assert str(caught.value) == (
        "on_new_horizon=None: Schedule was saved in a run of 10 updates, 10 an epoch, and this one has 20 updates, "
        '10 an epoch; pass "keep" for the old curve and then its last value, or "stretch" to go on from the same share '
        "of the way"
    )
    assert module.at_forward == []


def test_keep_is_the_old_curve_and_then_its_last_value(halfway):
    resumed = resume(line(on_new_horizon="keep"), halfway)
    assert resumed.lrs == exactly([0.5, 0.4, 0.3, 0.2, 0.1] + [0.1] * 10)


def test_stretch_goes_on_from_the_same_share_of_the_way(halfway):
    # Half of the way is left for fifteen updates: the whole of it would be thirty.
    resumed = resume(line(on_new_horizon="stretch"), halfway)
    assert resumed.lrs == exactly([left / 30 for left in range(15, 0, -1)])


def test_stretch_to_a_shorter_run(halfway):
    # Half of the way is left for three updates.
    resumed = resume(line(on_new_horizon="stretch"), halfway, max_epochs=None, max_steps=8)
    assert resumed.lrs == exactly([3 / 6, 2 / 6, 1 / 6])


def test_keep_in_a_shorter_run_cuts_the_curve(halfway):
    resumed = resume(line(on_new_horizon="keep"), halfway, max_epochs=None, max_steps=8)
    assert resumed.lrs == exactly([0.5, 0.4, 0.3])


@pytest.mark.parametrize("again", [None, "keep", "stretch"])
@pytest.mark.parametrize(
    ("first", "expected"),
    [("keep", [0.1] * 8), ("stretch", [left / 30 for left in range(8, 0, -1)])],
)
def test_a_run_with_its_new_horizon_is_resumed_like_any_other(halfway, first, again, expected):
    checkpoint = stop(line(on_new_horizon=first), 12, ckpt_path=halfway)
    resumed = resume(line(on_new_horizon=again), checkpoint)
    assert resumed.lrs == exactly(expected)


def test_stretched_twice(halfway):
    # 8/30 of the way is left, and in a third epoch eighteen updates share it.
    checkpoint = stop(line(on_new_horizon="stretch"), 12, ckpt_path=halfway)
    resumed = resume(line(on_new_horizon="stretch"), checkpoint, max_epochs=3)
    assert resumed.lrs == exactly([8 / 30 * left / 18 for left in range(18, 0, -1)])


@pytest.mark.parametrize("at", [3, 5, 6, 12, 13])
@pytest.mark.parametrize("epochs", [3, 4, 5])
def test_stretched_cycles_each_end_once(at, epochs):
    # Of 20 updates there are three cycles: 0 to 6, 6 to 13 and 13 to 20.
    before, after = CycleEnds(), CycleEnds()
    checkpoint = stop(SGDR(0.1, cycles=3), at, before)
    resume(SGDR(0.1, cycles=3, on_new_horizon="stretch"), checkpoint, after, max_epochs=epochs)
    assert [index for _, index, _ in before.told + after.told] == [0, 1, 2]


@pytest.mark.parametrize("at", [6, 13])
def test_a_restart_that_was_due_comes_first_in_a_stretched_run(at):
    checkpoint = stop(SGDR(0.1, cycles=3), at)
    resumed = resume(SGDR(0.1, cycles=3, on_new_horizon="stretch"), checkpoint, max_epochs=3)
    assert resumed.lrs[0] == 0.1
