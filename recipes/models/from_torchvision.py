"""Any of torchvision's classifiers by its name, fitted to the images at hand."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
import torchvision
from torch import nn

from lightning_lr.arguments import require_int

# Up to this many pixels a side the first layers of a ResNet, made for 224, would leave next to nothing of an image.
SMALL = 64

# A second output beside the logits, while training alone, which no loss here knows; and an initial state that both warn
# will change.
_OF_INCEPTION = {"aux_logits": False, "init_weights": True}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _OF_INCEPTION, "inception_v3": _OF_INCEPTION}


def from_torchvision(
    name: str,
    channels: int,
    num_classes: int,
    shape: Sequence[int] = (),
    small_images: bool | None = None,
    **options: Any,
) -> nn.Module:
    """Return a classifier of ``torchvision.models``, untrained.

    Args:
        name: As in ``torchvision.models.list_models(module=torchvision.models)``.
        channels: Of the images. Where they are not three the first convolution is made anew for them, with weights that
            spread as torchvision's do.
        num_classes: How many logits.
        shape: Of one image, ``(channels, H, W)``.
        small_images: Whether a ResNet starts with a 3 × 3 convolution that keeps the size, instead of 7 × 7 with stride
            2 and a maximum pooling, as is done on CIFAR. None decides by `shape`: up to 64 pixels it does.
        options: What that network's builder takes beside it, such as ``dropout``.

    Raises:
        ValueError: If there is no such network, or small images are asked of one that has no such beginning.
        TypeError: If its builder does not know an option.

    Example:
        >>> import torch
        >>> network = from_torchvision("resnet18", channels=3, num_classes=10, shape=(3, 32, 32))
        >>> network.conv1.stride, network(torch.zeros(2, 3, 32, 32)).shape
        ((1, 1), torch.Size([2, 10]))
    """
    known = names()
    if name.lower() not in known:
        near = get_close_matches(name.lower(), known, n=3) or ["resnet18", "resnet50", "convnext_tiny"]
        raise ValueError(f"name={name!r}: torchvision has no such classifier; pass {', '.join(near)} or another")
    require_int("channels", channels, at_least=1)
    require_int("num_classes", num_classes, at_least=1)
    given = {**_OPTIONS.get(name.lower(), {}), **options}
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **given)
    has_stem = isinstance(model, torchvision.models.ResNet)
    if small_images and not has_stem:
        raise ValueError(
            f"small_images=True: {name} has no beginning that could be replaced; leave it out, or take a ResNet"
        )
    if has_stem and (small_images or (small_images is None and shape and max(shape[1:]) <= SMALL)):
        _keep_the_size(model, channels)
    elif channels != 3:
        _take(model, channels)
    return model


def names() -> list[str]:
    """Return the names of torchvision's classifiers.

    Example:
        >>> "resnet18" in names(), "fcn_resnet50" in names()
        (True, False)
    """
    return list(torchvision.models.list_models(module=torchvision.models))


def _keep_the_size(model: nn.Module, channels: int) -> None:
    old = model.conv1
    assert isinstance(old, nn.Conv2d)
    conv = nn.Conv2d(channels, old.out_channels, kernel_size=3, padding=1, bias=False)
    # As torchvision's ResNet does with all of its convolutions.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    model.conv1, model.maxpool = conv, nn.Identity()


def _take(model: nn.Module, channels: int) -> None:
    """Make the first convolution anew for images of so many channels."""
    place, old = next((name, each) for name, each in model.named_modules() if isinstance(each, nn.Conv2d))
    conv = nn.Conv2d(
        channels,
        old.out_channels,
        kernel_size=old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        conv.weight.copy_(torch.randn_like(conv.weight) * old.weight.std())
        if conv.bias is not None and old.bias is not None:
            conv.bias.copy_(old.bias)
    parent, _, leaf = place.rpartition(".")
    setattr(model.get_submodule(parent), leaf, conv)
