from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_lr.report.identity import identities, named, shared

X = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))


def nested(rows):
    return {"a": rows, "b": [rows[:, 0], (rows[:, 1].numpy(), 7)], "texts": [f"{row[0, 0]}" for row in rows]}


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows,
        lambda rows: rows.numpy(),
        lambda rows: rows.to(torch.bfloat16),
        lambda rows: rows > 0,
        lambda rows: (rows * 100).long(),
        lambda rows: rows[:, 0, 0],
        lambda rows: (rows, rows[:, 0]),
        nested,
        lambda rows: [f"text {row[0, 0]}" for row in rows],
        lambda rows: [torch.cat([row.flatten()] * (2 + int(row[0, 0] > 0))) for row in rows],  # of several sizes
        lambda rows: [{"image": torch.cat([row, row[:1]]), "id": float(row[0, 0])} for row in rows],
        lambda rows: rows.transpose(0, 1).contiguous().transpose(0, 1),  # another layout of the same
    ],
)
def test_a_sample_is_the_same_in_another_order_and_another_batch(form):
    whole = identities(form(X), 6)
    assert len(set(whole)) == 6
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    assert identities(form(X[order]), 6) == tuple(whole[i] for i in order)
    assert identities(form(X[:4]), 4) + identities(form(X[4:]), 2) == whole
    assert identities(form(X[2:3]), 1) == (whole[2],)


def test_a_sample_is_the_same_in_another_precision_and_with_another_sign_of_zero():
    assert identities(X.double(), 6) == identities(X, 6)
    assert identities(X.half().numpy(), 6) == identities(X.half().float(), 6)
    assert identities(-torch.zeros(1, 3), 1) == identities(torch.zeros(1, 3), 1)
    # Pixels and their shares are two things, and whole numbers too large for a float stay apart.
    assert identities(torch.tensor([[1]]), 1) != identities(torch.tensor([[1.0]]), 1)
    assert len({*identities(torch.tensor([[2**53], [2**53 + 1]]), 2)}) == 2


def test_every_part_counts():
    one, other = X.clone(), X.clone()
    other[3, 1, 2] += 1e-6
    differs = [a != b for a, b in zip(identities((X, one), 6), identities((X, other), 6), strict=True)]
    assert differs == [False, False, False, True, False, False]


def test_the_boundary_between_parts_counts():
    assert identities((["ab"], ["c"]), 1) != identities((["a"], ["bc"]), 1)
    assert identities([{"x": "ab", "y": "c"}], 1) != identities([{"x": "a", "y": "bc"}], 1)


def test_the_batchs_own_is_left_out():
    assert identities({"x": X, "scale": torch.tensor(2.0)}, 6) == identities({"x": X, "scale": torch.tensor(3.0)}, 6)


@pytest.mark.parametrize("x", [object(), torch.tensor(3.0), {"scale": 2.0}, [object(), object()], [], None])
def test_what_cannot_be_told_apart_is_refused(x):
    with pytest.raises(TypeError, match=r"^input=\w+: nothing in it is one entry a sample, of 2; pass identify="):
        identities(x, 2)


def test_values_of_ones_own():
    assert named(["a", "b"], 2) == named(("a", "b"), 2)
    assert named(torch.tensor([3, 4]), 2) == named(np.array([3, 4]), 2)
    assert len({*named([1, 2, "1"], 3)}) == 3
    for wrong in (["a"], "ab", None, torch.tensor([3]), [object(), object()]):
        with pytest.raises(TypeError, match=r"^identify=\w+: not one value for each of 2 samples; return a list"):
            named(wrong, 2)


def test_the_share_is_of_the_smaller_split():
    small, large = frozenset({b"a", b"b"}), frozenset({b"b", b"c", b"d", b"e"})
    assert shared(small, large) == shared(large, small) == 0.5
    assert shared(small, small) == 1.0
    assert shared(small, frozenset({b"x"})) == 0.0
    assert shared(small, frozenset()) == 0.0
