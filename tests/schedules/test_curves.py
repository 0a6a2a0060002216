from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lr.durations import Horizon
from lightning_lr.schedules.curves import Anneal, Curve, Flat, Function, Staircase, as_curve

HORIZON = Horizon(10, 5)
finite = st.floats(min_value=-1e300, max_value=1e300)


def harmonic(step):
    return 1.0 / (1 + step)


def values(curve, total, steps_per_epoch=None):
    return [*map(curve.bind(Horizon(total, steps_per_epoch)), range(total))]


def torch_rates(build, initial, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=initial)
    scheduler = build(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


# Literal values


@pytest.mark.parametrize(
    ("curve", "total", "expected"),
    [
        (Flat(0.1), 3, [0.1, 0.1, 0.1]),
        (Flat(0), 1, [0.0]),
        (Anneal(1.0, 0.0, "linear"), 4, [1.0, 0.75, 0.5, 0.25]),
        (Anneal(1.0, 0.0, "linear", "both"), 5, [1.0, 0.75, 0.5, 0.25, 0.0]),
        (Anneal(0.0, 1.0, "linear", "neither"), 4, [0.2, 0.4, 0.6, 0.8]),
        (Anneal(8.0, 1.0, "exp"), 3, [8.0, 4.0, 2.0]),
        (Anneal(8.0, 1.0, "exp", "both"), 4, [8.0, 4.0, 2.0, 1.0]),
        (Anneal(16.0, 1.0, "exp", "neither"), 3, [8.0, 4.0, 2.0]),
        (Anneal(1.0, 0.0, "cos"), 3, [1.0, 0.75, 0.25]),
        (Anneal(1.0, 0.0, "cos", "both"), 4, [1.0, 0.75, 0.25, 0.0]),
        (Anneal(1.0, 0.0, "cos", "neither"), 2, [0.75, 0.25]),
        (Anneal(2.0, 4.0, "cos"), 2, [2.0, 3.0]),
        # One update has no way to go.
        (Anneal(1.0, 0.0), 1, [1.0]),
        (Anneal(1.0, 0.0, "linear", "both"), 1, [1.0]),
        (Anneal(0.0, 1.0, "linear", "neither"), 1, [0.5]),
        (Staircase(1.0, 0.5, every=2), 5, [1.0, 1.0, 0.5, 0.5, 0.25]),
        (Staircase(1.0, 0.5, every="40%"), 5, [1.0, 1.0, 0.5, 0.5, 0.25]),
        (Staircase(1.0, 0.5, every="0.01%"), 3, [1.0, 0.5, 0.25]),
        (Staircase(1.0, 0.5, every=99), 3, [1.0, 1.0, 1.0]),
        (Staircase(1.0, 0.5, milestones=(1, 3)), 5, [1.0, 0.5, 0.5, 0.25, 0.25]),
        (Staircase(1.0, 0.5, milestones=("50%", 99)), 4, [1.0, 1.0, 0.5, 0.5]),
        (Staircase(1.0, 2, every=1), 3, [1.0, 2.0, 4.0]),
        (Function(harmonic), 4, [1.0, 0.5, 1 / 3, 0.25]),
        (Function(lambda step: np.float32(step)), 2, [0.0, 1.0]),
    ],
)
def test_literal_values(curve, total, expected):
    found = values(curve, total)
    assert found == pytest.approx(expected, abs=1e-15)
    assert all(type(value) is float for value in found)
    assert curve.cycles(Horizon(total)) == ()


# Against the formulas, and against torch


@pytest.mark.parametrize("total", [1, 2, 3, 7, 100, 1001])
@pytest.mark.parametrize(("start", "end"), [(0.1, 0.0), (0.3, 0.02), (0.02, 0.3), (-1.0, 2.0), (0.5, 0.5)])
@pytest.mark.parametrize(
    ("reaches", "share"),
    [
        ("start", lambda t, n: t / n),
        ("both", lambda t, n: t / (n - 1) if n > 1 else 0.0),
        ("neither", lambda t, n: (t + 1) / (n + 1)),
    ],
)
def test_closed_forms(total, start, end, reaches, share):
    for step, (cosine, linear) in enumerate(
        zip(
            values(Anneal(start, end, "cos", reaches), total),
            values(Anneal(start, end, "linear", reaches), total),
            strict=True,
        )
    ):
        p = share(step, total)
        assert abs(cosine - (end + (start - end) / 2 * (1 + math.cos(math.pi * p)))) < 1e-12
        assert abs(linear - (start + (end - start) * p)) < 1e-12


@pytest.mark.parametrize("total", [1, 2, 50, 333])
def test_exponential_is_torchs(total):
    gamma = (1e-4 / 0.1) ** (1 / total)
    oracle = torch_rates(lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma), 0.1, total)
    assert values(Anneal(0.1, 1e-4, "exp"), total) == pytest.approx(oracle, abs=1e-12, rel=0)


