"""Images that are made up: for a first try of a model or a machine, with something in them to learn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .augmentation import Augmentation
from .in_memory import InMemory
from .parts import InMemoryData, Loaded, check_positive


class Fake(InMemoryData):
    """Noise around one level of brightness for each class and channel, as bytes; classes take turns.

    The levels survive crop, flip and the mean over positions, so that any network that sees them can learn them.

    Args:
        shape: Of one image, channels first.
        num_classes: Classes.
        batch_size: Images a batch, in each process.
        train_size: Images to train on.
        val_size: Images for validation.
        test_size: Images for the test.
        split_seed: Of the images.
        shuffle_seed: Of the order of training and of what is drawn for each image.
        drop_last: Leave out the images at an epoch's end that make no whole batch.
        crop: Pixels to pad each side with before a crop of the old size is taken; 0 for none.
        flip: Whether to mirror half of the images.
        cutout: Side in pixels of the square that is set to the mean; 0 for none.
        padding: What to pad with: "reflect" or "zeros".

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> fake = Fake((3, 32, 32), num_classes=4, train_size=100)
        >>> fake.setup("fit")
        >>> fake.train[0][0].shape, len(fake.train)
        (torch.Size([3, 32, 32]), 100)
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int = 10,
        batch_size: int = 128,
        train_size: int = 1024,
        val_size: int = 256,
        test_size: int = 256,
        split_seed: int = 2017,
        shuffle_seed: int = 0,
        drop_last: bool = False,
        crop: int = 0,
        flip: bool = False,
        cutout: int = 0,
        padding: str = "reflect",
    ) -> None:
        augmentation = Augmentation(crop, flip, cutout, padding)
        super().__init__(batch_size, shuffle_seed, drop_last, augmentation if crop or flip or cutout else None)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape={shape!r}: not the shape of an image; pass [channels, height, width]")
        check_positive(num_classes=num_classes, train_size=train_size, val_size=val_size, test_size=test_size)
        augmentation.check(*shape[-2:])
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.sizes = (train_size, val_size, test_size)
        self.split_seed = split_seed

    def load(self) -> Loaded:
        """Make the three parts up."""
        generator = torch.Generator().manual_seed(self.split_seed)
        # As far apart as can be; which class has which is another matter in each channel.
        turns = [torch.randperm(self.num_classes, generator=generator) for _ in range(self.channels)]
        levels = torch.linspace(64, 192, self.num_classes)[torch.stack(turns, 1)][..., None, None]

        def part(samples: int) -> InMemory:
            labels = torch.arange(samples) % self.num_classes
            noise = 24 * torch.randn(samples, *self.shape, generator=generator)
            images: Tensor = (levels[labels] + noise).clamp_(0, 255).to(torch.uint8)
            middle, spread = (0.5,) * self.channels, (0.25,) * self.channels
            return InMemory(images, labels, middle, spread)

        train, val, test = (part(size) for size in self.sizes)
        return train, val, test
