"""Every task and every pooling through the whole ensemble, against the formula in double precision and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from lightning_lr.ensemble import SnapshotEnsemble
from tests.ensembles import nets, trainer

SAMPLES, FEATURES = 11, 4
GENERATOR = torch.Generator().manual_seed(7)
INPUTS = torch.randn(SAMPLES, FEATURES, generator=GENERATOR)


class WithNoise(nn.Module):
    """Mean and variance."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(FEATURES, 4)

    def forward(self, x):
        mean, noise = self.layer(x).chunk(2, dim=1)
        return mean, nn.functional.softplus(noise)


def multiclass():
    return nn.Linear(FEATURES, 3)


def binary():
    return nn.Sequential(nn.Linear(FEATURES, 1), nn.Flatten(0))


def binary_column():
    return nn.Linear(FEATURES, 1)


def multilabel():
    return nn.Linear(FEATURES, 5)


def two_numbers():
    return nn.Linear(FEATURES, 2)


CLASSES = torch.randint(3, (SAMPLES,), generator=GENERATOR)
YES = torch.randint(2, (SAMPLES,), generator=GENERATOR)
LABELS = torch.randint(2, (SAMPLES, 5), generator=GENERATOR)
NUMBERS = torch.randn(SAMPLES, 2, generator=GENERATOR)

POOLINGS = ["mean_prob", "mean_logit", "geometric", "vote"]
WEIGHTS = [None, (1.0, 0.0, 2.5)]


def raw_outputs(members, x=INPUTS):
    with torch.no_grad():
        return torch.stack([member.double()(x.double()) for member in members]).numpy()


def shares(weights):
    weights = np.ones(3) if weights is None else np.array(weights)
    return weights / weights.sum()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def pooled_by_formula(logits, weights, pooling, temperature):
    """Probabilities (N, …, C) of logits (M, N, …, C), in numpy."""
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    if pooling == "mean_prob":
        pooled = np.tensordot(weights, probs, axes=1)
    elif pooling == "mean_logit":
        mean = np.tensordot(weights, logits, axes=1)
        pooled = np.exp(mean) / np.exp(mean).sum(axis=-1, keepdims=True)
    elif pooling == "geometric":
        product = np.prod([p**w for p, w in zip(probs, weights, strict=True)], axis=0)
        pooled = product / product.sum(axis=-1, keepdims=True)
    else:
        pooled = np.tensordot(weights, np.eye(probs.shape[-1])[probs.argmax(axis=-1)], axes=1)
    powered = pooled ** (1 / (temperature or 1.0))
    return powered / powered.sum(axis=-1, keepdims=True)


def as_logits(task, out):
    # Yes or no: the logits 0 and z.
    return out if task == "multiclass" else np.stack([np.zeros_like(out), out], axis=-1)


def close(actual, expected, atol=2e-6):
    torch.testing.assert_close(actual.double(), torch.as_tensor(expected), rtol=0, atol=atol)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("temperature", [None, 1.6])
@pytest.mark.parametrize(
    ("task", "make"),
    [("multiclass", multiclass), ("binary", binary), ("binary", binary_column), ("multilabel", multilabel)],
)
def test_pooled_as_the_formula_says(task, make, pooling, weights, temperature):
    members = nets(3, make)
    ensemble = SnapshotEnsemble(
        members[0], members, task=task, pooling=pooling, member_weights=weights, temperature=temperature
    )
    logits, w = as_logits(task, raw_outputs(members)), shares(weights)
    expected = pooled_by_formula(logits, w, pooling, temperature)
    shown = expected if task == "multiclass" else expected[..., 1]
    with torch.no_grad():
        assert ensemble(INPUTS).shape == members[0].float()(INPUTS).shape
    close(ensemble(INPUTS), shown)
    predicted = ensemble.predict_step(INPUTS)
    assert sorted(predicted) == ["entropy", "mutual_information", "probs"]
    assert torch.equal(predicted["probs"], ensemble(INPUTS))
    mixture = pooled_by_formula(logits, w, "mean_prob", None)
    each = np.stack([pooled_by_formula(logits[[i]], np.ones(1), "mean_prob", None) for i in range(3)])

    total, whole = -(expected * np.log(np.clip(expected, 1e-300, 1))).sum(-1), -(mixture * np.log(mixture)).sum(-1)
    own = np.tensordot(w, -(each * np.log(each)).sum(-1), axes=1)
    if task != "multiclass":
        total, whole, own = (values.reshape(SAMPLES, -1).sum(-1) for values in (total, whole, own))
    close(predicted["entropy"], total, atol=5e-6)
    close(predicted["mutual_information"], whole - own, atol=5e-6)


