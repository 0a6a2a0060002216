"""What the `"auto"` of a policy stands for in a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_lr import range_test
from lightning_lr.range_test.readings import Settings
from lightning_lr.range_test.result import RangeTest
from lightning_lr.schedules.auto import Auto

_SET = "an LRRangeTest among the callbacks sets the test's own range"


class _RangeTester(Protocol):
    def measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> RangeTest: ...


def rates_of_fit(
    auto: Auto,
    trainer: pl.Trainer,
    pl_module: pl.LightningModule,
    index: int,
    owner: str,
    saved: Mapping[str, float] | None,
) -> dict[str, float]:
    """Return a rate for each argument that is ``"auto"``; tell them, and log them as hyper-parameters.

    They are those of the run that is resumed; else what an `LRRangeTest` of the same optimizer finds, wherever it
    stands among the trainer's callbacks; else what a range test finds that is run now. A dry run of a few batches runs
    none: it takes what the optimizer was built with.

    Args:
        auto: What is asked for.
        trainer: In ``on_fit_start``.
        pl_module: The module that it trains.
        index: Of the optimizer.
        owner: Who asks, for errors and logs.
        saved: What the run that is resumed had taken; None where there is none.

    Raises:
        ValueError: If nothing tells a rate.
    """
    if saved is not None:
        found, source = _saved(auto, saved), "of the checkpoint"
    elif trainer.fast_dev_run:  # type: ignore[attr-defined]
        built = max(float(group["lr"]) for group in trainer.optimizers[index].param_groups)
        found, source = auto.rates_near(built), "of the optimizer, for fast_dev_run has no room for an LR range test"
    else:
        if trainer.strategy.restore_checkpoint_after_setup:
            raise ValueError(
                f"{auto}: {type(trainer.strategy).__name__} restores a checkpoint too late to tell whether a range "
                "test is needed; run lr_range_test before the fit, and pass the number that it finds"
            )
        found, source = _measured(auto, _range_test(auto, trainer, pl_module, index), owner), "of an LR range test"
    rank_zero_info(f"{owner}: {_words(found)} {source}")
    _log(found, trainer, pl_module, owner if len(trainer.optimizers) == 1 else f"{owner}-{index}")
    return found


def _saved(auto: Auto, saved: Mapping[str, float]) -> dict[str, float]:
    missing = [name for name in auto.asked if name not in saved]
    if missing:
        raise ValueError(
            f"{missing[0]}='auto': the run that is resumed was given a number, and a range test in its middle tells "
            "nothing of its beginning; pass the number that it was given"
        )
    return {name: saved[name] for name in auto.asked}


def _range_test(auto: Auto, trainer: pl.Trainer, pl_module: pl.LightningModule, index: int) -> RangeTest:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        offers = hasattr(callback, "result") and callable(getattr(callback, "measure", None))
        if offers and (getattr(callback, "optimizer", None) or 0) == index:
            return cast(_RangeTester, callback).measure(trainer, pl_module)
    settings = Settings(momentum=auto.momentum, optimizer=index)
    return range_test.range_test_within(trainer, pl_module, settings)


def _measured(auto: Auto, test: RangeTest, owner: str) -> dict[str, float]:
    told: dict[str, float | None] = {name: getattr(test, known_as) for name, known_as in auto.asked.items()}
    found = {name: float(rate) for name, rate in told.items() if rate is not None}
    if len(found) < len(told):
        raise ValueError(
            f"{auto}: the LR range test cannot tell ({'; '.join(test.reliability)}); pass a number, or test another "
            f"range: {_SET}"
        )
    for note in test.reliability:
        rank_zero_warn(f"{owner}: {_words(found)} of an LR range test: {note} ({_SET})")
    return found


def _log(found: Mapping[str, float], trainer: pl.Trainer, pl_module: pl.LightningModule, owner: str) -> None:
    # With those of the module: of several records TensorBoard shows the first, and Lightning makes its own after this.
    logged: dict[str, Any] = {}
    if trainer.enable_autolog_hparams:
        for part in (pl_module, trainer.datamodule):  # type: ignore[attr-defined]
            if part is not None and part._log_hyperparams:
                logged |= {name: value for name, value in part.hparams_initial.items() if name != "_class_path"}
    logged |= {f"{owner}/{name}": rate for name, rate in found.items()}
    for logger in trainer.loggers:
        logger.log_hyperparams(logged)


def _words(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={rate:.3g}" for name, rate in found.items())
