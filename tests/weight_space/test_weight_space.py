from __future__ import annotations

import copy
import gc
import pickle
import re
import weakref

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr.snapshots import SnapshotWriter
from lightning_lr.weight_space import BasinError, average_weights
from lightning_lr.weight_space.landscape import Mean
from tests.weight_space.test_basin import Absolute

X = torch.tensor([[1.0]])


def slope(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[value]])}


def average_of_slopes(slopes, truth: float, **options) -> nn.Module:
    """Of networks `slope * x`, measured by the squared error at x = 1."""
    net = nn.Linear(1, 1, bias=False)
    return average_weights(net, [*map(slope, slopes)], None, [(X, truth * X)], task="regression", **options)


def small_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def data(samples: int = 40) -> DataLoader:
    generator = torch.Generator().manual_seed(7)
    x, target = torch.randn(samples, 4, generator=generator), torch.randint(3, (samples,), generator=generator)
    return DataLoader(TensorDataset(x, target), batch_size=16)


def nearby(count: int) -> list[nn.Module]:
    """Networks a few small steps away from one, trained for a moment so that their statistics differ."""
    nets = []
    for seed in range(count):
        net = small_net()
        torch.manual_seed(100 + seed)
        for parameter in net.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        net(torch.randn(32, 4))
        nets.append(net)
    return nets


# The mean


def test_the_mean_by_hand():
    states = [{"w": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}, {"w": torch.tensor([3.0, 8.0]), "count": 7}]
    mean = Mean().plus(states[0]).plus(states[1], 3.0).state()
    assert mean["w"].tolist() == [2.5, 6.5]
    # What counts is not averaged.
    assert mean["count"] == 7


def test_the_mean_is_taken_in_float64():
    halves = [{"w": torch.tensor([value], dtype=torch.float16)} for value in (60000.0, 60032.0)]
    assert Mean().plus(halves[0]).plus(halves[1]).state()["w"].tolist() == [60016.0]
    third = {"w": torch.tensor([0.1, 1e30, 3e-45])}
    mean = Mean()
    for _ in range(7):
        mean = mean.plus(third)
    assert torch.equal(mean.state()["w"].float(), third["w"])


def test_the_mean_of_complex_weights():
    states = [{"w": torch.tensor([1 + 2j])}, {"w": torch.tensor([3 - 4j])}]
    assert Mean().plus(states[0]).plus(states[1]).state()["w"].tolist() == [2 - 1j]


def test_the_mean_keeps_none_of_what_it_saw():
    seen = []
    mean = Mean()
    for value in range(4):
        weight = torch.full((3,), float(value), dtype=torch.float64)
        seen.append(weakref.ref(weight))
        mean = mean.plus({"w": weight})
        del weight
    gc.collect()
    assert [ref() for ref in seen] == [None] * 4
    assert mean.state()["w"].tolist() == [1.5] * 3


def test_uniform_is_what_torch_averages():
    nets, loader = nearby(4), data()
    averaged = average_weights(small_net(), nets, loader, loader, tolerance=1.0)
    oracle = AveragedModel(nets[0])
    for net in nets:
        oracle.update_parameters(net)
    update_bn(loader, oracle)
    expected = oracle.module.state_dict()
    assert {key: value.dtype for key, value in averaged.state_dict().items()} == {
        key: value.dtype for key, value in expected.items()
    }
    for key, value in averaged.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-6)
    assert averaged[1].num_batches_tracked == 3
    assert averaged[1].momentum == 0.1


def test_the_average_of_equal_members_is_that_member():
    net = nearby(1)[0]
    averaged = average_weights(small_net(), [net] * 3, None, data(), tolerance=0.0)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in averaged.state_dict().items())


def test_the_average_of_one_is_that_one():
    net = nearby(1)[0]
    averaged = average_weights(small_net(), [small_net(5), net], None, data(), last_m=1)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in averaged.state_dict().items())
    assert averaged.averaged == ("snapshots[1]",)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=6))
def test_the_mean_of_any_slopes(slopes):
    # A loss without barriers, and the same for all.
    averaged = average_of_slopes(slopes, 0.0, loss=lambda output, target: output.detach() * 0 + 1)
    assert averaged.weight.item() == pytest.approx(sum(slopes) / len(slopes), rel=1e-6, abs=1e-6)


