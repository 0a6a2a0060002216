"""`CyclicLR` beside torch's, its cycles and peaks, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import lr_scheduler

from lightning_lr import CyclicLR
from tests.callbacks.test_annealing import DURATION, LISTS, refused
from tests.fits import fit

MOMENTUM = "pass a number of at least 0 and below 1"


def torchs(updates, *, beta=False, **arguments):
    """What torch's scheduler of that name gives to each update, and before each step of the optimizer."""
    weight = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.AdamW(weight, lr=0.5) if beta else torch.optim.SGD(weight, lr=0.5, momentum=0.7)
    scheduler = lr_scheduler.CyclicLR(optimizer, **arguments)
    columns = {"lr": [], "momentum": []}
    for _ in range(updates):
        (group,) = optimizer.param_groups
        columns["lr"].append(group["lr"])
        columns["momentum"].append(group["betas"][0] if beta else group["momentum"])
        optimizer.step()
        scheduler.step()
    return columns


def peaks(policy, updates, epoch=None):
    return [(cycle.start, cycle.end, cycle.complete, cycle.peak) for cycle in policy.cycles(updates, epoch)]


# torch


@pytest.mark.parametrize(("up", "down"), [(1, None), (1, 1), (2, None), (7, 3), (3, 7), (1, 10), (10, 1), (100, 150)])
@pytest.mark.parametrize(
    "mode",
    [
        {},
        {"mode": "triangular2"},
        {"mode": "exp_range", "gamma": 0.99},
        {"mode": "exp_range", "gamma": 0.5},
        {"mode": "exp_range", "gamma": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("low", "high", "momenta"),
    [(0.001, 0.1, {}), (0.0, 3.0, {"base_momentum": 0.0, "max_momentum": 0.95}), (0.2, 0.2, {})],
)
def test_torchs_at_every_update(up, down, mode, low, high, momenta):
    arguments = {"base_lr": low, "max_lr": high, "step_size_up": up, "step_size_down": down, **mode, **momenta}
    columns, oracle = CyclicLR(**arguments).preview(400), torchs(400, **arguments)
    assert columns.keys() == oracle.keys()
    assert columns["lr"] == pytest.approx(oracle["lr"], rel=0, abs=1e-12 * high)
    assert columns["momentum"] == pytest.approx(oracle["momentum"], rel=0, abs=1e-12)


def test_torchs_default_sides_and_no_momentum():
    columns = CyclicLR(0.01, 0.3, step_size_up=2000, cycle_momentum=False).preview(9000)
    assert list(columns) == ["lr"]
    oracle = torchs(9000, base_lr=0.01, max_lr=0.3, cycle_momentum=False)
    assert columns["lr"] == pytest.approx(oracle["lr"], rel=0, abs=1e-12 * 0.3)


def test_a_beta_goes_the_other_way_as_in_torch():
    columns = CyclicLR(0.01, 0.3, 4, 2).preview(40)
    oracle = torchs(40, beta=True, base_lr=0.01, max_lr=0.3, step_size_up=4, step_size_down=2)
    assert columns["momentum"] == pytest.approx(oracle["momentum"], rel=0, abs=1e-12)


def test_a_rate_a_group_as_in_torch():
    weights, bias = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [weights]}, {"params": [bias]}], lr=0.5, momentum=0.9)
    scheduler = lr_scheduler.CyclicLR(optimizer, [0.01, 0.1], [0.2, 0.4], 3, mode="triangular2")
    columns = CyclicLR([0.01, 0.1], [0.2, 0.4], 3, mode="triangular2").preview(30)
    for step in range(30):
        found = [columns[f"lr[{group}]"][step] for group in (0, 1)]
        assert found == pytest.approx([group["lr"] for group in optimizer.param_groups], rel=0, abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_far_from_the_start():
    # 2**-2000 and 0.5**6000 are less than any float: the base is what is left.
    for mode in ({"mode": "triangular2"}, {"mode": "exp_range", "gamma": 0.5}):
        columns = CyclicLR(0.25, 1.0, 3, 2, **mode).preview(10_000)
        assert set(columns["lr"][9_000:]) == {0.25}
        assert set(columns["momentum"][9_000:]) == {0.9}


# Durations


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        ("2ep", None, (20, 20)),
        ("0.25ep", "1ep", (3, 10)),  # 2.5 goes up
        ("10%", "5st", (10, 5)),
        ("0.1%", "0.01ep", (1, 1)),
    ],
)
def test_sides_are_durations(up, down, expected):
    curve = CyclicLR(0.1, 0.5, up, down).preview(100, 10)
    assert curve == CyclicLR(0.1, 0.5, *expected).preview(100)
    assert CyclicLR(0.1, 0.5).preview(100, 10) == CyclicLR(0.1, 0.5, 20, 20).preview(100)


