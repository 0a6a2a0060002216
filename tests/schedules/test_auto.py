"""`Auto`: what is known of a curve whose learning rate is not, and what is refused before anyone knows it."""

from __future__ import annotations

import copy
import math
import pickle
from functools import partial

import pytest

from lightning_lr import (
    SGDR,
    Anneal,
    Constant,
    CosineAnnealing,
    Curve,
    CyclicLR,
    ExponentialDecay,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmupStableDecay,
)
from lightning_lr.durations import Horizon
from lightning_lr.schedules.auto import Auto, per_group

# By policy: what to give it with "auto", what `RangeTest` calls the values, and the same policy with numbers.
POLICIES = {
    "Constant": (partial(Constant, lr="auto"), {"lr": "fixed_lr"}),
    "StepDecay": (partial(StepDecay, initial_lr="auto", every=3), {"initial_lr": "fixed_lr"}),
    "ExponentialDecay": (partial(ExponentialDecay, initial_lr="auto", final_lr=1e-3), {"initial_lr": "fixed_lr"}),
    "ReduceOnPlateau": (partial(ReduceOnPlateau, initial_lr="auto", monitor="loss"), {"initial_lr": "fixed_lr"}),
    "CosineAnnealing": (partial(CosineAnnealing, max_lr="auto", min_lr=0.01, warmup=2), {"max_lr": "max_lr"}),
    "WarmupStableDecay": (partial(WarmupStableDecay, max_lr="auto", warmup=2), {"max_lr": "max_lr"}),
    "CyclicLR": (
        partial(CyclicLR, base_lr="auto", max_lr="auto", step_size_up=3),
        {"max_lr": "max_lr", "base_lr": "base_lr"},
    ),
    "CyclicLR, base_lr": (partial(CyclicLR, base_lr="auto", max_lr=0.8, step_size_up=3), {"base_lr": "base_lr"}),
    "CyclicLR, max_lr": (partial(CyclicLR, base_lr=0.1, max_lr="auto", step_size_up=3), {"max_lr": "max_lr"}),
    "SGDR": (partial(SGDR, max_lr="auto", cycles=3, warmup=1, max_lr_decay=0.9), {"max_lr": "max_lr"}),
    "OneCycle": (partial(OneCycle, max_lr="auto", three_phase=True), {"max_lr": "max_lr"}),
}
FOUND = {"max_lr": 0.4, "base_lr": 0.05, "fixed_lr": 0.2}
every_policy = pytest.mark.parametrize("name", POLICIES)


def of(name):
    """The policy, what it takes of `FOUND`, and the policy that was given this."""
    build, known_as = POLICIES[name]
    numbers = {argument: FOUND[rate] for argument, rate in known_as.items()}
    return build(), numbers, build(**numbers)


def curves_of(policy):
    curves = policy.curves["lr"]
    return [curves] if isinstance(curves, Curve) else list(curves)


@every_policy
def test_what_is_asked_of_a_range_test(name):
    policy, _, given = of(name)
    assert policy.auto.asked == POLICIES[name][1]
    assert policy.found == {}
    assert given.auto is None
    assert given.found == {}


def test_the_table_has_every_policy():
    exported = {type(of(name)[0]) for name in POLICIES}
    assert exported == {each for each in vars(__import__("lightning_lr")).values() if _is_policy(each)} - {Schedule}


def _is_policy(each):
    return isinstance(each, type) and issubclass(each, Schedule)


@every_policy
def test_cycles_are_known(name):
    policy, _, given = of(name)
    assert policy.cyclic is given.cyclic
    if name != "ReduceOnPlateau":
        assert policy.cycles(12, 6) == given.cycles(12, 6)
        # `peak` takes no part in the comparison of cycles.
        assert [cycle.peak for cycle in policy.cycles(12, 6)] == [cycle.peak for cycle in given.cycles(12, 6)]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "ReduceOnPlateau"])
def test_values_are_not(name, tmp_path):
    policy, _, _ = of(name)
    asked = ", ".join(f"{argument}='auto'" for argument in POLICIES[name][1])
    remedy = "run lr_range_test now, and pass the number that it finds"
    said = f"{asked}: nobody knows it before the fit, which runs an LR range test; {remedy}"
    for foresee in (
        lambda: policy.preview(12, 6),
        lambda: policy.columns(Horizon(12, 6)),
        lambda: policy.plot(tmp_path / "never.png", 12, 6),
        lambda: policy.describe(None, None),
    ):
        with pytest.raises(RuntimeError) as caught:
            foresee()
        assert str(caught.value) == said
    assert not any(tmp_path.iterdir())


