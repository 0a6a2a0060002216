"""The finders of `benchmarks/range_test.py`: ours, whose raw curve is kept, and the others' own packages.

Each is called as its own documentation calls it, with its defaults, on the same weights and the same order of batches.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.range_test_settings import Setting
from benchmarks.range_test_truth import Cells, since
from lightning_lr.range_test import lr_range_test

SEEDS = (100, 101)  # none of the truth's
PEAK_MOMENTUM = 0.85  # what 1cycle has at its peak
OPTIONS = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
QUIET = OPTIONS | {
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


class Classifier(pl.LightningModule):
    """A setting's network and optimizer, as a user of Lightning would write them."""

    def __init__(self, setting: Setting, lr: float = 1e-3) -> None:
        super().__init__()
        self.setting, self.lr = setting, lr
        self.network = setting.model()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(self.network(inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.setting.optimizer_for(self.parameters(), self.lr)


def ours(setting: Setting, seed: int, momentum: float | None = None) -> dict[str, Any]:
    with contextlib.redirect_stderr(io.StringIO()):
        found = lr_range_test(Classifier(setting), setting.loader(seed), momentum=momentum, **OPTIONS)
    (run,) = found.runs
    return {
        # Without what is applied to the curve after it was measured: the rules are tuned on what is kept here.
        "settings": {name: value for name, value in asdict(found.settings).items() if name != "smoothing"},
        "losses": [float(f"{loss:.6g}") for loss in run.losses],
        "ended": run.ended,
    }


def lightnings(setting: Setting, seed: int) -> dict[str, Any]:
    from lightning.pytorch.tuner import Tuner

    # Not with max_epochs=1, which would end Lightning's finder after the first epoch, long before its range does.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        trainer = pl.Trainer(default_root_dir=folder, **QUIET)
        found = Tuner(trainer).lr_find(Classifier(setting), setting.loader(seed), update_attr=False)
    return {"suggestions": {"Lightning": number(found.suggestion())}}


def torch_lr_finders(setting: Setting, seed: int) -> dict[str, Any]:
    import matplotlib.pyplot as plt
    from torch_lr_finder import LRFinder

    plt.switch_backend("agg")
    model = setting.model()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder = LRFinder(model, setting.optimizer_for(model.parameters(), 1e-7), nn.CrossEntropyLoss(), device="cpu")
        finder.range_test(setting.loader(seed), end_lr=10, num_iter=100)
        figure, axes = plt.subplots()
        _, suggested = finder.plot(ax=axes)
        plt.close(figure)
    return {"suggestions": {"torch-lr-finder": number(suggested)}}


def fastais(setting: Setting, seed: int) -> dict[str, Any]:
    from fastai.callback.schedule import minimum, slide, steep, valley
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    def wrapped(weights: Any, lr: float, **_: Any) -> OptimWrapper:
        return OptimWrapper(weights, partial(setting.optimizer_for, lr=lr))

    with tempfile.TemporaryDirectory() as folder:
        loaders = DataLoaders(setting.loader(seed), setting.loader(seed), device="cpu")
        learner = Learner(loaders, setting.model(), loss_func=nn.CrossEntropyLoss(), opt_func=wrapped, path=folder)
        with learner.no_bar():
            found = learner.lr_find(suggest_funcs=(minimum, steep, valley, slide), show_plot=False)
    return {"suggestions": {f"fastai {name}": number(value) for name, value in found._asdict().items()}}


def number(value: Any) -> float | None:
    """An LR to train with, or None: what is no positive finite number is no suggestion."""
    lr = math.nan if value is None else float(value)
    return lr if math.isfinite(lr) and lr > 0 else None


FINDERS: dict[str, Callable[[Setting, int], dict[str, Any]]] = {
    "ours": ours,
    "ours, momentum of the peak": partial(ours, momentum=PEAK_MOMENTUM),
    "Lightning": lightnings,
    "torch-lr-finder": torch_lr_finders,
    "fastai": fastais,
}
NAMES = {
    "Lightning": ("Lightning",),
    "torch-lr-finder": ("torch-lr-finder",),
    "fastai": ("fastai valley", "fastai slide", "fastai steep", "fastai minimum"),
}


def curve_cells(folder: Path) -> Cells:
    return Cells(folder / "curves.jsonl", ("setting", "finder", "seed"))


def measure_curves(settings: Sequence[Setting], finders: Sequence[str], folder: Path, again: bool = False) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    cells = curve_cells(folder)
    if again:
        names = {setting.name for setting in settings}
        cells.forget(lambda row: row["setting"] in names and row["finder"] in finders)
    for setting in settings:
        started = time.perf_counter()
        for finder in finders:
            if "momentum" in finder and not setting.has_momentum:
                continue
            for seed in SEEDS:
                cell = {"setting": setting.name, "finder": finder, "seed": seed}
                cells.get(cell, partial(one_curve, setting, finder, seed))
        print(f"curves {setting.name:40s} {since(started):8.1f} s", flush=True)


def one_curve(setting: Setting, finder: str, seed: int) -> dict[str, Any]:
    """A peer that raises has suggested nothing, and what it raised is kept; ours must not raise."""
    torch.manual_seed(seed)
    if finder.startswith("ours"):
        return FINDERS[finder](setting, seed)
    try:
        return FINDERS[finder](setting, seed)
    except ImportError:
        raise
    except Exception as error:
        return {"suggestions": dict.fromkeys(NAMES[finder]), "raised": f"{type(error).__name__}: {error}"}