# Cycles and peaks


def test_cycles_of_whole_runs():
    assert peaks(CyclicLR(0.1, 0.5, 3), 12) == [(0, 6, True, 3), (6, 12, True, 9)]
    assert peaks(CyclicLR(0.1, 0.5, 1, 4), 10) == [(0, 5, True, 1), (5, 10, True, 6)]
    assert peaks(CyclicLR([0.1, 0.2], [0.5, 0.6], "1ep"), 8, 2) == [(0, 4, True, 2), (4, 8, True, 6)]


def test_a_cycle_cut_on_its_way_down_still_has_its_peak():
    assert peaks(CyclicLR(0.1, 0.5, 3), 11) == [(0, 6, True, 3), (6, 11, False, 9)]
    assert peaks(CyclicLR(0.1, 0.5, 3), 10) == [(0, 6, True, 3), (6, 10, False, 9)]


@pytest.mark.parametrize(("updates", "cut"), [(9, (6, 9, False, 9)), (7, (6, 7, False, 9))])
def test_a_cycle_cut_on_its_way_up_never_comes_to_its_peak(updates, cut):
    policy = CyclicLR(0.1, 0.5, 3)
    assert peaks(policy, updates) == [(0, 6, True, 3), cut]
    assert max(policy.preview(updates)["lr"][6:]) < 0.5


