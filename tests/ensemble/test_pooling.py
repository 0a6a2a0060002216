"""Pools against their formulas, values by hand, torch and numbers in higher precision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_lr.ensemble.pooling import POOLINGS, ClassPool, MomentPool, pool

# Two members, two samples: the first sample is disputed, of the second they think the same.
FIRST = torch.tensor([[0.8, 0.2], [0.5, 0.5]])
SECOND = torch.tensor([[0.2, 0.8], [0.5, 0.5]])


def log_probs(members, samples, classes, seed=0, dtype=torch.float64, scale=2.0):
    rows = torch.randn(members, samples, classes, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return (scale * rows).log_softmax(-1)


def folded(running, readings, weights=None):
    for reading, weight in zip(readings, weights or [1.0] * len(readings), strict=True):
        running.add(reading, weight)
    return running


def formula(readings, weights, pooling, temperature):
    """Each pooling as the books write it, on the whole stack."""
    shares = (torch.tensor(weights, dtype=readings.dtype) / sum(weights)).reshape(-1, *[1] * (readings.ndim - 1))
    probs = readings.exp()
    if pooling == "mean_prob":
        pooled = (shares * probs).sum(0)
    elif pooling == "vote":
        ballots = torch.nn.functional.one_hot(probs.argmax(-1), probs.shape[-1])
        pooled = (shares * ballots).sum(0)
    else:
        product = (probs**shares).prod(0)
        pooled = product / product.sum(-1, keepdim=True)
    if temperature is not None:
        pooled = pooled ** (1 / temperature)
        pooled = pooled / pooled.sum(-1, keepdim=True)
    return pooled


# ---- by hand


def test_mean_of_probabilities_by_hand():
    readings = torch.tensor([[[0.5, 0.25, 0.25]], [[0.125, 0.375, 0.5]]]).log()
    torch.testing.assert_close(pool(readings), torch.tensor([[0.3125, 0.3125, 0.375]]))
    torch.testing.assert_close(pool(readings, weights=[3, 1]), torch.tensor([[0.40625, 0.28125, 0.3125]]))


@pytest.mark.parametrize("pooling", ["mean_logit", "geometric"])
def test_geometric_mean_by_hand(pooling):
    # sqrt(0.9 * 0.4) = 0.6 and sqrt(0.1 * 0.6) = 0.244949, which sum to 0.844949.
    readings = torch.tensor([[[0.9, 0.1]], [[0.4, 0.6]]]).log()
    torch.testing.assert_close(pool(readings, pooling=pooling), torch.tensor([[0.710102, 0.289898]]))
    # Weights of 1 and 3: 0.9^0.25 * 0.4^0.75 = 0.489898, 0.1^0.25 * 0.6^0.75 = 0.383366.
    weighted = pool(readings, weights=[1, 3], pooling=pooling)
    torch.testing.assert_close(weighted, torch.tensor([[0.560997, 0.439003]]), atol=2e-6, rtol=0)


def test_votes_by_hand():
    readings = torch.tensor([[[0.6, 0.3, 0.1]], [[0.1, 0.8, 0.1]], [[0.4, 0.3, 0.3]]]).log()
    torch.testing.assert_close(pool(readings, pooling="vote"), torch.tensor([[2 / 3, 1 / 3, 0.0]]))
    torch.testing.assert_close(pool(readings, [1, 2, 1], "vote"), torch.tensor([[0.5, 0.5, 0.0]]))


def test_of_two_one_half_is_no_vote_for_yes():
    assert pool([torch.tensor([[0.5, 0.5]]).log()], pooling="vote").tolist() == [[1.0, 0.0]]


def test_temperature_by_hand():
    # 0.64 and 0.36 made to sum to 1 of 0.8 and 0.6 at T = 1/2: 16/25 against 9/25.
    readings = torch.tensor([[[4 / 7, 3 / 7]]]).log()
    torch.testing.assert_close(pool(readings, temperature=0.5), torch.tensor([[0.64, 0.36]]))
    # After the pooling: both members are certain, together they know nothing, at any temperature.
    certain = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]).log()
    torch.testing.assert_close(pool(certain, temperature=0.01), torch.tensor([[0.5, 0.5]]))


def test_uncertainty_by_hand():
    running = folded(ClassPool(uncertainty=True), [FIRST.log(), SECOND.log()])
    found = running.uncertainty()
    two = math.log(2)
    # H(0.8, 0.2) = 0.500402.
    torch.testing.assert_close(found["entropy"], torch.tensor([two, two]))
    torch.testing.assert_close(found["mutual_information"], torch.tensor([two - 0.500402, 0.0]))


def test_mixture_by_hand():
    # Means 1 and 4, variances 2 and 8, weights 1 and 2: mean 3; noise 6; spread (4 + 2 * 1) / 3 = 2.
    running = folded(MomentPool(), [torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 8.0]])], [1.0, 2.0])
    torch.testing.assert_close(running.pooled(), torch.tensor([[3.0, 8.0]]))
    found = running.uncertainty()
    torch.testing.assert_close(found, {"mean": torch.tensor([3.0]), "variance": torch.tensor([8.0])})


# ---- properties

weights_of_three = st.lists(st.floats(0.01, 100.0), min_size=3, max_size=3)
temperatures = st.one_of(st.none(), st.floats(0.2, 5.0))
poolings = st.sampled_from(POOLINGS)
shapes = st.sampled_from([(4, 3), (4, 2), (4, 1, 2), (2, 5, 2), (0, 3)])


def readings_of(shape, seed, members=3):
    rows = torch.randn(members, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (3 * rows).log_softmax(-1)


seeds = st.integers(0, 10_000)


@given(shapes, seeds, weights_of_three, poolings, temperatures)
def test_running_pool_is_the_formula(shape, seed, weights, pooling, temperature):
    readings = readings_of(shape, seed)
    found = pool(readings, weights, pooling, temperature)
    torch.testing.assert_close(found, formula(readings, weights, pooling, temperature))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.sum(-1), torch.ones(shape[:-1], dtype=torch.float64))


@given(shapes, seeds, weights_of_three, poolings, st.floats(1e-3, 1e3))
def test_only_ratios_of_weights_matter(shape, seed, weights, pooling, factor):
    readings = readings_of(shape, seed)
    scaled = [factor * weight for weight in weights]
    torch.testing.assert_close(pool(readings, weights, pooling), pool(readings, scaled, pooling))


@given(shapes, seeds, poolings, temperatures)
def test_equal_weights_are_none(shape, seed, pooling, temperature):
    readings = readings_of(shape, seed)
    equal = pool(readings, [0.2, 0.2, 0.2], pooling, temperature)
    torch.testing.assert_close(pool(readings, None, pooling, temperature), equal)


@given(shapes, seeds, weights_of_three, poolings, st.permutations([0, 1, 2]))
def test_order_does_not_matter(shape, seed, weights, pooling, order):
    readings = readings_of(shape, seed)
    moved = pool(readings[order], [weights[index] for index in order], pooling)
    torch.testing.assert_close(moved, pool(readings, weights, pooling))


@given(shapes, seeds, weights_of_three, st.sampled_from(["mean_prob", "mean_logit", "geometric"]))
def test_equal_members_are_that_member(shape, seed, weights, pooling):
    one = readings_of(shape, seed, members=1)
    running = folded(ClassPool(pooling, uncertainty=True), one.expand(3, *shape), weights)
    torch.testing.assert_close(running.pooled(), one[0].exp())
    found = running.uncertainty()
    torch.testing.assert_close(found["mutual_information"], torch.zeros(shape[0]).double())


@given(shapes, seeds, weights_of_three, temperatures)
def test_mean_of_logits_is_the_geometric_mean(shape, seed, weights, temperature):
    readings = readings_of(shape, seed)
    logit, geometric = (pool(readings, weights, pooling, temperature) for pooling in ("mean_logit", "geometric"))
    assert torch.equal(logit, geometric)
    # Of logits: whatever constant a member's rows have been shifted by, softmax of their mean.
    shifts = torch.randn(3, *shape[:-1], 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    shares = torch.tensor(weights, dtype=torch.float64).reshape(-1, *[1] * len(shape)) / sum(weights)
    mean = (shares * (readings + shifts)).sum(0)
    torch.testing.assert_close(logit, (mean / (temperature or 1.0)).softmax(-1))


@given(shapes, seeds, weights_of_three, poolings, temperatures)
def test_disagreement_is_part_of_the_uncertainty(shape, seed, weights, pooling, temperature):
    readings = readings_of(shape, seed)
    running = folded(ClassPool(pooling, temperature, uncertainty=True), readings, weights)
    found = running.uncertainty()
    assert found["entropy"].shape == found["mutual_information"].shape == shape[:1]
    assert (found["mutual_information"] >= 0).all()
    # Of the mixture, whatever the pooling and the temperature; labels are summed.
    mixture = formula(readings, weights, "mean_prob", None)
    shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    members = torch.distributions.Categorical(readings.exp()).entropy().reshape(3, shape[0], math.prod(shape[1:-1]))
    total = torch.distributions.Categorical(mixture).entropy().reshape(shape[0], math.prod(shape[1:-1]))
    expected = total.sum(-1) - (shares.reshape(3, 1) * members.sum(-1)).sum(0)
    torch.testing.assert_close(found["mutual_information"], expected, atol=1e-12, rtol=1e-6)
    pooled = torch.special.entr(running.pooled()).reshape(shape[0], math.prod(shape[1:])).sum(-1)
    torch.testing.assert_close(found["entropy"], pooled)


@given(seeds, st.sampled_from(["mean_prob", "mean_logit"]), st.floats(0.2, 0.95))
def test_temperature_below_one_sharpens(seed, pooling, temperature):
    readings = readings_of((4, 3), seed)
    plain, sharp, flat = (pool(readings, None, pooling, t) for t in (1.0, temperature, 1 / temperature))
    entropy = [torch.special.entr(probs).sum(-1) for probs in (sharp, plain, flat)]
    assert (entropy[0] <= entropy[1] + 1e-12).all()
    assert (entropy[1] <= entropy[2] + 1e-12).all()
    assert torch.equal(sharp.argmax(-1), plain.argmax(-1))


@given(shapes, seeds, poolings, temperatures)
def test_asking_in_between_changes_nothing(shape, seed, pooling, temperature):
    readings = readings_of(shape, seed)
    kept = readings.clone()
    running = ClassPool(pooling, temperature, uncertainty=True)
    for count, reading in enumerate(readings, start=1):
        running.add(reading)
        so_far = running.pooled()
        running.uncertainty()
        assert torch.equal(so_far, running.pooled())
        assert torch.equal(so_far, pool(readings[:count], None, pooling, temperature))
        # What is given out is not what the pool goes on with.
        so_far.fill_(7.0)
    assert torch.equal(readings, kept)


moments = arrays("float64", (4, 5, 2), elements=st.floats(0, 100))


@given(moments, st.lists(st.floats(0.01, 100.0), min_size=4, max_size=4))
def test_moments_are_those_of_the_mixture(values, weights):
    readings = torch.from_numpy(values.copy())
    shares = (torch.tensor(weights, dtype=torch.float64) / sum(weights)).reshape(4, 1)
    mean = (shares * readings[..., 0]).sum(0)
    second = (shares * (readings[..., 1] + (readings[..., 0] - mean).square())).sum(0)
    running = folded(MomentPool(), readings, weights)
    torch.testing.assert_close(running.pooled(), torch.stack((mean, second), dim=-1), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(readings, torch.from_numpy(values))


def test_moments_asked_in_between():
    running = MomentPool()
    for count in (1, 2, 3):
        running.add(torch.tensor([[float(count), 1.0]]))
        mean = (count + 1) / 2
        torch.testing.assert_close(running.uncertainty()["mean"], torch.tensor([mean]))
        # What is given out is not what the pool goes on with.
        running.pooled().fill_(7.0)
        for value in running.uncertainty().values():
            value.fill_(7.0)


def test_moments_do_not_cancel():
    # In float32 the squares of these means differ in no digit.
    readings = [torch.tensor([[10_000.0 + shift, 0.0]]) for shift in (-1.0, 0.0, 1.0)]
    assert folded(MomentPool(), readings).pooled()[0, 1].item() == pytest.approx(2 / 3, rel=1e-5)


def test_equal_moments():
    running = folded(MomentPool(), [torch.tensor([[3.0, 0.5], [0.1, 0.0]])] * 5)
    torch.testing.assert_close(running.pooled(), torch.tensor([[3.0, 0.5], [0.1, 0.0]]))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_temperature_of_one_is_none(pooling):
    readings = log_probs(3, 50, 4, dtype=torch.float32)
    assert torch.equal(pool(readings, None, pooling, 1.0), pool(readings, None, pooling, None))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_rounding_makes_no_disagreement_negative(pooling):
    running = folded(ClassPool(pooling, uncertainty=True), log_probs(1, 2000, 5, dtype=torch.float32).expand(3, -1, -1))
    found = running.uncertainty()["mutual_information"]
    assert found.min() >= 0
    torch.testing.assert_close(found, torch.zeros(2000), atol=1e-6, rtol=0)


# ---- extremes


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("temperature", [None, 0.5, 2.0])
def test_certain_members(pooling, temperature):
    readings = torch.tensor([[[1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]]).log()
    running = folded(ClassPool(pooling, temperature, uncertainty=True), readings)
    assert running.pooled().tolist() == [[1.0, 0.0, 0.0]]
    assert {name: value.tolist() for name, value in running.uncertainty().items()} == {
        "entropy": [0.0],
        "mutual_information": [0.0],
    }


def test_what_one_member_holds_impossible():
    readings = torch.tensor([[[0.5, 0.5, 0.0]], [[0.2, 0.3, 0.5]]]).log()
    product = math.sqrt(0.1), math.sqrt(0.15)
    expected = [product[0] / sum(product), product[1] / sum(product), 0.0]
    assert pool(readings, pooling="geometric")[0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_each_class_is_impossible_to_some_member(temperature):
    readings = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]).log()
    assert pool(readings, None, "geometric", temperature).tolist() == [[0.5, 0.5]]
    assert pool(readings, [2, 1], "geometric", temperature).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("temperature", [None, 0.5, 1e-3, 1e3])
def test_large_logits(pooling, temperature):
    logits = torch.tensor([[[1e4, 0.0, -1e4]], [[9e3, 9e3, -1e4]], [[1e4, -1e4, 0.0]]])
    running = folded(ClassPool(pooling, temperature, uncertainty=True), logits.log_softmax(-1))
    assert running.pooled().isfinite().all()
    assert running.pooled()[0].argmax() == 0
    assert all(value.isfinite().all() for value in running.uncertainty().values())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_broken_member_shows(pooling):
    readings = [torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log(), torch.tensor([[math.nan, math.nan], [0.0, -math.inf]])]
    pooled = pool(readings, pooling=pooling)
    assert pooled[0].isnan().all() or pooling == "vote"
    assert pooled[0].isnan().any()
    assert not pooled[1].isnan().any()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_no_probability_above_one(pooling):
    # Weights like these have sums round to above 1 in float32, which torchmetrics would take for logits.
    readings = [torch.tensor([[0.0, -math.inf]])] * 7
    for weight in (0.1, 0.3, 0.7, 1 / 3, 1 / 7):
        pooled = pool(readings, [weight] * 7, pooling)
        assert pooled.max() <= 1.0
        torch.testing.assert_close(pooled, torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_no_samples(pooling):
    running = folded(ClassPool(pooling, 0.5, uncertainty=True), [torch.zeros(0, 4, 2)] * 2)
    assert running.pooled().shape == (0, 4, 2)
    assert {value.shape for value in running.uncertainty().values()} == {(0,)}
    assert folded(MomentPool(), [torch.zeros(0, 2)]).pooled().shape == (0, 2)


@pytest.mark.parametrize("make", [ClassPool, MomentPool])
def test_a_member_of_weight_zero_is_not_there(make):
    with_it, without = make(), make()
    for reading, weight in ((SECOND.log(), 0.0), (FIRST.log(), 2.0), (SECOND.log(), 0.0)):
        # Of a regression it has to be a variance, too.
        with_it.add(reading if make is ClassPool else reading.abs(), weight)
    without.add(FIRST.log() if make is ClassPool else FIRST.log().abs())
    torch.testing.assert_close(with_it.pooled(), without.pooled())


# ---- memory and refusals


@pytest.mark.parametrize("uncertainty", [False, True])
def test_nothing_that_was_added_is_kept(uncertainty):
    def held(running):
        return sorted(value.shape for value in vars(running).values() if isinstance(value, torch.Tensor))

    one = folded(ClassPool("vote", uncertainty=uncertainty), log_probs(1, 5, 3))
    many = folded(ClassPool("vote", uncertainty=uncertainty), log_probs(50, 5, 3))
    assert held(many) == held(one)
    assert len(held(many)) == (3 if uncertainty else 1)
    assert not any(isinstance(value, list | tuple | dict) for value in vars(many).values())


@pytest.mark.parametrize("make", [lambda: ClassPool("vote"), MomentPool])
def test_nothing_was_added(make):
    running = make()
    running.add(FIRST.log(), 0.0)
    with pytest.raises(RuntimeError, match=r"^weights: no reading of a weight above 0 was added; add one .*$"):
        running.pooled()


def test_uncertainty_that_was_not_gathered():
    with pytest.raises(RuntimeError, match=r"^uncertainty=False: .*; make it with uncertainty=True$"):
        folded(ClassPool(), [FIRST.log()]).uncertainty()


@pytest.mark.parametrize("make", [ClassPool, MomentPool])
@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_what_is_no_weight(make, weight):
    with pytest.raises(ValueError, match=rf"^weight={weight}: out of range; pass a finite number of at least 0$"):
        make().add(FIRST.log(), weight)


@pytest.mark.parametrize("make", [ClassPool, MomentPool])
def test_readings_of_another_shape(make):
    running = folded(make(), [torch.zeros(1, 2)])
    with pytest.raises(ValueError, match=r"^reading=shape .*; give those of members with one kind of output, .*$"):
        running.add(torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "median"}, "pooling='median': unknown; pass 'mean_prob' or 'mean_logit' or 'geometric' or 'vote'"),
        ({"temperature": 0.0}, "temperature=0.0: out of range; pass a number above 0"),
        ({"temperature": math.inf}, "temperature=inf: not finite; pass a number above 0"),
        ({"weights": [1.0]}, r"weights=\[1.0\]: 1 for 2 members; pass one for each member"),
    ],
)
def test_what_pool_refuses(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        pool([FIRST.log(), SECOND.log()], **arguments)


def test_a_temperature_that_is_no_number():
    with pytest.raises(TypeError, match=r"^temperature='warm': not a number; pass a number above 0$"):
        ClassPool(temperature="warm")
