"""A trial in a trainer of its own: quiet, without a file, and within a fit like that of the fit."""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy

from lightning_lr.range_test.readings import Run, Settings
from lightning_lr.range_test.sweep import Sweep

# What a sweep's trainer has, whatever the user's has.
OWN_OPTIONS: dict[str, Any] = {
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 0,
}


def run(
    settings: Settings,
    owner: str,
    module: pl.LightningModule,
    data: dict[str, Any],
    options: dict[str, Any],
    note: Callable[[dict[str, object]], None],
    *,
    bar: bool,
    epoch: int,
    nested: bool,
) -> Run:
    """Run one sweep, in a trainer of its own.

    Args:
        settings: What to do.
        owner: Who asks for it, for the errors.
        module: The module.
        data: As for `Trainer.fit`.
        options: Of the trainer.
        note: Notes objects as they are, to be put back after the test.
        bar: Whether to draw a progress bar.
        epoch: The epoch that samplers and the module are told at the start.
        nested: Whether this process is one of a fit that is running: then no others are started.

    Returns:
        The readings, and how it ended.
    """
    sweep = Sweep(settings, owner, note, bar=bar, epoch=epoch)
    own = dict(OWN_OPTIONS)
    # Never reached, but no more than it takes: a module may build a scheduler, or a table, for all of the training.
    own |= {"max_epochs": epoch + 100 * len(settings.lrs), "max_steps": 1000 * len(settings.lrs)}
    if settings.validation:
        own |= {"limit_val_batches": 1.0, "val_check_interval": 1, "check_val_every_n_epoch": None}
    callbacks = [*options.get("callbacks", ()), sweep]
    with quiet(), tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(**{**options, **own, "logger": _Nowhere(folder), "callbacks": callbacks})
        # `overfit_batches` sets it past what was passed.
        trainer.limit_val_batches = own["limit_val_batches"]
        if nested:
            trainer.strategy._launcher = None
        try:
            trainer.fit(module, **data)
        except SystemExit as exit_:
            if sweep.interrupted is None:
                raise
            raise sweep.interrupted from exit_
        finally:
            sweep.close()
    return Run(tuple(sweep.losses), sweep.ended)


def options_like(trainer: pl.Trainer) -> Callable[[], dict[str, Any]]:
    """Return what makes options for a second trainer like this one, on the same devices and with the same processes.

    A function, for plugins and strategies are not to be used twice.

    Raises:
        RuntimeError: When it is called, if the trainer's strategy is one that cannot be built a second time.
    """

    def options() -> dict[str, Any]:
        parallel = isinstance(trainer.strategy, DDPStrategy)
        on_cpu = trainer.strategy.root_device.type == "cpu"
        plugins: list[Any] = [copy.deepcopy(trainer.precision_plugin)]
        if parallel:
            plugins.append(trainer.strategy.cluster_environment)  # type: ignore[attr-defined]
        accumulation = trainer.accumulate_grad_batches
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, GradientAccumulationScheduler):
                accumulation = callback.get_accumulate_grad_batches(trainer.current_epoch)
        return {
            "accelerator": trainer.accelerator,
            "devices": trainer.num_devices if on_cpu else trainer.device_ids,
            "num_nodes": trainer.num_nodes,
            "strategy": _another(trainer.strategy),
            "plugins": plugins,
            "accumulate_grad_batches": accumulation,
            "gradient_clip_val": trainer.gradient_clip_val,
            "gradient_clip_algorithm": trainer.gradient_clip_algorithm,
            "limit_train_batches": trainer.limit_train_batches,
            "overfit_batches": trainer.overfit_batches,  # type: ignore[attr-defined]
            "use_distributed_sampler": trainer._accelerator_connector.use_distributed_sampler,
            "detect_anomaly": trainer._detect_anomaly,
            "default_root_dir": trainer.default_root_dir,
        }

    return options


def _another(strategy: Strategy) -> Strategy | str:
    if isinstance(strategy, SingleDeviceStrategy):
        return "auto"
    if type(strategy) is DDPStrategy:
        return DDPStrategy(
            ddp_comm_state=strategy._ddp_comm_state,
            ddp_comm_hook=strategy._ddp_comm_hook,
            ddp_comm_wrapper=strategy._ddp_comm_wrapper,
            process_group_backend=strategy._process_group_backend,
            timeout=strategy._timeout,
            start_method=strategy._start_method,
            **strategy._ddp_kwargs,
        )
    raise RuntimeError(
        f"strategy={type(strategy).__name__}: an LR range test runs within a fit on one device or with DDP; run "
        "lr_range_test in a script of its own, on one device"
    )


class _Nowhere(DummyLogger):
    """Swallows what a module tells its logger's experiment, and has a folder for what it writes beside."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    @property
    def save_dir(self) -> str:
        """The folder, which goes with the test."""
        return self._folder

    root_dir = log_dir = save_dir


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a trial's remarks off the screen: the training to come makes the same."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            yield
    finally:
        logger.setLevel(level)
