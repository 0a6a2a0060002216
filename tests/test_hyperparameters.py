from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, RMSprop

from lightning_lr.hyperparameters import HyperParameter


def weights():
    return Parameter(torch.zeros(2))


def groups(*settings):
    return [{"params": [weights()], **setting} for setting in settings]


def column(optimizer, name):
    return [group[name] for group in optimizer.param_groups]


# Floats


def test_one_value_for_one_group():
    optimizer = SGD([weights()], lr=0.1)
    lr = HyperParameter("lr", optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1  # to look is not to touch
    lr.spread(0.3)
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert lr.written == [0.3]
    assert lr.changed() is None


def test_groups_keep_their_ratios_to_the_largest():
    optimizer = SGD(groups({"lr": 0.05}, {"lr": 0.2}, {}), lr=0.1)
    lr = HyperParameter("lr", optimizer)
    lr.spread(1.0)
    assert column(optimizer, "lr") == [0.25, 1.0, 0.5]
    # Of what it was built with, not of what was written since.
    lr.spread(8.0)
    assert column(optimizer, "lr") == lr.written == [2.0, 8.0, 4.0]


def test_a_group_at_0_stays_there():
    optimizer = SGD(groups({"lr": 0.0}, {"lr": 0.1}), lr=0.1)
    HyperParameter("lr", optimizer).spread(0.7)
    assert column(optimizer, "lr") == [0.0, 0.7]


def test_a_list_sets_each_group():
    optimizer = SGD(groups({"lr": 0.05}, {"lr": 0.2}), lr=0.1)
    HyperParameter("lr", optimizer).write([0.3, 0.4])
    assert column(optimizer, "lr") == [0.3, 0.4]


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_list_of_the_wrong_length(count):
    optimizer = SGD(groups({}, {}, {}), lr=0.1)
    lr = HyperParameter("lr", optimizer)
    message = (
        rf"^lr=\[\.\.\.\]: a list of {count} for the 3 param groups of SGD; give one a group, or a single one for all$"
    )
    with pytest.raises(ValueError, match=message):
        lr.write([0.5] * count)
    with pytest.raises(ValueError, match=message):
        lr.refuse_count(count)
    assert column(optimizer, "lr") == [0.1, 0.1, 0.1]


def test_every_group_at_0_leaves_no_ratio():
    with pytest.raises(ValueError, match=r"^lr=0: SGD was built with it in every param group.*; build it with a posit"):
        HyperParameter("lr", SGD(groups({}, {}), lr=0.0))


def test_a_group_that_is_added_is_treated_the_same_way():
    optimizer = SGD([weights()], lr=0.2)
    lr = HyperParameter("lr", optimizer)
    lr.spread(0.01)
    optimizer.add_param_group({"params": [weights()], "lr": 0.1})
    optimizer.add_param_group({"params": [weights()], "lr": 0.0})
    optimizer.add_param_group({"params": [weights()]})
    assert lr.changed() is None
    lr.spread(1.0)
    assert column(optimizer, "lr") == [1.0, 0.5, 0.0, 1.0]
    lr.spread(0.5)
    assert column(optimizer, "lr") == [0.5, 0.25, 0.0, 0.5]


def test_a_group_that_is_added_is_missed_in_a_list():
    optimizer = SGD(groups({}, {}), lr=0.2)
    lr = HyperParameter("lr", optimizer)
    optimizer.add_param_group({"params": [weights()]})
    with pytest.raises(ValueError, match=r"^lr=.*: a list of 2 for the 3 param groups of SGD; give one a group"):
        lr.write([0.1, 0.1])


@pytest.mark.parametrize("foreign", [0.3, 0, float("nan"), torch.tensor(0.2)])
def test_a_change_by_somebody_else_is_seen(foreign):
    optimizer = SGD(groups({}, {}), lr=0.1)
    lr = HyperParameter("lr", optimizer)
    lr.spread(0.2)
    optimizer.param_groups[1]["lr"] = foreign
    assert lr.changed() == 1
    assert lr.found(1) is foreign
    lr.spread(0.4)
    assert lr.changed() is None


def test_a_change_of_something_else_is_none():
    optimizer = SGD([weights()], lr=0.1, momentum=0.9)
    lr, momentum = HyperParameter("lr", optimizer), HyperParameter("momentum", optimizer)
    lr.spread(0.2)
    momentum.spread(0.8)
    optimizer.param_groups[0]["momentum"] = 0.5
    assert lr.changed() is None
    assert momentum.changed() == 0


def test_nothing_has_changed_before_the_first_write():
    assert HyperParameter("lr", SGD([weights()], lr=0.1)).changed() is None


# Tensors


def test_a_tensor_is_written_in_place():
    rate = torch.tensor(0.1)
    optimizer = Adam([weights()], lr=rate, capturable=True, foreach=False)
    lr = HyperParameter("lr", optimizer)
    lr.spread(0.25)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25
    assert lr.written == [0.25]
    assert lr.changed() is None


def test_a_tensor_that_somebody_else_fills_is_seen_by_its_version_alone():
    rate = torch.tensor(0.1)
    lr = HyperParameter("lr", SGD([weights()], lr=rate))
    lr.spread(0.25)
    rate.fill_(0.25)  # the very value: that it is not read is what is tried
    assert lr.changed() == 0
    lr.spread(0.5)
    assert lr.changed() is None


def test_a_tensor_that_is_replaced_is_seen():
    optimizer = SGD([weights()], lr=torch.tensor(0.1))
    lr = HyperParameter("lr", optimizer)
    lr.spread(0.25)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.25)
    assert lr.changed() == 0
    lr.spread(0.5)
    assert lr.changed() is None
    assert optimizer.param_groups[0]["lr"].item() == 0.5
    optimizer.param_groups[0]["lr"] = 0.5
    assert lr.changed() == 0


