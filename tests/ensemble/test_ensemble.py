"""The ensemble against its formula: pooled, weighted, calibrated, told apart by batch."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightning_lr.ensemble import SnapshotEnsemble
from tests.ensembles import INPUTS, Net, Scores, module_and_states, nets, softmax_mean


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_forward_is_the_mean_of_the_members_softmax_outputs(backend):
    members = nets(3)
    ensemble = SnapshotEnsemble(members[0], [member.state_dict() for member in members], backend=backend)
    torch.testing.assert_close(ensemble(INPUTS).double(), softmax_mean(members, INPUTS), rtol=0, atol=1e-6)


def test_hand_computed_mean():
    ensemble = SnapshotEnsemble(
        Scores([[0.0, 0.0]]), [Scores([[0.0, math.log(3.0)]]), {"rows": torch.tensor([[math.log(4.0), 0.0]])}]
    )
    # (1/4 + 4/5) / 2 and (3/4 + 1/5) / 2
    torch.testing.assert_close(ensemble(torch.tensor([0])), torch.tensor([[0.525, 0.475]]))


def test_evaluation_mode_and_no_gradients():
    class Inside(Net):
        def forward(self, x):
            assert not self.training
            assert not self.drop.training
            assert not torch.is_grad_enabled()
            return super().forward(x)

    ensemble = SnapshotEnsemble(Inside(), [Inside(), Inside().state_dict()]).train()
    assert not ensemble.training
    assert not ensemble(INPUTS.clone().requires_grad_()).requires_grad
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        inside = ensemble(INPUTS)
    assert torch.equal(inside, ensemble(INPUTS))


def test_probabilities_are_float32_under_autocast():
    ensemble = SnapshotEnsemble(*module_and_states())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probs = ensemble(INPUTS)
    assert probs.dtype == torch.float32
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(7), rtol=0, atol=1e-6)


def test_an_empty_batch():
    ensemble = SnapshotEnsemble(*module_and_states())
    assert ensemble(INPUTS[:0]).shape == (0, 3)
    # Nothing was seen in it: the first sample is still looked at.
    wrong = SnapshotEnsemble(Scores([[0.25, 0.75]]), [Scores([[0.25, 0.75]])])
    assert wrong(torch.tensor([], dtype=torch.int64)).shape == (0, 2)
    with pytest.raises(ValueError, match=r'^outputs="logits": the rows that the module returned are non-negative'):
        wrong(torch.tensor([0]))


# ---- weights and temperature


def test_hand_computed_weights():
    rows = [[[0.0, math.log(3.0)]], [[math.log(4.0), 0.0]]]
    ensemble = SnapshotEnsemble(Scores(rows[0]), [Scores(row) for row in rows], member_weights=[1, 3])
    assert ensemble.member_weights == (0.25, 0.75)
    # (1/4 + 3 * 4/5) / 4 and (3/4 + 3 * 1/5) / 4
    torch.testing.assert_close(ensemble(torch.tensor([0])), torch.tensor([[0.6625, 0.3375]]))


@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.just(1e308)), min_size=3, max_size=3).filter(any),
    backend=st.sampled_from(["loop", "vmap"]),
)
def test_whatever_the_weights(weights, backend):
    members = nets(3)
    ensemble = SnapshotEnsemble(
        members[0],
        members if backend == "loop" else [m.state_dict() for m in members],
        member_weights=weights,
        backend=backend,
    )
    shares = torch.tensor([weight / max(weights) for weight in weights], dtype=torch.float64)
    shares /= shares.sum()
    each = torch.stack([softmax_mean([member], INPUTS) for member in members])
    expected = torch.einsum("m,mnc->nc", shares, each)
    torch.testing.assert_close(ensemble(INPUTS).double(), expected, rtol=0, atol=1e-6)
    if ensemble.member_weights is not None:
        assert sum(ensemble.member_weights) == pytest.approx(1.0, abs=1e-12)


def test_equal_weights_are_the_plain_mean_to_the_last_bit():
    module, states = module_and_states()
    plain, equal = SnapshotEnsemble(module, states), SnapshotEnsemble(module, states, member_weights=[0.1, 0.1, 0.1])
    assert plain.member_weights is None
    assert equal.member_weights is None
    assert torch.equal(plain(INPUTS), equal(INPUTS))


def test_arrays_and_tensors_of_weights():
    module, states = module_and_states()
    weights = torch.tensor([1.0, 1.0, 2.0])
    for given_weights in (weights, weights.numpy(), tuple(weights.tolist())):
        assert SnapshotEnsemble(module, states, member_weights=given_weights).member_weights == (0.25, 0.25, 0.5)


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_a_member_of_weight_0_is_not_run(backend):
    module, states = module_and_states()
    # NaN times 0 is NaN: had it been run and multiplied, it would show.
    states[1] = {
        key: torch.full_like(value, math.nan) if value.is_floating_point() else value
        for key, value in states[1].items()
    }
    ensemble = SnapshotEnsemble(module, states, member_weights=[1, 0, 1], backend=backend)
    assert torch.equal(ensemble(INPUTS), SnapshotEnsemble(module, [states[0], states[2]], backend=backend)(INPUTS))
    # Whoever asks for what each member says is told, all the same.
    assert [bool(reading.isnan().any()) for reading in ensemble.readings(INPUTS)] == [False, True, False]


def test_each_member_runs_once_and_only_when_it_counts():
    ran = []

    class Noted(Net):
        def forward(self, x):
            ran.append(int(self.head.bias[0]))
            return super().forward(x)

    members = nets(4, Noted)
    for index, member in enumerate(members):
        member.head.bias.data.fill_(index)
    # Members that take turns in one network, and such that are networks of their own.
    ensemble = SnapshotEnsemble(
        members[0], [*(m.state_dict() for m in members[:2]), *members[2:]], member_weights=[0, 1, 2, 0]
    )
    ensemble(INPUTS)
    ensemble.predict_step(INPUTS)
    assert ran == [1, 2, 1, 2]
    del ran[:]
    readings = ensemble.readings(INPUTS)
    assert ran == []
    next(readings)
    assert ran == [0]
    list(readings)
    assert ran == [0, 1, 2, 3]


def test_hand_computed_temperature():
    rows = [[0.0, math.log(3.0)]]
    ensemble = SnapshotEnsemble(Scores(rows), [Scores(rows)], temperature=2.0)
    # 1/4 and 3/4, to the power of 1/2, 1 : sqrt(3)
    torch.testing.assert_close(ensemble(torch.tensor([0])), torch.tensor([[0.36602540, 0.63397460]]))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"pooling": "median"},
            ValueError,
            "pooling='median': unknown; pass 'mean_prob' or 'mean_logit' or 'geometric' or 'vote'",
        ),
        (
            {"task": "ranking"},
            ValueError,
            "task='ranking': unknown; pass 'multiclass' or 'binary' or 'multilabel' or 'regression'",
        ),
        ({"backend": "stack"}, ValueError, "backend='stack': unknown; pass 'loop' or 'vmap'"),
        ({"outputs": "scores"}, ValueError, "outputs='scores': unknown; pass 'logits' or 'log_probs' or 'probs'"),
        ({"last_m": 0}, ValueError, "last_m=0: out of range; pass an int of at least 1"),
        ({"num_classes": 1}, ValueError, "num_classes=1: out of range; pass an int of at least 2"),
        ({"temperature": 0.0}, ValueError, "temperature=0.0: out of range; pass a number above 0"),
        ({"temperature": math.inf}, ValueError, "temperature=inf: not finite; pass a number above 0"),
        ({"temperature": "hot"}, TypeError, "temperature='hot': not a number; pass a number above 0"),
        ({"unpack": "image"}, TypeError, "unpack='image': not a function; pass unpack(batch) -> (input, target)"),
        (
            {"member_weights": 1.0},
            TypeError,
            "member_weights=1.0: not a sequence; pass one number a member, the oldest first",
        ),
        (
            {"member_weights": "123"},
            TypeError,
            "member_weights='123': not a sequence; pass one number a member, the oldest first",
        ),
        (
            {"member_weights": [1, 2]},
            ValueError,
            "member_weights=[1, 2]: 2 for 3 members; pass one a member, the oldest first",
        ),
        ({"member_weights": [1, -1, 1]}, ValueError, "member_weights[1]=-1: out of range; pass a number of at least 0"),
        (
            {"member_weights": [1, 1, math.nan]},
            ValueError,
            "member_weights[2]=nan: not finite; pass a number of at least 0",
        ),
        (
            {"member_weights": [1, True, 1]},
            TypeError,
            "member_weights[1]=True: not a number; pass a number of at least 0",
        ),
        (
            {"member_weights": [0, 0.0, 0]},
            ValueError,
            "member_weights=[0, 0.0, 0]: their sum is 0; pass one above 0 at least",
        ),
        (
            {"last_m": 2, "member_weights": [1, 2, 3]},
            ValueError,
            "member_weights=[1, 2, 3]: 3 for 2 members; pass one a member, the oldest first",
        ),
    ],
)
def test_arguments_out_of_range(arguments, kind, message):
    with pytest.raises(kind) as refused:
        SnapshotEnsemble(*module_and_states(), **arguments)
    assert str(refused.value) == message


# ---- what the module returns


PROBABILITIES = [[0.25, 0.75], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("outputs", "rows", "remedy"),
    [
        ("logits", PROBABILITIES, 'pass outputs="probs"'),
        ("probs", [[0.3, 2.0], [1.0, 0.0]], 'pass outputs="logits"'),
        ("probs", [[1.5, -0.5], [1.0, 0.0]], 'pass outputs="logits"'),
        ("log_probs", [[0.3, 2.0], [1.0, 0.0]], 'pass outputs="logits"'),
    ],
)
def test_rows_that_are_not_what_outputs_says(outputs, rows, remedy):
    ensemble = SnapshotEnsemble(Scores(rows), [Scores(rows)], outputs=outputs)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf'^outputs="{outputs}": .*; {remedy}.*$'):
            ensemble(torch.tensor([0, 1]))


def test_the_last_member_is_looked_at_as_well():
    members = [Scores([[0.0, 2.0]]), Scores([[0.25, 0.75]])]
    ensemble = SnapshotEnsemble(members[0], members)
    with pytest.raises(ValueError, match=r'^outputs="logits": the rows that the module returned are non-negative'):
        ensemble(torch.tensor([0]))


@pytest.mark.parametrize("outputs", ["probs", "log_probs"])
def test_probabilities_are_taken_as_they_are(outputs):
    rows = torch.tensor(PROBABILITIES).clamp_min(1e-30)
    given_rows = rows if outputs == "probs" else rows.log()
    ensemble = SnapshotEnsemble(Scores(PROBABILITIES), [{"rows": given_rows}], outputs=outputs)
    torch.testing.assert_close(ensemble(torch.tensor([0, 1])), torch.tensor(PROBABILITIES))


@pytest.mark.parametrize(
    ("out", "kind", "message"),
    [
        (torch.ones(2, 3, 4), ValueError, r"module: its forward returned shape \(2, 3, 4\); return \(N, C\)"),
        (torch.ones(2, 1), ValueError, r"module: its forward returned shape \(2, 1\); return \(N, C\)"),
        (
            torch.ones(2, 3, dtype=torch.int64),
            TypeError,
            "module: its forward returned a tensor of torch.int64; return",
        ),
        ((torch.ones(2, 3),), TypeError, "module: its forward returned tuple; return a floating-point tensor"),
        (torch.ones(2, 4), ValueError, "num_classes=3: the module's forward returned 4 columns; pass that number"),
    ],
)
def test_outputs_of_another_kind(out, kind, message):
    class Returns(nn.Module):
        def forward(self, x):
            return out

    with pytest.raises(kind, match=f"^{message}"):
        SnapshotEnsemble(Returns(), [{}], num_classes=3)(INPUTS)


# ---- how sure it is


def test_hand_computed_mutual_information():
    certain = [[40.0, -40.0], [40.0, -40.0]]
    ensemble = SnapshotEnsemble(Scores(certain), [Scores(certain), Scores([[-40.0, 40.0], [40.0, -40.0]])])
    predicted = ensemble.predict_step(torch.tensor([0, 1]))
    # Two certain members that contradict each other on the first sample, ln 2 nats, and agree on the second.
    torch.testing.assert_close(predicted["mutual_information"], torch.tensor([0.6931472, 0.0]))


def test_equal_members_have_no_mutual_information():
    net = Net()
    predicted = SnapshotEnsemble(net, [net] * 7).predict_step(torch.randn(500, 4))
    assert predicted["mutual_information"].min() >= 0.0
    assert predicted["mutual_information"].max() <= 1e-6


# ---- where it runs, and what holds it


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.conv, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, x):
        x = self.conv(self.norm(x))
        return self.head(x.mean(dim=(2, 3)))


IMAGES = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def conv_members():
    members = nets(3, ConvNet)
    return members, [member.state_dict() for member in members]


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_channels_last(backend):
    members, states = conv_members()
    ensemble = SnapshotEnsemble(members[0], states, backend=backend)
    expected = softmax_mean(members, IMAGES)
    last = IMAGES.to(memory_format=torch.channels_last)
    torch.testing.assert_close(ensemble(last).double(), expected, rtol=0, atol=1e-6)
    ensemble = ensemble.to(memory_format=torch.channels_last)
    for images in (IMAGES, last):
        torch.testing.assert_close(ensemble(images).double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", ["loop", "vmap"])
@pytest.mark.parametrize(
    ("cast", "dtype", "atol"), [("double", torch.float64, 1e-12), ("bfloat16", torch.float32, 0.05)]
)
def test_moved_to_another_precision(backend, cast, dtype, atol):
    members, states = conv_members()
    ensemble = getattr(SnapshotEnsemble(members[0], states, backend=backend), cast)()
    probs = ensemble(getattr(IMAGES, cast)())
    assert probs.dtype == dtype
    expected = softmax_mean([copy.deepcopy(member).double() for member in members], IMAGES.double())
    torch.testing.assert_close(probs.double(), expected, rtol=0, atol=atol)


def test_device_and_precision_are_the_modules():
    ensemble = SnapshotEnsemble(nn.Linear(2, 2).double(), [nn.Linear(2, 2).state_dict()])
    assert (ensemble.device, ensemble.dtype) == (torch.device("cpu"), torch.float64)
    assert ensemble.half().dtype == torch.float16


def test_a_student_that_holds_its_teacher_trains_and_saves_itself_alone():
    class Student(nn.Module):
        def __init__(self, teacher):
            super().__init__()
            self.net, self.teacher = nn.Linear(4, 3), teacher

    module, states = module_and_states()
    student = Student(SnapshotEnsemble(module, states))
    assert sorted(student.state_dict()) == ["net.bias", "net.weight"]
    assert [name for name, _ in student.named_parameters()] == ["net.weight", "net.bias"]
    assert list(student.buffers()) == []
    Student(SnapshotEnsemble(module, states)).load_state_dict(student.state_dict())
    expected = student.teacher(INPUTS)
    student.train()
    student.requires_grad_(True)
    assert torch.equal(student.teacher(INPUTS), expected)
    # It goes where the student goes.
    assert student.double().teacher(INPUTS.double()).dtype == torch.float64


def test_one_ensemble_within_another():
    members = nets(4)
    inner = [SnapshotEnsemble(members[0], members[:2]), SnapshotEnsemble(members[0], members[2:])]
    outer = SnapshotEnsemble(inner[0], inner, outputs="probs")
    torch.testing.assert_close(outer(INPUTS).double(), softmax_mean(members, INPUTS), rtol=0, atol=1e-6)
