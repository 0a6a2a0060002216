"""What is trained, and on what: built from a composed configuration."""

from __future__ import annotations

from functools import partial

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from .decay import MakeOptimizer
from .models.building import build_model
from .schema.checks import require_complete
from .task import Classifier


def build_task(config: DictConfig) -> tuple[Classifier, pl.LightningDataModule]:
    """Seed everything, then make what is trained and what it is trained on.

    Args:
        config: As composed from `conf/train.yaml` or `conf/find_lr.yaml`; or from `conf/ensemble.yaml`, which has no
            optimizer and no switches: nothing is trained there.

    Raises:
        ValueError: If a part refuses what it is given, or the parts do not go together.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    # Lists as lists: torch and lightning know nothing of OmegaConf.
    require_complete(config.data, "data", path="houses.csv", target="district", root="photos", shape="[3,32,32]")
    datamodule = instantiate(config.data, _convert_="all")
    if datamodule.num_classes < 2:
        raise ValueError("data: all samples are of one class, and there is nothing to tell apart; name data with two")
    model = build_model(config.model, datamodule)
    channels_last = config.get("channels_last", False)
    shape = getattr(datamodule, "shape", None)
    if channels_last and shape is not None and len(shape) != 3:
        raise ValueError(f"channels_last=True: a sample has the shape {tuple(shape)} and is no image; leave it out")
    if config.get("compile", False):
        # In place: the keys of the state dict stay what they are, and a copy of the model is not compiled.
        model.compile()
    classifier = Classifier(
        model,
        build_optimizer(config.optimizer) if "optimizer" in config else torch.optim.SGD,
        datamodule.num_classes,
        label_smoothing=config.get("label_smoothing", 0.0),
        channels_last=channels_last,
        decay_all=config.get("decay_all", False),
    )
    return classifier, datamodule


def build_optimizer(config: DictConfig) -> MakeOptimizer:
    """Return what makes the optimizer of parameters, tried on one already: what it refuses it refuses now.

    Args:
        config: One of `conf/optimizer`.

    Raises:
        ValueError: If the target is missing, or the optimizer refuses an argument.
        TypeError: If it does not know one.
    """
    require_complete(config, "optimizer", _target_="torch.optim.NAdam")
    composed = instantiate(config, _convert_="all")
    # `betas` is a tuple to torch; OmegaConf knows lists alone.
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in composed.keywords.items()}
    make: MakeOptimizer = partial(composed.func, *composed.args, **arguments)
    try:
        # Of two dimensions, for there are optimizers that take nothing else.
        make([torch.nn.Parameter(torch.zeros(1, 1))])
    except (TypeError, ValueError) as error:
        raise type(error)(f"optimizer: {error}") from error
    return make
