"""Both backends against a plain Python loop over separately loaded modules."""

from __future__ import annotations

import copy
import mmap
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from lightning_lr.ensemble import backends
from lightning_lr.ensemble.backends import Loop, Vmap
from lightning_lr.ensemble.members import members_of
from lightning_lr.snapshots import SnapshotWriter, mapped

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = [Loop, Vmap]


class Mlp(nn.Module):
    def __init__(self, tied=False):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        if tied:
            self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(self.second(torch.tanh(self.first(x))))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True), nn.Linear(10, 3)

    def forward(self, x):
        return self.head(self.rnn(x[:, None, :])[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x[:, None, :])[:, 0])


class LitNet(pl.LightningModule):
    """Logs in forward, and holds a metric."""

    def __init__(self):
        super().__init__()
        self.net, self.accuracy = Mlp(), MulticlassAccuracy(3)

    def forward(self, x):
        self.log("mean", x.mean())
        self.log_dict({"peak": x.max()})
        return self.net(x)


def cnn():
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)),
        nn.Conv2d(1, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 2, groups=2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4, 3),
    )


def weight_norm():
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
        nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)),
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
    )


def pruned():
    net = Mlp()
    nn.utils.prune.random_unstructured(net.first, "weight", amount=0.5)
    return net


MODULES = {
    "mlp": Mlp,
    "tied": lambda: Mlp(tied=True),
    "cnn": cnn,
    "lstm": Lstm,
    "transformer": Transformer,
    "parametrized": weight_norm,
    "pruned": pruned,
    "lightning": LitNet,
}
# torch.vmap has no batching rule for these, or a slow one that it warns about.
NO_VMAP = {"lstm", "transformer", "parametrized"}
RUNS = [(Loop, name) for name in MODULES] + [(Vmap, name) for name in MODULES if name not in NO_VMAP]
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def nets(make, count=4):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        net = make()
        for name, buffer in net.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 2.0)
            elif "tracked" in name:
                buffer.fill_(seed + 3)
        made.append(net)
    return made


def write(folder, made, dtype=None):
    writer = SnapshotWriter(folder, run_id="1")
    writer.open()
    for cycle, net in enumerate(made):
        writer.write(net.state_dict(), cycle=cycle, step=cycle, epoch=cycle, lr=0.1, dtype=dtype)
    return folder


@pytest.fixture
def _turns(monkeypatch):
    """Small members run as modules of their own; with this they take turns, as large ones do."""
    monkeypatch.setattr(backends, "_SMALL", 0)


@pytest.fixture(params=["alone", "read", "mapped"])
def _mapping(request, monkeypatch):
    """As small members run and are read; as large ones run; as large ones run and are mapped."""
    if request.param != "alone":
        monkeypatch.setattr(backends, "_SMALL", 0)
    if request.param == "mapped":
        monkeypatch.setattr(mapped, "_SMALL", 0)


def plain_loop(made, x):
    # The oracle. Each in its own copy.
    with torch.no_grad():
        return [alone(net).eval()(x) for net in made]


def alone(net):
    if isinstance(net, LitNet):
        net = net.net  # which does not log
    # A pruned module holds a tensor with a graph, which deepcopy refuses.
    return net if hasattr(getattr(net, "first", None), "weight_mask") else copy.deepcopy(net)


def same(outputs, expected, exact=True):
    outputs = list(outputs)
    assert len(outputs) == len(expected)
    for output, other in zip(outputs, expected, strict=True):
        if exact:
            assert torch.equal(output, other)
        else:
            torch.testing.assert_close(output, other, rtol=1e-5, atol=1e-5)


# ---- the same as a plain loop


