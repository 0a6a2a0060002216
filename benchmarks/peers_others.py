"""The contenders that bring a training loop of their own: fastai, Ensemble-PyTorch, torch-uncertainty.

As in `peers_contenders`, a body is what a user writes, and it stands in the place of all of the plain set-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from benchmarks.peers_contenders import SGD, Scores, Task, telling


# fastai's own optimizer has no Nesterov momentum, decays no bias and no normalisation, and is Adam unless told: torch's
# is put in its place, by fastai's own way to it. The shape of the cycle is fastai's: it rises for 25 % of the run and
# ends at a hundred thousandth of its peak; ours and torch's take 30 % and a 250 thousandth. An empty list stands in the
# place of validation data, for what is compared is training.
def one_cycle_fastai(task: Task) -> Scores:
    import fastai.callback.schedule  # noqa: F401  # gives a learner its policies
    from fastai.basics import DataLoaders, Learner, OptimWrapper

    def optimizer(parameters: Any, **options: Any) -> Any:
        return OptimWrapper(parameters, torch.optim.SGD, **options, **SGD)

    learner = Learner(DataLoaders(task.train, []), task.network(), nn.CrossEntropyLoss(), opt_func=optimizer)
    learner.fit_one_cycle(task.epochs, task.rate)
    return learner.model


def finder_fastai(task: Task) -> Scores:
    import fastai.callback.schedule  # noqa: F401  # gives a learner its policies
    from fastai.basics import DataLoaders, Learner, OptimWrapper

    def optimizer(parameters: Any, **options: Any) -> Any:
        return OptimWrapper(parameters, torch.optim.SGD, **options, **SGD)

    learner = Learner(DataLoaders(task.train, []), task.network(), nn.CrossEntropyLoss(), opt_func=optimizer)
    found = learner.lr_find(show_plot=False)
    learner.fit_one_cycle(task.epochs, found.valley)
    return telling(task, learner.model, found.valley)


# It reads the training data once before it starts, to count the classes: the order of its batches is another one.
def snapshots_torchensemble(task: Task) -> Scores:
    from torchensemble import SnapshotEnsembleClassifier

    ensemble = SnapshotEnsembleClassifier(estimator=task.network(), n_estimators=task.cycles, cuda=False)
    ensemble.set_optimizer("SGD", lr=task.rate, **SGD)
    ensemble.fit(task.train, epochs=task.epochs, save_model=False)
    return ensemble


# torch-uncertainty has no snapshot ensemble by that name. Its `CheckpointCollector` keeps the weights at each
# validation: with torch's warm restarts, and a validation at the end of each cycle, those are the same members. Its
# seconds hold these validations, with all that its routine measures in them.
def snapshots_torch_uncertainty(task: Task) -> Scores:
    from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
    from torch_uncertainty.methods import CheckpointCollector
    from torch_uncertainty.routines import ClassificationRoutine

    network = CheckpointCollector(task.network(), use_final_model=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=task.rate, **SGD)
    schedule = CosineAnnealingWarmRestarts(optimizer, T_0=task.steps // task.cycles)
    recipe = [optimizer], [{"scheduler": schedule, "interval": "step"}]
    routine = ClassificationRoutine(network, 10, nn.CrossEntropyLoss(), is_ensemble=True, optim_recipe=recipe)
    every = task.epochs // task.cycles
    trainer = pl.Trainer(max_epochs=task.epochs, check_val_every_n_epoch=every, **task.trainer)
    trainer.fit(routine, task.train, task.val)
    return lambda images: mean(network.eval()(images).chunk(task.cycles))


def mean(members: Sequence[Tensor]) -> Tensor:
    """Of their probabilities, as the routine's own test takes it."""
    return torch.stack([member.softmax(1) for member in members]).mean(0)
