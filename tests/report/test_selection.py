from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from lightning_lr.ensemble.pooling import POOLINGS, ClassPool, pool
from lightning_lr.ensemble.scores import negative_log_likelihood
from lightning_lr.report.selection import fit_temperature, fit_weights, select_greedily, select_last_m


def members(count, samples=200, classes=3, noise=1.0, seed=0):
    """Members that see the same truth through noise, the later the better, and targets drawn from that truth."""
    generator = torch.Generator().manual_seed(seed)
    truth = 2 * torch.randn(samples, classes, generator=generator)
    target = torch.multinomial(truth.softmax(-1), 1, generator=generator)[:, 0]
    blurs = [noise * (count - m) / count * torch.randn(samples, classes, generator=generator) for m in range(count)]
    return torch.stack([truth + blur for blur in blurs]).log_softmax(-1), target


def nll(readings, target, weights, pooling="mean_prob"):
    """What is told of an ensemble, in float64."""
    return float(negative_log_likelihood(pool(readings.double(), list(weights), pooling), target).mean())


def simplex(count, steps):
    """Every way to deal out so many parts."""
    for cuts in itertools.combinations(range(steps + count - 1), count - 1):
        edges = (-1, *cuts, steps + count - 1)
        yield [(after - before - 1) / steps for before, after in itertools.pairwise(edges)]


# The last m.


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("seed", range(5))
def test_last_m_is_the_best_of_all(pooling, seed):
    readings, target = members(6, noise=3.0, seed=seed)
    losses = [nll(readings[-m:], target, [1.0] * m, pooling) for m in range(1, 7)]
    assert select_last_m(readings, target, pooling) == 1 + int(np.argmin(losses))


def test_last_m_of_equals_is_one():
    readings, target = members(1)
    assert select_last_m(readings.expand(4, -1, -1), target) == 1


def test_at_least_so_many():
    readings, target = members(4, noise=3.0)
    losses = [nll(readings[-m:], target, [1.0] * m) for m in range(1, 5)]
    for at_least in range(1, 5):
        best = min(range(at_least, 5), key=lambda m: losses[m - 1])
        assert select_last_m(readings, target, at_least=at_least) == best
    assert select_last_m(readings[:1], target, at_least=2) == 1
    with pytest.raises(ValueError, match=r"^at_least=0: out of range; pass an int of at least 1$"):
        select_last_m(readings, target, at_least=0)


def test_last_m_of_a_regression_goes_by_the_squared_error():
    # Means of the last 1, 2, 3: 1, 0.5, 3.
    readings = torch.tensor([[[8.0, 0.0]], [[0.0, 0.0]], [[1.0, 0.0]]])
    assert select_last_m(readings, torch.tensor([0.4])) == 2
    assert select_last_m(readings, torch.tensor([0.9])) == 1
    assert select_last_m(readings, torch.tensor([3.2])) == 3


# Greedy selection.


def by_the_book(readings, target, pooling, rounds):
    """Caruana's loop, with the pool and the score that an ensemble has."""
    picks, path = [], []
    for _ in range(rounds):
        losses = [nll(readings[[*picks, m]], target, [1.0] * (len(picks) + 1), pooling) for m in range(len(readings))]
        picks = [*picks, int(np.argmin(losses))]
        path.append((min(losses), len(picks), picks))
    chosen = min(path)[2]
    return [chosen.count(m) / len(chosen) for m in range(len(readings))]


@pytest.mark.parametrize("pooling", ["mean_prob", "geometric"])
@pytest.mark.parametrize("seed", range(3))
def test_greedy_selection_is_caruanas(pooling, seed):
    readings, target = members(4, samples=60, noise=2.0, seed=seed)
    assert select_greedily(readings, target, pooling, rounds=12) == pytest.approx(
        by_the_book(readings, target, pooling, 12)
    )


def test_greedy_selection_by_hand():
    # 0.9 · 0.1, 0.2 · 0.8, 0.5 · 0.5: the last first. With the first it is 0.7 · 0.3, with the second 0.35 · 0.65, and
    # the first two would be 0.55 · 0.45: none is better than 0.5 · 0.5.
    readings = torch.tensor([[[0.9, 0.1], [0.9, 0.1]], [[0.2, 0.8], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]]]).log()
    assert select_greedily(readings, torch.tensor([0, 1])) == (0.0, 0.0, 1.0)