@pytest.mark.parametrize("total", [1, 2, 50, 333])
def test_cosine_is_torchs(total):
    oracle = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total, eta_min=0.01), 0.1, total
    )
    assert values(Anneal(0.1, 0.01), total) == pytest.approx(oracle, abs=1e-12, rel=0)


@pytest.mark.parametrize("total", [1, 2, 5, 100])
def test_a_warm_up_is_torchs(total):
    oracle = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (total + 1), total_iters=total), 0.1, total
    )
    assert values(Anneal(0.0, 0.1, "linear", "neither"), total) == pytest.approx(oracle, abs=1e-12, rel=0)


@pytest.mark.parametrize(("every", "factor", "total"), [(1, 0.9, 60), (7, 0.1, 60), (30, 0.5, 200), (500, 0.1, 60)])
def test_stairs_are_torchs(every, factor, total):
    oracle = torch_rates(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, every, factor), 0.3, total)
    assert values(Staircase(0.3, factor, every=every), total) == pytest.approx(oracle, abs=1e-12, rel=0)


@pytest.mark.parametrize("milestones", [(1,), (5, 6, 7), (30, 60, 90), (99,), (100,)])
def test_milestones_are_torchs(milestones):
    oracle = torch_rates(lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, 0.1), 0.3, 100)
    assert values(Staircase(0.3, 0.1, milestones=milestones), 100) == pytest.approx(oracle, abs=1e-12, rel=0)


# Properties


@settings(deadline=None, database=None, max_examples=200)
@given(
    start=finite,
    end=finite,
    shape=st.sampled_from(["cos", "linear"]),
    reaches=st.sampled_from(["start", "both", "neither"]),
    total=st.integers(1, 10**6),
    data=st.data(),
)
def test_a_value_never_leaves_the_bounds(start, end, shape, reaches, total, data):
    curve, horizon = Anneal(start, end, shape, reaches), Horizon(total)
    step = data.draw(st.integers(0, total - 1))
    assert min(start, end) <= curve.at(step, horizon) <= max(start, end)
    if reaches != "neither":
        assert curve.at(0, horizon) == start
    if reaches == "both" and total > 1:
        assert curve.at(total - 1, horizon) == end


@settings(deadline=None, database=None, max_examples=200)
@given(start=st.floats(1e-300, 1e300), end=st.floats(1e-300, 1e300), total=st.integers(2, 10**6), share=st.floats(0, 1))
def test_an_exponential_never_leaves_the_bounds(start, end, total, share):
    curve, horizon = Anneal(start, end, "exp", "both"), Horizon(total)
    assert min(start, end) <= curve.at(int(share * (total - 1)), horizon) <= max(start, end)
    assert curve.at(0, horizon) == start
    assert curve.at(total - 1, horizon) == end


def test_past_the_horizon_the_last_value_holds():
    curve = Anneal(1.0, 0.0, "linear")
    assert curve.at(4, Horizon(4)) == curve.at(10**9, Horizon(4)) == curve.at(3, Horizon(4)) == 0.25


def test_an_update_before_the_first_is_refused():
    with pytest.raises(ValueError, match=r"^step=-1: updates are counted from 0; pass 0 or more$"):
        Flat(0.1).at(-1, HORIZON)


@pytest.mark.parametrize(
    "curve",
    [
        Flat(0.1),
        Anneal(1.0, 0.1, "exp", "both"),
        Staircase(1.0, every="1ep"),
        Staircase(1.0, milestones=("1ep", 9)),
        Function(harmonic),
    ],
)
def test_a_curve_is_a_value(curve):
    copy = pickle.loads(pickle.dumps(curve))
    assert copy == curve
    assert hash(copy) == hash(curve)
    assert values(copy, 10, 5) == values(curve, 10, 5) == [curve.at(step, HORIZON) for step in range(10)]
    assert [curve.at(step, HORIZON) for step in reversed(range(10))] == values(curve, 10, 5)[::-1]
    with pytest.raises(FrozenInstanceError):
        curve.value = 1.0


def test_milestones_in_a_list_are_as_good_as_in_a_tuple():
    curve = Staircase(1.0, 0.5, milestones=["50%", "75%"])
    assert [curve.at(step, Horizon(4)) for step in range(4)] == [1.0, 1.0, 0.5, 0.25]
    assert curve == Staircase(1.0, 0.5, milestones=("50%", "75%"))


def test_many_stairs_do_not_end_in_an_overflow():
    # 0.1 * 10**k is no float from k = 309 on.
    with pytest.raises(ValueError, match=r"^factor=10: "):
        values(Staircase(0.1, 10, every=1), 1000)


