"""ImageNet, and the ten easy classes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .folders import Files, check_sizes, classes_in, parted
from .missing import require
from .on_disk_data import OnDiskData


class Imagenette(OnDiskData):
    """Ten easy classes of ImageNet: 9,469 and 3,925 images (Howard 2019). Validation is split off train.

    Args:
        root: The folder that torchvision is given as its root: ``imagenette2-320`` is in it, say.
        edition: Which of the three sets of files, by their shorter side: "full", "320px" or "160px".
        batch_size: As for `OnDiskData`, and so are the others.
        size: As there.
        sizes: As there.
        scale: As there.
        flip: As there.
        val_size: Images of train that are for validation, stratified: an int, or a share.
        split_seed: As there.
        shuffle_seed: As there.
        drop_last: As there.
        num_workers: As there.

    Raises:
        FileNotFoundError: If a folder of the set is missing.
        ValueError: If an argument is out of range.
    """

    num_classes = 10
    editions = {"full": "imagenette2", "320px": "imagenette2-320", "160px": "imagenette2-160"}  # noqa: RUF012

    def __init__(
        self,
        root: str = "data",
        edition: str = "320px",
        batch_size: int = 64,
        size: int = 224,
        sizes: Mapping[int | str, int] | None = None,
        scale: float = 0.08,
        flip: bool = False,
        val_size: int | float = 960,
        split_seed: int = 2017,
        shuffle_seed: int = 0,
        drop_last: bool = False,
        num_workers: int | None = None,
    ) -> None:
        if edition not in self.editions:
            raise ValueError(f"edition={edition!r}: there is no such one; choose from {', '.join(self.editions)}")
        name = self.editions[edition]
        source = f"https://s3.amazonaws.com/fast-ai-imageclas/{name}.tgz"
        require(root, [f"{name}/train", f"{name}/val"], "torchvision.datasets.Imagenette", source)
        super().__init__(
            str(Path(root) / name),
            batch_size,
            size,
            sizes,
            scale,
            flip,
            split_seed,
            shuffle_seed,
            drop_last,
            num_workers,
        )
        self.parts = check_sizes(val_size=val_size)

    def files(self) -> tuple[Files, Files, Files]:
        """List the images; the official validation is the test."""
        classes = _expected(self.root, self.num_classes)
        return parted(self.root, classes, self.parts, self.split_seed, test_folder="val")


class ImageNet(OnDiskData):
    """ImageNet 2012: 1.28 million images of 1,000 classes, and 50,000 for the test. Validation is split off train.

    Args:
        root: The folder that torchvision is given as its root: ``train/`` and ``val/`` are in it, a folder a class.
        batch_size: As for `OnDiskData`, and so are the others.
        size: As there.
        sizes: As there.
        scale: As there.
        flip: As there.
        val_size: Images of train that are for validation, stratified: an int, or a share.
        split_seed: As there.
        shuffle_seed: As there.
        drop_last: As there.
        num_workers: As there.

    Raises:
        FileNotFoundError: If a folder of the set is missing.
        ValueError: If an argument is out of range.
    """

    num_classes = 1000

    def __init__(
        self,
        root: str = "data/imagenet",
        batch_size: int = 64,
        size: int = 224,
        sizes: Mapping[int | str, int] | None = None,
        scale: float = 0.08,
        flip: bool = False,
        val_size: int | float = 10000,
        split_seed: int = 2017,
        shuffle_seed: int = 0,
        drop_last: bool = False,
        num_workers: int | None = None,
    ) -> None:
        require(
            root,
            ["train", "val"],
            "torchvision.datasets.ImageNet",
            "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php, whose archives that class unpacks",
        )
        super().__init__(root, batch_size, size, sizes, scale, flip, split_seed, shuffle_seed, drop_last, num_workers)
        self.parts = check_sizes(val_size=val_size)

    def files(self) -> tuple[Files, Files, Files]:
        """List the images; the official validation is the test."""
        classes = _expected(self.root, self.num_classes)
        return parted(self.root, classes, self.parts, self.split_seed, test_folder="val")


def _expected(root: str, number: int) -> list[str]:
    """The classes of train, which must be as many as the set has.

    Raises:
        ValueError: If they are not.
    """
    classes = classes_in(root, "train")
    if len(classes) != number:
        raise ValueError(
            f"root={root!r}: train has {len(classes)} classes, and the set has {number}; unpack all of it, or take "
            "a part of it with data=image_folder"
        )
    return classes
