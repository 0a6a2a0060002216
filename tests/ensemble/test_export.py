"""The exported program: equal outputs, loaded where there is neither this package nor Lightning."""

from __future__ import annotations

import copy
import errno
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from lightning_lr.ensemble import SnapshotEnsemble, backends
from lightning_lr.snapshots import SnapshotWriter
from tests.ensembles import INPUTS, LitNet, Net, module_and_states, nets, softmax_mean

# A program's process: neither package can be imported there, and torch alone is on the path.
LOADER = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lightning_lr", "lightning", "pytorch_lightning", "torchmetrics", "safetensors"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
import torch

torch.set_num_threads(1)
outputs = {}
for name, program, inputs in json.loads(sys.argv[1]):
    forward = torch.export.load(program).module()
    outputs[name] = [forward(x) for x in torch.load(inputs, weights_only=True)]
torch.save(outputs, sys.argv[2])
"""


class TwoInputs(nn.Module):
    """Takes a dict of tensors and a tuple in it, one of them of another length than the batch."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x["left"] * x["scale"] + x["more"][0].unsqueeze(1))


class TwoHeads(nn.Module):
    """A heteroscedastic regression."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        mean, noise = self.layer(x).chunk(2, dim=1)
        return mean, nn.functional.softplus(noise)


class Probabilities(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x).softmax(dim=1)


def linear(classes):
    return lambda: nn.Linear(4, classes)


CASES = {
    "mean_prob": (Net, {}),
    "geometric": (Net, {"pooling": "geometric"}),
    "mean_logit": (Net, {"pooling": "mean_logit", "temperature": 0.5}),
    "vote": (Net, {"pooling": "vote"}),
    "temperature": (Net, {"temperature": 1.7}),
    "weights": (Net, {"member_weights": [0.0, 1.0, 2.5], "temperature": 1.7}),
    "last of them": (Net, {"last_m": 1}),
    "vmap": (Net, {"backend": "vmap"}),
    "LightningModule": (LitNet, {}),
    "probs": (Probabilities, {"outputs": "probs"}),
    "binary": (linear(1), {"task": "binary"}),
    "binary, flat": (lambda: nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), {"task": "binary", "temperature": 2.0}),
    "multilabel": (linear(3), {"task": "multilabel", "pooling": "geometric"}),
    "regression": (linear(2), {"task": "regression", "member_weights": [1.0, 2.0, 3.0]}),
    "noise": (TwoHeads, {"task": "regression"}),
}


def ensemble_of(make, **arguments):
    members = nets(3, make)
    return SnapshotEnsemble(members[0], [member.state_dict() for member in members], **arguments)


def batches(make_input):
    return [make_input(samples) for samples in (1, 2, 7)]


def rows(samples):
    return torch.randn(samples, 4, generator=torch.Generator().manual_seed(samples))


def parts(samples):
    return {"left": rows(samples), "more": (rows(samples)[:, 0],), "scale": torch.tensor([1.0, 2.0, 3.0, 4.0])}


@pytest.mark.slow
def test_a_fresh_process_without_this_package_computes_the_same(tmp_path):
    jobs, expected = [], {}
    cases = {
        **{name: (make, arguments, rows) for name, (make, arguments) in CASES.items()},
        "dict": (TwoInputs, {}, parts),
    }
    for name, (make, arguments, make_input) in cases.items():
        ensemble = ensemble_of(make, **arguments)
        # One sample is enough of an example.
        program = ensemble.export(tmp_path / f"{len(jobs)}.pt2", make_input(1))
        inputs = batches(make_input)
        torch.save(inputs, tmp_path / f"{len(jobs)}.inputs")
        jobs.append((name, str(program), str(tmp_path / f"{len(jobs)}.inputs")))
        expected[name] = [ensemble(x) for x in inputs]
    (tmp_path / "loader.py").write_text(LOADER)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "loader.py", json.dumps(jobs), "outputs"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    outputs = torch.load(tmp_path / "outputs", weights_only=True)
    assert outputs.keys() == expected.keys()
    for name, outs in outputs.items():
        for out, own in zip(outs, expected[name], strict=True):
            assert not out.requires_grad
            torch.testing.assert_close(out, own, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def loaded(path):
    return torch.export.load(path).module()


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_the_example_may_have_any_batch(samples, tmp_path):
    members = nets(3)
    ensemble = SnapshotEnsemble(members[0], members)
    path = ensemble.export(tmp_path / "ensemble.pt2", rows(samples))
    assert path == tmp_path / "ensemble.pt2"
    program = loaded(path)
    for x in batches(rows):
        torch.testing.assert_close(program(x).double(), softmax_mean(members, x), rtol=0, atol=1e-6)


def test_tied_weights_and_members_of_weight_0_take_no_room(tmp_path):
    def wide():
        return nn.Sequential(Net(features=300), nn.Linear(3, 3))

    def size(name, **arguments):
        return ensemble_of(wide, **arguments).export(tmp_path / name, torch.zeros(2, 300)).stat().st_size

    # Two layers of 300 x 300 float32 weights that are one, 0.36 MB a member; the rest is the graph.
    one, two, three = size("1.pt2", last_m=1), size("2.pt2", member_weights=[0, 1, 2]), size("3.pt2")
    assert 360_000 < two - one < 500_000
    assert 360_000 < three - two < 500_000


def test_members_in_files(tmp_path):
    """Whatever way they are read: what is mapped from one file lies in one piece of memory."""
    members = nets(3, lambda: nn.Sequential(Net(features=400), nn.Linear(3, 3)))
    writer = SnapshotWriter(tmp_path / "snapshots", run_id="1")
    writer.open()
    for cycle, member in enumerate(members):
        writer.write(member.state_dict(), cycle=cycle, step=cycle + 1, epoch=cycle, lr=0.1)
    x = torch.randn(3, 400, generator=torch.Generator().manual_seed(0))
    for backend in ("loop", "vmap"):
        ensemble = SnapshotEnsemble(members[0], tmp_path / "snapshots", backend=backend)
        program = ensemble.export(tmp_path / f"{backend}.pt2", x)
        # Three times 400 x 400 float32 weights, and the graph.
        assert 1_920_000 < program.stat().st_size < 2_400_000
        torch.testing.assert_close(loaded(program)(x), ensemble(x), rtol=0, atol=1e-6)


def test_channels_last(tmp_path):
    def convolutions():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    ensemble = ensemble_of(convolutions).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    last = images.to(memory_format=torch.channels_last)
    program = loaded(ensemble.export(tmp_path / "ensemble.pt2", last))
    for x in (images, last, last[:1]):
        torch.testing.assert_close(program(x), ensemble(x), rtol=0, atol=1e-6)


def test_the_ensemble_and_the_users_module_are_left_as_they_are(tmp_path):
    module, states = module_and_states()
    before = copy.deepcopy(module.train().state_dict())
    ensemble = SnapshotEnsemble(module, states)
    expected = ensemble(INPUTS)
    ensemble.export(tmp_path / "ensemble.pt2", INPUTS)
    assert torch.equal(ensemble(INPUTS), expected)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert module.training


def test_the_program_has_the_ensembles_precision(tmp_path):
    ensemble = ensemble_of(Net).double()
    program = loaded(ensemble.export(tmp_path / "ensemble.pt2", INPUTS.double()))
    assert torch.equal(program(INPUTS.double()), ensemble(INPUTS.double()))
    assert program(INPUTS.double()).dtype == torch.float64


def test_an_example_that_needs_gradients(tmp_path):
    ensemble = ensemble_of(Net)
    program = loaded(ensemble.export(tmp_path / "ensemble.pt2", INPUTS.clone().requires_grad_()))
    torch.testing.assert_close(program(INPUTS), ensemble(INPUTS), rtol=0, atol=1e-6)


def test_an_example_made_in_inference_mode(tmp_path):
    ensemble = ensemble_of(Net)
    with torch.inference_mode():
        path = ensemble.export(tmp_path / "ensemble.pt2", INPUTS.clone())
    torch.testing.assert_close(loaded(path)(INPUTS), ensemble(INPUTS), rtol=0, atol=1e-6)


def test_networks_that_write_to_their_input(tmp_path):
    def in_place():
        return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))

    class Squares(nn.Linear):
        def forward(self, x):
            return super().forward(x.square_())

    for index, make in enumerate((in_place, lambda: Squares(4, 3))):
        members = nets(3, make)
        expected = softmax_mean(members, INPUTS.clone()) if index == 0 else None
        ensemble = SnapshotEnsemble(members[0], [member.state_dict() for member in members])
        program = loaded(ensemble.export(tmp_path / f"{index}.pt2", INPUTS))
        given = INPUTS.clone()
        out = program(given)
        assert torch.equal(given, INPUTS)
        torch.testing.assert_close(out, ensemble(INPUTS.clone()), rtol=0, atol=1e-6)
        if index == 0:
            # ReLU twice is ReLU once: the oracle may run on one input.
            torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-6)


class LeavesThingsBehind(nn.Linear):
    """Keeps its last input and a counter, as networks do to show them."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.calls = 0

    def forward(self, x):
        self.last, self.calls = x, self.calls + 1
        return super().forward(x)


