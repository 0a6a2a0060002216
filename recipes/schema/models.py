"""What the configuration of each model may hold; see `recipes.schema`."""

from __future__ import annotations

from dataclasses import dataclass

from .places import ours


@dataclass
class SmallCNN:
    """A convolutional network for small images. Without `channels` and `num_classes`, which the data tell."""

    _target_: str = ours("models.small_cnn.SmallCNN")
    width: int = 16


SCHEMAS: dict[str, type] = {"small_cnn": SmallCNN}
