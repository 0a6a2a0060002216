"""What the configuration of each data set may hold; see `recipes.schema`."""

from __future__ import annotations

from dataclasses import dataclass

from .places import ours


@dataclass
class Digits:
    """The digits that scikit-learn ships."""

    _target_: str = ours("data.digits.Digits")
    batch_size: int = 64
    val_size: int = 240
    test_size: int = 480
    split_seed: int = 2017
    shuffle_seed: int = 0


SCHEMAS: dict[str, type] = {"digits": Digits}