class CountsInABuffer(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x):
        self.seen += torch.tensor([1.0, 0.0, 0.0])
        return super().forward(x) + self.seen


@pytest.mark.parametrize("make", [LeavesThingsBehind, CountsInABuffer])
def test_what_a_pass_leaves_behind_is_not_in_the_program(make, tmp_path):
    ensemble = ensemble_of(lambda: make(4, 3))
    first = ensemble(INPUTS)
    program = loaded(ensemble.export(tmp_path / "ensemble.pt2", INPUTS))
    torch.testing.assert_close(program(INPUTS), first, rtol=0, atol=1e-6)
    torch.testing.assert_close(ensemble(INPUTS), first, rtol=0, atol=1e-6)


# ---- what is refused


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.pt2").write_bytes(b"of the user")
    with pytest.raises(FileExistsError, match=r"^path='.*mine.pt2': there is one already; remove it, or give another"):
        ensemble_of(Net).export(tmp_path / "mine.pt2", INPUTS)
    assert (tmp_path / "mine.pt2").read_bytes() == b"of the user"


def test_another_ending(tmp_path):
    with pytest.raises(ValueError, match=r"^path='.*model.onnx': not the name of a .pt2 file; end it in .pt2$"):
        ensemble_of(Net).export(tmp_path / "model.onnx", INPUTS)


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^path='.*nowhere/model.pt2': there is no folder '.*nowhere'; make"):
        ensemble_of(Net).export(tmp_path / "nowhere" / "model.pt2", INPUTS)


