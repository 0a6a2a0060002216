"""The data of `benchmarks/range_test.py`: two of images, one of text, one a table.

CIFAR-10 is read from torchvision's `ImageFolder` layout (`train/<class>/0000.jpg`), a folder or a tar archive of one,
named by `--cifar10` or the environment variable `CIFAR10`. What is decoded is kept in the system's folder for temporary
files.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor

from benchmarks.places import classification

SPLIT_SEED = 20_250_101
CONTEXT = 24  # characters
CIFAR_TRAIN, CIFAR_VAL = 1000, 400  # images a class


@dataclass(frozen=True)
class Data:
    """Inputs and labels; a validation part large enough that its noise is small beside a point."""

    train: tuple[Tensor, Tensor]
    val: tuple[Tensor, Tensor]

    @property
    def classes(self) -> int:
        return int(self.train[1].max()) + 1


def chance(name: str) -> float:
    """Percent right of whoever always names the commonest class."""
    if name == "cifar10":  # ten classes of one size: the report can do without the images
        return 10.0
    labels = data(name).val[1]
    return 100.0 * labels.bincount().max().item() / len(labels)


@lru_cache(maxsize=1)
def data(name: str) -> Data:
    return {"digits": digits, "table": made_table, "text": text, "cifar10": cifar10}[name]()


def digits() -> Data:
    pixels, labels = datasets.load_digits(return_X_y=True)
    return split(torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), labels, 800)


def made_table() -> Data:
    columns, labels = classification()
    return split(torch.tensor(columns, dtype=torch.float32), labels, 5_000)


def split(inputs: Tensor, labels: np.ndarray, val: int) -> Data:
    train_rows, val_rows = train_test_split(
        np.arange(len(labels)), test_size=val, stratify=labels, random_state=SPLIT_SEED
    )
    targets = torch.tensor(labels, dtype=torch.long)
    return Data((inputs[train_rows], targets[train_rows]), (inputs[val_rows], targets[val_rows]))


def text() -> Data:
    """The next character of scikit-learn's descriptions of its data sets, from the 24 before it.

    Whole blocks of 1,000 characters go to validation, each fourth one: no window reaches from one part into the other.
    """
    folder = Path(datasets.__file__).parent / "descr"
    written = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.rst")))
    counts = {character: written.count(character) for character in sorted(set(written))}
    common = [character for character, count in counts.items() if count >= 20]
    number = {character: index for index, character in enumerate(common, start=1)}
    coded = torch.tensor([number.get(character, 0) for character in written])
    parts: dict[bool, list[Tensor]] = {True: [], False: []}
    for index, block in enumerate(coded.split(1000)):
        if len(block) > CONTEXT:
            parts[index % 4 == 3].append(block.unfold(0, CONTEXT + 1, 1))
    train, val = torch.cat(parts[False]), torch.cat(parts[True])
    return Data((train[:, :-1].contiguous(), train[:, -1]), (val[:, :-1].contiguous(), val[:, -1]))


CIFAR10: list[Path] = []  # where it is; filled from the command line


def cifar10() -> Data:
    if not CIFAR10:
        raise SystemExit("--cifar10=None: nothing to read; name CIFAR-10's folder or archive, or leave it out")
    source = CIFAR10[0].resolve()
    stat = source.stat()
    mark = hashlib.sha256(f"{source} {stat.st_size} {stat.st_mtime_ns} {CIFAR_TRAIN} {CIFAR_VAL}".encode()).hexdigest()
    kept = Path(tempfile.gettempdir()) / f"lightning_lr-cifar10-{mark[:12]}.npz"
    if not kept.exists():
        images, labels = decode(source)
        staged = kept.with_suffix(".staged.npz")
        np.savez(staged, images=images, labels=labels)
        staged.replace(kept)
    with np.load(kept) as arrays:
        scaled = (torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.25
        labels = torch.from_numpy(arrays["labels"])
    scaled = scaled.contiguous()
    per_class = CIFAR_TRAIN + CIFAR_VAL
    in_train = torch.arange(len(labels)) % per_class < CIFAR_TRAIN
    return Data((scaled[in_train], labels[in_train]), (scaled[~in_train], labels[~in_train]))


def decode(source: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first 1,400 training images of each class in the order of their names: 1,000 to train, 400 to validate."""
    from PIL import Image

    wanted = {f"{index:04d}.jpg" for index in range(CIFAR_TRAIN + CIFAR_VAL)}
    found: dict[tuple[str, str], np.ndarray] = {}

    def members() -> Iterator[tuple[PurePosixPath, object]]:
        if source.is_dir():
            for path in source.glob("train/*/*.jpg"):
                yield PurePosixPath(path.relative_to(source).as_posix()), path
        else:
            with tarfile.open(source) as archive:
                for member in archive:
                    yield PurePosixPath(member.name), archive.extractfile(member)

    for path, readable in members():
        if len(path.parts) >= 3 and path.parts[-3] == "train" and path.name in wanted:
            with Image.open(readable) as image:  # type: ignore[arg-type]
                found[path.parts[-2], path.name] = np.asarray(image.convert("RGB"))
    classes = sorted({label for label, _ in found})
    if len(classes) != 10 or len(found) != 10 * len(wanted):
        what = f"{len(found)} images in {len(classes)} classes of train/"
        raise SystemExit(f"--cifar10={source}: {what}; pass CIFAR-10 in ImageFolder's layout")
    keys = sorted(found)
    return np.stack([found[key] for key in keys]), np.array([classes.index(label) for label, _ in keys])
