"""What the configuration of each model may hold; see `recipes.schema`.

Without `channels`, `num_classes` and `shape`, which the data tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from .places import ours


@dataclass
class SmallCNN:
    """A convolutional network for small images."""

    _target_: str = ours("models.small_cnn.SmallCNN")
    width: int = 16


@dataclass
class MLP:
    """A multi-layer perceptron, for tables and for flattened images."""

    _target_: str = ours("models.mlp.MLP")
    hidden: tuple[int, ...] = (256, 256)
    dropout: float = 0.0
    batch_norm: bool = False


@dataclass
class ResNet9:
    """David Page's network of DAWNBench."""

    _target_: str = ours("models.resnet9.ResNet9")
    width: int = 64
    scale: float = 0.125


@dataclass
class CifarResNet:
    """The residual networks for CIFAR of He et al."""

    _target_: str = ours("models.cifar_resnet.CifarResNet")
    depth: int = MISSING
    width: int = 16


@dataclass
class WideResNet:
    """The wide residual networks of Zagoruyko and Komodakis."""

    _target_: str = ours("models.wide_resnet.WideResNet")
    depth: int = 28
    widen: int = 10
    dropout: float = 0.0


@dataclass
class FromTorchvision:
    """Any of torchvision's classifiers by its name; what else its builder takes is added with `+`."""

    TAKES_MORE: ClassVar[bool] = True

    _target_: str = ours("models.from_torchvision.from_torchvision")
    name: str = MISSING
    small_images: bool | None = None


@dataclass
class Custom:
    """A user's own class or function; its arguments are added with `+`."""

    TAKES_MORE: ClassVar[bool] = True

    _target_: str = MISSING


SCHEMAS: dict[str, type] = {
    "small_cnn": SmallCNN,
    "mlp": MLP,
    "resnet9": ResNet9,
    "cifar_resnet": CifarResNet,
    "wide_resnet": WideResNet,
    "torchvision": FromTorchvision,
    "custom": Custom,
}
