"""Tiny files of every data set, in the format that its reader expects: no test needs, or has, the real ones."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import Imagenette

# Of each class; a fifth goes to validation where it is split off.
EACH = 6


def make(name: str, folder: Path, monkeypatch) -> list[str]:
    """Write the files of a data set and return the overrides that a run needs to train on them.

    Args:
        name: Of the option in `conf/data`.
        folder: Where to; it need not be there.
        monkeypatch: Lifts torchvision's checksums, where a set has some.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return MAKERS[name](folder, monkeypatch)


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def classes(number: int, each: int = EACH) -> np.ndarray:
    return np.tile(np.arange(number), each)


def nothing(folder: Path, monkeypatch) -> list[str]:
    return []


def idx(name: str) -> Callable:
    """The format of MNIST: a magic number, the sizes, the bytes; all numbers big-endian."""

    def maker(folder: Path, monkeypatch) -> list[str]:
        raw = folder / name / "raw"
        raw.mkdir(parents=True)
        labels = classes(10)
        for seed, part in enumerate(("train", "t10k")):
            for what, array in (
                ("images-idx3-ubyte", pixels(len(labels), 28, 28, seed=seed)),
                ("labels-idx1-ubyte", labels.astype(np.uint8)),
            ):
                head = np.array([0x0800 + array.ndim, *array.shape], dtype=">i4").tobytes()
                (raw / f"{part}-{what}").write_bytes(head + array.tobytes())
        return [f"data.root={folder}", "data.val_size=10"]

    return maker


def without_checksums(module: str, monkeypatch) -> None:
    monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: Path(path).is_file())


def cifar10(folder: Path, monkeypatch) -> list[str]:
    without_checksums("cifar", monkeypatch)
    below = folder / "cifar-10-batches-py"
    below.mkdir()
    labels = classes(10, each=2)
    for seed, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        batch = {"data": pixels(len(labels), 3072, seed=seed), "labels": labels.tolist()}
        (below / name).write_bytes(pickle.dumps(batch))
    (below / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {number}" for number in range(10)]}))
    return [f"data.root={folder}", "data.val_size=20"]


def cifar100(folder: Path, monkeypatch) -> list[str]:
    without_checksums("cifar", monkeypatch)
    below = folder / "cifar-100-python"
    below.mkdir()
    labels = classes(100, each=3)
    for seed, name in enumerate(("train", "test")):
        batch = {"data": pixels(len(labels), 3072, seed=seed), "fine_labels": labels.tolist()}
        (below / name).write_bytes(pickle.dumps(batch))
    (below / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {number}" for number in range(100)]}))
    return [f"data.root={folder}", "data.val_size=100"]


def svhn(folder: Path, monkeypatch) -> list[str]:
    without_checksums("svhn", monkeypatch)
    # 0 is written as 10, and images are the last axis.
    labels = classes(10) + 1
    for seed, part in enumerate(("train", "test")):
        savemat(folder / f"{part}_32x32.mat", {"X": pixels(32, 32, 3, len(labels), seed=seed), "y": labels[:, None]})
    return [f"data.root={folder}", "data.val_size=10"]


def tree(folder: Path, names: list[str], each: int = EACH, size: tuple[int, int] = (40, 32)) -> None:
    """A folder a class, with images of one brightness each."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            level = (40 + 160 * number // len(names) + index) % 256
            Image.new("RGB", size, (level, 255 - level, 128)).save(folder / name / f"{index:04d}.JPEG")


def image_folder(folder: Path, monkeypatch) -> list[str]:
    tree(folder / "train", ["cat", "dog", "eel"], each=10)
    return [f"data.root={folder}", "data.size=32", "data.num_workers=0"]


def image_folder_in_memory(folder: Path, monkeypatch) -> list[str]:
    tree(folder / "train", ["cat", "dog", "eel"], each=10)
    return [f"data.root={folder}"]


def imagenette(folder: Path, monkeypatch) -> list[str]:
    for part in ("train", "val"):
        tree(folder / "imagenette2-320" / part, list(Imagenette._WNID_TO_CLASS))
    return [f"data.root={folder}", "data.size=32", "data.val_size=10", "data.num_workers=0"]


def imagenet(folder: Path, monkeypatch) -> list[str]:
    names = [f"n{number:08d}" for number in range(1000)]
    tree(folder / "train", names, each=2, size=(8, 8))
    tree(folder / "val", names, each=1, size=(8, 8))
    return [f"data.root={folder}", "data.size=32", "data.val_size=1000", "data.num_workers=0"]


def table(folder: Path, monkeypatch) -> list[str]:
    random = np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["height", "colour", "kind"])
        for row in range(40):
            writer.writerow([round(row % 2 + random.random(), 3), ["red", "green"][row // 2 % 2], "ab"[row % 2]])
    return [f"data.path={folder / 'table.csv'}", "data.target=kind", "model=mlp"]


MAKERS: dict[str, Callable[[Path, object], list[str]]] = {
    "digits": nothing,
    "fake": nothing,
    "mnist": idx("MNIST"),
    "fashion_mnist": idx("FashionMNIST"),
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
    "image_folder": image_folder,
    "image_folder_in_memory": image_folder_in_memory,
    "imagenette": imagenette,
    "imagenet": imagenet,
    "table": table,
}
