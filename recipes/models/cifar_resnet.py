"""The residual networks for CIFAR of He et al.: 20, 32, 44, 56, 110 layers, shortcuts without parameters."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lr.arguments import require_int


class CifarResNet(nn.Module):
    """A 3 × 3 convolution, three stages of ``n`` residual blocks at 16, 32 and 64 channels, and a linear layer.

    A block has two layers with weights, so that there are ``6n + 2``. A stage's first block halves the image; its
    shortcut takes every second pixel and fills the new channels with zeros (the paper's option A): no shortcut has a
    parameter. Takes ``(N, channels, H, W)`` of any size from 4 × 4 on and returns logits ``(N, num_classes)``.

    Args:
        channels: Of the images.
        num_classes: How many logits.
        depth: How many layers have weights: 20, 32, 44, 56, 110 or any other ``6n + 2``.
        width: Channels of the first stage.

    Raises:
        TypeError: If a size is no int.
        ValueError: If a size is not positive, or the depth is no ``6n + 2``.

    References:
        He et al., "Deep residual learning for image recognition", 2015, section 4.2, https://arxiv.org/abs/1512.03385

    Example:
        >>> import torch
        >>> CifarResNet(channels=3, num_classes=10, depth=20)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int, num_classes: int, depth: int, width: int = 16) -> None:
        super().__init__()
        for name, value in {"channels": channels, "num_classes": num_classes, "depth": depth, "width": width}.items():
            require_int(name, value, at_least=1)
        blocks, odd = divmod(depth - 2, 6)
        if odd or blocks < 1:
            raise ValueError(f"depth={depth}: not 6n + 2; pass 20, 32, 44, 56 or 110")
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = nn.Sequential()
        before = width
        for stage in range(3):
            after = width * 2**stage
            for block in range(blocks):
                self.stages.append(BasicBlock(before, after, stride=2 if stage and not block else 1))
                before = after
        self.fc = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, num_classes)."""
        features: Tensor = self.stages(F.relu(self.bn1(self.conv1(images))))
        logits: Tensor = self.fc(features.mean(dim=(2, 3)))
        return logits


class BasicBlock(nn.Module):
    """``relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x))))))``, all convolutions 3 × 3.

    Args:
        before: Channels that come in.
        after: Channels that go out, at least as many.
        stride: 2 halves the image.
    """

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.added = stride, after - before
        self.conv1 = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """What the block makes of ``(N, before, H, W)``: ``(N, after, H / stride, W / stride)``."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.stride > 1 else x
        if self.added:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.added))
        return F.relu(shortcut + residual)
