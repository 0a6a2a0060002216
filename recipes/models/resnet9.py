"""The nine-layer residual network that won DAWNBench's CIFAR-10 contest, by David Page."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_lr.arguments import require_int, require_number


class ResNet9(nn.Module):
    """Eight batch-normalised 3 × 3 convolutions, two shortcuts, a global maximum and a linear layer.

    Takes ``(N, channels, H, W)`` of any size from 8 × 8 on and returns logits ``(N, num_classes)``. With three channels
    and ten classes it has 6.57 million parameters.

    Args:
        channels: Of the images.
        num_classes: How many logits.
        width: Channels of the first convolution; the deepest ones have eight times as many.
        scale: What the logits are multiplied with. Small logits at the start let the network be trained fast.

    Raises:
        TypeError: If a size is no int.
        ValueError: If a size or the scale is not positive.

    References:
        Page, "How to train your ResNet", 2018, https://myrtle.ai/learn/how-to-train-your-resnet/

    Example:
        >>> import torch
        >>> ResNet9(channels=3, num_classes=10, width=8)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int, num_classes: int, width: int = 64, scale: float = 0.125) -> None:
        super().__init__()
        for name, value in {"channels": channels, "num_classes": num_classes, "width": width}.items():
            require_int(name, value, at_least=1)
        self.scale = require_number("scale", scale, above=0.0)
        self.features = nn.Sequential(
            _convolution(channels, width),
            _convolution(width, 2 * width),
            nn.MaxPool2d(2),
            _Residual(2 * width),
            _convolution(2 * width, 4 * width),
            nn.MaxPool2d(2),
            _convolution(4 * width, 8 * width),
            nn.MaxPool2d(2),
            _Residual(8 * width),
        )
        self.head = nn.Linear(8 * width, num_classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, num_classes)."""
        # Not AdaptiveMaxPool2d, whose backward pass on a GPU is not deterministic, which a run asks for.
        logits: Tensor = self.head(self.features(images).amax(dim=(2, 3))) * self.scale
        return logits


class _Residual(nn.Module):
    """``x + conv(conv(x))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.layers(x)
        return x + added


def _convolution(before: int, after: int) -> nn.Sequential:
    # No bias: the normalisation takes the mean away and adds its own.
    return nn.Sequential(
        # Not in place: a residual block adds what went into it.
        *(nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()),
    )
