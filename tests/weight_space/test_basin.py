from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr.ensemble.members import members_of
from lightning_lr.snapshots import SnapshotWriter
from lightning_lr.weight_space.basin import Line, lines_between, loss_along_line
from lightning_lr.weight_space.landscape import Landscape

INPUTS = torch.tensor([[1.0], [-2.0], [3.0]])


def slope(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[value]])}


def line_of_slopes(first: float, second: float, **options) -> Line:
    """Between `first * x` and `second * x`, where the truth is x."""
    return loss_along_line(
        nn.Linear(1, 1, bias=False), slope(first), slope(second), [(INPUTS, INPUTS)], task="regression", **options
    )


class Absolute(nn.Module):
    """|x| of two hidden units, one for each sign; exchanged, they make the same function."""

    def __init__(self, exchanged: bool = False) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)
        sign = -1.0 if exchanged else 1.0
        self.hidden.weight.data = torch.tensor([[sign], [-sign]])
        self.out.weight.data = torch.ones(1, 2)

    def forward(self, x):
        return self.out(self.hidden(x).relu())


def small_net(seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))
    net[1].running_mean.normal_()
    return net


def data(samples: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(7)
    return TensorDataset(
        torch.randn(samples, 4, generator=generator), torch.randint(3, (samples,), generator=generator)
    )


class Watched(list):
    """A loader that counts how often it was gone through."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


# Closed forms


def test_the_loss_of_a_line_is_a_parabola():
    # Mean of x² is 14/3; the error at α is (1 − 4α) x.
    line = line_of_slopes(0.0, 4.0, points=5)
    assert line.alphas == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert line.losses == pytest.approx([14 / 3, 0.0, 14 / 3, 4 * 14 / 3, 9 * 14 / 3])
    assert (line.barrier, line.barrier_at, line.rise) == (0.0, 0.0, 0.0)
    assert line.names == ("snapshots[0]", "snapshots[1]")


@settings(max_examples=30, deadline=None)
@given(first=st.floats(-9, 9), second=st.floats(-9, 9), points=st.integers(2, 7))
def test_a_convex_loss_has_no_barrier(first, second, points):
    line = line_of_slopes(first, second, points=points)
    assert len(line.losses) == points
    for alpha, loss in zip(line.alphas, line.losses, strict=True):
        assert loss == pytest.approx(((1 - alpha) * first + alpha * second - 1) ** 2 * 14 / 3, rel=1e-4, abs=1e-5)
    assert line.barrier == pytest.approx(0.0, abs=1e-4)


def test_the_barrier_of_a_concave_loss():
    # −(x − 4αx)², by hand: its chord from −14/3 to −42 is passed by the most half way.
    line = line_of_slopes(0.0, 4.0, points=5, loss=lambda output, target: -((output - target) ** 2).mean())
    assert line.losses == pytest.approx([-14 / 3, 0.0, -14 / 3, -4 * 14 / 3, -42.0])
    assert line.barrier_at == 0.5
    assert line.barrier == pytest.approx((14 / 3 + 42) / 2 - 14 / 3)
    assert line.rise == pytest.approx(line.barrier / ((14 / 3 + 42) / 2))


def test_the_same_function_with_its_units_exchanged_is_behind_a_barrier():
    pair = [(INPUTS, INPUTS.abs())]
    line = loss_along_line(Absolute(), Absolute(), Absolute(exchanged=True), pair, task="regression", points=5)
    # The hidden weights are ±(1 − 2α): the network is |1 − 2α| |x|.
    assert line.losses == pytest.approx([0.0, 14 / 3 / 4, 14 / 3, 14 / 3 / 4, 0.0])
    assert (line.barrier, line.barrier_at) == (pytest.approx(14 / 3), 0.5)
    assert line.rise == float("inf")


# The loss


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "oracle"),
    [
        ("multiclass", 3, torch.tensor([0, 2, 1, 1, 0]), F.cross_entropy),
        ("binary", 1, torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0]).unsqueeze(1), F.binary_cross_entropy_with_logits),
        ("multilabel", 2, torch.tensor([[0.0, 1.0]]).repeat(5, 1), F.binary_cross_entropy_with_logits),
        ("regression", 2, torch.linspace(-1, 1, 10).view(5, 2), F.mse_loss),
    ],
)
def test_the_loss_of_a_task_is_its_own(task, outputs, targets, oracle):
    torch.manual_seed(0)
    nets = nn.Linear(3, outputs), nn.Linear(3, outputs)
    x = torch.randn(5, 3)
    line = loss_along_line(*nets[:1], *nets, [(x[:2], targets[:2]), (x[2:], targets[2:])], task=task, points=2)
    assert line.losses == pytest.approx([oracle(net(x), targets).item() for net in nets], rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_every_sample_counts_once_whatever_the_batches(reduction):
    loader = [(INPUTS[:2], INPUTS[:2]), (INPUTS[2:], INPUTS[2:]), (INPUTS[:0], INPUTS[:0])]
    line = loss_along_line(
        nn.Linear(1, 1, bias=False),
        slope(0.0),
        slope(2.0),
        loader,
        loss=lambda output, target: F.l1_loss(output, target, reduction=reduction).squeeze(-1),
        points=2,
    )
    assert line.losses == pytest.approx([2.0, 2.0])


def test_one_value_a_pixel_is_as_good_as_one_a_sample():
    net, x, target = nn.Conv2d(1, 2, 1), torch.randn(3, 1, 4, 4), torch.randint(2, (3, 4, 4))
    each = lambda output, target: F.cross_entropy(output, target, reduction="none")  # noqa: E731
    loader = [(x[:1], target[:1]), (x[1:], target[1:])]
    line = loss_along_line(net, net, net.state_dict(), loader, points=2, loss=each)
    assert line.losses == pytest.approx([F.cross_entropy(net(x), target).item()] * 2)


def test_a_batch_is_taken_apart_by_unpack():
    net = nn.Linear(1, 1, bias=False)
    batch = {"x": INPUTS, "y": INPUTS}
    unpack = lambda batch: (batch["x"], batch["y"])  # noqa: E731
    line = loss_along_line(net, slope(1.0), slope(2.0), [batch], task="regression", unpack=unpack, points=2)
    assert line.losses == pytest.approx([0.0, 14 / 3])


def test_what_is_not_a_number_is_a_barrier_without_end():
    line = line_of_slopes(-1.0, 1.0, points=3, loss=lambda out, target: (out / out - 1 + (out - target) ** 2).mean())
    assert np.isnan(line.losses[1])
    assert (line.barrier, line.barrier_at, line.rise) == (float("inf"), 0.5, float("inf"))


# Batch statistics


def oracle_loss(state: dict[str, torch.Tensor], loader: DataLoader) -> float:
    net = small_net()
    net.load_state_dict(state)
    update_bn(loader, net)
    x, target = loader.dataset.tensors
    return F.cross_entropy(net.eval()(x), target).item()


def mixed(first: nn.Module, second: nn.Module, alpha: float) -> dict[str, torch.Tensor]:
    ends = first.state_dict(), second.state_dict()
    return {
        key: value * (1 - alpha) + ends[1][key] * alpha if value.is_floating_point() else value
        for key, value in ends[0].items()
    }


def test_batch_statistics_are_taken_at_every_point():
    first, second = small_net(1), small_net(2)
    loader = DataLoader(data(), batch_size=16)
    line = loss_along_line(small_net(), first, second, loader, train_dataloader=loader, points=5)
    oracle = [oracle_loss(mixed(first, second, alpha), loader) for alpha in line.alphas]
    assert line.losses == pytest.approx(oracle, rel=1e-5)


def test_there_is_no_dropout_in_the_batch_statistics():
    ends = small_net(1), small_net(2)
    loader = DataLoader(data(), batch_size=16)
    plain = loss_along_line(small_net(), *ends, loader, train_dataloader=loader, points=3)
    dropped = loss_along_line(small_net(dropout=0.5), *ends, loader, train_dataloader=loader, points=3)
    assert dropped.losses == plain.losses


def test_a_part_that_runs_only_in_training_keeps_its_statistics():
    class WithAuxiliary(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.main, self.auxiliary = small_net(seed), nn.BatchNorm1d(3)
            self.auxiliary.running_mean.fill_(seed)

        def forward(self, x):
            return self.auxiliary(self.main(x)) if self.training else self.main(x)

    loader = DataLoader(data(), batch_size=16)
    members = members_of(WithAuxiliary(0), [WithAuxiliary(seed).state_dict() for seed in (1, 2)])
    landscape = Landscape(WithAuxiliary(0), members, loader, loader, F.cross_entropy, None)
    landscape.loss_at(members[1].state_dict())
    assert landscape.network.auxiliary.running_mean.tolist() == [2.0, 2.0, 2.0]
    assert landscape.network.main[1].num_batches_tracked == 3


def test_statistics_that_are_the_same_in_all_were_frozen_and_stay():
    first, second = small_net(1), small_net(2)
    second[1].load_state_dict(first[1].state_dict())
    loader = DataLoader(data(), batch_size=16)
    line = loss_along_line(small_net(), first, second, loader, points=2)
    x, target = loader.dataset.tensors
    oracle = [F.cross_entropy(net.eval()(x), target).item() for net in (first, second)]
    assert line.losses == pytest.approx(oracle, rel=1e-5)


def test_every_point_sees_the_same_batches():
    shuffled = DataLoader(data(), batch_size=16, shuffle=True)
    seeded = DataLoader(data(), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(3))
    for loader in (shuffled, seeded):
        seen: list[bytes] = []

        def unpack(batch, seen=seen):
            seen.append(batch[0].numpy().tobytes())
            return batch

        ends = small_net(1), small_net(2)
        loss_along_line(small_net(), *ends, loader, train_dataloader=loader, points=4, unpack=unpack)
        # Three batches a pass, two passes a point: all passes are alike.
        assert len(seen) == 3 * 2 * 4
        assert len(set(seen)) == 3


# Nothing is disturbed


def test_module_and_random_states_are_left_as_they_are():
    net, ends = small_net(0, dropout=0.5).train(), (small_net(1), small_net(2))
    net[1].eval()
    before = [copy.deepcopy(each.state_dict()) for each in (net, *ends)]
    modes = [part.training for part in net.modules()]
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(data(), batch_size=16, shuffle=True, generator=generator)
    states = torch.get_rng_state(), generator.get_state(), random.getstate(), np.random.get_state()[1].tolist()

    def unpack(batch):
        random.random(), np.random.random(), torch.rand(1)
        return batch

    loss_along_line(net, *ends, loader, train_dataloader=loader, points=3, unpack=unpack)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(generator.get_state(), states[1])
    assert random.getstate() == states[2]
    assert np.random.get_state()[1].tolist() == states[3]
    assert [part.training for part in net.modules()] == modes
    assert all(part.momentum == 0.1 for part in net.modules() if isinstance(part, nn.BatchNorm1d))
    for each, state in zip((net, *ends), before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in each.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_random_states_are_put_back_after_an_error_too():
    net, before = nn.Linear(1, 1, bias=False), torch.get_rng_state()

    def loss(output, target):
        torch.rand(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loss_along_line(net, slope(0.0), slope(1.0), [(INPUTS, INPUTS)], loss=loss)
    assert torch.equal(torch.get_rng_state(), before)


# Several lines


def test_neighbours_of_a_folder(tmp_path):
    writer = SnapshotWriter(tmp_path / "snapshots", run_id="first")
    writer.open()
    for cycle, value in enumerate([3.0, 1.0, -1.0, 0.0]):
        writer.write(slope(value), cycle=cycle, step=cycle + 1, epoch=cycle, lr=0.1)
    loader = Watched([(INPUTS, INPUTS)])
    net = nn.Linear(1, 1, bias=False)
    lines = lines_between(net, tmp_path / "snapshots", loader, last_m=3, task="regression", points=3)
    assert [line.names for line in lines] == [
        ("snapshots[1] (snapshot-001.safetensors)", "snapshots[2] (snapshot-002.safetensors)"),
        ("snapshots[2] (snapshot-002.safetensors)", "snapshots[3] (snapshot-003.safetensors)"),
    ]
    assert lines[0].losses == pytest.approx([0.0, 14 / 3, 4 * 14 / 3])
    assert lines[1].losses == pytest.approx([4 * 14 / 3, 2.25 * 14 / 3, 14 / 3])
    # Two lines meet at a point that is measured once.
    assert loader.passes == 5


def test_a_line_is_drawn(tmp_path):
    path = line_of_slopes(0.0, 4.0, points=5).plot(tmp_path / "line.svg")
    assert path.read_text().lstrip().startswith("<?xml")


# Refusals


@pytest.mark.parametrize(
    ("alphas", "losses", "message"),
    [
        ((0.0, 0.5), (1.0, 1.0), "alphas=.*: not a way from one end to the other"),
        ((0.0,), (1.0,), "alphas="),
        ((0.0, 0.5, 0.5, 1.0), (1.0,) * 4, "alphas="),
        ((0.0, 1.0), (1.0,), "losses: 1 of them at 2 points; pass one a point"),
        ((0.0, 1.0), (1.0, float("nan")), "^second: its own loss is nan; leave it out"),
        ((0.0, 1.0), (float("inf"), 1.0), "^first: its own loss is inf"),
    ],
)
def test_what_is_no_line_is_refused(alphas, losses, message):
    with pytest.raises(ValueError, match=message):
        Line(alphas, losses, ("first", "second"))


def test_a_line_is_a_value():
    line = Line([0, 1], [1.0, 2.0], ["first", "second"])  # type: ignore[arg-type]
    assert line == Line((0.0, 1.0), (1.0, 2.0), ("first", "second"))
    assert hash(line) == hash(Line((0.0, 1.0), (1.0, 2.0), ("first", "second")))


def test_what_cannot_be_measured_is_refused():
    net, pair = nn.Linear(1, 1, bias=False), [(INPUTS, INPUTS)]
    ends = slope(0.0), slope(1.0)
    with pytest.raises(ValueError, match=r"^points=1: out of range; pass an int of at least 2$"):
        loss_along_line(net, *ends, pair, points=1)
    with pytest.raises(ValueError, match=r"^snapshots: there is one, and a line has two ends; pass two or more$"):
        lines_between(net, ends[:1], pair)
    with pytest.raises(ValueError, match=r"^dataloader=list_iterator: can be gone through only once"):
        loss_along_line(net, *ends, iter(pair))
    with pytest.raises(ValueError, match=r"^dataloader: there is no sample in it"):
        loss_along_line(net, *ends, [])
    with pytest.raises(ValueError, match=r"^task='segmentation': unknown"):
        loss_along_line(net, *ends, pair, task="segmentation")
    with pytest.raises(TypeError, match=r"^loss: it returned a float"):
        loss_along_line(net, *ends, pair, loss=lambda output, target: 1.0)
    with pytest.raises(TypeError, match=r"^loss='mse': not a function; pass loss\(output, target\), or None"):
        loss_along_line(net, *ends, pair, loss="mse")
    with pytest.raises(TypeError, match=r"^dataloader=NoneType: not a loader; pass a DataLoader"):
        loss_along_line(net, *ends, None)
    with pytest.raises(TypeError, match=r"^train_dataloader=int: not a loader"):
        loss_along_line(net, *ends, pair, train_dataloader=3)
    with pytest.raises(TypeError, match=r"^module=function: not a torch.nn.Module"):
        loss_along_line(lambda x: x, *ends, pair)
    with pytest.raises(TypeError, match=r"^unpack=None: the batch is a tensor"):
        loss_along_line(net, *ends, [INPUTS])


def test_batch_statistics_need_training_data():
    ends, loader = (small_net(1), small_net(2)), DataLoader(data(), batch_size=16)
    with pytest.raises(ValueError, match=r"^train_dataloader=None: the Sequential has batch normalisation"):
        loss_along_line(small_net(), *ends, loader)
    with pytest.raises(ValueError, match=r"^train_dataloader: there is no batch in it"):
        loss_along_line(small_net(), *ends, loader, train_dataloader=[])
    with pytest.raises(ValueError, match=r"^train_dataloader=generator: can be gone through only once"):
        loss_along_line(small_net(), *ends, loader, train_dataloader=(batch for batch in loader))


def test_networks_of_two_architectures_are_refused():
    net = nn.Linear(1, 1, bias=False)
    with pytest.raises(ValueError, match=r"^snapshots\[1\]: does not fit the module: it lacks weight"):
        loss_along_line(net, slope(0.0), Absolute(), [(INPUTS, INPUTS)], task="regression")


def test_training_data_may_be_without_targets():
    ends, loader = (small_net(1), small_net(2)), DataLoader(data(), batch_size=16)
    inputs = [batch[0] for batch in loader]
    line, other = (
        loss_along_line(small_net(), *ends, loader, train_dataloader=each, points=2) for each in (loader, inputs)
    )
    assert line == other