def test_half_precision_snapshots_of_a_folder_in_a_float32_network(tmp_path):
    writer = SnapshotWriter(tmp_path / "snapshots", run_id="first")
    writer.open()
    for cycle, value in enumerate([9.0, 1.0, 2.001953125]):
        writer.write(slope(value), cycle=cycle, step=cycle + 1, epoch=cycle, lr=0.1, dtype=torch.float16)
    net = nn.Linear(1, 1, bias=False)
    folder = tmp_path / "snapshots"
    averaged = average_weights(net, folder, None, [(X, 1.5 * X)], last_m=2, task="regression")
    # In float16 the mean would be 1.501 rounded to 1.5009765625 or 1.5.
    assert averaged.weight.item() == 1.5009765625
    assert averaged.weight.dtype == torch.float32
    assert averaged.averaged == (
        "snapshots[1] (snapshot-001.safetensors)",
        "snapshots[2] (snapshot-002.safetensors)",
    )


def test_a_network_in_half_precision_stays_in_it():
    net = nn.Linear(1, 1, bias=False).bfloat16()
    members = [{"weight": torch.tensor([[value]])} for value in (1.0, 1.015625)]
    averaged = average_weights(net, members, None, [(X.bfloat16(), X.bfloat16())], task="regression", tolerance=9.0)
    assert averaged.weight.dtype == torch.bfloat16
    assert averaged.weight.item() == 1.0078125


def test_what_counts_is_the_last_ones():
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(1, 1, bias=False)
            self.register_buffer("steps", torch.tensor(0))

    members = [{**slope(1.0), "steps": torch.tensor(10)}, {**slope(2.0), "steps": torch.tensor(21)}]
    averaged = average_weights(Counting(), members, None, [(X, 1.5 * X)], task="regression")
    assert averaged.steps.item() == 21
    assert averaged.steps.dtype == torch.int64


def test_tied_weights_stay_tied():
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    net[1].weight = net[0].weight
    members = [{key: torch.tensor([[value]]) for key in net.state_dict()} for value in (1.0, 2.0)]
    averaged = average_weights(net, members, None, [(X, 2.25 * X)], task="regression")
    assert averaged[0].weight is averaged[1].weight
    assert averaged[0].weight.item() == 1.5


# The network that comes back


class Logging(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        self.frozen = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x):
        self.log("seen", 1.0)
        return self.layer(x)

    def test_step(self, batch, batch_idx):
        x, target = batch
        self.log("loss", F.mse_loss(self(x), target))


@pytest.mark.parametrize("method", ["uniform", "greedy"])
def test_what_comes_back_is_a_module_of_its_own(tmp_path, method):
    module = Logging().train()
    members = []
    for value in (1.0, 3.0):
        member = Logging()
        member.layer.weight.data.fill_(value)
        members.append(member)
    before = copy.deepcopy(module.state_dict())
    loader = DataLoader(TensorDataset(X, 2 * X))
    with torch.inference_mode():
        averaged = average_weights(module, members, None, loader, task="regression", method=method)
    assert type(averaged) is Logging
    assert averaged.layer.weight.item() == 2.0
    assert not averaged.training
    assert module.training
    assert torch.equal(module.layer.weight, before["layer.weight"])
    assert [member.layer.weight.item() for member in members] == [1.0, 3.0]
    # It can be tested, with its own logging, and trained.
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    assert trainer.test(averaged, loader, verbose=False) == [{"seen": 1.0, "loss": 0.0}]
    assert [parameter.requires_grad for parameter in averaged.parameters()] == [False, True]
    averaged.layer(X).sum().backward()
    assert averaged.layer.weight.grad.item() == 1.0
    assert averaged.averaged == ("snapshots[0]", "snapshots[1]")


@pytest.mark.slow
def test_a_compiled_module_comes_back_as_it_was_written():
    net = nn.Linear(1, 1, bias=False)
    compiled = torch.compile(nn.Linear(1, 1, bias=False))
    averaged = average_weights(compiled, [slope(1.0), compiled, net], None, [(X, X)], task="regression", tolerance=1e9)
    assert type(averaged) is nn.Linear
    expected = (1.0 + compiled.weight.item() + net.weight.item()) / 3
    assert averaged.weight.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.cuda
@pytest.mark.parametrize("method", ["uniform", "greedy"])
def test_it_runs_where_the_module_is(method):
    nets, loader = nearby(3), data()
    expected = average_weights(small_net(), nets, loader, loader, method=method)
    averaged = average_weights(small_net().cuda(), nets, loader, loader, method=method)
    assert averaged.averaged == expected.averaged
    for key, value in averaged.state_dict().items():
        assert value.is_cuda
        torch.testing.assert_close(value.cpu(), expected.state_dict()[key], rtol=1e-3, atol=1e-4)


