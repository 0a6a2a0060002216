"""Samples that live in memory: images as bytes, a quarter of what they take as floats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import TensorDataset


class InMemory(TensorDataset):
    """Samples and labels as two tensors; bytes are turned into normalised floats as they are asked for.

    A byte ``x`` of channel ``c`` becomes ``(x / 255 - mean[c]) / std[c]``; floats are handed out as they are.

    Args:
        inputs: ``(N, C, H, W)`` of uint8, or anything of floats.
        labels: ``(N,)`` of int64.
        mean: Of each channel, in [0, 1]; for bytes only. Without it bytes are scaled to [0, 1].
        std: Of each channel.

    Example:
        >>> images = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
        >>> dataset = InMemory(images, torch.tensor([0, 1]), mean=(0.5,), std=(0.25,))
        >>> dataset[1][0].unique(), dataset[1][1]
        (tensor([2.]), tensor(1))
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(inputs, labels)
        self.inputs, self.labels = inputs, labels
        self.mean, self.std = mean, std
        self.shift = 255 * _by_channel(mean if mean is not None else (0.0,), inputs.device)
        self.scale = 1 / (255 * _by_channel(std if std is not None else (1.0,), inputs.device))

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """A sample as it is when nothing random is done to it, and its label."""
        return self.ready(self.inputs[index]), self.labels[index]

    def ready(self, inputs: Tensor) -> Tensor:
        """Turn bytes into normalised floats."""
        if inputs.dtype != torch.uint8:
            return inputs
        return inputs.float().sub_(self.shift).mul_(self.scale)

    def to(self, device: torch.device) -> InMemory:
        """Return the same samples in the memory of a device: this one, if it is there already."""
        if self.inputs.device == device:
            return self
        return InMemory(self.inputs.to(device), self.labels.to(device), self.mean, self.std)


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of bytes, in [0, 1].

    Example:
        >>> statistics(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1))
        ((0.5,), (0.5,))
    """
    # From how often each of 256 values comes: exact, and without a copy in floats.
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = (share * values).sum()
        means.append(float(mean))
        stds.append(float((share * (values - mean).square()).sum().sqrt()))
    # A channel of one value is 0 after its mean is taken away, whatever it is divided by.
    return tuple(means), tuple(std or 1.0 for std in stds)


def _by_channel(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)
