"""The LR range test: on the user's own objects, and without a trace in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, LearningRateFinder, ProgressBar
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.model_helpers import is_overridden

from lightning_lr.arguments import require_int
from lightning_lr.range_test.memento import Memento
from lightning_lr.range_test.readings import Mode, Run, Settings
from lightning_lr.range_test.result import RangeTest
from lightning_lr.range_test.trial import OWN_OPTIONS, options_like, run
from lightning_lr.surroundings import Surroundings

_OWNER = "LR range test"
# Options of a trainer that are the test's own.
_REFUSED = (OWN_OPTIONS.keys() - {"enable_progress_bar", "enable_model_summary"}) | {
    *("max_epochs", "max_steps", "min_epochs", "min_steps", "max_time", "fast_dev_run", "barebones", "logger"),
    *("val_check_interval", "check_val_every_n_epoch"),
}


def lr_range_test(
    module: pl.LightningModule,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    datamodule: pl.LightningDataModule | None = None,
    *,
    min_lr: float = 1e-6,
    max_lr: float = 10.0,
    steps: int = 100,
    mode: Mode = "exponential",
    smoothing: float = Settings.smoothing,
    early_stop_threshold: float | None = 4.0,
    momentum: float | None = None,
    repeats: int = 1,
    optimizer: int | None = None,
    **trainer_kwargs: Any,
) -> RangeTest:
    r"""Raise the learning rate update by update, and see what the loss makes of it.

    Reading ``i`` of ``N`` is the loss at ``min_lr * (max_lr/min_lr)**(i/(N-1))``, or with ``mode="linear"`` at
    ``min_lr + (max_lr - min_lr) * i/(N-1)``: the mean over the micro-batches and the processes of the update that uses
    this rate, before it is applied. With ``val_dataloaders`` it is the mean loss over those, after the update.

    The test leaves no trace: a fit after it equals a fit without it, bit for bit. It trains the module that it is
    given, on the loaders that it is given, in a trainer of its own, and puts everything back: weights, buffers,
    attributes, random states, loaders, data sets, switches of torch; after an exception or an interruption too. What
    cannot be put back, such as a stream, is named in a warning. Hooks of the module and the data module run as in a
    fit: what they do outside of the process stays done.

    Args:
        module: What is to be trained.
        train_dataloaders: As for `Trainer.fit`.
        val_dataloaders: Data whose loss is read instead, all of them after every update. ``validation_step`` has to
            return the loss.
        datamodule: As for `Trainer.fit`.
        min_lr: Learning rate of the first update; that of the fastest param group, for groups keep their ratios.
        max_lr: Learning rate of the last update.
        steps: Number of optimizer updates.
        mode: ``"exponential"`` or ``"linear"``.
        smoothing: How much each reading is averaged with those around it, in [0, 1); 0 is none. The weight of readings
            a hundredth of the range apart.
        early_stop_threshold: The test ends where the mean loss is more than so many times its lowest, and above where
            it started; None to go on.
        momentum: Momentum (or ``betas[0]``) to test with, such as the one that a cycle has at its peak; None for what
            the optimizer was built with.
        repeats: How many times to run the test, each from the same weights and in another order of the data: the mean
            is read, and the spread told.
        optimizer: Index of the optimizer; needed where the module has several.
        **trainer_kwargs: Options of the trainer, such as ``accelerator``, ``devices``, ``strategy``, ``precision`` and
            ``accumulate_grad_batches``: pass those of the training to come.

    Returns:
        The curve, what each rule reads from it, and how far it can be trusted.

    Raises:
        TypeError, ValueError: If an argument makes no sense, or no loss can be read.

    Example:
        >>> import torch
        >>> class Line(pl.LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = torch.nn.Parameter(torch.tensor(0.0))
        ...     def training_step(self, batch, batch_idx):
        ...         return (self.weight - 1.0) ** 2
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> line = Line()
        >>> found = lr_range_test(line, [0.0], min_lr=1e-3, accelerator="cpu")
        >>> found.lrs[0], line.weight.item()
        (0.001, 0.0)

    Reference:
        Smith, "Cyclical Learning Rates for Training Neural Networks", 2015, https://arxiv.org/abs/1506.01186
    """
    settings = Settings(
        min_lr=min_lr,
        max_lr=max_lr,
        steps=steps,
        mode=mode,
        smoothing=smoothing,
        early_stop_threshold=early_stop_threshold,
        momentum=momentum,
        optimizer=optimizer,
        validation=val_dataloaders is not None,
    )
    require_int("repeats", repeats, at_least=1)
    refused = sorted(_REFUSED & trainer_kwargs.keys())
    if refused:
        name = refused[0]
        raise TypeError(f"{name}={trainer_kwargs[name]!r}: the test sets it itself; leave it out")
    # Lightning's own way to it leaves something in it.
    plain = getattr(module, "_orig_mod", module)
    if not isinstance(plain, pl.LightningModule):
        what = f"the class {plain.__name__}" if isinstance(plain, type) else f"a {type(plain).__name__}"
        raise TypeError(f"module: {what} and not a LightningModule; pass the one that is to be trained")
    callbacks = _callbacks(trainer_kwargs.get("callbacks"))
    if val_dataloaders is not None and not is_overridden("validation_step", plain):
        raise ValueError(
            f"val_dataloaders: {type(plain).__name__} has no validation_step, whose loss would be read; write one that "
            "returns the loss, or leave val_dataloaders out"
        )
    data = {"train_dataloaders": train_dataloaders, "val_dataloaders": val_dataloaders, "datamodule": datamodule}
    roots = {"datamodule": datamodule, "train_dataloaders": train_dataloaders, "val_dataloaders": val_dataloaders}
    roots |= {"module": module, "callbacks": callbacks}
    bar = trainer_kwargs.get("enable_progress_bar", True)
    options = {**trainer_kwargs, "callbacks": callbacks}
    return _measure(settings, repeats, module, data, lambda: dict(options), roots, bar=bar)


def range_test_within(
    trainer: pl.Trainer, module: pl.LightningModule, settings: Settings, repeats: int = 1
) -> RangeTest:
    """Do what `lr_range_test` does, from within a fit: on its data, with its options, and on all of its processes.

    The optimizers are built anew for the test; those of the fit are not stepped.

    Args:
        trainer: That runs the fit; in ``on_fit_start`` or at the start of an epoch.
        module: The module that it trains.
        settings: What to do.
        repeats: How many times; see `lr_range_test`.

    Raises:
        ValueError: If no loss can be read.
        RuntimeError: If the trainer's strategy is one that cannot be built a second time.
    """
    source = trainer.fit_loop._data_source.instance
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    given = None if source in (module, datamodule) else source
    data = {"train_dataloaders": given, "datamodule": datamodule}
    roots = {"datamodule": datamodule, "train_dataloaders": given, "module": module}
    # The optimizers of the fit are not among them: the test builds its own, and a copy of their state would be for
    # nothing. Where the module keeps one and hands it out again, it is found in the module.
    bar = trainer.progress_bar_callback is not None
    epoch, options = trainer.current_epoch, options_like(trainer)
    return _measure(settings, repeats, module, data, options, roots, bar=bar, epoch=epoch, nested=True)


def _callbacks(given: Any) -> list[Callback]:
    """Return the callbacks as a trainer takes them, and refuse those that belong to the training alone."""
    callbacks = [given] if isinstance(given, Callback) else list(given or ())
    for callback in callbacks:
        ours = any(kind.__module__.startswith("lightning_lr.") for kind in type(callback).__mro__)
        if ours or isinstance(callback, Checkpoint | EarlyStopping | LearningRateFinder | ProgressBar):
            raise TypeError(
                f"callbacks: {type(callback).__name__} belongs to the training to come, and not to a test before it; "
                "leave it out"
            )
    return callbacks


def _measure(
    settings: Settings,
    repeats: int,
    module: Any,
    data: dict[str, Any],
    options: Callable[[], dict[str, Any]],
    roots: dict[str, object],
    *,
    bar: bool,
    epoch: int = 0,
    nested: bool = False,
) -> RangeTest:
    # Lightning's own way to it leaves something in it.
    plain = getattr(module, "_orig_mod", module)
    runs: list[Run] = []
    surroundings, memento = Surroundings(), Memento(roots, data=data.keys())
    try:
        if memento.beyond:
            names = ", ".join(memento.beyond)
            rank_zero_warn(f"{_OWNER}: {names} cannot be put back to where it was; build it anew before the fit")
        for repeat in range(repeats):
            if repeat:
                memento.restore(again=True)
                surroundings.restore(again=True)
            _silence(plain, data.get("datamodule"), nested)
            # Samplers that draw by the epoch have another order in another one.
            at = epoch + repeat
            note = memento.add
            runs.append(run(settings, _OWNER, module, data, options(), note, bar=bar, epoch=at, nested=nested))
            if not runs[-1].losses:
                break
    finally:
        memento.restore()
        surroundings.restore()
    written = memento.written_into()
    if written:
        rank_zero_warn(
            f"{_OWNER}: the data set has written into {', '.join(written)}, and what was there is lost; read it anew "
            "before the fit"
        )
    if not all(each.losses for each in runs):
        raise ValueError(
            f"min_lr={settings.min_lr!r}: the loss is not finite at the first update, which no learning rate has "
            "touched; see to the data and the module"
            if runs[-1].ended == "diverged"
            else "train_dataloaders: the test came to no update; give it batches, and stop nothing before the first"
        )
    return RangeTest(settings, tuple(runs))


def _silence(module: pl.LightningModule, datamodule: pl.LightningDataModule | None, nested: bool) -> None:
    """Take out what belongs to the training and not to the test; the memento puts it back."""
    # Early stopping, checkpoints.
    module.__dict__["configure_callbacks"] = list
    if nested:
        # They have been called, and what they made is there: a second time would load the data a second time.
        for owner in (module, datamodule):
            for hook in ("prepare_data", "setup", "teardown", "configure_model"):
                if hasattr(owner, hook):
                    owner.__dict__[hook] = lambda *_, **__: None