# Different basins


def test_different_basins_are_refused_with_the_barrier_and_where():
    members = [Absolute(), Absolute(), Absolute(exchanged=True)]
    # Half way the network is 0, and the loss 4; at the ends 1, for the truth is 1 off.
    pair = [(torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0], [2.0]]))]
    message = (
        "snapshots[1], snapshots[2]: lie in different basins: 50% of the way from one to the other the validation loss "
        "is 4, a barrier of 3 above the line from 1 to 1, where tolerance=0.1 allows 0.1; average their predictions "
        "instead, with SnapshotEnsemble"
    )
    with pytest.raises(BasinError, match=f"^{re.escape(message)}$") as caught:
        average_weights(Absolute(), members, None, pair, task="regression")
    error = caught.value
    assert error.line is not None
    assert error.line.losses == (1.0, 2.25, 4.0, 2.25, 1.0)
    assert isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.line) == (message, error.line)


class Weight(nn.Module):
    """Two weights, and nothing else."""

    def __init__(self, a: float = 0.0, b: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([a, b]))

    def forward(self, x):
        return self.weight


def along_a_valley(out, target):
    """1 in the valley a = b², higher beside it."""
    a, b = out.unbind()
    return 1 + (a - b**2).abs()


def test_neighbours_in_one_valley_whose_mean_is_not_in_it():
    members = [Weight(1.0, -1.0), Weight(0.0, 0.0), Weight(1.0, 1.0)]
    # Half way between neighbours 1.25, in the middle of all three 1.667: only that is too high.
    with pytest.raises(BasinError) as caught:
        average_weights(Weight(), members, None, [(X, X)], loss=along_a_valley, tolerance=0.3)
    assert str(caught.value) == (
        "snapshots: lie in different basins: the mean of the 3 has validation loss 1.667, a barrier of 0.6667 above "
        "the mean of their own, 1, where tolerance=0.3 allows 0.3; average their predictions instead, with "
        "SnapshotEnsemble"
    )
    assert caught.value.line is None
    with pytest.raises(BasinError, match="50% of the way"):
        average_weights(Weight(), members, None, [(X, X)], loss=along_a_valley, tolerance=0.24)
    averaged = average_weights(Weight(), members[1:], None, [(X, X)], loss=along_a_valley, tolerance=0.26)
    assert averaged.weight.tolist() == [0.5, 0.5]


def test_a_network_that_computes_no_number_half_way_is_refused():
    with pytest.raises(BasinError, match="validation loss is nan, a barrier of inf"):
        average_of_slopes([-1.0, 1.0], 1.0, loss=lambda out, target: (out / out).mean())


def test_a_member_that_diverged_is_named():
    with pytest.raises(ValueError, match=r"^snapshots\[1\]: its own loss is nan; leave it out"):
        average_of_slopes([1.0, float("nan")], 1.0)


def test_a_mean_that_is_worse_than_the_last_one_is_told():
    told = r"the mean of 2 has validation loss 0\.25, the last one alone 0; take the later ones only, by last_m"
    with pytest.warns(UserWarning, match=told):
        averaged = average_of_slopes([0.0, 1.0], 1.0)
    assert averaged.weight.item() == 0.5


# The greedy soup


def test_greedy_takes_what_does_no_harm():
    # Errors 4, 1, −1.5, −3: 1 first; with −1.5 the mean is off by 0.25, with −3 too by 1.17, with 4 by 1.17.
    averaged = average_of_slopes([4.0, 1.0, -1.5, -3.0], 0.0, method="greedy")
    assert averaged.averaged == ("snapshots[1]", "snapshots[2]")
    assert averaged.weight.item() == -0.25


def test_greedy_never_refuses():
    members = [Absolute(), Absolute(exchanged=True)]
    x = torch.tensor([[1.0], [-1.0]])
    averaged = average_weights(Absolute(), members, None, [(x, x.abs())], task="regression", method="greedy")
    assert averaged.averaged == ("snapshots[0]",)
    assert torch.equal(averaged(x), x.abs())


def test_greedy_leaves_out_what_diverged():
    averaged = average_of_slopes([float("nan"), 1.0, 3.0], 2.0, method="greedy")
    assert averaged.averaged == ("snapshots[1]", "snapshots[2]")
    with pytest.raises(ValueError, match=r"^snapshots: none of the 2 has a finite validation loss"):
        average_of_slopes([float("nan"), float("inf")], 2.0, method="greedy")


