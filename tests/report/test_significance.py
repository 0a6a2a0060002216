from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lightning_lr.report.significance import mcnemar, paired_t


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (5, 0, 2 / 32),
        (1, 7, 2 * (1 + 8) / 256),
        (7, 1, 2 * (1 + 8) / 256),
        (2, 1, 1.0),
    ],
)
def test_mcnemar_by_hand(won, lost, p):
    assert mcnemar(won, lost) == p


@given(won=st.integers(0, 300), lost=st.integers(0, 300))
def test_mcnemar_is_the_binomial_test(won, lost):
    if won + lost:
        assert mcnemar(won, lost) == pytest.approx(stats.binomtest(won, won + lost).pvalue, rel=1e-9)


def test_mcnemar_of_many_samples():
    # 2^41000 is no float.
    assert mcnemar(20_000, 21_000) == pytest.approx(stats.binomtest(20_000, 41_000).pvalue, rel=1e-6)


@pytest.mark.parametrize("samples", [2, 3, 4, 10, 100, 1000, 50_000])
@pytest.mark.parametrize("effect", [0.0, 0.5, 3.0])
def test_paired_t_is_students(samples, effect):
    generator = torch.Generator().manual_seed(samples)
    differences = torch.randn(samples, generator=generator, dtype=torch.float64) + effect / samples**0.5
    expected = stats.ttest_1samp(differences.numpy(), 0.0).pvalue
    assert paired_t(differences) == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_paired_t_without_differences_without_samples_and_without_spread():
    assert paired_t(torch.zeros(5)) == 1.0
    assert paired_t(torch.ones(1)) == 1.0
    assert paired_t(torch.tensor([])) == 1.0
    assert paired_t(torch.ones(5)) == 0.0


def test_paired_t_of_a_difference_far_beyond_chance():
    assert paired_t(torch.randn(10_000, generator=torch.Generator().manual_seed(0)) + 5.0) == 0.0
