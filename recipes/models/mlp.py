"""A multi-layer perceptron, for tables and for images that are flattened."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from lightning_lr.arguments import require_int, require_number


class MLP(nn.Module):
    """Linear layers with ReLU between them: ``x -> W_k relu(... relu(W_0 x + b_0) ...) + b_k``.

    Takes ``(N, *shape)``, flattens it, and returns logits ``(N, num_classes)``. After each hidden linear layer come
    batch normalisation where it is asked for, ReLU, and dropout.

    Args:
        shape: Of one sample: ``(features,)`` of a table, ``(channels, H, W)`` of an image.
        num_classes: How many logits.
        hidden: Width of each hidden layer; none is logistic regression.
        dropout: Share of a hidden layer's units that is dropped while training.
        batch_norm: Whether hidden layers are normalised over the batch.

    Raises:
        TypeError: If a size is no int.
        ValueError: If a size is not positive, or `dropout` is not in [0, 1).

    Example:
        >>> import torch
        >>> MLP(shape=(30,), num_classes=2, hidden=(64, 64))(torch.zeros(5, 30)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int,
        hidden: Sequence[int] = (256, 256),
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        for index, size in enumerate(shape):
            require_int(f"shape[{index}]", size, at_least=1)
        for index, width in enumerate(hidden):
            require_int(f"hidden[{index}]", width, at_least=1)
        require_int("num_classes", num_classes, at_least=1)
        require_number("dropout", dropout, at_least=0.0, below=1.0)
        layers: list[nn.Module] = [nn.Flatten()]
        before = math.prod(shape)
        for width in hidden:
            # No bias where the normalisation takes the mean away and adds its own.
            layers.append(nn.Linear(before, width, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(nn.ReLU(inplace=True))
            if dropout:
                layers.append(nn.Dropout(dropout))
            before = width
        self.layers = nn.Sequential(*layers, nn.Linear(before, num_classes))

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, (N, num_classes)."""
        logits: Tensor = self.layers(samples)
        return logits
