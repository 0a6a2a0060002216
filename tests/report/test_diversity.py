from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lightning_lr.report.diversity import correlation, disagreement


def logs(rows):
    return torch.tensor(rows).log()


def test_disagreement_by_hand():
    one = [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]]
    two = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]
    assert disagreement(logs([one, two]), torch.tensor([0, 0, 0, 0])) == [[0.0, 0.5], [0.5, 0.0]]


def test_disagreement_counts_each_label():
    one = [[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.2, 0.8]]]
    two = [[[0.9, 0.1], [0.9, 0.1]], [[0.9, 0.1], [0.2, 0.8]]]
    assert disagreement(logs([one, two]), torch.zeros(2, 2, dtype=torch.long))[0][1] == 0.25


def test_disagreement_of_a_regression_is_a_distance():
    readings = torch.tensor([[[1.0, 9.0], [2.0, 9.0]], [[4.0, 0.0], [6.0, 0.0]]])
    assert disagreement(readings, torch.zeros(2))[0][1] == pytest.approx(math.sqrt((9 + 16) / 2))


def test_correlation_is_numpys():
    generator = torch.Generator().manual_seed(0)
    readings = torch.randn(4, 50, 3, generator=generator).log_softmax(-1)
    target = torch.randint(3, (50,), generator=generator)
    errors = (readings.argmax(-1) != target).numpy()
    assert np.array(correlation(readings, target)) == pytest.approx(np.corrcoef(errors))


def test_correlation_of_residuals_is_numpys():
    generator = torch.Generator().manual_seed(0)
    readings, target = torch.randn(3, 20, 2, 2, generator=generator), torch.randn(20, 2, generator=generator)
    residuals = (readings[..., 0] - target).flatten(1).double().numpy()
    assert np.array(correlation(readings, target)) == pytest.approx(np.corrcoef(residuals), abs=1e-6)


def test_a_member_that_never_errs_has_no_correlation():
    matrix = correlation(logs([[[0.9, 0.1], [0.1, 0.9]], [[0.9, 0.1], [0.9, 0.1]]]), torch.tensor([0, 1]))
    assert math.isnan(matrix[0][0])
    assert math.isnan(matrix[0][1])
    assert matrix[1][1] == pytest.approx(1.0)


@pytest.mark.parametrize("matrix", [disagreement, correlation])
@pytest.mark.parametrize("target", [torch.tensor([0, 1]), torch.tensor([0.5, 1.0])])
def test_nan_shows_beside_every_other_member(matrix, target):
    readings = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    readings[1, 0] = math.nan
    found = matrix(readings, target)
    assert [math.isnan(found[1][m]) for m in range(3)] == [True, True, True]
    assert not math.isnan(disagreement(readings, target)[0][2])
