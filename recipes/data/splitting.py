"""How samples are parted into train, validation and test: with a fixed seed, each class by its share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

Indices = npt.NDArray[np.int64]


def split(labels: npt.ArrayLike, size: int | float, seed: int, name: str) -> tuple[Indices, Indices]:
    """Part samples in two, stratified: the same parts for the same labels, size and seed.

    Args:
        labels: The class of each sample.
        size: Of the second part: an int is samples, a float below 1 a share.
        seed: Of the split.
        name: Of the argument that the size was given by, for the errors.

    Returns:
        The positions of the first part and of the second.

    Raises:
        ValueError: If a part would be empty or have no sample of a class, or a class has less than two samples.

    Example:
        >>> rest, taken = split([0, 0, 0, 0, 1, 1, 1, 1], size=2, seed=0, name="val_size")
        >>> len(rest), sorted(int(i) // 4 for i in taken)
        (6, [0, 1])
    """
    of_each = np.asarray(labels)
    classes, counts = np.unique(of_each, return_counts=True)
    if len(of_each) and counts.min() < 2:
        alone = classes[counts.argmin()]
        raise ValueError(
            f"{name}={size!r}: class {alone} has one sample, which cannot be on both sides of a split; "
            "add samples or leave the class out"
        )
    taken = size if isinstance(size, int) else int(np.ceil(size * len(of_each)))
    if len(of_each) - taken < 1:
        raise ValueError(f"{name}={size!r}: nothing is left to train on; there are {len(of_each)} samples to part")
    if not len(classes) <= taken <= len(of_each) - len(classes):
        raise ValueError(
            f"{name}={size!r}: {len(of_each)} samples of {len(classes)} classes cannot be parted like this with each "
            f"class on both sides; pass a number from {len(classes)} to {len(of_each) - len(classes)}"
        )
    rest, part = train_test_split(np.arange(len(of_each)), test_size=size, stratify=of_each, random_state=seed)
    return rest, part


def check_size(name: str, value: int | float) -> None:
    """Refuse what is neither a number of samples nor a share.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(value, float) and not 0 < value < 1:
        raise ValueError(f"{name}={value!r}: out of range; pass a share between 0 and 1, or an int of samples")
    if value <= 0:
        raise ValueError(f"{name}={value!r}: out of range; pass an int of at least 1")
