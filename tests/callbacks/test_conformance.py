"""One suite that every pure policy passes: the curve on paper is the curve that the optimizer saw."""

from __future__ import annotations

import copy
import pickle
import random

import pytest
import torch

from lightning_lr import Curve, Horizon
from tests.callbacks.conformance import CASES, Case, policies
from tests.callbacks.watched import RATIOS, Heard, Keep, Watched, WatchedPair, foreseen, foretold
from tests.fits import fit, loader, trainer

every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])

# Options of a trainer, batches an epoch; the updates of the run and of an epoch; how many batches lead to each update.
RUNS = {
    "each batch": ({"max_epochs": 2}, 6, (12, 6), [1] * 12),
    "three batches": ({"max_epochs": 3, "accumulate_grad_batches": 3}, 10, (12, 4), [3, 3, 3, 1] * 3),
    "max_steps": ({"max_steps": 13}, 5, (13, 5), [1] * 13),
}


def curves(policy):
    for curve in policy.curves.values():
        yield from [curve] if isinstance(curve, Curve) else curve


def cycles(policy, total_steps, steps_per_epoch):
    return [
        (cycle.start, cycle.end, cycle.complete, cycle.peak) for cycle in policy.cycles(total_steps, steps_per_epoch)
    ]


# The table itself


def test_every_policy_is_in_the_table():
    settings = {policy: [case for case in CASES if case.build.func is policy] for policy in policies()}
    assert [policy.__name__ for policy, cases in settings.items() if len(cases) < 2] == []
    # A list of rates among them.
    assert [policy.__name__ for policy, cases in settings.items() if all(case.groups == 1 for case in cases)] == []
    assert len(settings) >= 9


def test_the_table_says_something_of_every_column():
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        columns = list(case.build().preview(12, 6))
        assert [*case.literals] == [*case.bounds] == columns == [*case.formula(12, 6)]
        assert all(len(values) >= 2 and 0 in values for values in case.literals.values())


# On paper


@every_case
def test_literal_values(case):
    columns = case.build().preview(12, 6)
    for name, literals in case.literals.items():
        found = {step: columns[name][step] for step in literals}
        assert found == pytest.approx(literals, rel=0, abs=1e-15)


@every_case
@pytest.mark.parametrize("length", ["shortest", (12, 6), (12, 4), (13, 5), (40, 7), (1000, 60)], ids=str)
def test_the_closed_form_at_every_update(case, length):
    total_steps, steps_per_epoch = (case.shortest, 1) if length == "shortest" else length
    columns = case.build().preview(total_steps, steps_per_epoch)
    expected = case.formula(total_steps, steps_per_epoch)
    assert columns.keys() == expected.keys()
    for name, values in expected.items():
        assert len(columns[name]) == total_steps
        assert columns[name] == pytest.approx(values, rel=0, abs=1e-12 * max(values))


@every_case
def test_a_run_too_short_is_refused_in_one_line(case):
    for total_steps in range(case.shortest, 30):
        case.build().preview(total_steps, 3)
    if case.shortest > 1:
        with pytest.raises(ValueError, match=r"^[a-z_]+=[^\n]+: [^\n]+; [^\n]+$"):
            case.build().preview(case.shortest - 1, 1)


@every_case
@pytest.mark.parametrize(("total_steps", "steps_per_epoch"), [(12, 6), (12, 4), (13, 5), (1000, 60), (10_007, 997)])
def test_values_stay_in_their_range(case, total_steps, steps_per_epoch):
    columns = case.build().preview(total_steps, steps_per_epoch)
    for name, (low, high) in case.bounds.items():
        assert low <= min(columns[name])
        assert max(columns[name]) <= high


@every_case
def test_at_in_any_order_is_the_preview(case):
    policy, horizon = case.build(), Horizon(40, 7)
    steps = [*range(40)] * 2
    random.Random(0).shuffle(steps)
    for curve, column in zip(curves(policy), policy.preview(40, 7).values(), strict=True):
        assert [curve.at(step, horizon) for step in steps] == [column[step] for step in steps]
        assert curve.at(40, horizon) == curve.at(10**9, horizon) == column[-1]


@every_case
def test_cycles_and_peaks(case):
    assert cycles(case.build(), 12, 6) == list(case.cycles)


@every_case
@pytest.mark.parametrize(("total_steps", "steps_per_epoch"), [(12, 6), (13, 5), (40, 7), (1000, 60)])
def test_cycles_tile_what_follows_the_warm_up(case, total_steps, steps_per_epoch):
    found = case.build().cycles(total_steps, steps_per_epoch)
    if not case.cycles:
        assert found == ()
        return
    assert [cycle.index for cycle in found] == list(range(len(found)))
    assert [cycle.end for cycle in found[:-1]] == [cycle.start for cycle in found[1:]]
    assert found[-1].end == total_steps
    assert all(cycle.complete for cycle in found[:-1])
    for cycle in found:
        assert cycle.start < cycle.end
        assert cycle.peak is None or cycle.start < cycle.peak
        assert cycle.peak is None or cycle.peak < cycle.end or not cycle.complete


