"""What a data module of images on the disk is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch.trainer.states import TrainerFn

from .folders import Files
from .on_disk import OnDisk
from .parts import Parts, check_positive
from .sizes import Sizes
from .worker_loader import WorkerLoader


class OnDiskData(Parts):
    """Images that workers decode as they are needed, with progressive resizing.

    Training takes a random part of each image, validation and test the centre. Normalised by ImageNet's statistics.

    Args:
        root: The folder of the set.
        batch_size: Images a batch, in each process.
        size: Height and width of the images, in pixels; with `sizes` those of the test.
        sizes: Progressive resizing: from which epoch on (a number, or a share such as "60%") training and validation
            have which size: ``{0: 128, "60%": 224}``. It takes effect at the epoch, in a resumed run too.
        scale: Least share of an image's area that the random part has.
        flip: Whether to mirror half of the images.
        split_seed: Of what is split off train; not the run's seed, for runs of several seeds must be measured on the
            same images.
        shuffle_seed: Of the order of training and of what is drawn for each image.
        drop_last: Leave out the images at an epoch's end that make no whole batch.
        num_workers: Processes that decode, for each process that trains; None takes the processors that there are.

    Raises:
        FileNotFoundError: If a folder of the set is missing.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        root: str,
        batch_size: int,
        size: int,
        sizes: Mapping[int | str, int] | None,
        scale: float,
        flip: bool,
        split_seed: int,
        shuffle_seed: int,
        drop_last: bool,
        num_workers: int | None,
    ) -> None:
        super().__init__(batch_size, shuffle_seed, drop_last)
        check_positive(size=size)
        if not 0 < scale <= 1:
            raise ValueError(f"scale={scale!r}: out of range; pass a share above 0, at most 1")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers={num_workers!r}: out of range; pass processes, 0 for none")
        self.root = root
        self.size = size
        self.sizes = None if sizes is None else Sizes(sizes)
        self.scale = scale
        self.flip = flip
        self.split_seed = split_seed
        self.num_workers = num_workers
        self.shape = (3, size, size)

    @abstractmethod
    def files(self) -> tuple[Files, Files, Files]:
        """List the images of train, validation and test."""

    def load(self) -> tuple[OnDisk, OnDisk, OnDisk]:
        """List the images; none is read yet."""
        top = Path(self.root).expanduser()
        train, val, test = (
            OnDisk(top, part.paths, part.labels, self.size, self.scale, self.flip) for part in self.files()
        )
        return train, val, test

    def loader(self, dataset: OnDisk, training: bool, **dealing: Any) -> WorkerLoader:
        """Make the loader of a part."""
        workers = self.num_workers
        if workers is None:
            workers = suggested_max_num_workers(1 if self.trainer is None else self.trainer.num_devices)
        # A test, and a validation that no training is around, see what the network is for.
        fitting = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        return WorkerLoader(
            dataset,
            self.batch_size,
            size=self.size_in if training or fitting else self.final_size,
            device=self.device,
            random=training,
            num_workers=workers,
            **dealing,
        )

    def size_in(self, epoch: int) -> int:
        """Size of the images of training and validation in an epoch."""
        epochs = None if self.trainer is None else self.trainer.max_epochs
        return self.size if self.sizes is None else self.sizes.at(epoch, epochs)

    def final_size(self, epoch: int) -> int:
        """Size of the images of the test, whatever the epoch."""
        return self.size