@every_policy
def test_with_its_rates_it_is_the_policy_that_was_given_them(name):
    policy, numbers, given = of(name)
    policy.take(numbers)
    assert policy.found == numbers
    if name == "ReduceOnPlateau":
        assert curves_of(policy)[0].at(0, Horizon(1)) == 0.2
    else:
        assert policy.curves == given.curves
        assert policy.preview(12, 6) == given.preview(12, 6)
    policy.take({})
    assert policy.found == {}
    with pytest.raises(RuntimeError, match="nobody knows it before the fit"):
        policy.curves["lr"].at(0, Horizon(12, 6))


@pytest.mark.parametrize("taken", [False, True], ids=["waiting", "taken"])
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))], ids=["deepcopy", "pickle"]
)
@every_policy
def test_a_copy_waits_as_well(name, duplicate, taken):
    policy, numbers, given = of(name)
    if taken:
        policy.take(numbers)
    another = duplicate(policy)
    assert another.found == policy.found
    another.take(numbers)
    assert [curve.at(5, Horizon(12, 6)) for curve in curves_of(another)] == [
        curve.at(5, Horizon(12, 6)) for curve in curves_of(given)
    ]
    if not taken:
        assert policy.found == {}


@pytest.mark.parametrize(
    ("policy", "momentum"),
    [
        (CyclicLR("auto", "auto"), 0.8),
        (CyclicLR("auto", 0.1, cycle_momentum=False), None),
        (SGDR("auto", cycles=1), None),
        (SGDR("auto", cycles=1, cycle_momentum=True), 0.85),
        (OneCycle("auto", base_momentum=0.7), 0.7),
        (OneCycle("auto", cycle_momentum=False), None),
        (Constant("auto"), None),
    ],
)
def test_the_momentum_of_the_highest_rate(policy, momentum):
    assert policy.auto.momentum == momentum


def test_a_list_beside_it_makes_a_curve_a_group():
    policy = CosineAnnealing("auto", min_lr=[0.0, 0.1])
    assert policy.provisional()["lr"][0].end == 0.0
    policy.take({"max_lr": 0.4})
    assert policy.curves == CosineAnnealing([0.4, 0.4], min_lr=[0.0, 0.1]).curves


# What is refused


def refused(build, error, said):
    with pytest.raises(error) as caught:
        build()
    assert caught.type is error
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (lambda: CosineAnnealing(0.1, min_lr="auto"), "min_lr"),
        (lambda: CosineAnnealing("auto", min_lr="auto"), "min_lr"),
        (lambda: WarmupStableDecay(0.1, min_lr="auto"), "min_lr"),
        (lambda: SGDR(0.1, "auto", cycles=1), "min_lr"),
        (lambda: ReduceOnPlateau(0.1, "loss", min_lr="auto"), "min_lr"),
        (lambda: ExponentialDecay("auto", "auto"), "final_lr"),
    ],
)
def test_what_a_range_test_does_not_tell(build, argument):
    refused(build, ValueError, f"{argument}='auto': an LR range test does not tell it; pass a number")


@pytest.mark.parametrize(
    ("build", "given"),
    [
        (lambda: OneCycle([0.1, "auto"]), "max_lr=[0.1, 'auto']"),
        (lambda: Constant(["auto"]), "lr=['auto']"),
        (lambda: CyclicLR(["auto", 0.1], "auto"), "base_lr=['auto', 0.1]"),
    ],
)
def test_a_list_has_numbers(build, given):
    refused(
        build,
        ValueError,
        f'{given}: an LR range test tells one rate, and the param groups keep their ratios; pass "auto" alone, or a '
        "number for each group",
    )


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: OneCycle("abc"), "max_lr='abc': not a number; pass a number above 0, or \"auto\""),
        (lambda: StepDecay("Auto", every=1), "initial_lr='Auto': not a number; pass a number above 0, or \"auto\""),
        (lambda: Constant(None), 'lr=None: not a number; pass a number above 0, or "auto"'),
        (lambda: CyclicLR("0.1", 0.2), "base_lr='0.1': not a number; pass a number of at least 0, or \"auto\""),
        (lambda: SGDR(0.1, "abc", cycles=1), "min_lr='abc': not a number; pass a number of at least 0"),
        (lambda: OneCycle([0.1, "abc"]), "max_lr='abc': not a number; pass a number above 0"),
    ],
)
def test_another_word(build, said):
    refused(build, TypeError, said)


