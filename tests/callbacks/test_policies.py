"""The named policies as values: what they will do, and what they refuse, before any fit."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from lightning_lr import (
    SGDR,
    Anneal,
    Constant,
    CosineAnnealing,
    CyclicLR,
    ExponentialDecay,
    Flat,
    OneCycle,
    ReduceOnPlateau,
    Repeat,
    Schedule,
    StepDecay,
    WarmupStableDecay,
)


def close(found, expected):
    assert len(found) == len(expected)
    worst = max(abs(one - other) for one, other in zip(found, expected, strict=True))
    assert worst < 1e-12


def sgd(lr=0.1):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def cosine(start, end, share):
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


# SGDR


def test_sgdr_at_the_boundaries():
    lr = SGDR(max_lr=0.1, cycles=5).preview(164)["lr"]
    starts = [0, 32, 65, 98, 131]
    assert [lr[start] for start in starts] == [0.1] * 5
    # The last update of a cycle of 32, and of one of 33: 0.05 * (1 + cos(pi * 31/32)) and 0.05 * (1 + cos(pi * 32/33)).
    assert lr[31] == pytest.approx(0.00024076366639015912, abs=1e-15)
    assert [lr[start - 1] for start in (65, 98, 131, 164)] == pytest.approx([0.00022640387134577056] * 4, abs=1e-15)
    cycles = SGDR(max_lr=0.1, cycles=5).cycles(164)
    assert [(cycle.start, cycle.end) for cycle in cycles] == [(0, 32), (32, 65), (65, 98), (98, 131), (131, 164)]


def test_sgdr_for_one_epoch_then_two_then_four():
    policy = SGDR(0.4, cycle="1ep", cycle_mult=2)
    lr = policy.preview(total_steps=14, steps_per_epoch=2)["lr"]
    assert [lr[step] for step in (0, 2, 6)] == [0.4, 0.4, 0.4]
    close(lr[:6], [0.4, 0.2, 0.4, 0.2 + 0.2 * math.sqrt(0.5), 0.2, 0.2 - 0.2 * math.sqrt(0.5)])
    assert [(cycle.start, cycle.end, cycle.complete) for cycle in policy.cycles(14, 2)] == [
        (0, 2, True),
        (2, 6, True),
        (6, 14, True),
    ]


def test_sgdr_warms_up_outside_of_its_cycles():
    policy = SGDR(0.4, cycles=2, warmup=3, cycle_momentum=True)
    columns = policy.preview(9)
    close(columns["lr"], [0.1, 0.2, 0.3, 0.4, 0.3, 0.1, 0.4, 0.3, 0.1])
    # Momentum comes down from the top while the rate goes up.
    close(columns["momentum"], [0.925, 0.9, 0.875, 0.85, 0.875, 0.925, 0.85, 0.875, 0.925])
    assert [(cycle.index, cycle.start, cycle.end) for cycle in policy.cycles(9)] == [(0, 3, 6), (1, 6, 9)]


@pytest.mark.parametrize("total", [1, 2, 3, 10, 164, 999])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("low", "mult", "top_decay", "low_decay", "warmup"),
    [(0.0, 1, 1.0, 1.0, 0), (0.01, 1, 0.9, 0.8, 7), (0.01, 2, 0.9, 1.0, 0), (0.0, 1.5, 0.5, 0.9, 5)],
)
def test_sgdr_with_a_count_of_cycles(total, count, low, mult, top_decay, low_decay, warmup):
    rest, exact = total - warmup, Fraction(str(mult))
    weights = [exact**index for index in range(count)]
    edges = [warmup + math.floor(rest * sum(weights[:index]) / sum(weights)) for index in range(count + 1)]
    policy = SGDR(
        0.3,
        low,
        cycles=count,
        cycle_mult=mult,
        max_lr_decay=top_decay,
        min_lr_decay=low_decay,
        warmup=warmup,
        cycle_momentum=True,
    )
    if rest < 1 or any(start >= end for start, end in pairwise(edges)):
        with pytest.raises(ValueError, match=r"^(warmup|cycles)=.*; "):
            policy.preview(total)
        return
    rates = [0.3 * (step + 1) / (warmup + 1) for step in range(warmup)]
    momenta = [0.95 - 0.1 * (step + 1) / (warmup + 1) for step in range(warmup)]
    for index, (start, end) in enumerate(pairwise(edges)):
        for step in range(end - start):
            share = step / (end - start)
            rates.append(cosine(0.3 * top_decay**index, low * low_decay**index, share))
            momenta.append(cosine(0.85, 0.95, share))
    columns = policy.preview(total)
    close(columns["lr"], rates)
    close(columns["momentum"], momenta)
    for index, start in enumerate(edges[:-1]):
        assert columns["lr"][start] == 0.3 * top_decay**index
        assert columns["momentum"][start] == 0.85


@pytest.mark.parametrize(("first", "mult"), [(1, 1), (7, 1), (10, 2), (3, 3), (59, 5), (10, 3), (50, 10)])
def test_sgdr_is_torchs_warm_restarts(first, mult):
    total = 2500
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(sgd(), first, mult, eta_min=0.001)
    policy = SGDR(0.1, 0.001, cycle=first, cycle_mult=mult)
    lr = policy.preview(total)["lr"]
    restarts = {cycle.start for cycle in policy.cycles(total)}
    for step in range(total):
        if step in restarts:
            # Here torch is not to be asked: a logarithm just short of an int gives it the trough instead.
            assert lr[step] == 0.1
        else:
            scheduler.step(step)
            assert abs(lr[step] - scheduler.get_last_lr()[0]) < 1e-12


def test_sgdr_is_at_the_top_where_torch_is_at_zero():
    # T_0=10, T_mult=3, step 1210: 10 + 30 + 90 + 270 + 810.
    lr = SGDR(0.1, cycle=10, cycle_mult=3).preview(1300)["lr"]
    assert lr[1210] == 0.1
    assert lr[1209] == pytest.approx(0.05 * (1 + math.cos(math.pi * 809 / 810)), abs=1e-12)


@settings(deadline=None, database=None, max_examples=80)
@given(
    total=st.integers(1, 1000),
    top=st.floats(1e-30, 1e30),
    ratio=st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1)),
    first=st.integers(1, 1000),
    mult=st.sampled_from([1, 1.0001, 1.1, 2, 3.7]),
    decay=st.floats(0.9, 1.0),  # no less: 0.5**1000 of 1e-30 is no float
)
def test_sgdr_stays_within_its_bounds(total, top, ratio, first, mult, decay):
    low = top * ratio
    assume(low == 0.0 or low > 1e-100)
    policy = SGDR(top, low, cycle=first, cycle_mult=mult, max_lr_decay=decay, min_lr_decay=decay)
    lr, cycles = policy.preview(total)["lr"], policy.cycles(total)
    assert len(lr) == total
    for cycle in cycles:
        factor = decay**cycle.index
        assert lr[cycle.start] == factor * top
        inside = lr[cycle.start : cycle.end]
        assert factor * low <= min(inside)
        assert max(inside) <= factor * top
        if ratio < 0.99:
            assert lr[cycle.end - 1] > factor * low


def test_sgdr_holds_where_its_bounds_are_one():
    assert SGDR(0.1, 0.1, cycles=2).preview(4) == {"lr": [0.1] * 4}


@pytest.mark.slow
def test_sgdr_of_a_million_cycles():
    assert SGDR(0.1, cycle=1).preview(10**6)["lr"] == [0.1] * 10**6


# OneCycle


@pytest.mark.parametrize(
    ("total", "pct", "three", "peak"),
    [
        (1, 0.3, False, 0),
        (2, 0.3, False, 0),
        (3, 0.3, False, 0),
        (5, 0.3, False, 1),  # 1.5 goes up to 2
        (7, 0.3, False, 1),
        (10, 0.3, False, 2),
        (100, 0.3, False, 29),
        (10, 0.5, True, 4),
        (100, 0.4, True, 39),
        (3, 0.99, False, 2),
        (1, 0.5, True, 0),
    ],
)
def test_one_cycle_at_the_boundaries(total, pct, three, peak):
    columns = OneCycle(1.0, pct_start=pct, three_phase=three).preview(total)
    lr, momentum = columns["lr"], columns["momentum"]
    assert (lr[peak], momentum[peak]) == (1.0, 0.85)
    if peak > 0:
        assert (lr[0], momentum[0]) == (1 / 25, 0.95)
    if peak < total - 1:
        assert (lr[-1], momentum[-1]) == (1.0 / 25.0 / 1e4, 0.95)
    if three and total > 1:
        assert (lr[2 * peak], momentum[2 * peak]) == (1 / 25, 0.95)


@pytest.mark.parametrize("three", [False, True])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("total", [5, 10, 40, 100])
def test_one_cycle_is_torchs(total, strategy, three):
    # At pct_start * N = 1 torch divides by 0.
    for rising in range(2, total):
        pct = rising / total
        if three and pct > 0.5:
            break
        optimizer = sgd()
        scheduler = lr_scheduler.OneCycleLR(
            optimizer, 0.7, total, pct_start=pct, anneal_strategy=strategy, three_phase=three, final_div_factor=50
        )
        rates, momenta = [], []
        for step in range(total):
            rates.append(optimizer.param_groups[0]["lr"])
            momenta.append(optimizer.param_groups[0]["momentum"])
            optimizer.step()
            if step < total - 1:
                scheduler.step()
        columns = OneCycle(0.7, pct, strategy, three_phase=three, final_div_factor=50).preview(total)
        close(columns["lr"], rates)
        close(columns["momentum"], momenta)


@pytest.mark.parametrize("total", [1, 2, 3, 7, 164, 997])
@pytest.mark.parametrize("pct", [0.01, 0.3, 0.45, 0.9])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_one_cycle_of_any_length(total, pct, strategy):
    peak = max(0, math.floor(pct * total + 0.5) - 1)

    def way(start, end, share):
        return cosine(start, end, share) if strategy == "cos" else start + (end - start) * share

    def column(first, top, last):
        up = [way(first, top, step / peak) for step in range(peak)]
        return up + [top] + [way(top, last, step / (total - 1 - peak)) for step in range(1, total - peak)]

    columns = OneCycle(0.5, pct, strategy, div_factor=10, final_div_factor=100).preview(total)
    close(columns["lr"], column(0.05, 0.5, 0.0005))
    close(columns["momentum"], column(0.95, 0.85, 0.95))


def test_one_cycle_leaves_momentum_alone_when_told_to():
    assert list(OneCycle(0.1, cycle_momentum=False).preview(3)) == ["lr"]


# StepDecay


def test_step_decay_is_torchs():
    optimizer = sgd(0.3)
    scheduler = lr_scheduler.MultiStepLR(optimizer, [82, 123], 0.1)
    rates = []
    for _ in range(164):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    close(StepDecay(0.3, milestones=["50%", "75%"]).preview(164)["lr"], rates)
    assert StepDecay(0.3, every=1).cycles(10) == ()


@pytest.mark.parametrize(("every", "length"), [("30ep", 90), ("0.5ep", 2), (7, 7), ("10%", 40)])
def test_step_decay_every_so_often(every, length):
    close(
        StepDecay(0.3, 0.5, every=every).preview(400, steps_per_epoch=3)["lr"],
        [0.3 * 0.5 ** (step // length) for step in range(400)],
    )


# What all of them take


def test_a_list_has_one_rate_a_param_group():
    columns = SGDR([0.1, 0.4], [0.0, 0.2], cycles=1, cycle_momentum=True).preview(2)
    assert list(columns) == ["lr[0]", "lr[1]", "momentum"]
    close(columns["lr[0]"], [0.1, 0.05])
    close(columns["lr[1]"], [0.4, 0.3])
    assert list(OneCycle((0.1, 0.2)).preview(4)) == ["lr[0]", "lr[1]", "momentum"]
    assert list(StepDecay([0.1], every=1).preview(4)) == ["lr[0]"]


def test_a_list_of_omegaconf_is_a_list():
    omegaconf = pytest.importorskip("omegaconf")
    rates = omegaconf.OmegaConf.create([0.1, 0.2])
    assert SGDR(rates, cycles=1).preview(1) == {"lr[0]": [0.1], "lr[1]": [0.2]}
    assert Schedule(lr=rates).preview(1) == {"lr[0]": [0.1], "lr[1]": [0.2]}
    milestones = omegaconf.OmegaConf.create(["50%", "75%"])
    assert StepDecay(1.0, 0.5, milestones=milestones).preview(4)["lr"] == [1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize("number", [np.float64, np.float32, Fraction])
def test_numbers_of_other_kinds(number):
    half = number(0.5)
    for policy in (SGDR(half, cycles=1), OneCycle(half, half), StepDecay(half, half, every=1), Schedule(lr=half)):
        lr = policy.preview(5)["lr"]
        assert all(type(value) is float for value in lr)
        assert max(lr) == 0.5
    assert SGDR(0.5, cycles=2, cycle_mult=number(1.5)).cycles(5)[1].start == 2


@pytest.mark.parametrize(
    "policy",
    [
        SGDR(0.1, cycles=2, warmup="10%", cycle_momentum=True),
        OneCycle([0.1, 0.2]),
        StepDecay(0.1, milestones=["1ep", "50%"]),
        Schedule(lr=Anneal(1.0, 0.0), momentum=Flat(0.9)),
    ],
)
def test_a_policy_can_be_pickled(policy):
    copy = pickle.loads(pickle.dumps(policy))
    assert copy.preview(20, 5) == policy.preview(20, 5)
    assert copy.cycles(20, 5) == policy.cycles(20, 5)


@pytest.mark.parametrize("policy", [SGDR(0.1, cycles=1), OneCycle(0.1), StepDecay(0.1, every="50%")])
@pytest.mark.parametrize("total", [1, 2, 3, 1000])
def test_a_preview_has_one_value_an_update(policy, total):
    assert {len(column) for column in policy.preview(total).values()} == {total}


# Cyclic or not


@pytest.mark.parametrize(
    ("policy", "cyclic"),
    [
        (Constant(0.1), False),
        (CosineAnnealing(0.1, warmup=3), False),
        (ExponentialDecay(0.1, 0.01), False),
        (StepDecay(0.1, every="1ep"), False),
        (WarmupStableDecay(0.1), False),
        (ReduceOnPlateau(0.1, monitor="val/loss"), False),
        (OneCycle(0.1), True),
        (CyclicLR(0.01, 0.1, step_size_up=5), True),
        (SGDR(0.1, cycles=2), True),
        (SGDR(0.1, cycle="1ep", warmup=3, cycle_momentum=True), True),
        (Schedule(lr=0.1), False),
        (Schedule(lr=Repeat(Anneal(0.1, 0.0), cycles=2)), True),
        (Schedule(lr=[Repeat(Flat(0.1), cycles=2), 0.1]), True),
        (Schedule(momentum=Repeat(Anneal(0.8, 0.9), cycles=2)), True),
        # The cycles are those of the learning rate, where there is one.
        (Schedule(lr=0.1, momentum=Repeat(Anneal(0.8, 0.9), cycles=2)), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_policy_knows_whether_it_is_cyclic_before_any_fit(policy, cyclic):
    assert policy.cyclic is cyclic
    if not isinstance(policy, ReduceOnPlateau):
        assert bool(policy.cycles(100, 10)) is cyclic
