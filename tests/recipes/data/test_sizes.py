"""Which size images have in which epoch."""

from __future__ import annotations

import pytest

from recipes.data.sizes import Sizes


@pytest.mark.parametrize(
    ("plan", "epochs", "expected"),
    [
        ({0: 128}, None, [128] * 4),
        ({0: 128, 2: 224}, None, [128, 128, 224, 224]),
        ({2: 224, 0: 128, 3: 288}, 4, [128, 128, 224, 288]),
        ({"0%": 128, "50%": 224}, 4, [128, 128, 224, 224]),
        # A half is rounded up: 37.5 % of 4 is 1.5, which is 2.
        ({0: 128, "37.5%": 160, "75%": 224}, 4, [128, 128, 160, 224]),
        ({"0": 128, "1": 224}, 4, [128, 224, 224, 224]),
    ],
)
def test_sizes_by_epoch(plan, epochs, expected):
    sizes = Sizes(plan)
    assert [sizes.at(epoch, epochs) for epoch in range(4)] == expected


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({}, "says nothing of the first epoch; add one that begins at 0$"),
        ({1: 128}, "says nothing of the first epoch"),
        ({0: 0}, "0 is no size of an image; pass pixels, at least 1$"),
        ({0: 12.5}, "12.5 is no size"),
        ({0: 128, "half": 224}, "'half' is no epoch; pass whole epochs, or shares such as '60%'$"),
        ({0: 128, -1: 224}, "-1 is no epoch"),
        ({0: 128, 1.5: 224}, "1.5 is no epoch"),
        ({0: 128, "100%": 224}, "'100%' is no epoch"),
    ],
)
def test_refusals(plan, said):
    with pytest.raises(ValueError, match=f"^sizes=.*{said}"):
        Sizes(plan)


@pytest.mark.parametrize("epochs", [None, -1])
def test_a_share_of_what_nobody_knows_is_refused(epochs):
    with pytest.raises(ValueError, match=r"^sizes: a share of epochs that nobody knows; pass trainer.max_epochs"):
        Sizes({0: 128, "50%": 224}).at(0, epochs)
