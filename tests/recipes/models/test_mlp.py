"""The multi-layer perceptron against torchvision's."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from recipes.models.mlp import MLP


def count(model):
    return sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize("hidden", [(5,), (8, 6, 4)])
@pytest.mark.parametrize("training", [False, True])
def test_equals_torchvisions(hidden, training):
    torch.manual_seed(0)
    ours, theirs = MLP((12,), 3, hidden=hidden), torchvision.ops.MLP(12, [*hidden, 3])
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine.data.copy_(other.data)
    samples = torch.randn(7, 12)
    torch.testing.assert_close(ours.train(training)(samples), theirs.train(training)(samples), rtol=0, atol=0)


def test_batch_norm_and_dropout_stand_where_torchvision_puts_them():
    ours = MLP((6,), 3, hidden=(8, 4), dropout=0.25, batch_norm=True)
    theirs = torchvision.ops.MLP(6, [8, 4, 3], norm_layer=nn.BatchNorm1d, dropout=0.25)
    # Ours flattens first, and drops nothing of the logits.
    assert [type(each) for each in ours.layers][1:] == [type(each) for each in theirs][:-1]
    assert [each.p for each in ours.layers if isinstance(each, nn.Dropout)] == [0.25, 0.25]
    # 6·8 + 8·4 weights, 2·(8 + 4) of normalisation, 4·3 + 3 of the head: no bias before a normalisation.
    assert count(ours) == 48 + 32 + 24 + 15


def test_takes_tables_and_images():
    assert MLP((30,), 2)(torch.zeros(5, 30)).shape == (5, 2)
    assert MLP((1, 8, 8), 10)(torch.zeros(5, 1, 8, 8)).shape == (5, 10)
    # 64·256 + 256, 256·256 + 256, 256·10 + 10.
    assert count(MLP((1, 8, 8), 10)) == 16640 + 65792 + 2570


def test_without_a_hidden_layer_it_is_logistic_regression():
    assert count(MLP((30,), 2, hidden=())) == 62


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hidden": (8, 0)}, r"^hidden\[1\]=0: out of range; pass an int of at least 1$"),
        ({"shape": (0,)}, r"^shape\[0\]=0: out of range"),
        ({"num_classes": 0}, "^num_classes=0: out of range"),
        ({"dropout": 1.0}, r"^dropout=1.0: out of range; pass a number of at least 0 and below 1$"),
    ],
)
def test_what_it_refuses(arguments, said):
    with pytest.raises(ValueError, match=said):
        MLP(**{"shape": (4,), "num_classes": 2, **arguments})
