"""Any tree of images, a folder a class: decoded as they are needed, or once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torchvision.transforms.v2 import functional

from .augmentation import Augmentation
from .folders import Files, check_sizes, classes_in, parted
from .in_memory import InMemory, statistics
from .on_disk import centre_crop, decoded
from .on_disk_data import OnDiskData
from .parts import InMemoryData, Loaded, check_positive

# The most that images in memory may take, in bytes.
_AT_MOST = 16 << 30


class ImageFolder(OnDiskData):
    """Any tree of images as `torchvision.datasets.ImageFolder` reads it: ``train/<class>/<image>``.

    ``val/`` and ``test/`` beside ``train/`` are taken where they are; what is not there is split off train, stratified.

    Args:
        root: The folder that ``train/`` is in.
        batch_size: As for `OnDiskData`, and so are the others.
        size: As there.
        sizes: As there.
        scale: As there.
        flip: As there.
        val_size: Images of train for validation where there is no ``val/``: an int, or a share.
        test_size: Images of train for the test where there is no ``test/``: an int, or a share.
        split_seed: As there.
        shuffle_seed: As there.
        drop_last: As there.
        num_workers: As there.

    Raises:
        FileNotFoundError: If there is no ``train/``, or no class in it.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 64,
        size: int = 224,
        sizes: Mapping[int | str, int] | None = None,
        scale: float = 0.08,
        flip: bool = False,
        val_size: int | float = 0.1,
        test_size: int | float = 0.2,
        split_seed: int = 2017,
        shuffle_seed: int = 0,
        drop_last: bool = False,
        num_workers: int | None = None,
    ) -> None:
        super().__init__(root, batch_size, size, sizes, scale, flip, split_seed, shuffle_seed, drop_last, num_workers)
        self.parts = check_sizes(val_size=val_size, test_size=test_size)
        self.classes = classes_in(root, "train")
        self.num_classes = len(self.classes)

    def files(self) -> tuple[Files, Files, Files]:
        """List the images of train, validation and test."""
        return parted(self.root, self.classes, self.parts, self.split_seed)


class ImageFolderInMemory(InMemoryData):
    """A tree of images as for `ImageFolder`, decoded once and held as bytes on the device that is trained on.

    The short side is resized to `size` and the centre taken; normalised by the statistics of train.

    Args:
        root: The folder that ``train/`` is in.
        batch_size: Images a batch, in each process.
        size: Height and width of the images, in pixels.
        val_size: Images of train for validation where there is no ``val/``: an int, or a share.
        test_size: Images of train for the test where there is no ``test/``: an int, or a share.
        split_seed: Of the splits.
        shuffle_seed: Of the order of training and of what is drawn for each image.
        drop_last: Leave out the images at an epoch's end that make no whole batch.
        crop: Pixels to pad each side with before a crop of the old size is taken; 0 for none.
        flip: Whether to mirror half of the images.
        cutout: Side in pixels of the square that is set to the mean; 0 for none.
        padding: What to pad with: "reflect" or "zeros".

    Raises:
        FileNotFoundError: If there is no ``train/``, or no class in it.
        ValueError: If an argument is out of range, or the images would take more than 16 GiB.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 128,
        size: int = 32,
        val_size: int | float = 0.1,
        test_size: int | float = 0.2,
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
        check_positive(size=size)
        augmentation.check(size, size)
        self.root = root
        self.size = size
        self.parts = check_sizes(val_size=val_size, test_size=test_size)
        self.split_seed = split_seed
        self.classes = classes_in(root, "train")
        self.num_classes = len(self.classes)
        self.shape = (3, size, size)

    def load(self) -> Loaded:
        """Decode all of them."""
        parts = parted(self.root, self.classes, self.parts, self.split_seed)
        needed = sum(len(part.paths) for part in parts) * 3 * self.size**2
        if needed > _AT_MOST:
            raise ValueError(
                f"size={self.size}: the images would take {needed / 2**30:.0f} GiB of memory, and at most "
                f"{_AT_MOST >> 30} are taken; pass less, or data=image_folder, which leaves them on the disk"
            )
        train, val, test = (self._decoded(part) for part in parts)
        mean, std = statistics(train)
        return tuple(  # type: ignore[return-value]
            InMemory(images, torch.from_numpy(part.labels), mean, std)
            for images, part in zip((train, val, test), parts, strict=True)
        )

    def _decoded(self, part: Files) -> torch.Tensor:
        images = torch.empty(len(part.paths), *self.shape, dtype=torch.uint8)
        take, top = centre_crop(self.size, share=1.0), Path(self.root).expanduser()
        for place, path in zip(images, part.paths, strict=True):
            place.copy_(functional.pil_to_tensor(take(decoded(str(top / path)))))
        return images
