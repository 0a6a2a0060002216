"""A small convolutional network with batch normalisation."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_lr.arguments import require_int


class SmallCNN(nn.Module):
    """Three 3 × 3 convolutions, batch-normalised, then the mean over positions and a linear layer.

    Takes ``(N, channels, H, W)`` of any size from 4 × 4 on and returns logits ``(N, num_classes)``.

    Args:
        channels: Of the images.
        num_classes: How many logits.
        width: Channels of the first convolution; the others have twice and four times as many.

    Raises:
        TypeError: If an argument is no int.
        ValueError: If one is not positive.

    Example:
        >>> import torch
        >>> SmallCNN(channels=1, num_classes=10)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int, num_classes: int, width: int = 16) -> None:
        super().__init__()
        for name, value in {"channels": channels, "num_classes": num_classes, "width": width}.items():
            require_int(name, value, at_least=1)
        self.layers = nn.Sequential(
            _convolution(channels, width),
            _convolution(width, 2 * width),
            nn.MaxPool2d(2),
            _convolution(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, num_classes)."""
        logits: Tensor = self.layers(images)
        return logits


def _convolution(before: int, after: int) -> nn.Sequential:
    # No bias: the normalisation takes the mean away and adds its own.
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