# As a value


def test_curves_are_hashed_by_what_they_are():
    for case in CASES:
        once, again = case.build(), case.build()
        assert once.curves == again.curves
        assert [hash(curve) for curve in curves(once)] == [hash(curve) for curve in curves(again)]


@every_case
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))], ids=["deepcopy", "pickle"]
)
def test_a_copy_is_as_good(case, duplicate):
    policy = case.build()
    before = duplicate(policy)
    fit(policy, module=Watched(case.groups), max_epochs=2, batches=6)
    after = duplicate(policy)
    for each in (before, after):
        assert each.curves == policy.curves
        assert each.preview(12, 6) == policy.preview(12, 6)
        assert cycles(each, 12, 6) == cycles(policy, 12, 6)
    module = fit(after, module=Watched(case.groups), max_epochs=2, batches=6)
    assert module.updates == foreseen(policy, case.groups, 12, 6)


# In a fit


@every_case
@pytest.mark.parametrize("run", RUNS)
def test_a_fit_records_its_preview(case, run):
    options, batches, length, micro_batches = RUNS[run]
    policy, module, heard = case.build(), Watched(case.groups), Heard()
    fit(policy, heard, module=module, batches=batches, **options)

    expected = foreseen(case.build(), case.groups, *length)
    assert module.updates == expected
    assert module.forwards == [held for held, count in zip(expected, micro_batches, strict=True) for _ in range(count)]
    for name, values in case.formula(*length).items():
        # "lr[1]" is the second param group's.
        key, _, group = name.partition("[")
        recorded = [held[int(group[:-1] or 0) if group else 0][key] for held in module.updates]
        assert recorded == pytest.approx(values, rel=0, abs=1e-12 * max(values))
    assert list(policy.run_cycles) == list(policy.cycles(*length))
    assert sorted(heard.told) == foretold(policy, *length)


@every_case
def test_betas_are_momentum(case):
    module = fit(case.build(), module=Watched(case.groups, torch.optim.AdamW), max_epochs=2, batches=6)
    assert module.updates == foreseen(case.build(), case.groups, 12, 6)


@pytest.mark.parametrize("case", [case for case in CASES if case.groups == 1], ids=lambda case: case.name)
def test_two_groups_keep_their_ratios(case):
    policy = case.build()
    module = fit(policy, module=Watched(2), max_epochs=2, batches=6)
    for first, second in module.updates:
        for name in ("lr", "weight_decay"):
            assert second[name] == pytest.approx(first[name] * RATIOS[1], rel=1e-12, abs=0)
        assert second["momentum"] == first["momentum"]
    for name, column in policy.preview(12, 6).items():
        assert [held[0][name] for held in module.updates] == column


@pytest.mark.parametrize("case", [case for case in CASES if case.groups == 2], ids=lambda case: case.name)
def test_a_list_of_two_for_another_number_of_groups(case):
    with pytest.raises(ValueError, match=r"^[a-z_]+=\[...\]: a list of 2 for the 1 param groups of SGD; give one a"):
        fit(case.build(), module=Watched(1), max_epochs=2, batches=6)


# Each case beside the one after it, so that each is once the first's policy and once the second's.
@pytest.mark.parametrize(
    ("first", "second"), [*zip(CASES, CASES[1:] + CASES[:1], strict=True)], ids=[case.name for case in CASES]
)
def test_two_optimizers_each_with_a_policy_of_its_own(first: Case, second: Case):
    module = WatchedPair(first.groups, second.groups)
    fit(first.build(optimizer=0), second.build(optimizer=1), module=module, max_epochs=2, batches=6)
    assert module.updates[0] == foreseen(first.build(), first.groups, 12, 6)
    assert module.updates[1] == foreseen(second.build(), second.groups, 12, 6)


# The data of an update is drawn from its number: the loader's place in the epoch does not matter here.
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@every_case
def test_resumed_before_every_update(case, tmp_path):
    heard = Heard()
    whole = fit(case.build(), Keep(tmp_path), heard, module=Watched(case.groups), max_epochs=2, batches=6)
    assert whole.updates == foreseen(case.build(), case.groups, 12, 6)
    for step in range(13):
        module, after = Watched(case.groups), Heard()
        run = trainer(case.build(), after, max_epochs=2)
        run.fit(module, loader(6), ckpt_path=tmp_path / f"{step}.ckpt", weights_only=True)
        assert module.updates == whole.updates[step:]
        # An end is told before a checkpoint of that moment, what comes next again after it.
        assert after.told == [told for told in heard.told if told[0] > step or (told[0] == step and told[1] != "end")]
