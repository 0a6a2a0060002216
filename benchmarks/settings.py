"""What the claims are measured on: data, network and budget, for two processor cores and for a GPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """Data and a network to train on them.

    Args:
        name: In tables and pictures.
        overrides: Of `recipes.train`. ``{images}`` stands for the folder of images and ``{table}`` for the table: where
            they lie is no part of what was measured.
        epochs: The budget of a run, in epochs: a sum of 1, 2, 4, …, for cycles that double to end with it.
        rates: Of SGD with momentum, from which each schedule's is chosen.
    """

    name: str
    overrides: tuple[str, ...]
    epochs: int
    rates: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)

    @property
    def short(self) -> int:
        """The shorter sum of 1, 2, 4, …: about half of the budget, in epochs."""
        return self.epochs // 2


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        name: As it is said on the command line.
        settings: For the claims on schedules and ensembles.
        adam: For the claim on Adam's rate, with the epochs of a run.
        search: For the claim on searching.
        side: Of the grid that is searched: points in each direction.
        seeds: Of the runs that are told of. The rates are chosen with another one.
        needs_images: Whether a folder of images has to be named.
    """

    name: str
    settings: tuple[Setting, ...]
    adam: tuple[Setting, ...]
    search: Setting
    side: int = 3
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    needs_images: bool = True


DIGITS = ("data=digits", "model=small_cnn")
IMAGES = (
    *("data=image_folder_in_memory", "data.root={images}", "data.flip=true"),
    *("model=resnet9", "model.width=8", "channels_last=true", "trainer.precision=bf16-mixed"),
)
TABLE = ("data=table", "data.path={table}", "data.target=label", "model=mlp")
CIFAR10 = ("data=cifar10", "data.root={images}", "model=resnet18", "channels_last=true", "trainer.precision=bf16-mixed")
CIFAR100 = (
    *("data=cifar100", "data.root={images}", "model=wide_resnet", "model.depth=16", "model.widen=8"),
    *("channels_last=true", "trainer.precision=bf16-mixed"),
)

CPU = Size(
    "cpu",
    settings=(
        Setting("digits (small CNN)", DIGITS, 31),
        Setting("table (MLP)", TABLE, 31),
        Setting("CIFAR-10 in part (ResNet-9)", IMAGES, 31),
    ),
    adam=(
        Setting("digits (small CNN)", DIGITS, 20),
        Setting("digits (MLP)", ("data=digits", "model=mlp"), 20),
        Setting("table (MLP)", TABLE, 10),
        Setting("CIFAR-10 in part (ResNet-9)", IMAGES, 8),
    ),
    search=Setting("table (MLP)", TABLE, 5),
)
PAPER = Size(
    "paper",
    settings=(Setting("CIFAR-10 (ResNet-18)", CIFAR10, 127), Setting("CIFAR-100 (WRN-16-8)", CIFAR100, 127)),
    adam=(
        Setting("CIFAR-10 (ResNet-18)", CIFAR10, 31),
        Setting("CIFAR-100 (WRN-16-8)", CIFAR100, 31),
        Setting("table (MLP)", TABLE, 20),
    ),
    search=Setting("CIFAR-10 (ResNet-9)", ("data=cifar10", "data.root={images}", "model=resnet9"), 10),
)
TINY = Size(
    "tiny",
    settings=(Setting("digits (MLP)", ("data=digits", "model=mlp"), 15),),
    adam=(Setting("digits (MLP)", ("data=digits", "model=mlp"), 2),),
    search=Setting("digits (MLP)", ("data=digits", "model=mlp"), 1),
    side=2,
    seeds=(0, 1, 2),
    needs_images=False,
)
"""Measures nothing that is worth telling: it shows in a minute or two that all of it works."""

SIZES = {size.name: size for size in (CPU, PAPER, TINY)}
