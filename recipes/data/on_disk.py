"""Images that stay on the disk until they are needed: decoded, cropped and resized one by one."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

# Those of ImageNet, which every network that was pretrained on it expects.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# What is left of the short side after the crop of the centre, as everywhere since AlexNet: 224 of 256.
_CENTRE = 0.875


class UndecodableError(ValueError):
    """A file that is no image, or half of one."""


def decoded(path: str) -> Image.Image:
    """Return the image in a file, with three channels.

    Raises:
        UndecodableError: If it is none.
        FileNotFoundError: If it has gone.
    """
    try:
        with Image.open(path) as file:
            image: Image.Image = file.convert("RGB")
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        # Decoders raise what they like: OSError, SyntaxError, struct.error, DecompressionBombError.
        said = " ".join(str(error).split())
        raise UndecodableError(f"{path}: cannot be decoded ({said}); replace it, or take it away") from error
    return image


class Request(NamedTuple):
    """What a worker is asked for; the epoch's size and randomness come with it, so that workers need not be told.

    Args:
        image: Its index.
        size: Its height and width, in pixels.
        key: Seed of what is random; None for a crop of the centre.
    """

    image: int
    size: int
    key: int | None


class OnDisk(Dataset[tuple[Tensor, int]]):
    """Images in files, with labels.

    An index gives the crop of the centre, normalised; a `Request` gives bytes, to be normalised as a batch.

    Args:
        folder: That the files are below.
        files: Their paths below it.
        labels: The class of each.
        size: Height and width of what an index gives, in pixels.
        scale: Least share of an image that a random crop takes.
        flip: Whether a random crop is mirrored half of the time.
    """

    def __init__(
        self, folder: Path, files: Sequence[str], labels: npt.NDArray[np.int64], size: int, scale: float, flip: bool
    ) -> None:
        self.folder = str(folder)
        # One array, not a million strings: workers share it, where they would copy what they count references in.
        self.files = np.array([os.fsencode(file) for file in files])
        self.labels = labels
        self.size, self.scale, self.flip = size, scale, flip
        self.mean, self.std = (torch.tensor(each).reshape(3, 1, 1) for each in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, wanted: int | Request) -> tuple[Tensor, int]:
        """An image, (3, size, size), and its label."""
        request = wanted if isinstance(wanted, Request) else Request(wanted, self.size, None)
        image = decoded(os.path.join(self.folder, os.fsdecode(self.files[request.image])))
        if request.key is None:
            image = centre_crop(request.size)(image)
        else:
            with _seeded(request.key):
                image = _random(request.size, self.scale, self.flip)(image)
        pixels = v2.functional.pil_to_tensor(image)
        label = int(self.labels[request.image])
        return (pixels if isinstance(wanted, Request) else self.ready(pixels)), label

    def ready(self, images: Tensor) -> Tensor:
        """Turn bytes into normalised floats, where they are."""
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        return images.float().div_(255).sub_(mean).div_(std)


@functools.lru_cache(maxsize=16)
def centre_crop(size: int, share: float = _CENTRE) -> Any:
    """Return what resizes an image and takes its centre.

    Args:
        size: Height and width of what is left, in pixels.
        share: That it is of the short side.
    """
    return v2.Compose([v2.Resize(max(size, round(size / share))), v2.CenterCrop(size)])


@functools.lru_cache(maxsize=16)
def _random(size: int, scale: float, flip: bool) -> Any:
    return v2.Compose([v2.RandomResizedCrop(size, scale=(scale, 1.0)), v2.RandomHorizontalFlip(0.5 if flip else 0.0)])


@contextmanager
def _seeded(key: int) -> Iterator[None]:
    """Let torch's transforms, which know the global generator alone, draw from a seed of ours, and put it back."""
    # The CPU's: `torch.manual_seed` would seed those of the GPUs too.
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(key)
    try:
        yield
    finally:
        generator.set_state(before)