@pytest.mark.parametrize(
    ("example", "kind", "message"),
    [
        (INPUTS[:0], ValueError, r"example_input=a tensor of .* shape \(0, 4\): no sample in it; give a batch"),
        (torch.tensor(1.0), ValueError, r"example_input=a tensor of .* shape \(\): no sample in it; give a batch"),
        ({}, ValueError, "example_input=a dict: no sample in it; give a batch"),
        (INPUTS.numpy(), TypeError, "example_input=a ndarray: not a tensor; give a tensor, or a tuple, list or dict"),
        ({"x": [1]}, TypeError, "example_input=a int: not a tensor; give a tensor, or a tuple, list or dict"),
    ],
)
def test_examples_without_a_batch_of_tensors(example, kind, message, tmp_path):
    with pytest.raises(kind, match=f"^{message}"):
        ensemble_of(Net).export(tmp_path / "model.pt2", example)
    assert list(tmp_path.iterdir()) == []


class DependsOnValues(nn.Linear):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class AsksForTheLength(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.ones(len(x), 1)


@pytest.mark.parametrize("make", [DependsOnValues, AsksForTheLength])
def test_what_cannot_be_traced(make, tmp_path):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
        ensemble_of(lambda: make(4, 3)).export(tmp_path / "model.pt2", INPUTS)
    message = str(refused.value)
    assert message.startswith(f"module={make.__name__}: torch.export cannot trace its forward (")
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_what_the_module_itself_refuses_is_not_called_tracing(tmp_path):
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        ensemble_of(linear(3)).export(tmp_path / "model.pt2", torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r'^outputs="logits": the rows that the module returned are non-negative and'):
        ensemble_of(Probabilities).export(tmp_path / "model.pt2", INPUTS)


class Squeezes(nn.Linear):
    def forward(self, x):
        return super().forward(x.unsqueeze(1)).squeeze()


class OneBatchOnly(nn.Linear):
    def forward(self, x):
        return super().forward(x).reshape(7, 3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(Squeezes, r"its forward returned shape \(3,\); return"), (OneBatchOnly, r"shape '\[7, 3\]' is invalid")],
)
def test_one_sample_is_a_batch_too(make, reason, tmp_path):
    message = (
        rf"^module={make.__name__}: its forward takes the example, and not one sample of it \(.*{reason}.*\); make"
    )
    with pytest.raises(ValueError, match=message):
        ensemble_of(lambda: make(4, 3)).export(tmp_path / "model.pt2", INPUTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "trace",
    [
        lambda ensemble: torch.export.export(ensemble, (rows(2),), strict=False),
        lambda ensemble: torch.jit.trace(lambda x: ensemble(x), (rows(2),)),
    ],
    ids=["export", "jit"],
)
@pytest.mark.filterwarnings("ignore:.*(trac|TorchScript|deprecated)")
def test_a_trace_from_outside_is_refused_where_it_would_hold_the_last_member_alone(trace, monkeypatch):
    monkeypatch.setattr(backends, "_SMALL", 0)
    ensemble = ensemble_of(Net)
    with pytest.raises(
        RuntimeError, match=r"the last one of alone; write all of them into one file with ensemble\.export"
    ):
        trace(ensemble)
    assert torch.equal(ensemble(rows(2)), ensemble_of(Net)(rows(2)))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*model\.pt2"):
        ensemble_of(Net).export(tmp_path / "model.pt2", INPUTS)
    assert list(tmp_path.iterdir()) == []