def test_tensors_of_several_groups_keep_their_ratios():
    optimizer = SGD(groups({"lr": torch.tensor(0.5)}, {"lr": 0.25}, {"lr": torch.tensor(0.0)}), lr=0.1)
    lr = HyperParameter("lr", optimizer)
    lr.spread(1.0)
    assert [float(rate) for rate in column(optimizer, "lr")] == [1.0, 0.5, 0.0]
    assert [isinstance(rate, torch.Tensor) for rate in column(optimizer, "lr")] == [True, False, True]
    assert lr.changed() is None


def test_one_tensor_that_torch_shares_among_groups():
    # `SGD([...], lr=tensor)` puts the very same tensor into every group that has none of its own.
    optimizer = SGD(groups({}, {}), lr=torch.tensor(0.1))
    assert optimizer.param_groups[0]["lr"] is optimizer.param_groups[1]["lr"]
    lr = HyperParameter("lr", optimizer)
    lr.spread(0.5)
    assert lr.changed() is None
    assert [float(rate) for rate in column(optimizer, "lr")] == [0.5, 0.5]


def test_one_shared_tensor_does_not_lose_what_a_list_gives_each_group():
    optimizer = SGD(groups({}, {}), lr=torch.tensor(0.1))
    lr = HyperParameter("lr", optimizer)
    lr.write([0.5, 0.25])
    assert [float(rate) for rate in column(optimizer, "lr")] == [0.5, 0.25]
    assert lr.changed() is None


def test_a_group_that_is_added_with_the_shared_tensor_has_ratio_1():
    optimizer = SGD([weights()], lr=torch.tensor(0.5))
    lr = HyperParameter("lr", optimizer)
    lr.spread(0.125)
    optimizer.add_param_group({"params": [weights()]})
    lr.spread(1.0)
    assert [float(rate) for rate in column(optimizer, "lr")] == [1.0, 1.0]


# Momentum


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_betas_give_up_the_first_alone(kind):
    optimizer = kind(groups({"betas": (0.8, 0.95)}, {}), lr=0.1, betas=(0.9, 0.999))
    momentum = HyperParameter("momentum", optimizer)
    momentum.spread(0.85)
    assert column(optimizer, "betas") == [(0.85, 0.95), (0.85, 0.999)]
    assert momentum.changed() is None
    optimizer.param_groups[1]["betas"] = (0.85, 0.9)  # not ours
    assert momentum.changed() is None
    optimizer.param_groups[1]["betas"] = (0.8, 0.9)
    assert momentum.changed() == 1


def test_betas_of_tensors():
    betas = (torch.tensor(0.9), torch.tensor(0.999))
    optimizer = Adam([weights()], lr=0.1, betas=betas, capturable=True, foreach=False)
    momentum = HyperParameter("momentum", optimizer)
    momentum.spread(0.5)
    assert optimizer.param_groups[0]["betas"][0] is betas[0]
    assert [beta.item() for beta in betas] == [0.5, pytest.approx(0.999)]
    betas[1].fill_(0.9)
    assert momentum.changed() is None
    betas[0].fill_(0.9)
    assert momentum.changed() == 0