@settings(max_examples=40, deadline=None)
@given(slopes=st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=6), truth=st.integers(-9, 9).map(float))
def test_greedy_against_its_definition(slopes, truth):
    averaged = average_of_slopes(slopes, truth, method="greedy")
    order = sorted(range(len(slopes)), key=lambda index: (slopes[index] - truth) ** 2)
    soup, best = [], float("inf")
    for index in order:
        loss = (sum(slopes[i] for i in [*soup, index]) / (len(soup) + 1) - truth) ** 2
        # Rounding decides where the two are equal but for it.
        if abs(loss - best) < 1e-4:
            return
        if loss < best:
            soup, best = [*soup, index], loss
    assert averaged.averaged == tuple(f"snapshots[{index}]" for index in sorted(soup))
    assert averaged.weight.item() == pytest.approx(sum(slopes[i] for i in soup) / len(soup), rel=1e-6)
    assert (averaged.weight.item() - truth) ** 2 <= min((each - truth) ** 2 for each in slopes) + 1e-6


def test_greedy_has_the_batch_statistics_of_what_it_took():
    nets, loader = nearby(3), data()
    averaged = average_weights(small_net(), nets, loader, loader, method="greedy")
    kept = [nets[int(name[10])] for name in averaged.averaged]
    oracle = AveragedModel(kept[0])
    for net in kept:
        oracle.update_parameters(net)
    update_bn(loader, oracle)
    for key, value in averaged.state_dict().items():
        torch.testing.assert_close(value, oracle.module.state_dict()[key], rtol=1e-5, atol=1e-6)


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "swa"}, "method='swa': unknown; pass 'uniform' or 'greedy'"),
        ({"tolerance": -0.1}, "tolerance=-0.1: out of range; pass a number of at least 0"),
        ({"tolerance": float("nan")}, "tolerance=nan: not finite"),
        ({"points": 2}, "points=2: out of range; pass an int of at least 3"),
        ({"last_m": 3}, "last_m=3: there are only 2 snapshots"),
        ({"task": "ranking"}, "task='ranking': unknown"),
    ],
)
def test_arguments_that_are_refused(options, message):
    net = nn.Linear(1, 1, bias=False)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        average_weights(net, [slope(1.0), slope(2.0)], None, [(X, X)], **options)


def test_which_weights_of_a_checkpoint_is_passed_on():
    with pytest.raises(ValueError, match=r'^ckpt_weights="averaged": snapshots\[0\] holds one set of weights'):
        average_of_slopes([1.0, 2.0], 1.5, ckpt_weights="averaged")


def test_loaders_that_are_refused():
    nets, loader = nearby(2), data()
    with pytest.raises(ValueError, match=r"^train_dataloader=None: the Sequential has batch normalisation"):
        average_weights(small_net(), nets, None, loader)
    with pytest.raises(ValueError, match=r"^val_dataloader=.*Iter: can be gone through only once"):
        average_weights(small_net(), nets, loader, iter(loader))
    with pytest.raises(ValueError, match=r"^val_dataloader: there is no sample in it"):
        average_weights(small_net(), nets, loader, [])


# Networks that were trained


@pytest.mark.parametrize("normalised", [True, False])
def test_one_run_shares_a_basin_and_two_runs_do_not(normalised):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 2, generator=generator)
    target = (x[:, 0] * x[:, 1] > 0).long()
    train, val = (
        DataLoader(TensorDataset(x[part], target[part]), batch_size=50) for part in (slice(300), slice(300, 400))
    )

    def trained(seed: int) -> list[dict[str, torch.Tensor]]:
        torch.manual_seed(seed)
        norm = nn.BatchNorm1d(32) if normalised else nn.Identity()
        net = nn.Sequential(nn.Linear(2, 32), norm, nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        snapshots = []
        for epoch in range(40):
            for batch, labels in train:
                optimizer.zero_grad()
                F.cross_entropy(net(batch), labels).backward()
                optimizer.step()
            if epoch % 5 == 4 and epoch > 20:
                snapshots.append(copy.deepcopy(net.state_dict()))
        nets[seed] = net
        return snapshots

    nets: dict[int, nn.Module] = {}
    first, other = trained(0), trained(1)
    averaged = average_weights(nets[0], first, train, val, tolerance=0.2)
    with torch.no_grad():
        accuracy = (averaged(x[300:]).argmax(1) == target[300:]).float().mean()
    assert accuracy > 0.9
    with pytest.raises(BasinError, match="lie in different basins"):
        average_weights(nets[0], [first[-1], other[-1]], train, val, tolerance=0.2)
