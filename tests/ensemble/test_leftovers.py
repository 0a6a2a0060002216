"""What forward passes leave behind, in everything a module may keep it in."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque

import pytest
import torch
from torch import nn

from lightning_lr.ensemble.leftovers import Leftovers


class Hoarder(nn.Module):
    """Keeps everything, everywhere."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.calls = 0
        self.cache, self.order, self.groups = {}, OrderedDict(), defaultdict(list)
        self.seen, self.kinds, self.last = [], set(), deque(maxlen=2)
        self.nested = {"a": [{"b": []}]}
        self.plain = torch.zeros(2)
        self.plain_in_list = [torch.zeros(2)]
        self.register_buffer("count", torch.tensor(0), persistent=False)
        self.register_buffer("mean", torch.zeros(2), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.cache["kernel"] = self.order["kernel"] = self.inner.weight * 2
        self.groups["x"].append(x)
        self.seen.append(x)
        self.kinds.add(x.dtype)
        self.last.append(x)
        self.nested["a"][0]["b"].append(x)
        self.plain += 1
        self.plain_in_list[0].add_(1)
        self.count += 1
        self.mean = self.mean + x.mean(dim=0)
        self.attention = x
        self.register_buffer("late", x)
        return self.inner(x)


@pytest.mark.parametrize("nest", [lambda net: net, nn.Sequential, lambda net: nn.ModuleList([nn.Sequential(net)])])
def test_everything_is_as_it_was(nest):
    net = Hoarder()
    leftovers = Leftovers(nest(net))
    mean = net.mean
    for _ in range(3):
        net(torch.ones(3, 2))
        assert net.calls == 1
        assert net.count.item() == 1
        assert len(net.seen) == len(net.nested["a"][0]["b"]) == 1
        leftovers.clear()
        assert net.calls == 0
        assert (net.cache, net.order, net.groups, net.seen, net.kinds) == ({}, OrderedDict(), {}, [], set())
        assert net.last == deque()
        assert net.nested == {"a": [{"b": []}]}
        assert net.plain.tolist() == net.plain_in_list[0].tolist() == [0.0, 0.0]
        assert net.count.item() == 0
        assert net.mean is mean
        assert net.mean.tolist() == [0.0, 0.0]
        assert not hasattr(net, "attention")
        assert set(net._buffers) == {"count", "mean"}
        assert net.last.maxlen == 2


def test_what_was_there_before_is_kept():
    net = Hoarder()
    net(torch.ones(3, 2))
    seen, kernel = net.seen[0], net.cache["kernel"]
    leftovers = Leftovers(net)
    net(torch.zeros(1, 2))
    leftovers.clear()
    assert net.calls == 1
    assert net.seen == [seen]
    assert net.cache["kernel"] is kernel
    assert net.count.item() == 1


def test_containers_that_hold_themselves_and_each_other():
    net = Hoarder()
    net.seen.append(net.seen)
    net.shared = [net.cache, net.cache]
    leftovers = Leftovers(net)
    net(torch.ones(3, 2))
    leftovers.clear()
    assert len(net.seen) == 1
    assert net.shared[0] is net.shared[1] is net.cache
    assert net.cache == {}


def test_in_inference_mode_too():
    net = Hoarder()
    leftovers = Leftovers(net)
    with torch.inference_mode():
        net(torch.ones(3, 2))
        leftovers.clear()
    assert net.count.item() == 0
    net.count.add_(1)


@pytest.mark.parametrize(("beside", "after"), [(True, 5.0), (False, 0.0)])
def test_buffers_are_cleared_and_parameters_and_what_others_see_to_are_not(beside, after):
    net = nn.Sequential(Hoarder(), nn.BatchNorm1d(2))
    leftovers = Leftovers(net, net.state_dict(keep_vars=True).values() if beside else ())
    net[1].running_mean.fill_(5.0)
    with torch.no_grad():
        net[0].inner.weight.fill_(5.0)
    assert bool(leftovers) is not beside
    leftovers.clear()
    assert not leftovers
    assert net[1].running_mean.tolist() == [after, after]
    assert net[0].inner.weight.tolist() == [[5.0, 5.0], [5.0, 5.0]]


def test_a_lazy_layer_stays_what_it_became():
    net = nn.Sequential(nn.LazyLinear(2))
    leftovers = Leftovers(net)
    net(torch.ones(1, 3))
    leftovers.clear()
    assert type(net[0]) is nn.Linear
    assert net(torch.ones(1, 3)).shape == (1, 2)


def test_what_hooks_put_into_a_layer_of_torch():
    net = nn.Sequential(nn.Linear(2, 2))
    nn.utils.prune.random_unstructured(net[0], "weight", amount=1)
    leftovers = Leftovers(net)
    weight = net[0].weight
    net(torch.ones(1, 2))
    assert net[0].weight is not weight
    leftovers.clear()
    assert net[0].weight is weight