@pytest.mark.parametrize(("backend", "name"), RUNS)
@pytest.mark.parametrize("source", ["folder", "states", "modules"])
@pytest.mark.usefixtures("_mapping")
def test_the_outputs_are_those_of_a_plain_loop(name, source, backend, tmp_path):
    make = MODULES[name]
    made = nets(make)
    user = made[0] if name == "pruned" else make().train()
    kept = copy.deepcopy(user.state_dict())
    given = write(tmp_path / "s", made) if source == "folder" else made
    if source == "states":
        given = [net.state_dict() for net in made]
    expected = plain_loop(made, X)
    loop = backend(user, members_of(user, given))
    for _ in range(2):
        same(loop.outputs(X), expected, backend is Loop)
    assert all(torch.equal(value, kept[key]) for key, value in user.state_dict().items())
    assert user.training or name == "pruned"


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("_mapping")
def test_one_member_as_a_module_of_its_own(name, tmp_path):
    made = nets(MODULES[name])
    for backend in BACKENDS:
        loop = backend(made[0], members_of(made[0], write(tmp_path / backend.__name__, made)))
        if backend is Loop or name not in NO_VMAP:
            list(loop.outputs(X))
        for index, net in enumerate(made):
            network = loop.network(index)
            assert not network.training
            # Without gradients, as the oracle: on some machines torch computes an LSTM in another way for each.
            with torch.no_grad():
                assert torch.equal(network(X), plain_loop([net], X)[0])
                network.zero_grad()
                for parameter in network.parameters():
                    parameter.zero_()
        with torch.no_grad():
            assert torch.equal(loop.network(1)(X), plain_loop(made, X)[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_some_of_them(backend, tmp_path):
    made = nets(cnn)
    loop = backend(made[0], members_of(made[0], write(tmp_path / "s", made)))
    expected = plain_loop(made, X)
    same(loop.outputs(X, [1, 3]), [expected[1], expected[3]], backend is Loop)
    same(loop.outputs(X, []), [])
    same(loop.outputs(X, which=(2,)), [expected[2]], backend is Loop)
    same(loop.outputs(X), expected, backend is Loop)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.usefixtures("_mapping")
def test_a_snapshot_of_another_dtype_runs_in_the_modules_own(dtype, backend, tmp_path):
    made = nets(cnn)
    loop = backend(cnn(), members_of(cnn(), write(tmp_path / "s", made, dtype=dtype)))
    cast = [copy.deepcopy(net).to(getattr(torch, dtype)).float() for net in made]
    for _ in range(2):
        same(loop.outputs(X), plain_loop(cast, X), backend is Loop)


@pytest.mark.usefixtures("_mapping")
def test_dtypes_mix(tmp_path):
    made = nets(cnn)
    halves = [cnn().to(torch.float16), cnn().to(torch.bfloat16)]
    loop = Loop(made[0], members_of(made[0], [made[1].state_dict(), halves[0].state_dict(), halves[1].state_dict()]))
    expected = plain_loop([made[1], halves[0].float(), halves[1].float()], X)
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2, 0]):
        same(loop.outputs(X, order), [expected[i] for i in order])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.usefixtures("_mapping")
