"""The policies that only go down, beside torch's schedulers; and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from lightning_lr import Constant, CosineAnnealing, ExponentialDecay, Horizon, StepDecay, WarmupStableDecay

ABOVE_0 = "pass a number above 0"
AT_LEAST_0 = "pass a number of at least 0"
DURATION = 'write 500 or "500st" for updates, "10ep" for epochs, "30%" for a share of the run'
LISTS = "give them the same length, or one number for all"


def rates(build, initial, updates):
    """What a scheduler of torch gives to each update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=initial)
    scheduler = build(optimizer)
    seen = []
    for _ in range(updates):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def exactly(expected, top):
    return pytest.approx(expected, rel=0, abs=1e-12 * top)


def refused(build, error, argument, remedy):
    with pytest.raises(error) as caught:
        build()
    assert caught.type is error
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{argument}: ")
    assert remedy in message.split("; ", 1)[1]


# torch's schedulers


@pytest.mark.parametrize("updates", [2, 7, 164, 1000])
@pytest.mark.parametrize(("initial", "final"), [(0.3, 3e-5), (1e-4, 1.0), (0.1, 0.1)])
def test_exponential_decay_is_torchs(updates, initial, final):
    gamma = (final / initial) ** (1 / (updates - 1))
    oracle = rates(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma), initial, updates)
    assert ExponentialDecay(initial, final).preview(updates)["lr"] == exactly(oracle, max(initial, final))


@pytest.mark.parametrize("updates", [1, 2, 7, 164, 1000])
@pytest.mark.parametrize("low", [0.0, 0.001, 0.3])
def test_cosine_is_torchs(updates, low):
    oracle = rates(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, updates, low), 0.3, updates)
    assert CosineAnnealing(0.3, low).preview(updates)["lr"] == exactly(oracle, 0.3)


@pytest.mark.parametrize(("warmup", "length"), [(1, 1), ("5%", 5), ("2ep", 14), (99, 99)])
def test_warm_up_into_a_cosine_is_torchs(warmup, length):
    def build(optimizer):
        up = lr_scheduler.LinearLR(optimizer, 1 / (length + 1), total_iters=length)
        down = lr_scheduler.CosineAnnealingLR(optimizer, 100 - length, 0.01)
        return lr_scheduler.SequentialLR(optimizer, [up, down], [length])

    lr = CosineAnnealing(0.3, 0.01, warmup).preview(100, steps_per_epoch=7)["lr"]
    assert lr == exactly(rates(build, 0.3, 100), 0.3)


@pytest.mark.parametrize(("warmup", "decay", "up", "down"), [("5%", "20%", 5, 20), (1, 99, 1, 99), ("1ep", 7, 10, 7)])
@pytest.mark.parametrize("low", [0.0, 0.03])
def test_warm_up_stable_decay_is_torchs(warmup, decay, up, down, low):
    def build(optimizer):
        rise = lr_scheduler.LinearLR(optimizer, 1 / (up + 1), total_iters=up)
        level = lr_scheduler.ConstantLR(optimizer, 1.0)
        fall = lr_scheduler.LinearLR(optimizer, 1.0, low / 0.3, total_iters=down)
        return lr_scheduler.SequentialLR(optimizer, [rise, level, fall], [up, 100 - down])

    lr = WarmupStableDecay(0.3, warmup, decay, low).preview(100, steps_per_epoch=10)["lr"]
    # Where the level is empty, torch has two milestones on one update.
    oracle = rates(build, 0.3, 100) if up + down < 100 else [0.15] + [0.3 + (low - 0.3) * t / 99 for t in range(99)]
    assert lr == exactly(oracle, 0.3)


@pytest.mark.parametrize("size", [1, 7, 30, 164, 200])
def test_step_decay_is_torchs(size):
    oracle = rates(lambda optimizer: lr_scheduler.StepLR(optimizer, size, 0.7), 0.3, 164)
    assert StepDecay(0.3, 0.7, every=size).preview(164)["lr"] == exactly(oracle, 0.3)


@pytest.mark.parametrize("milestones", [[1], [30, 60, 90], [1, 2, 3], [163], [164]])
def test_milestones_are_torchs(milestones):
    oracle = rates(lambda optimizer: lr_scheduler.MultiStepLR(optimizer, milestones, 0.1), 0.3, 164)
    assert StepDecay(0.3, milestones=milestones).preview(164)["lr"] == exactly(oracle, 0.3)


# Properties


