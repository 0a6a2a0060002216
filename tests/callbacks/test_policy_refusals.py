"""What the policies refuse: one line with argument, value and remedy, as early as it can be told."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_lr import SGDR, OneCycle, Schedule, StepDecay

ABOVE_0 = "pass a number above 0"
DURATION = 'write 500 or "500st" for updates, "10ep" for epochs, "30%" for a share of the run'
ONE_OF = "pass exactly one of them"
SHARE = "pass a number above 0 and of at most 1"
MOMENTUM = "pass a number of at least 0 and below 1"
LISTS = "give them the same length, or one number for all"
CURVE = "pass a number, a function of the update, or a curve"


def refused(build, error, argument, remedy):
    with pytest.raises(error) as caught:
        build()
    assert caught.type is error
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{argument}: ")
    assert remedy in message.split("; ", 1)[1]


@pytest.mark.parametrize(
    ("policy", "argument"),
    [
        (lambda lr: SGDR(lr, cycles=1), "max_lr"),
        (OneCycle, "max_lr"),
        (lambda lr: StepDecay(lr, every=1), "initial_lr"),
    ],
)
@pytest.mark.parametrize(
    ("lr", "error"),
    [
        (-0.1, ValueError),
        (0.0, ValueError),
        (0, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        ("0.1", TypeError),
        ("abc", TypeError),
        (True, TypeError),
        (None, TypeError),
        ({"lr": 0.1}, TypeError),
    ],
)
def test_a_rate_that_is_none(policy, argument, lr, error):
    refused(lambda: policy(lr), error, f"{argument}={lr!r}", ABOVE_0)


@pytest.mark.parametrize("policy", [lambda lr: SGDR(lr, cycles=1), OneCycle])
def test_lists_of_rates(policy):
    refused(lambda: policy([]), ValueError, "max_lr=[]", "")
    refused(lambda: policy([0.1, -0.2]), ValueError, "max_lr=-0.2", ABOVE_0)
    refused(lambda: policy([0.1, "0.2"]), TypeError, "max_lr='0.2'", ABOVE_0)
    refused(lambda: policy([[0.1], [0.2]]), TypeError, "max_lr=[0.1]", ABOVE_0)


@pytest.mark.parametrize(
    ("arguments", "error", "argument", "remedy"),
    [
        ({"min_lr": -0.1}, ValueError, "min_lr=-0.1", "pass a number of at least 0"),
        ({"min_lr": math.nan}, ValueError, "min_lr=nan", "pass a number of at least 0"),
        ({"min_lr": "0"}, TypeError, "min_lr='0'", "pass a number of at least 0"),
        ({"min_lr": 0.2}, ValueError, "min_lr=0.2", "pass a min_lr of at most max_lr"),
        ({"min_lr": [0.0, 0.2]}, ValueError, "min_lr=0.2", "pass a min_lr of at most max_lr"),
        ({"max_lr": [0.1, 0.2], "min_lr": [0.1]}, ValueError, "max_lr=[0.1, 0.2], min_lr=[0.1]", LISTS),
        ({"min_lr": []}, ValueError, "min_lr=[]", LISTS),
        ({"cycles": None}, ValueError, "cycles=None, cycle=None", ONE_OF),
        ({"cycle": "1ep"}, ValueError, "cycles=3, cycle='1ep'", ONE_OF),
        ({"cycles": 0}, ValueError, "cycles=0", "pass an int of at least 1"),
        ({"cycles": -1}, ValueError, "cycles=-1", "pass an int of at least 1"),
        ({"cycles": 2.5}, TypeError, "cycles=2.5", "pass an int of at least 1"),
        ({"cycles": "3"}, TypeError, "cycles='3'", "pass an int of at least 1"),
        ({"cycles": True}, TypeError, "cycles=True", "pass an int of at least 1"),
        ({"cycles": None, "cycle": 0}, ValueError, "cycle=0", "pass a duration above 0"),
        ({"cycles": None, "cycle": "0ep"}, ValueError, "cycle='0ep'", "pass a duration above 0"),
        ({"cycles": None, "cycle": "10 epochs"}, ValueError, "cycle='10 epochs'", DURATION),
        ({"cycles": None, "cycle": 2.5}, TypeError, "cycle=2.5", DURATION),
        ({"cycles": None, "cycle": True}, TypeError, "cycle=True", DURATION),
        ({"cycle_mult": 0.99}, ValueError, "cycle_mult=0.99", "pass a number of at least 1"),
        ({"cycle_mult": math.inf}, ValueError, "cycle_mult=inf", "pass a number of at least 1"),
        ({"cycle_mult": "2"}, TypeError, "cycle_mult='2'", "pass a number of at least 1"),
        ({"max_lr_decay": 0.0}, ValueError, "max_lr_decay=0.0", SHARE),
        ({"max_lr_decay": 1.1}, ValueError, "max_lr_decay=1.1", SHARE),
        ({"max_lr_decay": "1"}, TypeError, "max_lr_decay='1'", SHARE),
        ({"min_lr_decay": -0.5}, ValueError, "min_lr_decay=-0.5", SHARE),
        ({"min_lr_decay": math.nan}, ValueError, "min_lr_decay=nan", SHARE),
        ({"warmup": -1}, ValueError, "warmup=-1", DURATION),
        ({"warmup": 0.05}, TypeError, "warmup=0.05", DURATION),
        ({"warmup": None}, TypeError, "warmup=None", DURATION),
        ({"warmup": "5"}, ValueError, "warmup='5'", DURATION),
        ({"warmup": "101%"}, ValueError, "warmup='101%'", DURATION),
        ({"base_momentum": -0.1}, ValueError, "base_momentum=-0.1", MOMENTUM),
        ({"max_momentum": 1.0}, ValueError, "max_momentum=1.0", MOMENTUM),
        ({"max_momentum": "0.9"}, TypeError, "max_momentum='0.9'", MOMENTUM),
        ({"base_momentum": 0.96}, ValueError, "base_momentum=0.96", "pass a base_momentum of at most max_momentum"),
        ({"optimizer": -1}, ValueError, "optimizer=-1", "pass an int of at least 0"),
        ({"optimizer": "0"}, TypeError, "optimizer='0'", "pass an int of at least 0"),
        ({"total_steps": 0}, ValueError, "total_steps=0", "pass an int of at least 1"),
        ({"total_steps": 10.0}, TypeError, "total_steps=10.0", "pass an int of at least 1"),
        ({"on_new_horizon": "shrink"}, ValueError, "on_new_horizon='shrink'", "pass None or 'keep' or 'stretch'"),
    ],
)
def test_sgdr(arguments, error, argument, remedy):
    refused(lambda: SGDR(**{"max_lr": 0.1, "cycles": 3, **arguments}), error, argument, remedy)


@pytest.mark.parametrize(
    ("arguments", "error", "argument", "remedy"),
    [
        ({"pct_start": 0}, ValueError, "pct_start=0", "pass a number above 0 and below 1"),
        ({"pct_start": 1.0}, ValueError, "pct_start=1.0", "pass a number above 0 and below 1"),
        ({"pct_start": math.nan}, ValueError, "pct_start=nan", "pass a number above 0 and below 1"),
        ({"pct_start": "30%"}, TypeError, "pct_start='30%'", "pass a number above 0 and below 1"),
        ({"pct_start": 0.51, "three_phase": True}, ValueError, "pct_start=0.51", "pass at most 0.5"),
        ({"anneal_strategy": "cosine"}, ValueError, "anneal_strategy='cosine'", "pass 'cos' or 'linear'"),
        ({"anneal_strategy": "exp"}, ValueError, "anneal_strategy='exp'", "pass 'cos' or 'linear'"),
        ({"anneal_strategy": None}, ValueError, "anneal_strategy=None", "pass 'cos' or 'linear'"),
        ({"div_factor": 0.0}, ValueError, "div_factor=0.0", ABOVE_0),
        ({"div_factor": "25"}, TypeError, "div_factor='25'", ABOVE_0),
        ({"final_div_factor": -1e4}, ValueError, "final_div_factor=-10000.0", ABOVE_0),
        ({"final_div_factor": math.inf}, ValueError, "final_div_factor=inf", ABOVE_0),
        (
            {"base_momentum": 0.95, "max_momentum": 0.85},
            ValueError,
            "base_momentum=0.95",
            "pass a base_momentum of at most max_momentum",
        ),
        ({"base_momentum": None}, TypeError, "base_momentum=None", MOMENTUM),
        ({"total_steps": -5}, ValueError, "total_steps=-5", "pass an int of at least 1"),
    ],
)
def test_one_cycle(arguments, error, argument, remedy):
    refused(lambda: OneCycle(**{"max_lr": 0.1, **arguments}), error, argument, remedy)


@pytest.mark.parametrize(
    ("arguments", "error", "argument", "remedy"),
    [
        ({}, ValueError, "every=None, milestones=None", ONE_OF),
        ({"every": "1ep", "milestones": [1]}, ValueError, "every='1ep', milestones=(1,)", ONE_OF),
        ({"every": 0}, ValueError, "every=0", "pass a duration above 0"),
        ({"every": "30"}, ValueError, "every='30'", DURATION),
        ({"every": 1.5}, TypeError, "every=1.5", DURATION),
        ({"every": 1, "factor": 0.0}, ValueError, "factor=0.0", ABOVE_0),
        ({"every": 1, "factor": "0.1"}, TypeError, "factor='0.1'", ABOVE_0),
        ({"milestones": []}, ValueError, "milestones=[]", "give one or more durations"),
        ({"milestones": ["1ep", "x"]}, ValueError, "milestones='x'", DURATION),
        ({"milestones": ["75%", "50%"]}, ValueError, "milestones=['75%', '50%']", "each must come after the one"),
        ({"milestones": [5, 5]}, ValueError, "milestones=[5, 5]", "each must come after the one before"),
    ],
)
def test_step_decay(arguments, error, argument, remedy):
    refused(lambda: StepDecay(0.1, **arguments), error, argument, remedy)


@pytest.mark.parametrize(
    ("arguments", "error", "argument", "remedy"),
    [
        ({}, ValueError, "lr=None, momentum=None, weight_decay=None", "pass one of them"),
        ({"lr": []}, ValueError, "lr=[]", "give one a group, or a single one for all"),
        ({"lr": "0.1"}, TypeError, "lr='0.1'", CURVE),
        ({"lr": [0.1, None]}, TypeError, "lr=None", CURVE),
        ({"lr": torch.tensor(0.1)}, TypeError, "lr=tensor(0.1000)", CURVE),
        ({"momentum": math.nan}, ValueError, "momentum=nan", "pass a "),
        ({"weight_decay": True}, TypeError, "weight_decay=True", "pass a "),
        ({"lr": 0.1, "on_new_horizon": True}, ValueError, "on_new_horizon=True", "pass None or 'keep' or 'stretch'"),
    ],
)
def test_schedule(arguments, error, argument, remedy):
    refused(lambda: Schedule(**arguments), error, argument, remedy)


def test_a_negative_constant():
    for name in ("lr", "momentum", "weight_decay"):
        refused(lambda name=name: Schedule(**{name: -0.1}), ValueError, f"{name}=-0.1", "at least 0")


# What only the run's length can tell


@pytest.mark.parametrize(
    ("policy", "total_steps", "steps_per_epoch", "argument", "remedy"),
    [
        (SGDR(0.1, cycles=6), 5, None, "cycles=6", "ask for fewer cycles or train for longer"),
        (SGDR(0.1, cycles=5, warmup=6), 10, None, "cycles=5", "ask for fewer cycles or train for longer"),
        (SGDR(0.1, cycles=3, cycle_mult=2), 6, None, "cycles=3", "train for 7 updates or more"),
        (StepDecay(0.1, milestones=["1ep", 5]), 10, 5, "milestones=['1ep', 5] (updates [5, 5])", "each must come"),
        (StepDecay(0.1, milestones=["1%", "2%"]), 10, 5, "milestones=['1%', '2%'] (updates [1, 1])", "each must come"),
        # By the name and with the value that the user gave.
        (SGDR(0.1, cycles=1, warmup=10), 10, None, "warmup=10", "shorten it or train for longer"),
        (SGDR(0.1, cycles=1, warmup="2ep"), 10, 5, "warmup='2ep'", "shorten it or train for longer"),
        (SGDR(0.1, cycle="1ep"), 10, None, "cycle='1ep'", "give the duration in updates"),
        (SGDR(0.1, cycles=1, warmup="1ep"), 10, None, "warmup='1ep'", "give the duration in updates"),
        (StepDecay(0.1, every="1ep"), 10, None, "every='1ep'", "give the duration in updates"),
    ],
)
def test_what_does_not_fit_the_run(policy, total_steps, steps_per_epoch, argument, remedy):
    refused(lambda: policy.preview(total_steps, steps_per_epoch), ValueError, argument, remedy)


# Found by trying


@pytest.mark.parametrize("low", [0.05, 0.1])
def test_bounds_that_change_places_are_refused_where_the_count_tells_it(low):
    # After four cycles the upper bound would be 0.00625.
    refused(
        lambda: SGDR(0.1, low, cycles=5, max_lr_decay=0.5),
        ValueError,
        "max_lr_decay=0.5, min_lr_decay=1.0",
        "let them decay alike",
    )


@pytest.mark.parametrize(("high", "low"), [(0.1, 0.05), (0.1, 0.1), (1e-170, 0.9e-170)])
def test_bounds_that_change_places_are_refused(high, low):
    with pytest.raises(ValueError, match=r"changed places; "):
        SGDR(high, low, cycle=1, max_lr_decay=0.5).preview(5)


def test_bounds_that_only_meet_are_not_refused():
    assert SGDR(0.1, 0.05, cycle=1, max_lr_decay=0.5).preview(2) == {"lr": [0.1, 0.05]}
    assert SGDR(0.1, 0.1, cycle=1, min_lr_decay=0.5).preview(3) == {"lr": [0.1, 0.1, 0.1]}


def test_milestones_that_are_no_list():
    refused(lambda: StepDecay(0.1, milestones="50%"), TypeError, "milestones='50%'", "[")
    refused(lambda: StepDecay(0.1, milestones=5), TypeError, "milestones=5", "[")


def test_a_first_rate_beyond_every_float_is_refused_by_its_divisor():
    refused(lambda: OneCycle(1e300, div_factor=1e-300), ValueError, "max_lr / div_factor=inf", "pass a finite number")
