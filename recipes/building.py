"""What is trained, and on what: built from a composed configuration."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from .task import Classifier


def build_task(config: DictConfig) -> tuple[Classifier, pl.LightningDataModule]:
    """Seed everything, then make what is trained and what it is trained on.

    Args:
        config: As composed from `conf/train.yaml` or `conf/find_lr.yaml`; or from `conf/ensemble.yaml`, which has no
            optimizer: nothing is trained there.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    # Lists as lists: torch and lightning know nothing of OmegaConf.
    datamodule = instantiate(config.data, _convert_="all")
    model = instantiate(config.model, channels=datamodule.channels, num_classes=datamodule.num_classes, _convert_="all")
    optimizer = instantiate(config.optimizer, _convert_="all") if "optimizer" in config else torch.optim.SGD
    return Classifier(model, optimizer, datamodule.num_classes), datamodule