def test_greedy_selection_picks_again():
    # 0.9 and 0.2 for a target that comes three times in four: (2 · 0.9 + 0.2) / 3 = 0.667, and no pair comes as near.
    readings = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()[:, None].expand(-1, 4, -1)
    weights = select_greedily(readings, torch.tensor([0, 0, 0, 1]))
    assert weights[0] * 0.9 + weights[1] * 0.2 == pytest.approx(0.75, abs=0.005)


def test_the_oldest_wins_a_tie():
    readings, target = members(1)
    assert select_greedily(readings.expand(3, -1, -1), target) == (1.0, 0.0, 0.0)


def test_more_rounds_are_never_worse():
    readings, target = members(5, noise=3.0)
    losses = [nll(readings, target, select_greedily(readings, target, rounds=rounds)) for rounds in (1, 2, 5, 20, 50)]
    assert losses == sorted(losses, reverse=True)


def test_rounds_are_at_least_one():
    with pytest.raises(ValueError, match=r"^rounds=0: out of range; pass an int of at least 1$"):
        select_greedily(*members(2), rounds=0)


# Weights.


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("seed", range(3))
def test_no_weights_of_a_grid_are_better(pooling, seed):
    readings, target = members(3, samples=80, noise=2.0, seed=seed)
    found = nll(readings, target, fit_weights(readings, target, pooling), pooling)
    best = min(nll(readings, target, weights, pooling) for weights in simplex(3, 20))
    assert found <= best * (1 + 2e-6)
    assert found >= best - 0.02  # and the grid has one near it


@pytest.mark.parametrize("pooling", ["mean_prob", "geometric"])
@pytest.mark.parametrize("count", [2, 5, 12])
def test_weights_are_scipys(pooling, count):
    readings, target = members(count, noise=2.0, seed=count)
    found = nll(readings, target, fit_weights(readings, target, pooling), pooling)
    oracle = minimize(
        lambda weights: nll(readings, target, np.maximum(weights, 0), pooling),
        [1 / count] * count,
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda weights: sum(weights) - 1},
        options={"ftol": 1e-10, "maxiter": 300},
    )
    assert found == pytest.approx(oracle.fun, abs=2e-6)


def test_weights_are_those_of_expectation_maximisation():
    readings, target = members(4, noise=2.0)
    chances = readings.double().gather(2, target.expand(4, -1)[..., None])[..., 0].exp()
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    for _ in range(20_000):
        shares = weights[:, None] * chances
        weights = (shares / shares.sum(dim=0)).mean(dim=1)
    assert fit_weights(readings, target) == pytest.approx(weights.tolist(), abs=2e-3)


@pytest.mark.parametrize("pooling", ["mean_prob", "mean_logit", "vote"])
def test_noise_gets_nothing(pooling):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(3, (300,), generator=generator)
    good = 3 * torch.nn.functional.one_hot(target, 3) + torch.randn(300, 3, generator=generator)
    readings = torch.stack([torch.randn(300, 3, generator=generator), good]).log_softmax(-1)
    # As a vote, noise is right where the good one is wrong, and a share keeps the NLL finite there.
    weights = fit_weights(readings, target, pooling)
    assert weights[1] > 0.9
    if pooling != "vote":
        assert weights == pytest.approx((0.0, 1.0), abs=0.02)


def test_a_member_that_never_helps_has_a_weight_of_exactly_0():
    readings = torch.tensor([[[0.4, 0.6], [0.3, 0.7]], [[0.8, 0.2], [0.9, 0.1]], [[0.5, 0.5], [0.6, 0.4]]]).log()
    assert fit_weights(readings, torch.tensor([0, 0])) == (0.0, 1.0, 0.0)


def test_weights_in_closed_form():
    # w 0.9 + (1 − w) 0.2 comes true three times in four: w = 0.55 / 0.7.
    readings = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()[:, None].expand(-1, 4, -1)
    expected = 0.55 / 0.7
    assert fit_weights(readings, torch.tensor([0, 0, 0, 1])) == pytest.approx((expected, 1 - expected), abs=1e-3)


def test_weights_of_votes_in_closed_form():
    # Right in 3 and in 1 of 4 samples, never both: w = 3/4.
    readings = torch.tensor([[[0.9, 0.1]] * 3 + [[0.1, 0.9]], [[0.1, 0.9]] * 3 + [[0.9, 0.1]]]).log()
    assert fit_weights(readings, torch.zeros(4, dtype=torch.long), "vote") == pytest.approx((0.75, 0.25), abs=1e-3)