# All but the rate is refused at construction, as it is beside a number.
@pytest.mark.parametrize(
    "build",
    [
        lambda rate: CyclicLR(-0.1, rate),
        lambda rate: CyclicLR(rate, 0.5, step_size_up=0),
        lambda rate: CyclicLR(rate, 0.5, gamma=2.0, mode="exp_range"),
        lambda rate: SGDR(rate),
        lambda rate: SGDR(rate, cycles=0),
        lambda rate: SGDR(rate, math.nan, cycles=2),
        lambda rate: SGDR(rate, cycles=2, warmup="1mile"),
        lambda rate: OneCycle(rate, pct_start=1.5),
        lambda rate: OneCycle(rate, div_factor=0.0),
        lambda rate: StepDecay(rate),
        lambda rate: StepDecay(rate, every=1, factor=-1.0),
        lambda rate: ExponentialDecay(rate, 0.0),
        lambda rate: CosineAnnealing(rate, warmup=-1),
        lambda rate: WarmupStableDecay(rate, decay="200%"),
        lambda rate: ReduceOnPlateau(rate, "loss", min_lr=-1.0),
    ],
)
def test_what_is_wrong_with_the_rest(build):
    with pytest.raises((TypeError, ValueError)) as given:
        build(0.5)
    with pytest.raises(type(given.value)) as waiting:
        build("auto")
    assert str(waiting.value) == str(given.value)


# ... and what a range test alone can decide is not.
@pytest.mark.parametrize(
    "build",
    [
        lambda: SGDR("auto", 0.5, cycles=5, max_lr_decay=0.5),
        lambda: CosineAnnealing("auto", 30.0),
        lambda: CyclicLR(30.0, "auto"),
        lambda: CyclicLR("auto", 1e-9),
        lambda: ExponentialDecay("auto", 30.0),
    ],
)
def test_what_only_the_value_can_tell(build):
    assert build().found == {}


@pytest.mark.parametrize(
    ("policy", "found", "said"),
    [
        (
            CosineAnnealing("auto", 0.2),
            {"max_lr": 0.123456},
            "max_lr='auto': it stands for 0.123 here, and min_lr=0.2: above max_lr=0.123456; "
            "pass a min_lr of at most max_lr",
        ),
        (
            CyclicLR("auto", 0.01),
            {"base_lr": 0.05},
            "base_lr='auto': it stands for 0.05 here, and base_lr=0.05: above max_lr=0.01; "
            "pass a base_lr of at most max_lr",
        ),
        (
            SGDR("auto", 0.1, cycles=5, max_lr_decay=0.5),
            {"max_lr": 1.0},
            "max_lr='auto': it stands for 1 here, and max_lr_decay=0.5, min_lr_decay=1.0: by cycle 4 max_lr would be "
            "below min_lr; let them decay alike, or pass a lower min_lr",
        ),
    ],
)
def test_a_rate_that_does_not_go_with_the_others(policy, found, said):
    refused(lambda: policy.take(found), ValueError, said)
    assert policy.found == {}


@pytest.mark.parametrize(
    ("rates", "lr", "near"),
    [
        ({"max_lr": "auto"}, 0.1, {"max_lr": 0.1}),
        ({"max_lr": "auto", "base_lr": "auto"}, 0.1, {"max_lr": 0.1, "base_lr": 0.025}),
        ({"max_lr": "auto", "min_lr": [0.0, 0.3]}, 0.1, {"max_lr": 0.3}),
        ({"max_lr": 0.01, "base_lr": "auto"}, 0.1, {"base_lr": 0.01}),
    ],
)
def test_rates_of_a_size(rates, lr, near):
    assert Auto(Anneal if len(rates) == 2 else partial(Anneal, end=0.0), rates).rates_near(lr) == near


def test_a_list_that_changes_later_changes_nothing():
    lowest = [0.0, 0.1]
    waiting = per_group(Anneal, max_lr="auto", min_lr=lowest)
    lowest.append(0.2)
    assert [curve.end for curve in waiting.resolve({"max_lr": 1.0})] == [0.0, 0.1]