@pytest.mark.parametrize("outputs", ["log_probs", "probs"])
@pytest.mark.parametrize(("task", "make"), [("multiclass", multiclass), ("binary", binary), ("multilabel", multilabel)])
def test_outputs_that_are_probabilities_already(task, make, outputs):
    class Wrapped(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            out = self.inner(x)
            logs = out.log_softmax(1) if task == "multiclass" else nn.functional.logsigmoid(out)
            return logs if outputs == "log_probs" else logs.exp()

    members = nets(3, make)
    wrapped = [Wrapped(member) for member in members]
    by_logits = SnapshotEnsemble(members[0], members, task=task)
    close(SnapshotEnsemble(wrapped[0], wrapped, task=task, outputs=outputs)(INPUTS), by_logits(INPUTS).double())


@pytest.mark.parametrize("weights", WEIGHTS)
def test_regression_is_a_mixture(weights):
    w = shares(weights)
    members = nets(3, two_numbers)
    ensemble = SnapshotEnsemble(members[0], members, task="regression", member_weights=weights)
    means = raw_outputs(members)
    for member in members:
        member.float()
    mean = np.tensordot(w, means, axes=1)
    close(ensemble(INPUTS), mean)
    predicted = ensemble.predict_step(INPUTS)
    assert sorted(predicted) == ["mean", "variance"]
    close(predicted["mean"], mean)
    close(predicted["variance"], np.tensordot(w, (means - mean) ** 2, axes=1))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_regression_with_noise(weights):
    w = shares(weights)
    members = nets(3, WithNoise)
    predicted = SnapshotEnsemble(members[0], members, task="regression", member_weights=weights).predict_step(INPUTS)
    with torch.no_grad():
        pairs = [member(INPUTS) for member in members]
    means, noises = (np.stack([pair[i].double().numpy() for pair in pairs]) for i in range(2))
    mean = np.tensordot(w, means, axes=1)
    close(predicted["mean"], mean)
    close(predicted["variance"], np.tensordot(w, noises + (means - mean) ** 2, axes=1))


# ---- what is logged


def logged(tmp_path, ensemble, target, batch_size, stage="test"):
    loader = DataLoader(TensorDataset(INPUTS, target), batch_size=batch_size)
    for _ in range(2):  # nothing of the first pass is left in the second
        (metrics,) = getattr(trainer(tmp_path), stage)(ensemble, loader, verbose=False)
    return metrics


@pytest.mark.parametrize(("stage", "prefix"), [("validate", "val"), ("test", "test")])
@pytest.mark.parametrize("batch_size", [1, 3, 11])
@pytest.mark.parametrize("temperature", [None, 0.7])
def test_multiclass_metrics(stage, prefix, batch_size, temperature, tmp_path):
    members = nets(3, multiclass)
    ensemble = SnapshotEnsemble(members[0], members, temperature=temperature)
    probs = pooled_by_formula(raw_outputs(members), shares(None), "mean_prob", temperature)
    target = CLASSES.numpy()
    assert logged(tmp_path, ensemble, CLASSES, batch_size, stage) == {
        f"{prefix}/accuracy": pytest.approx((probs.argmax(1) == target).mean(), abs=1e-7),
        f"{prefix}/nll": pytest.approx(log_loss(target, probs, labels=[0, 1, 2]), abs=1e-6),
        f"{prefix}/brier": pytest.approx(((probs - np.eye(3)[target]) ** 2).sum(1).mean(), abs=1e-6),
        f"{prefix}/ece": pytest.approx(
            multiclass_calibration_error(torch.as_tensor(probs), CLASSES, 3, n_bins=15, norm="l1").item(), abs=1e-6
        ),
    }


@pytest.mark.parametrize("batch_size", [1, 3, 11])
@pytest.mark.parametrize("as_floats", [False, True])
@pytest.mark.parametrize(
    ("task", "make", "target"),
    [("binary", binary, YES), ("binary", binary_column, YES), ("multilabel", multilabel, LABELS)],
)
def test_metrics_of_yes_or_no(task, make, target, as_floats, batch_size, tmp_path):
    members = nets(3, make)
    ensemble = SnapshotEnsemble(members[0], members, task=task)
    probs = sigmoid(raw_outputs(members)).mean(axis=0).reshape(target.shape)
    truth = target.numpy()
    assert logged(tmp_path, ensemble, target.float() if as_floats else target, batch_size) == {
        "test/accuracy": pytest.approx(((probs > 0.5) == truth).mean(), abs=1e-7),
        "test/nll": pytest.approx(log_loss(truth.ravel(), probs.ravel()), abs=1e-6),
        "test/brier": pytest.approx(((probs - truth) ** 2).mean(), abs=1e-6),
        "test/ece": pytest.approx(
            binary_calibration_error(torch.as_tensor(probs).flatten(), target.flatten(), n_bins=15, norm="l1").item(),
            abs=1e-6,
        ),
    }


@pytest.mark.parametrize("batch_size", [1, 3, 11])
@pytest.mark.parametrize("make", [two_numbers, WithNoise])
def test_regression_metrics(make, batch_size, tmp_path):
    members = nets(3, make)
    ensemble = SnapshotEnsemble(members[0], members, task="regression")
    predicted = ensemble.predict_step(INPUTS)
    mean, variance, truth = predicted["mean"].double(), predicted["variance"].double(), NUMBERS.double()
    assert logged(tmp_path, ensemble, NUMBERS, batch_size) == {
        "test/mse": pytest.approx(mean_squared_error(truth, mean), abs=1e-6),
        "test/mae": pytest.approx(mean_absolute_error(truth, mean), abs=1e-6),
        "test/nll": pytest.approx(
            nn.functional.gaussian_nll_loss(mean, truth, variance, full=True, eps=1e-6).item(), rel=1e-5
        ),
    }


def test_hand_computed_regression(tmp_path):
    class Constant(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = nn.Parameter(torch.tensor(value))

        def forward(self, x):
            return self.value.expand(len(x))

    ensemble = SnapshotEnsemble(Constant(0.0), [Constant(1.0), Constant(3.0)], task="regression")
    (metrics,) = trainer(tmp_path).test(
        ensemble, DataLoader(TensorDataset(torch.zeros(2, 1), torch.tensor([2.0, 4.0])), batch_size=2), verbose=False
    )
    # Mean 2, variance 1; errors 0 and 2; (ln 2 pi)/2 + 0 and + 2.
    assert metrics == {
        "test/mse": pytest.approx(2.0),
        "test/mae": pytest.approx(1.0),
        "test/nll": pytest.approx(0.5 * math.log(2 * math.pi) + 1.0),
    }


@pytest.mark.parametrize(
    ("task", "make", "target", "message"),
    [
        (
            "multiclass",
            multiclass,
            CLASSES.float(),
            "target=a tensor of torch.float32 .*: not one class index a sample",
        ),
        ("multiclass", multiclass, CLASSES.unsqueeze(1), r"target=.* shape \(11, 1\): not one class index a sample"),
        (
            "multiclass",
            multiclass,
            CLASSES + 1,
            r"target=1\.\.3: outside of the module's 3 classes; give class indices",
        ),
        ("multiclass", multiclass, CLASSES - 1, r"target=-1\.\.1: outside of the module's 3 classes; give class"),
        ("binary", binary, YES + 1, "target=2: neither 0 nor 1; give 1 where a label holds"),
        ("multilabel", multilabel, LABELS[:, :4], r"target=.* shape \(11, 4\): not 0 or 1 for each prediction"),
        ("regression", two_numbers, NUMBERS[:, 0], r"target=.* shape \(11,\): not one number for each"),
    ],
)
def test_targets_that_are_none(task, make, target, message, tmp_path):
    members = nets(2, make)
    with pytest.raises(ValueError, match=f"^{message}"):
        trainer(tmp_path).test(
            SnapshotEnsemble(members[0], members, task=task), DataLoader(TensorDataset(INPUTS, target), batch_size=11)
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "vote"}, "pooling='vote': means nothing for task=\"regression\""),
        ({"temperature": 2.0}, 'temperature=2.0: means nothing for task="regression"'),
        ({"outputs": "probs"}, "outputs='probs': means nothing for task=\"regression\""),
        ({"num_classes": 2}, 'num_classes=2: means nothing for task="regression"'),
    ],
)
def test_what_means_nothing_for_a_regression(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        SnapshotEnsemble(two_numbers(), [two_numbers()], task="regression", **arguments)