def test_weights_of_a_regression_are_those_of_least_squares():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(100, 2, generator=generator)
    means = target + torch.tensor([1.0, 0.5])[:, None, None] * torch.randn(2, 100, 2, generator=generator)
    readings = torch.stack((means, torch.zeros_like(means)), dim=-1)
    one, two = means.double()
    # d/dw of Σ (w a + (1 − w) b − y)² is 0.
    expected = float(((target - two) * (one - two)).sum() / (one - two).square().sum())
    assert 0.05 < expected < 0.5
    assert fit_weights(readings, target) == pytest.approx((expected, 1 - expected), abs=1e-3)


def test_weights_do_not_depend_on_the_scale_of_a_regression():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(50, generator=generator)
    means = target + torch.tensor([[1.0], [0.7], [0.5]]) * torch.randn(3, 50, generator=generator)
    found = [fit_weights(torch.stack((scale * means, 0 * means), dim=-1), scale * target) for scale in (1e-6, 1.0, 1e6)]
    assert found[0] == pytest.approx(found[1], abs=1e-3)
    assert found[2] == pytest.approx(found[1], abs=1e-3)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_fitted_weights_are_a_distribution_that_no_other_beats(data):
    count = data.draw(st.integers(1, 4))
    logits = st.floats(-30, 30, width=32)
    samples = data.draw(st.integers(1, 6))
    rows = data.draw(st.lists(logits, min_size=count * samples * 3, max_size=count * samples * 3))
    readings = torch.tensor(rows).reshape(count, samples, 3).log_softmax(-1)
    target = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=samples, max_size=samples)))
    pooling = data.draw(st.sampled_from(POOLINGS))
    weights = fit_weights(readings, target, pooling)
    assert all(weight >= 0 for weight in weights)
    assert sum(weights) == pytest.approx(1.0)
    found = nll(readings, target, weights, pooling)
    for other in [*simplex(count, 4), select_greedily(readings, target, pooling, rounds=5)]:
        assert found <= nll(readings, target, other, pooling) * (1 + 1e-5) + 1e-7


@pytest.mark.parametrize("pooling", POOLINGS)
def test_impossible_classes_do_not_break_a_fit(pooling):
    # Each member excludes what comes once; together they exclude it in the last sample.
    probs = torch.tensor([[[1.0, 0.0], [0.6, 0.4], [0.0, 1.0]], [[0.6, 0.4], [1.0, 0.0], [0.0, 1.0]]])
    weights = fit_weights(probs.log(), torch.tensor([1, 1, 0]), pooling)
    assert sum(weights) == pytest.approx(1.0)
    assert all(math.isfinite(weight) for weight in select_greedily(probs.log(), torch.tensor([1, 1, 0]), pooling))
    assert select_last_m(probs.log(), torch.tensor([1, 1, 0]), pooling) in (1, 2)


def test_members_in_which_no_target_is_possible_stay_equal():
    readings = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]).log()
    assert fit_weights(readings, torch.tensor([1])) == (0.5, 0.5)


def test_labels_count_one_by_one():
    readings, target = members(3, samples=120, classes=2, noise=2.0)
    grouped = readings.reshape(3, 40, 3, 2), target.reshape(40, 3)
    assert fit_weights(*grouped) == fit_weights(readings, target)
    assert select_greedily(*grouped) == select_greedily(readings, target)
    assert select_last_m(*grouped) == select_last_m(readings, target)


# Temperature.


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0, 10.0])
def test_temperature_of_scaled_logits_is_the_scale(scale):
    # Every class as often as the logits say it comes: the optimum is the scale, to the last digit.
    counts = torch.tensor([6, 3, 1])
    logits = scale * (counts / 10).double().log()
    target = torch.repeat_interleave(torch.arange(3), counts)
    found = fit_temperature(logits.softmax(-1).expand(10, 3), target)
    assert found == pytest.approx(scale, rel=1e-6)


def test_temperature_of_a_drawn_sample_is_about_the_scale():
    generator = torch.Generator().manual_seed(0)
    truth = 2 * torch.randn(5000, 10, generator=generator)
    target = torch.multinomial(truth.softmax(-1), 1, generator=generator)[:, 0]
    assert fit_temperature((3 * truth).softmax(-1), target) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("pooling", ["mean_prob", "geometric"])
