"""Other callbacks are told of cycles: their starts, peaks and ends."""

from __future__ import annotations

import pytest
from lightning.pytorch.callbacks import Callback

from lightning_lr import SGDR, CyclicLR, OneCycle, StepDecay
from tests.fits import fit, resume, stop


class Heard(Callback):
    """Notes what it is told, with the updates applied and the LR in the param group at that moment."""

    def __init__(self):
        self.told = []

    def note(self, what, trainer, schedule, cycle):
        lr = trainer.optimizers[schedule.optimizer_index].param_groups[0]["lr"]
        self.told.append((what, cycle.index, schedule.step, lr))

    def on_cycle_start(self, trainer, pl_module, schedule, cycle):
        self.note("start", trainer, schedule, cycle)

    def on_cycle_peak(self, trainer, pl_module, schedule, cycle):
        self.note("peak", trainer, schedule, cycle)

    def on_cycle_end(self, trainer, pl_module, schedule, cycle):
        self.note("end", trainer, schedule, cycle)


def test_a_triangle_has_its_peak_in_the_middle_and_a_cut_one_may_have_none():
    heard = Heard()
    # Ten updates: cycles of four, the last is cut to two and never comes to its peak.
    fit(CyclicLR(0.0, 1.0, step_size_up=2, cycle_momentum=False), heard)
    assert heard.told == [
        ("start", 0, 0, 0.0),
        ("peak", 0, 2, 1.0),
        ("end", 0, 4, 0.5),
        ("start", 1, 4, 0.0),
        ("peak", 1, 6, 1.0),
        ("end", 1, 8, 0.5),
        ("start", 2, 8, 0.0),
        ("end", 2, 10, 0.5),
    ]


def test_a_restart_is_start_and_peak_in_one():
    heard = Heard()
    fit(SGDR(1.0, cycles=2), heard)
    assert [(what, index, step) for what, index, step, _ in heard.told] == [
        ("start", 0, 0),
        ("peak", 0, 0),
        ("end", 0, 5),
        ("start", 1, 5),
        ("peak", 1, 5),
        ("end", 1, 10),
    ]
    assert [lr for what, _, _, lr in heard.told if what == "start"] == [1.0, 1.0]


def test_one_cycle_has_its_peak_where_the_formula_has_it():
    heard = Heard()
    fit(OneCycle(1.0, cycle_momentum=False), heard)
    assert [(what, step) for what, _, step, _ in heard.told] == [("start", 0), ("peak", 2), ("end", 10)]
    assert heard.told[1][3] == 1.0
    assert heard.told[2][3] == pytest.approx(1.0 / 25 / 1e4)


def test_a_policy_without_cycles_has_nothing_to_tell():
    heard = Heard()
    fit(StepDecay(1.0, every=3), heard)
    assert heard.told == []


# The data of an update is drawn from its number: the loader's place in the epoch does not matter here.
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_run_resumed_inside_a_cycle_does_not_start_it_again():
    before, after = Heard(), Heard()
    checkpoint = stop(SGDR(1.0, cycles=5), 6, before)
    resume(SGDR(1.0, cycles=5), checkpoint, after)
    ends = [(what, index, step) for what, index, step, _ in before.told + after.told if what != "peak"]
    assert ends == [
        (what, index, step) for index in range(5) for what, step in (("start", 4 * index), ("end", 4 * index + 4))
    ]


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_cycles_that_a_resume_squeezes_into_one_update_are_all_told():
    after = Heard()
    # Eight cycles of one update are left for four updates.
    checkpoint = stop(SGDR(1.0, cycle=1), 12)
    resume(SGDR(1.0, cycle=1, on_new_horizon="stretch"), checkpoint, after, max_epochs=None, max_steps=16)
    ends = [(index, step) for what, index, step, _ in after.told if what == "end"]
    assert ends == [(12, 13), (13, 13), (14, 14), (15, 14), (16, 15), (17, 15), (18, 16), (19, 16)]
