"""Crop, flip and cutout of images in memory: drawn for each sample, done on the whole batch where it lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PADDINGS = ("reflect", "zeros")


@dataclass(frozen=True)
class Augmentation:
    """Random crop, horizontal flip and cutout.

    Args:
        crop: Pixels to pad each side with before a crop of the old size is taken; 0 for none.
        flip: Whether to mirror half of the images.
        cutout: Side in pixels of the square that is set to the mean; its centre is any pixel, so that it may be cut at
            the border (DeVries & Taylor 2017); 0 for none.
        padding: What to pad with: "reflect" or "zeros", which are black.

    Raises:
        ValueError: If an argument is out of range.
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0
    padding: str = "reflect"

    def __post_init__(self) -> None:
        for name in ("crop", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: out of range; pass pixels, or 0 for none")
        if self.padding not in PADDINGS:
            raise ValueError(f"padding={self.padding!r}: there is no such padding; choose from {', '.join(PADDINGS)}")

    def check(self, height: int, width: int) -> None:
        """Refuse images that are too small for it.

        Raises:
            ValueError: If they are.
        """
        if self.padding == "reflect" and self.crop >= min(height, width):
            raise ValueError(
                f"crop={self.crop}: images of {height} x {width} pixels have no more to reflect; "
                f"pass at most {min(height, width) - 1}"
            )

    def draw(self, samples: int, height: int, width: int, seed: int, epoch: int) -> Tensor:
        """Draw for a whole epoch, a row for each position in its order; on the CPU, the same for every device.

        One draw an epoch and no more than the seed and the epoch to know: a run that goes on in the middle sees what it
        would have seen, and so do several processes, each of which has its positions.

        Returns:
            Where the crop begins (row, column), whether to flip, the centre of the hole (row, column): (samples, 5).
        """
        mixed = np.random.SeedSequence([seed % 2**63, epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(mixed >> 1))

        def below(bound: int) -> Tensor:
            return torch.randint(bound, (samples,), generator=generator)

        return torch.stack([below(bound) for bound in (2 * self.crop + 1, 2 * self.crop + 1, 2, height, width)], 1)

    def move(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Crop and flip bytes, (N, C, H, W)."""
        if not (self.crop or self.flip):
            return images
        top, left, flipped, _, _ = drawn.unbind(1)
        samples, channels, height, width = images.shape
        down = torch.arange(height, device=images.device)
        along = torch.arange(width, device=images.device).expand(samples, width)
        if self.flip:
            along = torch.where(flipped[:, None].bool(), width - 1 - along, along)
        rows = down + (top[:, None] - self.crop)
        columns = along + (left[:, None] - self.crop)
        inside = None
        if self.padding == "zeros" and self.crop:
            inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
        # The source of each pixel, instead of a padded copy: one read and one write of the batch.
        source = _folded(rows, height)[:, :, None] * width + _folded(columns, width)[:, None, :]
        source = source.reshape(samples, 1, height * width).expand(samples, channels, height * width)
        moved = images.reshape(samples, channels, height * width).gather(2, source)
        moved = moved.reshape(samples, channels, height, width)
        return moved if inside is None else moved.mul_(inside[:, None])

    def cut(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Cut a square out of each normalised image, in place: 0 is the mean."""
        if not self.cutout:
            return images
        _, _, _, row, column = drawn.unbind(1)
        height, width = images.shape[-2:]
        # The square of an even side has one row more above its centre than below.
        above = self.cutout // 2
        rows = torch.arange(height, device=images.device) - (row[:, None] - above)
        columns = torch.arange(width, device=images.device) - (column[:, None] - above)
        hole = _within(rows, self.cutout)[:, :, None] & _within(columns, self.cutout)[:, None, :]
        return images.mul_(~hole[:, None])


def _within(places: Tensor, length: int) -> Tensor:
    return (places >= 0) & (places < length)


def _folded(places: Tensor, length: int) -> Tensor:
    """Places beyond an end, reflected at it; far ones, which "zeros" blanks, are held inside."""
    places = places.abs()
    return torch.where(places < length, places, 2 * (length - 1) - places).clamp_(0)