@pytest.mark.parametrize("seed", range(3))
def test_temperature_is_scipys_of_what_the_pool_gives(pooling, seed):
    readings, target = members(3, noise=3.0, seed=seed)
    readings = (readings * 2).log_softmax(-1).double()

    def told(log_temperature):
        pooled = pool(readings, None, pooling, math.exp(log_temperature))
        return float(negative_log_likelihood(pooled, target).mean())

    oracle = minimize_scalar(told, bounds=(math.log(0.01), math.log(100)), method="bounded", options={"xatol": 1e-10})
    found = fit_temperature(pool(readings, None, pooling), target)
    assert found == pytest.approx(math.exp(oracle.x), rel=1e-4)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.lists(st.floats(-20, 20), min_size=3, max_size=3), st.integers(0, 2)), min_size=1, max_size=8)
)
def test_no_temperature_is_better(rows):
    logits = torch.tensor([row for row, _ in rows], dtype=torch.float64)
    target = torch.tensor([label for _, label in rows])
    found = fit_temperature(logits.softmax(-1), target)

    def told(temperature):
        tempered = ClassPool(temperature=temperature)
        tempered.add(logits.log_softmax(-1))
        pooled = tempered.pooled()
        return float(-pooled.gather(1, target[:, None]).log().mean())

    grid = [math.exp(step / 4) for step in range(-16, 17)]
    if found is not None:
        assert all(told(found) <= told(temperature) + 1e-6 for temperature in grid)
    else:
        # Then it falls towards one of the ends.
        losses = [told(temperature) for temperature in grid]
        assert min(losses) >= min(losses[0], losses[-1]) - 1e-6


def test_there_is_no_temperature_where_all_is_right():
    probs = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(probs, torch.tensor([0, 1])) is None
    assert fit_temperature(torch.tensor([[1.0, 0.0]]), torch.tensor([0])) is None


def test_there_is_no_temperature_where_chance_does_better():
    assert fit_temperature(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([1, 0])) is None


def test_what_has_probability_0_keeps_it():
    # The first row is as it is at every temperature; of the others one in four is wrong.
    row = [27 / 28, 1 / 28, 0.0]
    probs = torch.tensor([[0.0, 1.0, 0.0], row, row, row, row], dtype=torch.float64)
    assert fit_temperature(probs, torch.tensor([0, 0, 0, 0, 1])) == pytest.approx(3.0)
    assert fit_temperature(probs[:1], torch.tensor([0])) is None


def test_temperature_of_labels():
    probs = torch.tensor([27 / 28, 1 / 28]).expand(2, 2, 2)
    assert fit_temperature(probs, torch.tensor([[0, 0], [0, 1]])) == pytest.approx(3.0)


# Refusals.

FITS = [select_last_m, select_greedily, fit_weights]


@pytest.mark.parametrize("fit", FITS)
def test_a_pooling_that_there_is_not(fit):
    with pytest.raises(ValueError, match=r"^pooling='mean': unknown; pass 'mean_prob' or "):
        fit(*members(2), "mean")


@pytest.mark.parametrize("fit", FITS)
def test_nan_is_named(fit):
    readings, target = members(3)
    readings[1, 5] = math.nan
    with pytest.raises(ValueError, match=r"^readings\[1\]: not a number in some samples; leave these members out$"):
        fit(readings, target)


@pytest.mark.parametrize("fit", FITS)
def test_nothing_to_fit_on(fit):
    with pytest.raises(ValueError, match=r"^readings of shape \(2, 0, 3\): nothing to fit on; pass one sample or more"):
        fit(torch.zeros(2, 0, 3), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize("fit", FITS)
def test_targets_of_something_else(fit):
    with pytest.raises(
        ValueError, match=r"^readings of shape \(2, 5, 3\) for targets of shape \(4,\): they do not belong"
    ):
        fit(torch.zeros(2, 5, 3), torch.zeros(4, dtype=torch.long))


def test_a_temperature_of_nan():
    with pytest.raises(ValueError, match=r"^probs\[0\]: not a number"):
        fit_temperature(torch.tensor([[math.nan, 0.5]]), torch.tensor([0]))
