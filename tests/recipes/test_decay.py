"""Weight decay acts on weights, and each parameter is in one param group."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from recipes.decay import kept_off, optimizer_of


class Own(nn.Module):
    """Parameters of every kind that a user's layer may have."""

    def __init__(self):
        super().__init__()
        self.mixing = nn.Parameter(torch.ones(2, 2))
        self.scale = nn.Parameter(torch.ones(2))
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.relative_position_bias_table = nn.Parameter(torch.ones(3, 2))
        self.biased = nn.Parameter(torch.ones(2, 3))


def split(optimizer):
    return [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]


@pytest.mark.parametrize(
    ("module", "kept"),
    [
        (nn.Linear(3, 2), {"bias"}),
        (nn.Linear(3, 2, bias=False), set()),
        (nn.Conv2d(1, 2, 3), {"bias"}),
        (nn.Embedding(5, 2), set()),
        (nn.BatchNorm2d(2), {"weight", "bias"}),
        (nn.GroupNorm(1, 2), {"weight", "bias"}),
        # Of more than one dimension, and still a normalisation's.
        (nn.LayerNorm((3, 4)), {"weight", "bias"}),
        (nn.RMSNorm((3, 4)), {"weight"}),
        (nn.InstanceNorm2d(2, affine=True), {"weight", "bias"}),
        (nn.PReLU(), {"weight"}),
        (nn.MultiheadAttention(4, 2, add_bias_kv=True), {"in_proj_bias", "out_proj.bias", "bias_k", "bias_v"}),
        (nn.LSTM(2, 3), {"bias_ih_l0", "bias_hh_l0"}),
        (Own(), {"scale", "temperature", "relative_position_bias_table"}),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else "",
)
def test_what_is_kept_off(module, kept):
    assert kept_off(module) == kept


def test_each_parameter_is_in_one_group_in_the_modules_order():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    decayed, kept = optimizer_of(module, partial(torch.optim.SGD, weight_decay=0.5)).param_groups
    assert [id(each) for each in decayed["params"]] == [id(module[0].weight), id(module[2].weight)]
    others = [module[0].bias, module[1].weight, module[1].bias, module[2].bias]
    assert [id(each) for each in kept["params"]] == list(map(id, others))
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)
    # Nothing but the decay is another.
    assert {**kept, "params": 0, "weight_decay": 0} == {**decayed, "params": 0, "weight_decay": 0}


def test_decay_pulls_the_weights_alone():
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    before = {name: each.clone() for name, each in module.named_parameters()}
    optimizer = optimizer_of(module, partial(torch.optim.SGD, lr=0.1, weight_decay=0.5))
    for each in module.parameters():
        each.grad = torch.zeros_like(each)
    optimizer.step()
    for name, each in module.named_parameters():
        factor = 1 - 0.1 * 0.5 if name == "0.weight" else 1.0
        torch.testing.assert_close(each, before[name] * factor)


def test_a_tied_weight_is_in_one_group():
    module = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    module[1].weight = module[0].weight
    assert split(optimizer_of(module, partial(torch.optim.SGD, weight_decay=0.5))) == [(1, 0.5), (1, 0.0)]


def test_a_frozen_parameter_is_where_it_would_be():
    module = nn.Linear(3, 2)
    module.weight.requires_grad_(False)
    assert split(optimizer_of(module, partial(torch.optim.SGD, weight_decay=0.5))) == [(1, 0.5), (1, 0.0)]


@pytest.mark.parametrize(
    ("module", "make", "groups"),
    [
        (nn.Linear(3, 2), torch.optim.SGD, [(2, 0)]),
        (nn.Linear(3, 2), partial(torch.optim.AdamW, weight_decay=0.0), [(2, 0.0)]),
        # By torch's own default.
        (nn.Linear(3, 2), torch.optim.AdamW, [(1, 0.01), (1, 0.0)]),
        (nn.Linear(3, 2, bias=False), torch.optim.AdamW, [(1, 0.01)]),
        (nn.LayerNorm(3), torch.optim.AdamW, [(2, 0.0)]),
    ],
)
def test_one_group_where_nothing_would_differ(module, make, groups):
    assert split(optimizer_of(module, make)) == groups


def test_an_optimizer_without_decay_is_left_alone():
    optimizer = optimizer_of(nn.Linear(3, 2), torch.optim.LBFGS)
    assert len(optimizer.param_groups) == 1
    assert "weight_decay" not in optimizer.param_groups[0]


def test_all_is_decayed_where_that_is_asked_for():
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    assert split(optimizer_of(module, torch.optim.AdamW, decay_all=True)) == [(4, 0.01)]
