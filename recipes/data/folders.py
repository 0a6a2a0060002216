"""Images in a tree of folders, one a class: any that `torchvision.datasets.ImageFolder` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torchvision.datasets import ImageFolder as Reader
from torchvision.datasets.folder import find_classes

from .missing import require
from .splitting import Indices, check_size, split


class Files(NamedTuple):
    """Paths below a root, and the class of each."""

    paths: list[str]
    labels: npt.NDArray[np.int64]

    def at(self, indices: Indices) -> Files:
        """Some of them."""
        return Files([self.paths[index] for index in indices], self.labels[indices])


def classes_in(root: str, folder: str) -> list[str]:
    """Return the names of the classes in a folder below the root.

    Raises:
        FileNotFoundError: If there is no such folder, or no class in it.
    """
    require(root, [folder], "torchvision.datasets.ImageFolder", "one folder for each class, with its images")
    try:
        classes: list[str] = find_classes(str(_below(root, folder)))[0]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"root={root!r}: {Path(root) / folder} has no folders; give each class one, with its images"
        ) from error
    return classes


def listed(root: str, folder: str, classes: list[str]) -> Files:
    """List the images of a folder below the root.

    Args:
        root: The root.
        folder: The folder, which has one for each class.
        classes: Of train, by whose order the labels go.

    Raises:
        FileNotFoundError: If a class has no image.
        ValueError: If there is a class that train does not have.
    """
    try:
        found = Reader(str(_below(root, folder)))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"root={root!r}: {' '.join(str(error).split())}") from error
    for name in found.classes:
        if name not in classes:
            raise ValueError(
                f"root={root!r}: {Path(root) / folder} has a class {name!r} that train does not have; "
                "take it away, or add it to train"
            )
    number = {name: classes.index(name) for name in found.classes}
    own = np.array([number[found.classes[label]] for _, label in found.samples], dtype=np.int64)
    top = Path(root).expanduser()
    return Files([str(Path(path).relative_to(top)) for path, _ in found.samples], own)


def parted(
    root: str, classes: list[str], sizes: Mapping[str, int | float], seed: int, test_folder: str | None = None
) -> tuple[Files, Files, Files]:
    """List train, validation and test; what has no folder is split off train, stratified.

    Args:
        root: With ``train/``, and where there are such ``val/`` and ``test/``.
        classes: Of train.
        sizes: Of what is split off: ``val_size`` and ``test_size``.
        seed: Of the splits.
        test_folder: The test, whatever its name; validation is split off train then.
    """
    train = listed(root, "train", classes)
    others = {}
    for part, folder in {"test": test_folder or "test", "val": None if test_folder else "val"}.items():
        if folder is not None and _below(root, folder).is_dir():
            others[part] = listed(root, folder, classes)
        else:
            rest, taken = split(train.labels, sizes[f"{part}_size"], seed, f"{part}_size")
            train, others[part] = train.at(rest), train.at(taken)
    return train, others["val"], others["test"]


def check_sizes(**sizes: int | float) -> dict[str, int | float]:
    """Check sizes of splits by their names, and return them."""
    for name, value in sizes.items():
        check_size(name, value)
    return sizes


def _below(root: str, folder: str) -> Path:
    return Path(root).expanduser() / folder
