"""What the configuration of each data set may hold; see `recipes.schema`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from .places import ours


@dataclass
class Digits:
    """The digits that scikit-learn ships."""

    _target_: str = ours("data.digits.Digits")
    batch_size: int = 64
    val_size: int = 240
    test_size: int = 480
    split_seed: int = 2017
    shuffle_seed: int = 0
    drop_last: bool = False


@dataclass
class VisionSet:
    """Small images as torchvision reads them, in the memory of the device."""

    _target_: str = MISSING
    root: str = "data"
    batch_size: int = 128
    val_size: int | float = 5000
    split_seed: int = 2017
    shuffle_seed: int = 0
    drop_last: bool = False
    crop: int = 0
    flip: bool = False
    cutout: int = 0
    padding: str = "reflect"


@dataclass
class MNIST(VisionSet):
    """Handwritten digits."""

    _target_: str = ours("data.vision.MNIST")


@dataclass
class FashionMNIST(VisionSet):
    """Clothes."""

    _target_: str = ours("data.vision.FashionMNIST")


@dataclass
class CIFAR10(VisionSet):
    """Photographs of ten classes."""

    _target_: str = ours("data.vision.CIFAR10")


@dataclass
class CIFAR100(VisionSet):
    """Photographs of a hundred classes."""

    _target_: str = ours("data.vision.CIFAR100")


@dataclass
class SVHN(VisionSet):
    """House numbers."""

    _target_: str = ours("data.vision.SVHN")


@dataclass
class OnDisk:
    """Images that workers decode. `sizes` is a dict: an epoch, or a share such as 60%, to pixels."""

    _target_: str = MISSING
    root: str = MISSING
    batch_size: int = 64
    size: int = 224
    sizes: Any = None
    scale: float = 0.08
    flip: bool = False
    split_seed: int = 2017
    shuffle_seed: int = 0
    drop_last: bool = False
    num_workers: int | None = None


@dataclass
class ImageFolder(OnDisk):
    """Any tree of images."""

    _target_: str = ours("data.image_folder.ImageFolder")
    val_size: int | float = 0.1
    test_size: int | float = 0.2


@dataclass
class Imagenette(OnDisk):
    """Ten easy classes of ImageNet."""

    _target_: str = ours("data.imagenet.Imagenette")
    root: str = "data"
    edition: str = "320px"
    val_size: int | float = 960


@dataclass
class ImageNet(OnDisk):
    """ImageNet 2012."""

    _target_: str = ours("data.imagenet.ImageNet")
    root: str = "data/imagenet"
    val_size: int | float = 10000


@dataclass
class ImageFolderInMemory:
    """Any tree of small images, in the memory of the device."""

    _target_: str = ours("data.image_folder.ImageFolderInMemory")
    root: str = MISSING
    batch_size: int = 128
    size: int = 32
    val_size: int | float = 0.1
    test_size: int | float = 0.2
    split_seed: int = 2017
    shuffle_seed: int = 0
    drop_last: bool = False
    crop: int = 0
    flip: bool = False
    cutout: int = 0
    padding: str = "reflect"


@dataclass
class Table:
    """A CSV file."""

    _target_: str = ours("data.table.Table")
    path: str = MISSING
    target: str = MISSING
    categorical: list[str] | None = None
    ignored: list[str] | None = None
    missing: str = "error"
    delimiter: str = ","
    batch_size: int = 64
    val_size: int | float = 0.15
    test_size: int | float = 0.15
    split_seed: int = 2017
    shuffle_seed: int = 0
    drop_last: bool = False


@dataclass
class Fake:
    """Images that are made up."""

    _target_: str = ours("data.fake.Fake")
    shape: list[int] = MISSING
    num_classes: int = 10
    batch_size: int = 128
    train_size: int = 1024
    val_size: int = 256
    test_size: int = 256
    split_seed: int = 2017
    shuffle_seed: int = 0
    drop_last: bool = False
    crop: int = 0
    flip: bool = False
    cutout: int = 0
    padding: str = "reflect"


OF_NO_SPLIT = frozenset(
    {
        *("batch_size", "shuffle_seed", "drop_last", "num_workers"),
        *("crop", "flip", "cutout", "padding", "scale", "size", "sizes"),
    }
)
"""Other values of these leave every sample in the part of the data where it is."""

SCHEMAS: dict[str, type] = {
    "digits": Digits,
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "svhn": SVHN,
    "image_folder": ImageFolder,
    "image_folder_in_memory": ImageFolderInMemory,
    "imagenette": Imagenette,
    "imagenet": ImageNet,
    "table": Table,
    "fake": Fake,
}
