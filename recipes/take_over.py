"""To take over the folder of a run that is gone on with; what is refused before it goes on leaves all as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from lightning_lr.durable import staged

from .resume import CONFIG, put_back, set_aside


class TakeOver(Callback):
    """Sets aside what the run has written, and puts it back where not one batch was trained on.

    Another model than the checkpoint's, say, is refused by the fit itself: a result, and the configuration that the
    next attempt begins with, must not be lost to that.

    Args:
        folder: Of the run.
        composed: The configuration that it goes on with.
    """

    def __init__(self, folder: Path, composed: dict[str, Any]) -> None:
        self._folder = folder
        self._composed = composed
        self._went_on = False

    def on_train_batch_end(self, *_: Any) -> None:
        """From here on the folder is that of the run that goes on."""
        self._went_on = True

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Around the fit, whose trainer has this among its callbacks."""
        number = self._begin()
        try:
            yield
        except BaseException:
            if number is not None and not self._went_on:
                put_back(self._folder, number)
            raise

    @rank_zero_only
    def _begin(self) -> int | None:
        number = set_aside(self._folder)
        text = OmegaConf.to_yaml(OmegaConf.create(self._composed))
        with staged(self._folder / CONFIG, text.encode()) as publish:
            publish()
        return number