@settings(deadline=None, database=None, max_examples=150)
@given(
    initial=st.floats(1e-30, 1e30),
    final=st.floats(1e-30, 1e30),
    updates=st.integers(3, 10**6),
    data=st.data(),
)
def test_exponential_decay_multiplies_by_one_factor(initial, final, updates, data):
    policy = ExponentialDecay(initial, final)
    values = policy.curves["lr"].bind(Horizon(updates))
    step = data.draw(st.integers(1, updates - 2))
    assert (values(0), values(updates - 1)) == (initial, final)
    assert min(initial, final) <= values(step) <= max(initial, final)
    # The geometric mean of its neighbours, and on the straight line of logarithms.
    assert values(step) ** 2 == pytest.approx(values(step - 1) * values(step + 1), rel=1e-12)
    line = math.log(initial) + (math.log(final) - math.log(initial)) * step / (updates - 1)
    assert math.log(values(step)) == pytest.approx(line, rel=1e-12, abs=1e-12)


@settings(deadline=None, database=None, max_examples=150)
@given(
    updates=st.integers(1, 10**6),
    warmup=st.one_of(st.integers(0, 10**6), st.integers(0, 100).map("{}%".format)),
    top=st.floats(1e-30, 1e30),
    ratio=st.floats(0, 1),
    share=st.floats(0, 1),
)
def test_a_cosine_never_leaves_its_bounds(updates, warmup, top, ratio, share):
    policy = CosineAnnealing(top, top * ratio, warmup)
    percent = isinstance(warmup, str)
    amount = int(warmup[:-1]) if percent else warmup
    length = (updates * amount + 50) // 100 if percent else amount
    length = max(length, amount > 0)
    curve, horizon = policy.curves["lr"], Horizon(updates)
    if length >= updates:
        refused(lambda: curve.bind(horizon), ValueError, f"warmup={warmup!r}", "shorten it or train for longer")
        return
    values = curve.bind(horizon)
    assert values(length) == top
    if length:
        assert 0 < values(0) <= values(length - 1) < top
    assert top * ratio <= values(length + int(share * (updates - 1 - length))) <= top


# What they refuse


