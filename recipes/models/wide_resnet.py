"""The wide residual networks of Zagoruyko and Komodakis: WRN-depth-widen."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lr.arguments import require_int, require_number


class WideResNet(nn.Module):
    """A 3 × 3 convolution, three stages of ``n`` pre-activated blocks at 16k, 32k and 64k channels, and a linear layer.

    With the shortcuts' convolutions there are ``6n + 4`` layers with weights. Takes ``(N, channels, H, W)`` of any size
    from 4 × 4 on and returns logits ``(N, num_classes)``.

    Args:
        channels: Of the images.
        num_classes: How many logits.
        depth: How many layers have weights: 16, 22, 28, 40 or any other ``6n + 4``.
        widen: The ``k`` that channels are multiplied with.
        dropout: Share that is dropped between a block's two convolutions while training; the paper takes 0.3 on CIFAR.

    Raises:
        TypeError: If a size is no int.
        ValueError: If a size is not positive, the depth is no ``6n + 4``, or `dropout` is not in [0, 1).

    References:
        Zagoruyko and Komodakis, "Wide residual networks", 2016, https://arxiv.org/abs/1605.07146

    Example:
        >>> import torch
        >>> WideResNet(channels=3, num_classes=10, depth=10, widen=1)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, channels: int, num_classes: int, depth: int = 28, widen: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        for name, value in {"channels": channels, "num_classes": num_classes, "depth": depth, "widen": widen}.items():
            require_int(name, value, at_least=1)
        require_number("dropout", dropout, at_least=0.0, below=1.0)
        blocks, odd = divmod(depth - 4, 6)
        if odd or blocks < 1:
            raise ValueError(f"depth={depth}: not 6n + 4; pass 16, 22, 28 or 40")
        self.conv1 = nn.Conv2d(channels, 16, kernel_size=3, padding=1, bias=False)
        self.stages = nn.Sequential()
        before = 16
        for stage in range(3):
            after = 16 * 2**stage * widen
            for block in range(blocks):
                self.stages.append(WideBlock(before, after, stride=2 if stage and not block else 1, dropout=dropout))
                before = after
        self.bn = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, num_classes)."""
        features = F.relu(self.bn(self.stages(self.conv1(images))))
        logits: Tensor = self.fc(features.mean(dim=(2, 3)))
        return logits


class WideBlock(nn.Module):
    """``shortcut + conv2(dropout(relu(bn2(conv1(a)))))`` with ``a = relu(bn1(x))``.

    The shortcut is ``x``; where the size changes it is a 1 × 1 convolution of ``a``.

    Args:
        before: Channels that come in.
        after: Channels that go out.
        stride: 2 halves the image.
        dropout: Share that is dropped between the convolutions while training.
    """

    def __init__(self, before: int, after: int, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False)
        self.shortcut = (
            None
            if before == after and stride == 1
            else nn.Conv2d(before, after, kernel_size=1, stride=stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """What the block makes of ``(N, before, H, W)``: ``(N, after, H / stride, W / stride)``."""
        activated = F.relu(self.bn1(x))
        residual: Tensor = self.conv2(self.dropout(F.relu(self.bn2(self.conv1(activated)))))
        return residual + (x if self.shortcut is None else self.shortcut(activated))
