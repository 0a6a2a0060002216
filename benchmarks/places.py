"""The data of the claims: a part of CIFAR-10 as files, and a table."""

from __future__ import annotations

import csv
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from sklearn.datasets import make_classification

from benchmarks.settings import Size

A_CLASS = {"train": 300, "val": 100, "test": 200}
"""Images; those of ``val`` are taken from train, after the first."""


class NoImagesError(Exception):
    """Nobody said where they are."""


def prepare(size: Size, folder: Path, images: str | None) -> dict[str, str]:
    """Return where the data lie; make what has to be made.

    Args:
        size: What is measured.
        folder: For what is made.
        images: CIFAR-10 in torchvision's `ImageFolder` layout, a folder or a tar archive; at the size of the paper the
            folder with torchvision's own files.

    Raises:
        NoImagesError: If they are needed and there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if size.needs_images and not images:
        raise NoImagesError(
            "images=: not named; pass images=FOLDER_OR_ARCHIVE of CIFAR-10, train/<class>/<image>, or set CIFAR10"
        )
    if images and not Path(images).exists():
        raise NoImagesError(
            f"images={images}: not there; pass images=FOLDER_OR_ARCHIVE of CIFAR-10, train/<class>/<image>"
        )
    places = {"table": str(table(folder / "table.csv"))}
    if images:
        given = Path(images).resolve()
        places["images"] = str(given if size.name == "paper" else part(given, folder / "images"))
    return places


def classification() -> tuple[np.ndarray, np.ndarray]:
    """Make 10,000 rows of 40 columns in five classes, a tenth of the labels drawn anew: columns and labels."""
    columns, labels = make_classification(
        *(10_000, 40),
        n_informative=12,
        n_redundant=8,
        n_classes=5,
        n_clusters_per_class=2,
        flip_y=0.1,
        class_sep=1.0,
        random_state=20_250_101,
    )
    return columns, labels


def table(file: Path) -> Path:
    """Write what `classification` makes."""
    if file.exists():
        return file
    columns, labels = classification()
    staged = file.with_suffix(".staged")
    with staged.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow([*(f"x{index}" for index in range(columns.shape[1])), "label"])
        writer.writerows(
            [*(f"{value:.6g}" for value in row), label] for row, label in zip(columns, labels, strict=True)
        )
    staged.replace(file)
    return file


def part(source: Path, folder: Path) -> Path:
    """Copy the first images of each class, by their names."""
    if folder.exists():
        return folder
    staged = folder.with_name(f"{folder.name}.{os.getpid()}")
    found = dict.fromkeys(A_CLASS, 0)
    for name, content in files(source):
        where, label = name.parts[-3:-1]
        number = int(name.stem)
        if where == "train" and number >= A_CLASS["train"]:
            where, number = "val", number - A_CLASS["train"]
        if where in A_CLASS and number < A_CLASS[where]:
            target = staged / where / label / name.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            found[where] += 1
    if found != {where: 10 * count for where, count in A_CLASS.items()}:
        shutil.rmtree(staged, ignore_errors=True)
        raise NoImagesError(
            f"images={source}: {found} images of ten classes found, wanted are {A_CLASS} of each; is it CIFAR-10?"
        )
    staged.rename(folder)
    return folder


def files(source: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Every image whose name is a number, from a folder or an archive."""
    most = A_CLASS["train"] + A_CLASS["val"]

    def wanted(name: PurePosixPath) -> bool:
        return (
            name.suffix in (".jpg", ".png") and name.stem.isdigit() and int(name.stem) < most and len(name.parts) >= 3
        )

    if source.is_dir():
        for path in sorted(source.rglob("*")):
            name = PurePosixPath(path.relative_to(source.parent).as_posix())
            if wanted(name):
                yield name, path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if member.isfile() and wanted(name):
                opened = archive.extractfile(member)
                assert opened is not None
                yield name, opened.read()