def test_cast_and_cast_back(backend, tmp_path):
    made = nets(cnn)
    loop = backend(cnn(), members_of(cnn(), write(tmp_path / "s", made)))
    exact = backend is Loop
    same(loop.outputs(X), plain_loop(made, X), exact)
    doubled = [copy.deepcopy(net).double() for net in made]
    same(loop.double().outputs(X.double()), plain_loop(doubled, X.double()), exact)
    same(loop.float().outputs(X), plain_loop(made, X), exact)
    brain = [copy.deepcopy(net).bfloat16() for net in made]
    if exact:
        same(loop.bfloat16().outputs(X.bfloat16()), plain_loop(brain, X.bfloat16()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.usefixtures("_mapping")
def test_channels_last(backend, tmp_path):
    def make():
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten())

    made = nets(make)
    x = torch.randn(2, 3, 6, 6).to(memory_format=torch.channels_last)
    loop = backend(make(), members_of(make(), write(tmp_path / "s", made)))
    list(loop.outputs(x))
    loop.to(memory_format=torch.channels_last)
    expected = plain_loop([copy.deepcopy(net).to(memory_format=torch.channels_last) for net in made], x)
    for _ in range(2):
        same(loop.outputs(x), expected, backend is Loop)
    if backend is Loop:
        live = loop.live or loop.alone["0"]
        assert live[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("backend", BACKENDS)
def test_under_autocast(backend, tmp_path):
    # Its cache of cast weights must not serve one member's to another.
    made = nets(cnn)
    loop = backend(cnn(), members_of(cnn(), write(tmp_path / "s", made)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, expected = list(loop.outputs(X)), plain_loop(made, X)
    for output, other in zip(outputs, expected, strict=True):
        if backend is Loop:
            assert torch.equal(output, other)
        torch.testing.assert_close(output.float(), other.float(), rtol=0, atol=0.05)
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("made_in", [False, True])
@pytest.mark.usefixtures("_mapping")
def test_in_and_out_of_inference_mode(made_in, backend, tmp_path):
    made = nets(cnn)
    path = write(tmp_path / "s", made, dtype="float16")
    expected = plain_loop([copy.deepcopy(net).half().float() for net in made], X)
    with torch.inference_mode(made_in):
        loop = backend(cnn(), members_of(cnn(), path))
    for mode in (True, False, True):
        with torch.inference_mode(mode):
            same(loop.outputs(X.clone()), expected, backend is Loop)
    for mode in (True, False):
        with torch.inference_mode(mode):
            same(loop.double().float().outputs(X.clone()), expected, backend is Loop)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_gradients(backend):
    made = nets(Mlp)
    loop = backend(made[0], members_of(made[0], [*made, made[0].state_dict()]))
    x = X.clone().requires_grad_()
    assert not any(output.requires_grad for output in loop.outputs(x))
    assert not any(parameter.requires_grad for parameter in loop.parameters())
    loop.train()
    assert not any(part.training for part in loop.modules())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("again", [copy.deepcopy, lambda loop: pickle.loads(pickle.dumps(loop))])
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.usefixtures("_mapping")
def test_copied_and_pickled(used, again, backend, tmp_path):
    made = nets(cnn)
    path = write(tmp_path / "s", made[:2])
    loop = backend(cnn(), members_of(cnn(), [*sorted(path.glob("*.safetensors")), made[2].state_dict(), made[3]]))
    expected = plain_loop(made, X)
    if used:
        same(loop.outputs(X), expected, backend is Loop)
    other = again(loop)
    same(other.outputs(X), expected, backend is Loop)
    other.double()
    same(loop.outputs(X), expected, backend is Loop)


@pytest.mark.slow
def test_in_a_spawned_process(tmp_path):
    made = nets(cnn)
    write(tmp_path / "s", made)
    code = """
import sys, torch
import torch.multiprocessing as mp
from lightning_lr.ensemble.backends import Loop
from lightning_lr.ensemble.members import members_of
from tests.ensemble.test_backends import X, cnn
def run(rank, loop, folder):
    torch.save(list(loop.outputs(X)), f"{folder}/out-{rank}.pt")
if __name__ == "__main__":
    loop = Loop(cnn(), members_of(cnn(), f"{sys.argv[1]}/s"))
    list(loop.outputs(X))
    mp.spawn(run, (loop, sys.argv[1]), nprocs=2)
"""
    (tmp_path / "spawn.py").write_text(code)
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "spawn.py", str(tmp_path)], capture_output=True, text=True, check=False, env=env, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    for rank in range(2):
        same(torch.load(tmp_path / f"out-{rank}.pt"), plain_loop(made, X))


# ---- turns


def test_a_generator_that_is_not_run_to_its_end(tmp_path):
    made = nets(cnn)
    loop = Loop(cnn(), members_of(cnn(), write(tmp_path / "s", made)))
    expected = plain_loop(made, X)
    started = loop.outputs(X)
    assert torch.equal(next(started), expected[0])
    same(loop.outputs(X), expected)
    started.close()
    same(loop.outputs(X), expected)


def test_two_at_once_and_one_within_the_other(tmp_path):
    made = nets(cnn)
    loop = Loop(cnn(), members_of(cnn(), write(tmp_path / "s", made)))
    ones, twos = plain_loop(made, X), plain_loop(made, X * 2)
    for (first, second), one, two in zip(
        zip(loop.outputs(X), loop.outputs(X * 2), strict=True), ones, twos, strict=True
    ):
        assert torch.equal(first, one)
        assert torch.equal(second, two)
        same(loop.outputs(X), ones)


class Nested(nn.Module):
    def __init__(self, loop):
        super().__init__()
        self.loop, self.own = loop, nn.Linear(3, 3)

    def forward(self, x):
        return self.own(sum(self.loop.outputs(x)))


def test_an_ensemble_in_the_member_of_another(tmp_path):
    made = nets(Mlp)
    inner = Loop(Mlp(), members_of(Mlp(), write(tmp_path / "s", made)))
    outer = nets(lambda: Nested(inner), 2)
    states = [net.state_dict() for net in outer]
    loop = Loop(outer[0], members_of(outer[0], states))
    total = sum(plain_loop(made, X))
    with torch.no_grad():
        same(loop.outputs(X), [net.own(total) for net in outer])
        same(loop.outputs(X), [net.own(total) for net in outer])


class Fragile(Mlp):
    def forward(self, x):
        if x.isnan().any():
            self.first.bias.add_(100.0)
            raise ArithmeticError("no number")
        return super().forward(x)


@pytest.mark.usefixtures("_mapping")
def test_an_exception_in_forward_leaves_nothing_behind(tmp_path):
    made = nets(cnn)
    loop = Loop(cnn(), members_of(cnn(), write(tmp_path / "s", made)))
    with pytest.raises(RuntimeError):
        list(loop.outputs(torch.ones(6, 5)))
    same(loop.outputs(X), plain_loop(made, X))
    fragile = nets(Fragile)
    loop = Loop(Fragile(), members_of(Fragile(), write(tmp_path / "f", fragile)))
    with pytest.raises(ArithmeticError):
        list(loop.outputs(X * float("nan")))


def test_many_threads(tmp_path):
    made = nets(cnn)
    loop = Loop(cnn(), members_of(cnn(), write(tmp_path / "s", made)))
    expected = plain_loop(made, X)
    wrong = []

    def ask():
        for _ in range(20):
            wrong.extend(not torch.equal(o, e) for o, e in zip(loop.outputs(X), expected, strict=True))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 4 * 20 * 4
    assert not any(wrong)


class Hoarder(nn.Module):
    """Keeps things between calls, as models in use do: a cache of what was computed from the weights, a counter."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("offset", torch.randn(3))
        self.register_buffer("table", torch.randn(200, 200))
        self.register_buffer("hidden", torch.zeros(3), persistent=False)
        self.cache, self.kernel, self.number = {}, None, 0

    def forward(self, x):
        if "kernel" not in self.cache:
            self.cache["kernel"] = self.weight.tanh()
        if self.kernel is None:
            self.kernel = self.weight * 2
        self.number += 1
        self.calls += 1
        self.hidden.add_(self.offset)
        self.table[0] += 1
        out = x @ (self.cache["kernel"] + self.kernel).T + self.hidden + self.number + self.calls + self.table[0, :3]
        self.offset = self.offset + 1
        return out


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("source", ["folder", "states"])
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.usefixtures("_mapping")
def test_what_forward_keeps_and_writes_reaches_nobody_else(inference, source, backend, tmp_path, monkeypatch):
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    made = nets(Hoarder)
    states = [copy.deepcopy(net.state_dict()) for net in made]
    path = write(tmp_path / "s", made)
    files = {file: file.read_bytes() for file in path.iterdir()}
    user = Hoarder()
    kept = copy.deepcopy(user.state_dict())
    members = members_of(user, path if source == "folder" else states)
    loop = backend(user, members)
    # The first call of each: what a plain loop over freshly loaded modules gives.
    expected = plain_loop(made, X)
    with torch.inference_mode(inference):
        for _ in range(3):
            same(loop.outputs(X), expected, backend is Loop)
    assert {file: file.read_bytes() for file in path.iterdir()} == files
    assert all(torch.equal(value, kept[key]) for key, value in user.state_dict().items())
    assert (user.cache, user.kernel, user.number, user.hidden.sum().item()) == ({}, None, 0, 0.0)
    for member, state in zip(members, states, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in member.state_dict().items())
    # Cast and pickled with no trace of it either.
    same(pickle.loads(pickle.dumps(loop)).double().float().outputs(X), expected, backend is Loop)


class Returns(nn.Module):
    """Returns what is its own: a parameter, a buffer, or a view of them."""

    def __init__(self, what):
        super().__init__()
        self.what = what
        self.rows = nn.Parameter(torch.randn(6, 3))
        self.register_buffer("fixed", torch.randn(6, 3))
        self.register_buffer("large", torch.randn(200, 200))

    def forward(self, x):
        return {
            "parameter": self.rows,
            "view": self.rows[:2],
            "buffer": self.fixed,
            "view of a buffer": self.fixed[1:],
            "large buffer": self.large,
            "view of a large one": self.large[:3, :3],
            "pair": (self.rows, [self.fixed, x]),
        }[self.what]


@pytest.mark.parametrize(
    "what", ["parameter", "view", "buffer", "view of a buffer", "large buffer", "view of a large one", "pair"]
)
@pytest.mark.parametrize("dtype", [None, "float16"])
@pytest.mark.usefixtures("_mapping")
def test_an_output_that_is_a_weight_itself_stays_what_it_was(dtype, what, tmp_path):
    made = nets(lambda: Returns(what))
    loop = Loop(made[0], members_of(made[0], write(tmp_path / "s", made, dtype=dtype)))
    cast = [copy.deepcopy(net).to(getattr(torch, dtype or "float32")).float() for net in made]
    for output, net in zip(list(loop.outputs(X)), cast, strict=True):
        expected = net(X)
        if what == "pair":
            assert torch.equal(output[0], expected[0])
            assert torch.equal(output[1][0], expected[1][0])
        else:
            assert torch.equal(output, expected)


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x):
        return self.first(x["a"]), {"deep": [self.second(x["b"])]}


class Greedy(Pairs):
    def forward(self, x):
        x["b"][0].mul_(2.0)
        x["c"] = x.pop("a")
        return self.first(x["c"]) + self.second(x["b"][0])


@pytest.mark.parametrize("kind", [torch.float32, torch.bool, torch.int64, torch.complex64])
def test_inputs_of_any_dtype_are_guarded(kind):
    class Flips(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x.logical_not_() * self.weight

    x = torch.tensor([0, 1, 1]).to(kind)
    if kind == torch.complex64:
        x[1] = torch.nan
    loop = Loop(Flips(), members_of(Flips(), [{"weight": torch.ones(1)}] * 3))
    first, *others = list(loop.outputs(x))
    assert all(torch.equal(other, first) for other in others)


def test_a_forward_that_takes_its_dict_apart():
    made = nets(Greedy)
    loop = Loop(Greedy(), members_of(Greedy(), [net.state_dict() for net in made]))
    given = {"a": X, "b": [X.clone(), "name"]}
    expected = [net.first(X) + net.second(X * 2) for net in made]
    for _ in range(2):
        for output, other in zip(loop.outputs(given), expected, strict=True):
            torch.testing.assert_close(output, other.detach())
        assert given.keys() == {"a", "b"}
        assert torch.equal(given["b"][0], X)


@pytest.mark.parametrize("sources", ["states", "modules"])
def test_a_first_layer_that_writes_into_its_input(sources):
    def make():
        return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3))

    class Sinks(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(x.sub_(1.0))

    for kind in (make, Sinks):
        made = nets(kind)
        loop = Loop(kind(), members_of(kind(), made if sources == "modules" else [net.state_dict() for net in made]))
        expected = [plain_loop([net], X.clone())[0] for net in made]
        given = X.clone()
        for _ in range(2):
            same(loop.outputs(given), expected)
            assert torch.equal(given, X)


class Shifts(nn.Module):
    """Adds to its input what the member says, which is nothing for the first."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift, self.head = nn.Parameter(torch.tensor(shift)), nn.Linear(4, 3)

    def forward(self, x):
        x += self.shift
        return self.head(x)


@pytest.mark.parametrize("sources", ["states", "modules", "classes"])
def test_a_first_member_that_writes_nothing_new_into_its_input(sources):
    made = [nn.Linear(4, 3) if sources == "classes" else Shifts(0.0), Shifts(1.0), Shifts(2.0)]
    expected = [plain_loop([net], X.clone())[0] for net in made]
    loop = Loop(Shifts(), members_of(Shifts(), [net.state_dict() for net in made] if sources == "states" else made))
    for inference in (False, True):
        with torch.inference_mode(inference):
            given = X.clone()
            for _ in range(2):
                same(loop.outputs(given), expected)
                assert torch.equal(given, X)


def test_vmap_keeps_its_input():
    class Doubles(nn.Linear):
        def forward(self, x):
            return super().forward(x.mul_(2.0))

    made = nets(lambda: Doubles(4, 3))
    ensemble, given = Vmap(made[0], members_of(made[0], [net.state_dict() for net in made])), X.clone()
    expected = [plain_loop([net], X.clone())[0] for net in made]
    for _ in range(2):
        for output, other in zip(ensemble.outputs(given), expected, strict=True):
            torch.testing.assert_close(output, other)
        assert torch.equal(given, X)


def test_random_parts_draw_for_each_member():
    class Noise(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.weight + torch.rand_like(x)

    for backend in BACKENDS:
        loop = backend(Noise(), members_of(Noise(), [Noise().state_dict()] * 3))
        first, second, third = loop.outputs(X)
        assert not torch.equal(first, second)
        assert not torch.equal(second, third)


# ---- modules that load in a way of their own


class Custom(nn.Module):
    """Stores its weight transposed."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return x @ self.weight

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        destination[f"{prefix}weight"] = self.weight.detach().T.clone()

    def _load_from_state_dict(self, state_dict, prefix, *args):
        with torch.no_grad():
            self.weight.copy_(state_dict[f"{prefix}weight"].T)


class Extra(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.factor = nn.Linear(4, 3), float(torch.rand(()))

    def forward(self, x):
        return self.linear(x) * self.factor

    def get_extra_state(self):
        # As many entries as it has digits: of another shape from one to the next.
        return torch.tensor([ord(letter) for letter in repr(self.factor)])

    def set_extra_state(self, state):
        self.factor = float("".join(map(chr, state.tolist())))


def hooked():
    def shift(module, _):
        module[0].bias.data.add_(1.0)

    net = nn.Sequential(nn.Linear(4, 3))
    net.register_load_state_dict_post_hook(shift)
    return net


@pytest.mark.parametrize("make", [Custom, lambda: nn.Sequential(Custom()), Extra, hooked])
def test_a_module_with_a_way_of_its_own_is_loaded_in_it(make):
    made = nets(make)
    states = [copy.deepcopy(net.state_dict()) for net in made]
    expected = []
    for state in states:
        net = make()
        net.load_state_dict(state)
        expected.append(net.eval()(X).detach())
    loop = Loop(make(), members_of(make(), states))
    for _ in range(2):
        same(loop.outputs(X), expected)
    assert loop.live is None


@pytest.mark.usefixtures("_turns")
@pytest.mark.parametrize("name", MODULES)
def test_the_usual_ones_take_turns(name, tmp_path):
    made = nets(MODULES[name])
    loop = Loop(made[0], members_of(made[0], write(tmp_path / "s", made)))
    assert loop.live is not None
    assert len(loop.alone) == 0


def test_lazy_layers(tmp_path):
    made = nets(lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)))
    path = write(tmp_path / "s", made)
    for backend in BACKENDS:
        lazy = nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.LazyLinear(3))
        loop = backend(lazy, members_of(lazy, path))
        for _ in range(2):
            same(loop.outputs(X), plain_loop(made, X), backend is Loop)


def test_a_module_without_weights():
    for backend in BACKENDS:
        loop = backend(nn.Flatten(), members_of(nn.Flatten(), [nn.Flatten(), nn.Flatten()]))
        same(loop.outputs(X), [X, X]) if backend is Loop else None
    loop = Loop(nn.Flatten(), members_of(nn.Flatten(), [{}, {}]))
    same(loop.outputs(X), [X, X])


def test_members_of_other_classes_run_themselves():
    other = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    made = nets(Mlp)
    loop = Loop(Mlp(), members_of(Mlp(), [made[0].state_dict(), other, made[1]]))
    expected = plain_loop([made[0], other, made[1]], X)
    same(loop.outputs(X), expected)
    with torch.no_grad():
        other[0].weight.zero_()  # a copy runs
    same(loop.outputs(X), expected)


def test_two_backends_of_the_same_members_do_not_share(tmp_path):
    made = nets(cnn)
    members = members_of(cnn(), [made[0], made[1].state_dict()])
    first, second = Loop(cnn(), members), Loop(cnn(), members)
    first.double()
    same(second.outputs(X), plain_loop(made[:2], X))
    same(first.outputs(X.double()), plain_loop([copy.deepcopy(net).double() for net in made[:2]], X.double()))


# ---- inputs and outputs of any kind


@pytest.mark.parametrize("backend", BACKENDS)
def test_dicts_in_and_pairs_out(backend):
    made = nets(Pairs)
    loop = backend(Pairs(), members_of(Pairs(), [net.state_dict() for net in made]))
    for (one, two), net in zip(loop.outputs({"a": X, "b": X * 2}), made, strict=True):
        torch.testing.assert_close(one, net.first(X))
        torch.testing.assert_close(two["deep"][0], net.second(X * 2))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_and_one_row(rows, backend):
    made = nets(cnn)
    loop = backend(cnn(), members_of(cnn(), [net.state_dict() for net in made]))
    same(loop.outputs(X[:rows]), plain_loop(made, X[:rows]), backend is Loop)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_module_that_logs_makes_no_warning(backend, tmp_path):
    made = nets(LitNet)
    loop = backend(LitNet(), members_of(LitNet(), [made[0], made[1]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(loop.outputs(X))) == 2


# ---- vmap


class Branches(Mlp):
    def forward(self, x):
        out = super().forward(x)
        return out if out.sum() > 0 else -out


def test_vmap_refuses_a_forward_that_depends_on_its_data():
    loop = Vmap(Branches(), members_of(Branches(), [net.state_dict() for net in nets(Branches)]))
    with pytest.raises(RuntimeError, match=r'^backend="vmap": the forward of Branches cannot .*; pass backend="loop"$'):
        list(loop.outputs(X))


def test_vmap_is_not_blamed_for_what_fails_by_itself():
    loop = Vmap(Mlp(), members_of(Mlp(), [net.state_dict() for net in nets(Mlp)]))
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied"):
        list(loop.outputs(torch.ones(2, 7)))


@pytest.mark.parametrize(
    "other", [nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), nn.Sequential(nn.Linear(4, 3).double())]
)
def test_vmap_refuses_members_that_are_built_otherwise(other):
    module = nn.Sequential(nn.Linear(4, 3))
    members = members_of(module, [module.state_dict(), other])
    with pytest.raises(ValueError, match=r'^backend="vmap": snapshots\[1\] is not built as snapshots\[0\] is; pass '):
        Vmap(module, members)


# ---- files


@pytest.mark.parametrize("what", ["deleted", "replaced"])
@pytest.mark.usefixtures("_mapping")
def test_the_folder_may_go(what, tmp_path):
    made = nets(cnn)
    path = write(tmp_path / "s", made)
    loop = Loop(cnn(), members_of(cnn(), path))
    if what == "deleted":
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    else:
        writer = SnapshotWriter(path, run_id="2")
        writer.open(overwrite=True)
        for cycle, net in enumerate(reversed(made)):
            writer.write(net.state_dict(), cycle=cycle, step=cycle, epoch=cycle, lr=0.1)
    for _ in range(2):
        same(loop.outputs(X), plain_loop(made, X))
    same(loop.double().float().outputs(X), plain_loop(made, X))


@pytest.mark.usefixtures("_turns")
def test_a_file_that_is_written_into_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "_SMALL", 0)
    made = nets(cnn)
    path = write(tmp_path / "s", made)
    loop = Loop(cnn(), members_of(cnn(), path))
    same(loop.outputs(X), plain_loop(made, X))
    file = path / "snapshot-002.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    with file.open("r+b") as handle:
        handle.write(data)
    os.utime(file, ns=(0, 0))
    with pytest.raises(RuntimeError, match=r"snapshot-002.safetensors: was written into while its snapshot was in use"):
        list(loop.outputs(X))
    same(loop.outputs(X, [0, 1, 3]), [plain_loop(made, X)[i] for i in (0, 1, 3)])


@pytest.mark.usefixtures("_turns")
def test_five_files_stay_in_memory_and_the_others_are_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "_SMALL", 0)
    made = nets(cnn, 7)
    loop = Loop(cnn(), members_of(cnn(), write(tmp_path / "s", made)))
    released = []
    monkeypatch.setattr(mapped.MappedFile, "release", lambda file: released.append(file.path.name))
    for _ in range(2):
        same(loop.outputs(X), plain_loop(made, X))
    assert released == ["snapshot-005.safetensors", "snapshot-006.safetensors"] * 2


@settings(max_examples=15, deadline=None)
@given(
    order=st.lists(st.integers(0, 3), max_size=6),
    casts=st.lists(st.sampled_from(["double", "float", "deepcopy", "pickle", "inference"]), max_size=3),
    small=st.booleans(),
)
def test_any_order_of_anything(order, casts, small, tmp_path_factory):
    made = nets(cnn)
    path = write(tmp_path_factory.mktemp("s"), made)
    before, mapped._SMALL = mapped._SMALL, 1 << 20 if small else 0
    try:
        members = members_of(cnn(), [*sorted(path.glob("*.safetensors"))[:3], made[3]])
    finally:
        mapped._SMALL = before
    loop, dtype = Loop(cnn(), members), torch.float32
    for cast in [None, *casts]:
        if cast in ("double", "float"):
            loop, dtype = getattr(loop, cast)(), torch.float64 if cast == "double" else torch.float32
        elif cast in ("deepcopy", "pickle"):
            loop = copy.deepcopy(loop) if cast == "deepcopy" else pickle.loads(pickle.dumps(loop))
        expected = plain_loop([copy.deepcopy(net).to(dtype) for net in made], X.to(dtype))
        with torch.inference_mode(cast == "inference"):
            same(loop.outputs(X.to(dtype), order), [expected[i] for i in order])


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_memory_does_not_grow_with_the_number_of_members(dtype, tmp_path):
    (tmp_path / "s").mkdir()
    for index in range(20):
        state = {f"{i}.weight": torch.full((1000, 1000), float(index + 1)).to(getattr(torch, dtype)) for i in range(2)}
        save_file(state, tmp_path / f"s/{index:02d}.safetensors")
    code = """
import sys
from pathlib import Path
import torch
from torch import nn
from lightning_lr.ensemble.backends import Loop
from lightning_lr.ensemble.members import members_of
torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(1000, 1000, bias=False), nn.Linear(1000, 1000, bias=False))
files = sorted(Path(sys.argv[1]).iterdir())[: int(sys.argv[2])]
loop = Loop(net, members_of(net, files))
for _ in range(2):
    for i, out in enumerate(loop.outputs(torch.ones(1, 1000))):
        assert abs(out[0, 0] / ((i + 1) * 1000) ** 2 - 1) < 1e-4
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(int(line.split()[1]) / 1024)
"""
    peak = {}
    for count in (5, 20):
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        run = [sys.executable, "-c", code, str(tmp_path / "s"), str(count)]
        ran = subprocess.run(run, capture_output=True, text=True, check=False, env=env)
        assert ran.returncode == 0, ran.stderr
        peak[count] = float(ran.stdout)
    # Fifteen more files of 7.6 MiB (half of it in half precision) would be 114 MiB.
    assert peak[20] < peak[5] + 20


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_does_not_write_into_its_input_is_given_the_very_tensor(backend):
    class Keeper(nn.Linear):
        def forward(self, x):
            given.append(x.data_ptr())
            return super().forward(x)

    given = []
    loop = backend(Keeper(4, 3), members_of(Keeper(4, 3), [Keeper(4, 3).state_dict() for _ in range(2)]))
    with torch.inference_mode():
        x = torch.randn(2, 4)
        list(loop.outputs(x))
        given.clear()
        list(loop.outputs(x))
    assert set(given) == {x.data_ptr()}