def test_momentum_has_no_ratios():
    optimizer = SGD(groups({"momentum": 0.5}, {}), lr=0.1, momentum=0.9)
    HyperParameter("momentum", optimizer).spread(0.8)
    assert column(optimizer, "momentum") == [0.8, 0.8]


@pytest.mark.parametrize(
    ("optimizer", "value", "index"),
    [
        (SGD([weights()], lr=0.1), "0", 0),
        (RMSprop([weights()], lr=0.1), "0", 0),
        (torch.optim.Adagrad([weights()], lr=0.1), "None", 0),
        (SGD(groups({}, {"momentum": 0.0}), lr=0.1, momentum=0.9), "0.0", 1),
    ],
)
def test_an_optimizer_without_momentum(optimizer, value, index):
    name = type(optimizer).__name__
    before = [{**group} for group in optimizer.param_groups]
    with pytest.raises(
        ValueError, match=rf"^momentum={value}: {name} has no momentum in param group {index}; "
    ) as refused:
        HyperParameter("momentum", optimizer)
    assert "cycle_momentum=False" in str(refused.value)
    assert all(group.keys() == was.keys() for group, was in zip(optimizer.param_groups, before, strict=True))


# Weight decay


def test_weight_decay_keeps_its_ratios_and_its_zeros():
    optimizer = AdamW(groups({"weight_decay": 0.0}, {"weight_decay": 0.02}, {}), lr=0.1, weight_decay=0.01)
    HyperParameter("weight_decay", optimizer).spread(0.5)
    assert column(optimizer, "weight_decay") == [0.0, 0.5, 0.25]


def test_weight_decay_of_0_everywhere_has_no_ratios():
    optimizer = SGD(groups({}, {}), lr=0.1)
    decay = HyperParameter("weight_decay", optimizer)
    decay.spread(0.5)
    optimizer.add_param_group({"params": [weights()]})
    decay.spread(0.25)
    assert column(optimizer, "weight_decay") == [0.25, 0.25, 0.25]


def test_an_optimizer_without_weight_decay():
    optimizer = torch.optim.Rprop([weights()], lr=0.1)
    with pytest.raises(ValueError, match=r"^weight_decay=None: Rprop has none in param group 0; leave it out"):
        HyperParameter("weight_decay", optimizer)


# Over a resume


def test_a_resumed_run_keeps_the_ratios_of_the_first():
    optimizer = SGD(groups({"lr": 0.1}, {"lr": 0.4}), lr=0.1)
    first = HyperParameter("lr", optimizer)
    first.spread(1.0)
    state = first.state_dict()
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 0.7, 0.7
    resumed = HyperParameter("lr", optimizer)
    resumed.load_state_dict(state)
    resumed.spread(2.0)
    assert column(optimizer, "lr") == [0.5, 2.0]
    assert state == {"reference": 0.4, "ratios": [0.25, 1.0]}


@pytest.mark.parametrize("built", [({}, {}, {}), ({}, {"lr": 0.05}, {"lr": 0.0})])
@pytest.mark.parametrize("foreign", [0.3, float("nan"), torch.tensor(0.2)])
def test_an_exchange_writes_until_it_meets_what_somebody_else_has_put_there(built, foreign):
    optimizer = SGD(groups(*built), lr=0.1)
    lr = HyperParameter("lr", optimizer)
    lr.spread(0.2)
    assert lr.exchange(0.4) is None
    ratios = [group.get("lr", 0.1) / 0.1 for group in built]
    assert column(optimizer, "lr") == [0.4 * ratio for ratio in ratios]
    optimizer.param_groups[1]["lr"] = foreign
    assert lr.exchange(0.8) == 1
    assert optimizer.param_groups[1]["lr"] is foreign


def test_an_exchange_takes_in_a_group_that_was_added():
    optimizer = SGD(groups({}, {}), lr=0.1)
    lr = HyperParameter("lr", optimizer)
    lr.spread(0.2)
    optimizer.add_param_group({"params": [weights()], "lr": 0.05})
    assert lr.exchange(0.4) is None
    assert column(optimizer, "lr") == [0.4, 0.4, 0.2]
    # Equal is enough: a value that was read and put back is not a change.
    optimizer.param_groups[0]["lr"] = float("0.4")
    assert lr.exchange(0.8) is None
    assert column(optimizer, "lr") == [0.8, 0.8, 0.4]
