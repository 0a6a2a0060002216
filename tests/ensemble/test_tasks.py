"""Tasks against torch, torchmetrics, scikit-learn and values by hand."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torch import nn
from torchmetrics import MetricCollection
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_calibration_error,
    multiclass_accuracy,
    multiclass_calibration_error,
    multilabel_accuracy,
)

from lightning_lr.ensemble.pooling import POOLINGS
from lightning_lr.ensemble.tasks import OUTPUTS, TASKS, task_named

# What `forward` may return, by task: shapes, and those of reading and target.
FORMS = [
    ("multiclass", (4, 3), (4, 3), (4,)),
    ("binary", (4,), (4, 2), (4,)),
    ("binary", (4, 1), (4, 1, 2), (4, 1)),
    ("multilabel", (4, 3), (4, 3, 2), (4, 3)),
    ("regression", (4,), (4, 2), (4,)),
    ("regression", (4, 3), (4, 3, 2), (4, 3)),
]
CLASSIFIERS = [form for form in FORMS if form[0] != "regression"]
forms = pytest.mark.parametrize(("name", "out_shape", "reading_shape", "target_shape"), FORMS)
classifiers = pytest.mark.parametrize(("name", "out_shape", "reading_shape", "target_shape"), CLASSIFIERS)


def random(*shape, seed=0, dtype=torch.float32):
    return 3 * torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def probabilities(name, logits):
    """What the reading's exp should be, from torch's own sigmoid and softmax."""
    if name == "multiclass":
        return logits.softmax(1)
    return torch.stack(((-logits).sigmoid(), logits.sigmoid()), dim=-1)


def as_outputs(name, outputs, logits):
    """What a network returns that gives logits, log-probabilities or probabilities."""
    if outputs == "logits":
        return logits
    if name == "multiclass":
        return logits.log_softmax(1) if outputs == "log_probs" else logits.softmax(1)
    return nn.functional.logsigmoid(logits) if outputs == "log_probs" else logits.sigmoid()


def pooled_of(task, outs, **asked):
    running = task.pool(**asked)
    for member, out in enumerate(outs):
        running.add(task.read(out, member))
    return running


def random_target(name, target_shape, classes=3, seed=9):
    generator = torch.Generator().manual_seed(seed)
    if name == "regression":
        return torch.randn(target_shape, generator=generator)
    return torch.randint(classes if name == "multiclass" else 2, target_shape, generator=generator)


# ---- readings


@pytest.mark.parametrize("outputs", OUTPUTS)
@classifiers
def test_reading_is_log_probabilities(name, out_shape, reading_shape, target_shape, outputs):
    logits = random(*out_shape, dtype=torch.float64)
    reading = task_named(name, outputs=outputs).read(as_outputs(name, outputs, logits))
    assert reading.shape == reading_shape
    assert reading.dtype == torch.float64
    torch.testing.assert_close(reading.exp(), probabilities(name, logits))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@forms
def test_half_precision_is_read_in_single(name, out_shape, reading_shape, target_shape, dtype):
    out = random(*out_shape).to(dtype)
    reading = task_named(name).read(out)
    assert reading.dtype == torch.float32
    # Widened first: not one digit is lost to what `forward` gave.
    assert torch.equal(reading, task_named(name).read(out.float()))


@pytest.mark.parametrize("outputs", ["probs", "log_probs"])
@classifiers
def test_half_precision_probabilities(name, out_shape, reading_shape, target_shape, outputs):
    out = as_outputs(name, outputs, random(*out_shape)).bfloat16()
    pooled = pooled_of(task_named(name, outputs=outputs), [out]).pooled()
    torch.testing.assert_close(pooled.sum(-1), torch.ones(reading_shape[:-1]))
    torch.testing.assert_close(pooled, probabilities(name, random(*out_shape)), atol=0.01, rtol=0)


@forms
def test_autocast_and_inference_mode(name, out_shape, reading_shape, target_shape):
    task, out, target = task_named(name), random(*out_shape), random_target(name, target_shape)
    expected = pooled_of(task, [out, -out], uncertainty=True)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        running = pooled_of(task, [out, -out], uncertainty=True)
        pooled = running.pooled()
        scores = task.evaluate(pooled, task.target(target, pooled))
    torch.testing.assert_close(pooled, expected.pooled())
    torch.testing.assert_close(running.uncertainty(), expected.uncertainty())
    assert scores == pytest.approx(task.evaluate(expected.pooled(), task.target(target, pooled)))


def test_yes_and_no_keep_their_tails():
    # log sigmoid(20) = -2.06e-9, which 1 + 2.06e-9 has lost in float32.
    reading = task_named("binary").read(torch.tensor([20.0, -20.0, 1e4, -1e4]))
    expected = [[-20.0, -2.0611537e-09], [-2.0611537e-09, -20.0], [-1e4, 0.0], [0.0, -1e4]]
    torch.testing.assert_close(reading, torch.tensor(expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["binary", "multilabel"])
def test_rounding_out_of_range(name):
    over = 1 + 2e-7
    out = torch.tensor([[over], [-2e-7]])
    reading = task_named(name, outputs="probs").read(out)
    assert reading.exp().tolist() == [[[0.0, 1.0]], [[1.0, 0.0]]]
    reading = task_named(name, outputs="log_probs").read(torch.tensor([[2e-7], [-math.inf]]))
    assert reading.exp().tolist() == [[[0.0, 1.0]], [[1.0, 0.0]]]


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("temperature", [None, 0.5])
@classifiers
def test_a_perfect_network(name, out_shape, reading_shape, target_shape, outputs, pooling, temperature):
    target = random_target(name, target_shape)
    certain = nn.functional.one_hot(target, 3) if name == "multiclass" else target
    logits = 1e4 * (2.0 * certain - 1)
    task = task_named(name, outputs=outputs, pooling=pooling, temperature=temperature)
    pooled = pooled_of(task, [as_outputs(name, outputs, logits)] * 3).pooled()
    found = task.evaluate(pooled, task.target(target, pooled))
    assert found == {"accuracy": 1.0, "nll": 0.0, "brier": 0.0, "ece": 0.0}


def test_cross_entropy_of_probabilities_is_not_the_likelihood():
    task, out, target = task_named("multiclass"), random(50, 4), torch.arange(50) % 4
    pooled = pooled_of(task, [out]).pooled()
    nll = task.evaluate(pooled, target)["nll"]
    assert nll == pytest.approx(nn.functional.cross_entropy(out, target).item(), rel=1e-5)
    assert abs(nll - nn.functional.cross_entropy(pooled, target).item()) > 0.1


@pytest.mark.parametrize("form", ["means", "pair", "list"])
def test_means_and_variances(form):
    mean, variance = random(4, 2), random(4, 2, seed=1).square()
    out = {"means": mean, "pair": (mean, variance), "list": [mean, variance]}[form]
    reading = task_named("regression").read(out)
    assert torch.equal(reading[..., 0], mean)
    assert torch.equal(reading[..., 1], torch.zeros(4, 2) if form == "means" else variance)


# ---- what is shown


@pytest.mark.parametrize("pooling", POOLINGS)
@classifiers
def test_probabilities_shown(name, out_shape, reading_shape, target_shape, pooling):
    task = task_named(name, pooling=pooling)
    outs = [random(*out_shape, seed=seed, dtype=torch.float64) for seed in range(3)]
    shown = task.show(pooled_of(task, outs).pooled())
    assert shown.shape == out_shape
    each = torch.stack([probabilities(name, out) for out in outs])
    mean = torch.stack(outs).mean(0)
    votes = nn.functional.one_hot(each.argmax(-1), each.shape[-1]).double().mean(0)
    geometric = probabilities(name, mean)
    expected = {"mean_prob": each.mean(0), "mean_logit": geometric, "geometric": geometric, "vote": votes}[pooling]
    torch.testing.assert_close(shown, expected if name == "multiclass" else expected[..., 1])


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
def test_mean_and_uncertainty_of_a_regression(shape):
    task = task_named("regression")
    outs = [random(*shape, seed=seed) for seed in range(3)]
    running = pooled_of(task, outs, uncertainty=True)
    torch.testing.assert_close(task.show(running.pooled()), torch.stack(outs).mean(0))
    expected = {"mean": torch.stack(outs).mean(0), "variance": torch.stack(outs).var(0, unbiased=False)}
    torch.testing.assert_close(running.uncertainty(), expected)


# ---- metrics

sizes = st.integers(1, 40)
seeds = st.integers(0, 10_000)


@given(sizes, st.integers(2, 6), seeds)
def test_metrics_of_classes(samples, classes, seed):
    task, logits = task_named("multiclass"), random(samples, classes, seed=seed)
    pooled = pooled_of(task, [logits]).pooled()
    target = random_target("multiclass", (samples,), classes, seed)
    probs, onehot = pooled.double(), nn.functional.one_hot(target, classes)
    likelihood = log_loss(target, (probs / probs.sum(1, keepdim=True)).numpy(), labels=range(classes))
    assert task.evaluate(pooled, task.target(target.int(), pooled)) == {
        "accuracy": pytest.approx(multiclass_accuracy(pooled, target, classes, average="micro").item()),
        "nll": pytest.approx(likelihood, rel=1e-5, abs=1e-6),
        "brier": pytest.approx((probs - onehot).square().sum(1).mean().item(), rel=1e-5),
        "ece": pytest.approx(multiclass_calibration_error(pooled, target, classes, 15, "l1").item(), abs=1e-6),
    }


@given(st.sampled_from([(), (1,)]), sizes, seeds)
def test_metrics_of_yes_or_no(rest, samples, seed):
    task, logits = task_named("binary"), random(samples, *rest, seed=seed)
    pooled = pooled_of(task, [logits]).pooled()
    target = random_target("binary", (samples, *rest), seed=seed)
    yes, truth = logits.flatten().sigmoid(), target.flatten()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, target.float())
    assert task.evaluate(pooled, task.target(target.bool(), pooled)) == {
        "accuracy": pytest.approx(binary_accuracy(yes, truth).item()),
        "nll": pytest.approx(loss.item(), rel=1e-5, abs=1e-6),
        "brier": pytest.approx(brier_score_loss(truth, yes, labels=[0, 1]), rel=1e-5, abs=1e-7),
        "ece": pytest.approx(binary_calibration_error(yes, truth, 15, "l1").item(), abs=1e-6),
    }


@given(sizes, st.integers(1, 5), seeds)
def test_metrics_of_labels(samples, labels, seed):
    task, logits = task_named("multilabel"), random(samples, labels, seed=seed)
    pooled = pooled_of(task, [logits]).pooled()
    target = random_target("multilabel", (samples, labels), seed=seed)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, target.float())
    yes = logits.sigmoid()
    expected = multilabel_accuracy(yes, target, num_labels=labels, average="micro") if labels > 1 else None
    found = task.evaluate(pooled, task.target(target.float(), pooled))
    assert found == {
        "accuracy": pytest.approx((binary_accuracy(yes, target) if expected is None else expected).item()),
        "nll": pytest.approx(loss.item(), rel=1e-5, abs=1e-6),
        "brier": pytest.approx((yes - target).square().mean().item(), rel=1e-5, abs=1e-7),
        "ece": pytest.approx(binary_calibration_error(yes.flatten(), target.flatten(), 15).item(), abs=1e-6),
    }


@given(st.sampled_from([(), (1,), (3,)]), sizes, seeds, st.booleans())
def test_metrics_of_a_regression(rest, samples, seed, noisy):
    task, mean = task_named("regression"), random(samples, *rest, seed=seed)
    variance = random(samples, *rest, seed=seed + 1).square() if noisy else torch.zeros_like(mean)
    pooled = pooled_of(task, [(mean, variance) if noisy else mean]).pooled()
    target = random(samples, *rest, seed=seed + 2)
    assert task.evaluate(pooled, task.target(target, pooled)) == {
        "mse": pytest.approx(nn.functional.mse_loss(mean, target).item(), rel=1e-5),
        "mae": pytest.approx(nn.functional.l1_loss(mean, target).item(), rel=1e-5),
        "nll": pytest.approx(nn.functional.gaussian_nll_loss(mean, target, variance, full=True).item(), rel=1e-5),
    }


def test_one_half_is_no():
    task = task_named("binary")
    assert task.evaluate(torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]), torch.tensor([0, 0, 1]))[
        "accuracy"
    ] == pytest.approx(2 / 3)


@forms
def test_sums_are_wide(name, out_shape, reading_shape, target_shape):
    # 1e8 and 1 are 1e8 in float32: as sums over a large test set are.
    metrics = task_named(name).metrics(torch.zeros(reading_shape))
    metrics.pop("ece", None)
    for metric in metrics.values():
        metric.update(torch.tensor([1e8]))
        metric.update(torch.tensor([1.0]))
        assert metric.compute().item() == 50_000_000.5


@forms
def test_batches_add_up(name, out_shape, reading_shape, target_shape):
    task = task_named(name)
    pooled = pooled_of(task, [random(30, *out_shape[1:])]).pooled()
    target = task.target(random_target(name, (30, *target_shape[1:])), pooled)
    metrics = task.metrics(pooled)
    for part in (slice(0, 0), slice(0, 7), slice(7, 30)):
        for metric, update in task.scores(pooled[part], target[part]).items():
            metrics[metric].update(*update)
    found = {metric: value.compute().item() for metric, value in metrics.items()}
    assert found == pytest.approx(task.evaluate(pooled, target))
    assert found == pytest.approx({name: value.item() for name, value in MetricCollection(metrics).compute().items()})


@pytest.fixture
def _warn_always():
    # Some of torch's warnings come once in a process, and then in whichever test is first.
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.usefixtures("_warn_always")
@forms
def test_no_warning(name, out_shape, reading_shape, target_shape):
    task = task_named(name)
    pooled = pooled_of(task, [random(*out_shape), random(*out_shape, seed=1)], uncertainty=True).pooled()
    target = task.target(random_target(name, target_shape), pooled)
    assert all(math.isfinite(value) for value in task.evaluate(pooled, target).values())
    # What a user keeps is not a view of twice the memory.
    shown = task.show(pooled)
    assert shown.untyped_storage().nbytes() == shown.numel() * shown.element_size()


@forms
def test_each_sample_has_a_score(name, out_shape, reading_shape, target_shape):
    task = task_named(name)
    pooled = pooled_of(task, [random(*out_shape)]).pooled()
    target = task.target(random_target(name, target_shape), pooled)
    scores = task.scores(pooled, target)
    del scores["ece" if name != "regression" else "mae"]
    assert {value.shape for (value,) in scores.values()} == {(4,)}
    whole = task.evaluate(pooled, target)
    assert {metric: value.double().mean().item() for metric, (value,) in scores.items()} == pytest.approx(
        {metric: whole[metric] for metric in scores}
    )


def test_a_broken_member_shows():
    task = task_named("multiclass")
    broken = random(2, 3)
    broken[0] = math.nan
    pooled = pooled_of(task, [broken, random(2, 3)]).pooled()
    found = task.evaluate(pooled, torch.tensor([0, 1]))
    assert math.isnan(found["nll"])
    assert math.isnan(found["brier"])


@forms
def test_no_samples(name, out_shape, reading_shape, target_shape):
    task = task_named(name)
    out = torch.zeros(0, *out_shape[1:])
    running = pooled_of(task, [out, out], uncertainty=True)
    pooled = running.pooled()
    assert pooled.shape == (0, *reading_shape[1:])
    assert task.show(pooled).shape == out.shape
    assert {len(value) for value in running.uncertainty().values()} == {0}
    target = task.target(torch.zeros(0, *target_shape[1:], dtype=torch.int64), pooled)
    assert target.shape == (0, *target_shape[1:])
    assert {len(value) for (value, *_) in task.scores(pooled, target).values()} == {0}


# ---- targets


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.int64])
def test_classes_of_any_integer_type(dtype):
    pooled = torch.full((2, 3), 1 / 3)
    target = task_named("multiclass").target(torch.tensor([2, 0], dtype=dtype), pooled)
    assert target.dtype == torch.int64
    assert target.tolist() == [2, 0]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("given_shape", "pooled_shape"), [((2,), (2, 1, 2)), ((2, 1), (2, 2)), ((2,), (2, 2))])
def test_yes_or_no_of_any_type(dtype, given_shape, pooled_shape):
    target = torch.tensor([1, 0]).to(dtype).reshape(given_shape)
    found = task_named("binary").target(target, torch.full(pooled_shape, 0.5))
    assert found.dtype == torch.int64
    assert found.shape == pooled_shape[:-1]
    assert found.flatten().tolist() == [1, 0]


@pytest.mark.parametrize(("given_shape", "pooled_shape"), [((2,), (2, 1, 2)), ((2, 1), (2, 2)), ((2,), (2, 2))])
def test_numbers_of_any_type(given_shape, pooled_shape):
    found = task_named("regression").target(torch.tensor([3, 1]).reshape(given_shape), torch.zeros(pooled_shape))
    assert found.dtype == torch.float32
    assert found.shape == pooled_shape[:-1]
    assert found.flatten().tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("name", "pooled_shape", "target", "message"),
    [
        ("multiclass", (7, 3), torch.zeros(7), r"target=a tensor of torch.float32 and shape \(7,\): not one class "),
        (
            "multiclass",
            (7, 3),
            torch.zeros(7, 1).long(),
            r"target=.*: not one class index a sample; give .* \(7,\), by",
        ),
        ("multiclass", (7, 3), [0] * 7, "target=a list of 7: not one class index a sample; give an integer tensor"),
        ("multiclass", (2, 3), torch.tensor([1, 3]), r"target=1\.\.3: outside of the module's 3 classes; give class"),
        ("multiclass", (2, 3), torch.tensor([-1, 0]), r"target=-1\.\.0: outside of the module's 3 classes; .* 0 to 2"),
        (
            "binary",
            (7, 2),
            torch.zeros(6),
            r"target=.*\(6,\): not 0 or 1 for each prediction; give .*\(7,\), by unpack=",
        ),
        ("binary", (7, 2), None, "target=a NoneType: not 0 or 1 for each prediction; give a tensor"),
        ("binary", (2, 2), torch.tensor([0.0, 0.5]), "target=0.5: neither 0 nor 1; give 1 where a label holds, else 0"),
        ("binary", (2, 2), torch.tensor([-1, 1]), "target=-1: neither 0 nor 1; give 1 where a label holds, else 0"),
        ("multilabel", (4, 3, 2), torch.zeros(4), r"target=.*\(4,\): not 0 or 1 .*; give a tensor of shape \(4, 3\)"),
        ("multilabel", (4, 3, 2), torch.full((4, 3), math.nan), "target=nan: neither 0 nor 1; give 1 where"),
        (
            "regression",
            (4, 3, 2),
            torch.zeros(4),
            r"target=.*\(4,\): not one number for .*; give .*\(4, 3\), by unpack=",
        ),
        ("regression", (4, 2), torch.zeros(4, 4), r"target=.*: not one number for each that is predicted; give a "),
        ("regression", (4, 2), torch.zeros(4, dtype=torch.complex64), "target=a tensor of torch.complex64 .*: not one"),
    ],
)
def test_what_is_no_target(name, pooled_shape, target, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        task_named(name).target(target, torch.full(pooled_shape, 0.5))


# ---- outputs that are something else


@pytest.mark.parametrize(
    ("name", "out", "kind", "message"),
    [
        (
            "multiclass",
            torch.ones(2, 3, 4),
            ValueError,
            r"module: its forward returned shape \(2, 3, 4\); return \(N, C",
        ),
        ("multiclass", torch.ones(2), ValueError, r"module: .* \(2,\); return \(N, C\), .*; .* pass task=\"binary\"$"),
        ("multiclass", torch.tensor(1.0), ValueError, r"module: its forward returned shape \(\); return \(N, C\)"),
        ("multiclass", torch.ones(2, 3).long(), TypeError, "module: its forward returned a tensor of torch.int64; ret"),
        ("multiclass", (torch.ones(2, 3),), TypeError, "module: its forward returned tuple; return a floating-point"),
        ("binary", torch.ones(2, 2), ValueError, r"module: .* \(2, 2\); return \(N,\) .*, or pass task=\"multiclass\""),
        ("binary", {"logits": torch.ones(2)}, TypeError, r"module: its forward returned dict; return a float"),
        (
            "multilabel",
            torch.ones(2),
            ValueError,
            r"module: its forward returned shape \(2,\); return \(N, L\), a column",
        ),
        ("multilabel", torch.ones(2, 0), ValueError, r"module: its forward returned shape \(2, 0\); return \(N, L\)"),
        (
            "regression",
            torch.tensor(1.0),
            ValueError,
            r"module: its forward returned shape \(\); return \(N,\) or \(N, D",
        ),
        (
            "regression",
            (torch.ones(2), torch.ones(2, 1)),
            ValueError,
            r"module: .* \(2,\) and \(2, 1\); return .* one s",
        ),
        ("regression", (torch.ones(2), None), TypeError, "module: its forward returned NoneType; return a floating"),
        ("regression", (torch.ones(2),) * 3, TypeError, "module: its forward returned tuple; .*: mean and variance$"),
        ("regression", (torch.ones(2), torch.tensor([1.0, -0.5])), ValueError, "module: .* a variance of -0.5; return"),
    ],
)
def test_outputs_of_another_kind(name, out, kind, message):
    with pytest.raises(kind, match=f"^{message}"):
        task_named(name).read(out)


@pytest.mark.parametrize(("name", "shape"), [("multiclass", (2, 4)), ("multilabel", (2, 4))])
def test_another_number_of_columns(name, shape):
    told = task_named(name, num_classes=3)
    found_out = task_named(name)
    found_out.read(random(2, 3))
    assert found_out.num_classes == 3
    for task in (told, found_out):
        with pytest.raises(
            ValueError, match=r"^num_classes=3: the module's forward returned 4 columns.*; pass that nu"
        ):
            task.read(random(*shape))


SOME_PROBS = torch.linspace(0.05, 0.95, 9)


@pytest.mark.parametrize(
    ("name", "outputs", "out", "remedy"),
    [
        ("multiclass", "logits", torch.tensor([[0.25, 0.75], [1.0, 0.0]]), 'pass outputs="probs"'),
        ("multiclass", "probs", torch.tensor([[0.3, 2.0], [1.0, 0.0]]), 'pass outputs="logits"'),
        ("multiclass", "probs", torch.tensor([[1.5, -0.5], [1.0, 0.0]]), 'pass outputs="logits"'),
        ("multiclass", "log_probs", torch.tensor([[0.3, 2.0], [1.0, 0.0]]), 'pass outputs="logits"'),
        ("binary", "logits", SOME_PROBS, 'pass outputs="probs"'),
        ("multilabel", "logits", SOME_PROBS.reshape(3, 3), 'pass outputs="probs"'),
        ("binary", "probs", torch.tensor([0.5, 1.2]), 'pass outputs="logits"'),
        ("multilabel", "probs", torch.tensor([[0.5, -0.2]]), 'pass outputs="logits"'),
        ("binary", "log_probs", torch.tensor([-3.0, 0.1]), 'pass outputs="logits"'),
    ],
)
def test_values_that_are_not_what_outputs_says(name, outputs, out, remedy):
    task = task_named(name, outputs=outputs)
    # A refusal does not wear off.
    for _ in range(2):
        with pytest.raises(ValueError, match=rf'^outputs="{outputs}": .*; {remedy}.*$'):
            task.read(out)


def test_values_are_looked_at_once_for_each_member():
    good, bad = random(4, 3), random(4, 3).softmax(1)
    task = task_named("multiclass")
    task.read(good)
    task.read(bad)
    with pytest.raises(ValueError, match=r"^outputs="):
        task.read(bad, member=1)


@pytest.mark.parametrize(
    ("name", "outputs", "bad"),
    [
        ("multiclass", "logits", torch.tensor([[0.25, 0.75]])),
        ("multiclass", "probs", torch.tensor([[3.0, 0.75]])),
        ("binary", "probs", torch.tensor([3.0])),
        ("multilabel", "log_probs", torch.tensor([[3.0, -1.0]])),
    ],
)
def test_a_batch_without_samples_tells_nothing(name, outputs, bad):
    task = task_named(name, outputs=outputs)
    task.read(bad[:0])
    with pytest.raises(ValueError, match=r"^outputs="):
        task.read(bad)


def test_variances_are_looked_at_once():
    task, mean, bad = task_named("regression"), torch.ones(2), torch.tensor([1.0, -0.5])
    task.read((mean[:0], bad[:0]))
    # Means alone say nothing of it.
    task.read(mean)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"variance of -0\.5"):
            task.read((mean, bad))
    task.read((mean, mean))
    task.read((mean, bad))


def test_a_few_small_logits_are_no_probabilities():
    # Three that lie between 0 and 1 by chance; many would not.
    task = task_named("binary")
    task.read(torch.tensor([0.2, 0.4, 0.9]))
    with pytest.raises(ValueError, match=r"^outputs="):
        task.read(SOME_PROBS)
    assert task_named("binary").read(SOME_PROBS - 0.5).shape == (9, 2)


@pytest.mark.parametrize("name", ["binary", "multilabel"])
@pytest.mark.parametrize("size", [1, 4])
def test_probabilities_in_small_batches_are_seen_too(name, size):
    task, probs = task_named(name), torch.linspace(0.1, 0.9, 12)
    batches = (probs if name == "binary" else probs[:, None].expand(-1, 2)).split(size)
    with pytest.raises(ValueError, match=r'^outputs="logits": all that the module returned lies between 0 and 1'):
        _ = [task.read(batch) for batch in batches]


def test_the_same_logit_again_and_again_is_one():
    task = task_named("binary")
    for _ in range(20):
        task.read(torch.tensor([0.5]))
    # A network whose last layer was not trained yet.
    assert torch.equal(task.read(torch.zeros(20)), torch.full((20, 2), 0.5).log())


@pytest.mark.parametrize("default", [torch.float16, torch.bfloat16])
def test_half_precision_by_default_takes_nothing_from_the_scores(default):
    # As Lightning has it in a step under precision="16-true" or "bf16-true".
    task, pooled, target = task_named("regression"), torch.zeros(300, 2), torch.full((300,), 1001.0)
    torch.set_default_dtype(default)
    try:
        scores = task.evaluate(pooled, target)
    finally:
        torch.set_default_dtype(torch.float32)
    assert scores["mae"] == 1001.0
    assert scores["mse"] == 1001.0**2


@pytest.mark.parametrize("name", TASKS)
def test_a_task_survives_pickling(name):
    task = task_named(name)
    task.read(random(4, 1 if name == "binary" else 3))
    copied = pickle.loads(pickle.dumps(task))
    out = random(4, 1 if name == "binary" else 3, seed=1)
    assert torch.equal(copied.read(out), task.read(out))
    assert (copied.name, copied.num_classes) == (name, task.num_classes)


@forms
def test_exported_with_a_batch_of_any_size(name, out_shape, reading_shape, target_shape):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.task = task_named(name, **({} if name == "regression" else {"pooling": "geometric"}))

        def forward(self, out):
            running = self.task.pool()
            running.add(self.task.read(out, 0))
            running.add(self.task.read(-out, 1), 0.5)
            return self.task.show(running.pooled())

    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(Pooled(), (random(*out_shape),), dynamic_shapes=({0: batch},))
    for samples in (1, 9):
        out = random(samples, *out_shape[1:], seed=samples)
        torch.testing.assert_close(program.module()(out), Pooled()(out))


# ---- arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "ranking"}, "task='ranking': unknown; pass 'multiclass' or 'binary' or 'multilabel' or 'regression'"),
        ({"name": "binary", "outputs": "scores"}, "outputs='scores': unknown; pass 'logits' or 'log_probs' or 'probs'"),
        ({"name": "binary", "pooling": "max"}, "pooling='max': unknown; pass 'mean_prob' or .*"),
        ({"name": "binary", "num_classes": 3}, 'num_classes=3: task="binary" has two; pass None, or task="multiclass"'),
        ({"name": "multiclass", "num_classes": 1}, "num_classes=1: out of range; pass an int of at least 2"),
        ({"name": "multilabel", "num_classes": 0}, "num_classes=0: out of range; pass an int of at least 1"),
        ({"name": "multiclass", "temperature": -1.0}, "temperature=-1.0: out of range; pass a number above 0"),
        (
            {"name": "regression", "temperature": 2.0},
            'temperature=2.0: means nothing for task="regression".*leave it out',
        ),
        (
            {"name": "regression", "pooling": "vote"},
            "pooling='vote': means nothing for task=\"regression\".*leave it out",
        ),
        ({"name": "regression", "outputs": "probs"}, "outputs='probs': means nothing for .*; leave it out"),
        ({"name": "regression", "num_classes": 2}, "num_classes=2: means nothing for .*; leave it out"),
    ],
)
def test_what_means_nothing(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        task_named(**arguments)


@pytest.mark.parametrize("arguments", [{"num_classes": 3.0}, {"temperature": "2"}])
def test_numbers_that_are_none(arguments):
    with pytest.raises(TypeError, match=r"^\w+=.*: not an? (int|number); pass "):
        task_named("multiclass", **arguments)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_how_it_was_made(name):
    made = task_named(name)
    assert (made.name, made.pooling, made.temperature) == (name, "mean_prob", None)
    again = task_named(name, pooling=made.pooling, temperature=made.temperature, num_classes=made.num_classes)
    assert type(again) is type(made)
    if name != "regression":
        made = task_named(name, pooling="vote", temperature=2)
        assert (made.pooling, made.temperature) == ("vote", 2.0)


def test_two_classes_are_what_binary_has():
    assert task_named("binary", num_classes=2).num_classes == task_named("binary").num_classes == 2