POLICIES = {
    "lr": Constant,
    "initial_lr": lambda lr: ExponentialDecay(lr, 1e-5),
    "max_lr": CosineAnnealing,
    "max_lr, trapezoid": WarmupStableDecay,
    "initial_lr, steps": lambda lr: StepDecay(lr, every=1),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("lr", "error"),
    [
        (-0.1, ValueError),
        (0, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        ("0.1", TypeError),
        (True, TypeError),
        (None, TypeError),
    ],
)
def test_a_rate_that_is_none(policy, lr, error):
    name = policy.split(",")[0]
    refused(lambda: POLICIES[policy](lr), error, f"{name}={lr!r}", ABOVE_0)
    refused(lambda: POLICIES[policy]([0.1, lr]), error, f"{name}={lr!r}", ABOVE_0)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_list_of_none(policy):
    refused(lambda: POLICIES[policy]([]), ValueError, f"{policy.split(',')[0]}=[]", LISTS)


@pytest.mark.parametrize("policy", [CosineAnnealing, WarmupStableDecay])
@pytest.mark.parametrize(
    ("arguments", "error", "argument", "remedy"),
    [
        ({"min_lr": 0.2}, ValueError, "min_lr=0.2", "pass a min_lr of at most max_lr"),
        ({"min_lr": [0.05, 0.2]}, ValueError, "min_lr=0.2", "pass a min_lr of at most max_lr"),
        ({"max_lr": [0.3, 0.1], "min_lr": 0.2}, ValueError, "min_lr=0.2", "pass a min_lr of at most max_lr"),
        ({"min_lr": -0.1}, ValueError, "min_lr=-0.1", AT_LEAST_0),
        ({"min_lr": math.nan}, ValueError, "min_lr=nan", AT_LEAST_0),
        ({"min_lr": None}, TypeError, "min_lr=None", AT_LEAST_0),
        ({"max_lr": [0.1, 0.2], "min_lr": [0.1]}, ValueError, "max_lr=[0.1, 0.2], min_lr=[0.1]", LISTS),
        ({"min_lr": []}, ValueError, "min_lr=[]", LISTS),
        ({"warmup": -1}, ValueError, "warmup=-1", DURATION),
        ({"warmup": 0.05}, TypeError, "warmup=0.05", DURATION),
        ({"warmup": "5"}, ValueError, "warmup='5'", DURATION),
        ({"warmup": None}, TypeError, "warmup=None", DURATION),
        ({"optimizer": -1}, ValueError, "optimizer=-1", "pass an int of at least 0"),
        ({"total_steps": 0}, ValueError, "total_steps=0", "pass an int of at least 1"),
        ({"on_new_horizon": "shrink"}, ValueError, "on_new_horizon='shrink'", "pass None or 'keep' or 'stretch'"),
    ],
)
def test_cosine_and_trapezoid(policy, arguments, error, argument, remedy):
    refused(lambda: policy(**{"max_lr": 0.1, **arguments}), error, argument, remedy)


@pytest.mark.parametrize(
    ("decay", "error"), [(-1, ValueError), (0.2, TypeError), ("101%", ValueError), ("2 epochs", ValueError)]
)
def test_a_decay_that_is_no_duration(decay, error):
    refused(lambda: WarmupStableDecay(0.1, decay=decay), error, f"decay={decay!r}", DURATION)


@pytest.mark.parametrize(
    ("final", "error", "argument", "remedy"),
    [
        (0.0, ValueError, "final_lr=0.0", ABOVE_0),
        (0, ValueError, "final_lr=0", ABOVE_0),
        (-0.1, ValueError, "final_lr=-0.1", AT_LEAST_0),
        (math.inf, ValueError, "final_lr=inf", ""),
        ("0.1", TypeError, "final_lr='0.1'", "pass a number"),
        (None, TypeError, "final_lr=None", "pass a number"),
        ([0.1, 0.0], ValueError, "final_lr=0.0", ABOVE_0),
        ([0.1], ValueError, "initial_lr=[0.1, 0.2], final_lr=[0.1]", LISTS),
    ],
)
def test_a_final_rate(final, error, argument, remedy):
    refused(lambda: ExponentialDecay([0.1, 0.2], final), error, argument, remedy)


# What only the run's length can tell


@pytest.mark.parametrize(
    ("policy", "updates", "argument", "remedy"),
    [
        (CosineAnnealing(0.1, warmup=10), 10, "warmup=10", "shorten it or train for longer"),
        (CosineAnnealing(0.1, warmup="100%"), 10, "warmup='100%'", "shorten it or train for longer"),
        (CosineAnnealing(0.1, warmup="1ep"), 10, "warmup='1ep'", "give the duration in updates"),
        (WarmupStableDecay(0.1, 6, 5), 10, "warmup=6, decay=5", "shorten them or train for longer"),
        (WarmupStableDecay(0.1, "60%", "50%"), 10, "warmup='60%', decay='50%'", "shorten them or train for longer"),
        (WarmupStableDecay(0.1), 1, "warmup='5%', decay='20%'", "shorten them or train for longer"),
        (WarmupStableDecay(0.1, warmup=0, decay=11), 10, "warmup=0, decay=11", "shorten them or train for longer"),
        (WarmupStableDecay(0.1, "1ep"), 10, "warmup='1ep'", "give the duration in updates"),
        (WarmupStableDecay(0.1, decay="1ep"), 10, "decay='1ep'", "give the duration in updates"),
    ],
)
def test_what_does_not_fit_the_run(policy, updates, argument, remedy):
    refused(lambda: policy.preview(updates), ValueError, argument, remedy)


def test_what_just_fits_the_run():
    assert WarmupStableDecay(0.3, 2, 2).preview(4)["lr"] == pytest.approx([0.1, 0.2, 0.3, 0.15], abs=1e-15)
    assert WarmupStableDecay(0.3, 0, 0).preview(2)["lr"] == [0.3, 0.3]
    assert WarmupStableDecay(0.3, 2, 0).preview(2)["lr"] == pytest.approx([0.1, 0.2], abs=1e-15)
    assert CosineAnnealing(0.2, warmup=1).preview(2)["lr"] == [0.1, 0.2]


@pytest.mark.parametrize("updates", [3, 5, 13, 99, 999_999])
def test_two_halves_fit_a_run_of_an_odd_length(updates):
    # Both are rounded up, to one update more than there are.
    policy, rising = WarmupStableDecay(1.0, "50%", "50%"), (updates + 1) // 2
    lr = policy.preview(updates)["lr"]
    assert lr[rising - 1] == pytest.approx(rising / (rising + 1), abs=1e-12)
    assert lr[rising] == 1.0
    assert lr[-1] == pytest.approx(1 / (updates - rising), abs=1e-12)


def test_they_have_no_cycles():
    for policy in (
        Constant(0.1),
        StepDecay(0.1, every=1),
        ExponentialDecay(0.1, 0.01),
        CosineAnnealing(0.1, warmup=2),
        WarmupStableDecay(0.1),
    ):
        assert policy.cycles(100, 10) == ()