# What is refused


@pytest.mark.parametrize(
    ("build", "error", "argument", "remedy"),
    [
        (lambda: Flat("0.1"), TypeError, "value='0.1'", "pass a finite number"),
        (lambda: Flat(math.nan), ValueError, "value=nan", "pass a finite number"),
        (lambda: Anneal(math.inf, 0.0), ValueError, "start=inf", "pass a finite number"),
        (lambda: Anneal(0.0, "1"), TypeError, "end='1'", "pass a finite number"),
        (lambda: Anneal(1.0, 0.0, "cosine"), ValueError, "shape='cosine'", "pass 'cos' or 'linear' or 'exp'"),
        (
            lambda: Anneal(1.0, 0.0, "cos", "end"),
            ValueError,
            "reaches='end'",
            "pass 'start' or 'both' or 'neither'",
        ),
        (lambda: Anneal(0.0, 1.0, "exp"), ValueError, "start=0.0", "pass a number above 0"),
        (lambda: Anneal(1.0, -1.0, "exp"), ValueError, "end=-1.0", "pass a number above 0"),
        (lambda: Staircase(math.nan, every=1), ValueError, "initial=nan", "pass a finite number"),
        (lambda: Staircase(1.0, 0.0, every=1), ValueError, "factor=0.0", "pass a number above 0"),
        (lambda: Staircase(1.0), ValueError, "every=None, milestones=None", "pass exactly one of them"),
        (lambda: Staircase(1.0, 0.1, 1, (1,)), ValueError, "every=1, milestones=(1,)", "pass exactly one of them"),
        (lambda: Staircase(1.0, every=0), ValueError, "every=0", "pass a duration above 0"),
        (lambda: Staircase(1.0, every=1.5), TypeError, "every=1.5", 'write 500 or "500st" for updates'),
        (lambda: Staircase(1.0, milestones=()), ValueError, "milestones=[]", "give one or more durations"),
        (lambda: Staircase(1.0, milestones=("0%",)), ValueError, "milestones='0%'", "pass a duration above 0"),
        (lambda: Staircase(1.0, milestones=("5xx",)), ValueError, "milestones='5xx'", 'write 500 or "500st"'),
        (
            lambda: Staircase(1.0, milestones=("2ep", "1ep")),
            ValueError,
            "milestones=['2ep', '1ep']",
            "each must come after the one before",
        ),
        (lambda: Staircase(1.0, milestones=(3, "3st")), ValueError, "milestones=[3, '3st']", "each must come after"),
        (
            lambda: Staircase(1.0, milestones=("1ep", 5)).at(0, HORIZON),
            ValueError,
            "milestones=['1ep', 5] (updates [5, 5])",
            "each must come after the one before",
        ),
        (lambda: Function(0.1), TypeError, "function=0.1", "pass a function from update to value"),
        (lambda: as_curve("lr", "0.1"), TypeError, "lr='0.1'", "pass a number, a function of the update, or a curve"),
        (lambda: as_curve("lr", None), TypeError, "lr=None", "pass a number, a function of the update, or a curve"),
        (lambda: as_curve("lr", True), TypeError, "lr=True", "pass a number of at least 0"),
        (lambda: as_curve("lr", math.inf), ValueError, "lr=inf", "pass a number of at least 0"),
    ],
)
def test_refused(build, error, argument, remedy):
    with pytest.raises(error) as refused:
        build()
    message = str(refused.value)
    assert message.startswith(f"{argument}: ")
    assert remedy in message.split("; ", 1)[1]
    assert "\n" not in message


def test_epochs_are_refused_by_the_name_that_the_user_gave_them():
    with pytest.raises(ValueError, match=r"^every='1ep': an epoch has no fixed number of updates here; "):
        Staircase(1.0, every="1ep").at(0, Horizon(10))
    with pytest.raises(ValueError, match=r"^milestones='1ep': an epoch has no fixed number of updates here; "):
        Staircase(1.0, milestones=("1ep",)).at(0, Horizon(10))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.1, Flat(0.1)),
        (1, Flat(1.0)),
        (np.float64(0.5), Flat(0.5)),
        (Fraction(1, 2), Flat(0.5)),
        (harmonic, Function(harmonic)),
        (Anneal(1.0, 0.0), Anneal(1.0, 0.0)),
    ],
)
def test_what_is_taken_for_a_curve(given, expected):
    assert as_curve("lr", given) == expected


def test_a_new_curve_has_to_define_bind_alone():
    class Ramp(Curve):
        def bind(self, horizon):
            return lambda step: step / horizon.total_steps

    assert [Ramp().at(step, Horizon(4)) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 0.75]
    assert Ramp().cycles(Horizon(4)) == ()
