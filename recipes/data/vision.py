"""MNIST, FashionMNIST, CIFAR-10, CIFAR-100 and SVHN, as torchvision reads them, in memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision.datasets as read_by
from torch import Tensor

from .augmentation import Augmentation
from .in_memory import InMemory
from .missing import require
from .parts import InMemoryData, Loaded
from .splitting import check_size, split


class VisionSet(InMemoryData):
    """A set of small images with a test set of its own; validation is split off train.

    Nothing is downloaded. Images stay bytes on the device that is trained on; crop, flip and cutout are drawn for each
    image and done on the batch there.

    Args:
        root: The folder that torchvision is given as its root.
        batch_size: Images a batch, in each process.
        val_size: Images of train that are for validation, stratified: an int, or a share.
        split_seed: Of that split; not the run's seed, for runs of several seeds must be measured on the same images.
        shuffle_seed: Of the order of training and of what is drawn for each image.
        drop_last: Leave out the images at an epoch's end that make no whole batch.
        crop: Pixels to pad each side with before a crop of the old size is taken; 0 for none.
        flip: Whether to mirror half of the images.
        cutout: Side in pixels of the square that is set to the mean; 0 for none.
        padding: What to pad with: "reflect" or "zeros".

    Raises:
        FileNotFoundError: If a file of the set is missing.
        ValueError: If an argument is out of range, or a file is not what torchvision expects.
    """

    files: tuple[str, ...]
    """What the set is made of, below the root."""
    source: str
    """What to unpack where no network is."""
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(
        self,
        root: str = "data",
        batch_size: int = 128,
        val_size: int | float = 5000,
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
        augmentation.check(*self.shape[-2:])
        check_size("val_size", val_size)
        require(root, self.files, f"torchvision.datasets.{type(self).__name__}", self.source)
        self.root = root
        self.val_size = val_size
        self.split_seed = split_seed

    @abstractmethod
    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Read one of the two official parts: bytes (N, C, H, W) and labels (N,)."""

    def load(self) -> Loaded:
        """Read both parts, and split validation off train."""
        try:
            (images, labels), (test_images, test_labels) = self.read(train=True), self.read(train=False)
        except RuntimeError as error:
            # torchvision's words for a wrong checksum, which advise a download.
            raise ValueError(
                f"root={self.root!r}: a file of {type(self).__name__} is not the original (its checksum is another); "
                f"replace it with that of {self.source}"
            ) from error
        except (ValueError, TypeError, KeyError) as error:
            # Of MNIST there are no checksums.
            raise ValueError(
                f"root={self.root!r}: a file of {type(self).__name__} is cut, or another's ({error}); "
                f"replace it with that of {self.source}"
            ) from error
        train, val = split(labels, self.val_size, self.split_seed, "val_size")
        return (
            InMemory(images[train], labels[train], self.mean, self.std),
            InMemory(images[val], labels[val], self.mean, self.std),
            InMemory(test_images, test_labels, self.mean, self.std),
        )


class MNIST(VisionSet):
    """Handwritten digits, grey, 28 × 28: 60,000 and 10,000 (LeCun et al. 1998). Arguments as for `VisionSet`."""

    shape = (1, 28, 28)
    num_classes = 10
    mean, std = (0.1307,), (0.3081,)
    files = tuple(
        f"MNIST/raw/{part}-{what}" for part in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    source = "https://ossci-datasets.s3.amazonaws.com/mnist/ (four .gz files)"

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Read one of the two official parts."""
        found = getattr(read_by, type(self).__name__)(self.root, train=train, download=False)
        return found.data[:, None].contiguous(), found.targets.long()


class FashionMNIST(MNIST):
    """Clothes, grey, 28 × 28: 60,000 and 10,000 (Xiao et al. 2017). Arguments as for `VisionSet`."""

    mean, std = (0.2860,), (0.3530,)
    files = tuple(name.replace("MNIST", "FashionMNIST", 1) for name in MNIST.files)
    source = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ (four .gz files)"


class CIFAR10(VisionSet):
    """Photographs of ten classes, 32 × 32: 50,000 and 10,000 (Krizhevsky 2009). Arguments as for `VisionSet`."""

    shape = (3, 32, 32)
    num_classes = 10
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    files = tuple(
        f"cifar-10-batches-py/{name}"
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
    )
    source = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Read one of the two official parts."""
        found = getattr(read_by, type(self).__name__)(self.root, train=train, download=False)
        return _channels_first(found.data), _labels(found.targets)


class CIFAR100(CIFAR10):
    """Photographs of a hundred classes, 32 × 32: 50,000 and 10,000 (Krizhevsky 2009). Arguments as for `VisionSet`."""

    num_classes = 100
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    files = ("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta")
    source = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"


class SVHN(VisionSet):
    """House numbers, 32 × 32: 73,257 and 26,032 (Netzer et al. 2011). Arguments as for `VisionSet`."""

    shape = (3, 32, 32)
    num_classes = 10
    mean, std = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    files = ("train_32x32.mat", "test_32x32.mat")
    source = "http://ufldl.stanford.edu/housenumbers/"

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Read one of the two official parts."""
        found = read_by.SVHN(self.root, split="train" if train else "test", download=False)
        return torch.from_numpy(np.ascontiguousarray(found.data)), _labels(found.labels)


def _channels_first(images: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.asarray(images).transpose(0, 3, 1, 2)))


def _labels(labels: Sequence[int]) -> Tensor:
    return torch.as_tensor(labels, dtype=torch.int64)