def test_a_cycle_longer_than_the_run():
    assert peaks(CyclicLR(0.1, 0.5, 30), 12) == [(0, 12, False, 30)]
    assert peaks(CyclicLR(0.1, 0.5, 3, 30), 12) == [(0, 12, False, 3)]


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "error", "argument", "remedy"),
    [
        ({"base_lr": 0.6}, ValueError, "base_lr=0.6", "pass a base_lr of at most max_lr"),
        ({"base_lr": [0.1, 0.6]}, ValueError, "base_lr=0.6", "pass a base_lr of at most max_lr"),
        ({"base_lr": 0.2, "max_lr": [0.5, 0.1]}, ValueError, "base_lr=0.2", "pass a base_lr of at most max_lr"),
        ({"base_lr": -0.1}, ValueError, "base_lr=-0.1", "pass a number of at least 0"),
        ({"base_lr": "0"}, TypeError, "base_lr='0'", "pass a number of at least 0"),
        ({"max_lr": -0.1}, ValueError, "max_lr=-0.1", "pass a number above 0"),
        ({"max_lr": 0.0, "base_lr": 0.0}, ValueError, "max_lr=0.0", "pass a number above 0"),
        ({"max_lr": math.nan}, ValueError, "max_lr=nan", "pass a number above 0"),
        ({"max_lr": math.inf}, ValueError, "max_lr=inf", "pass a number above 0"),
        ({"max_lr": True}, TypeError, "max_lr=True", "pass a number above 0"),
        ({"base_lr": [0.1, 0.2], "max_lr": [0.5]}, ValueError, "max_lr=[0.5], base_lr=[0.1, 0.2]", LISTS),
        ({"max_lr": []}, ValueError, "max_lr=[]", LISTS),
        ({"step_size_up": 0}, ValueError, "step_size_up=0", "pass a duration above 0"),
        ({"step_size_up": "0ep"}, ValueError, "step_size_up='0ep'", "pass a duration above 0"),
        ({"step_size_up": -3}, ValueError, "step_size_up=-3", DURATION),
        ({"step_size_up": 2.5}, TypeError, "step_size_up=2.5", DURATION),
        ({"step_size_up": None}, TypeError, "step_size_up=None", DURATION),
        ({"step_size_up": "2 epochs"}, ValueError, "step_size_up='2 epochs'", DURATION),
        ({"step_size_down": 0}, ValueError, "step_size_down=0", "pass a duration above 0"),
        ({"step_size_down": "0%"}, ValueError, "step_size_down='0%'", "pass a duration above 0"),
        ({"step_size_down": 0.5}, TypeError, "step_size_down=0.5", DURATION),
        ({"mode": "triangle"}, ValueError, "mode='triangle'", "pass 'triangular' or 'triangular2' or 'exp_range'"),
        ({"mode": None}, ValueError, "mode=None", "pass 'triangular' or 'triangular2' or 'exp_range'"),
        ({"gamma": 0.99}, ValueError, "gamma=0.99", 'pass mode="exp_range"'),
        ({"gamma": 0.99, "mode": "triangular2"}, ValueError, "gamma=0.99", 'pass mode="exp_range"'),
        ({"gamma": 0.0, "mode": "exp_range"}, ValueError, "gamma=0.0", "pass a number above 0 and of at most 1"),
        ({"gamma": 1.1, "mode": "exp_range"}, ValueError, "gamma=1.1", "pass a number above 0 and of at most 1"),
        ({"gamma": -0.5, "mode": "exp_range"}, ValueError, "gamma=-0.5", "pass a number above 0 and of at most 1"),
        ({"gamma": math.nan, "mode": "exp_range"}, ValueError, "gamma=nan", "above 0 and of at most 1"),
        ({"gamma": "0.9", "mode": "exp_range"}, TypeError, "gamma='0.9'", "above 0 and of at most 1"),
        ({"base_momentum": -0.1}, ValueError, "base_momentum=-0.1", MOMENTUM),
        ({"max_momentum": 1.0}, ValueError, "max_momentum=1.0", MOMENTUM),
        ({"max_momentum": "0.9"}, TypeError, "max_momentum='0.9'", MOMENTUM),
        ({"base_momentum": 0.91}, ValueError, "base_momentum=0.91", "pass a base_momentum of at most max_momentum"),
        ({"optimizer": "0"}, TypeError, "optimizer='0'", "pass an int of at least 0"),
        ({"total_steps": 0}, ValueError, "total_steps=0", "pass an int of at least 1"),
        ({"on_new_horizon": "shrink"}, ValueError, "on_new_horizon='shrink'", "pass None or 'keep' or 'stretch'"),
    ],
)
def test_refused(arguments, error, argument, remedy):
    refused(lambda: CyclicLR(**{"base_lr": 0.1, "max_lr": 0.5, **arguments}), error, argument, remedy)


@pytest.mark.parametrize("argument", ["step_size_up", "step_size_down"])
def test_epochs_without_a_length(argument):
    policy = CyclicLR(0.1, 0.5, **{"step_size_up": 3, argument: "1ep"})
    refused(lambda: policy.preview(10), ValueError, f"{argument}='1ep'", "give the duration in updates")
    refused(lambda: policy.cycles(10), ValueError, f"{argument}='1ep'", "give the duration in updates")


def test_momentum_on_an_optimizer_without_one():
    # torch would give it one in silence.
    with pytest.raises(
        ValueError, match=r"^momentum=0.*: SGD has no momentum in param group 0; .*cycle_momentum=False$"
    ):
        fit(CyclicLR(0.1, 0.5, 3))
    assert fit(CyclicLR(0.1, 0.5, 3, cycle_momentum=False)).built.param_groups[0]["momentum"] == 0
