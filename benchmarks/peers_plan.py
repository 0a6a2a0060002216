"""Who is run on what: contenders, data, rates."""

from __future__ import annotations

from dataclasses import dataclass

RATES = (0.03, 0.1, 0.3, 1.0)
TUNING_SEEDS = (1000, 1001, 1002)
"""None of those that are told of."""


@dataclass(frozen=True)
class Contender:
    """One way to the same network.

    Args:
        kind: What it is held against.
        name: In the table.
        source: Its module and function.
        rate: The function that its learning rate is chosen for, on validation data; None where it looks for one.
        ours: Whether it is this project's.
    """

    kind: str
    name: str
    source: str
    rate: str | None
    ours: bool = False


LIGHTNING, OTHERS = "peers_contenders", "peers_others"
CONTENDERS = (
    Contender("baseline", "constant rate, Lightning", f"{LIGHTNING}:constant", "constant"),
    Contender("baseline", "step decay, torch + Lightning", f"{LIGHTNING}:step_decay", "step_decay"),
    Contender("1cycle", "OneCycle, ours", f"{LIGHTNING}:one_cycle_ours", "one_cycle_torch", ours=True),
    Contender("1cycle", "OneCycleLR, torch + Lightning", f"{LIGHTNING}:one_cycle_torch", "one_cycle_torch"),
    Contender("1cycle", "fit_one_cycle, fastai", f"{OTHERS}:one_cycle_fastai", "one_cycle_torch"),
    Contender("warm restarts", "SGDR, ours", f"{LIGHTNING}:restarts_ours", "restarts_torch", ours=True),
    Contender(
        "warm restarts",
        "CosineAnnealingWarmRestarts, torch + Lightning",
        f"{LIGHTNING}:restarts_torch",
        "restarts_torch",
    ),
    Contender("finder, then 1cycle", "lr_range_test, ours", f"{LIGHTNING}:finder_ours", None, ours=True),
    Contender("finder, then 1cycle", "Tuner.lr_find, Lightning", f"{LIGHTNING}:finder_lightning", None),
    Contender("finder, then 1cycle", "lr_find (valley), fastai", f"{OTHERS}:finder_fastai", None),
    Contender(
        "snapshot ensemble", "SnapshotEnsemble, ours", f"{LIGHTNING}:snapshots_ours", "restarts_torch", ours=True
    ),
    Contender(
        "snapshot ensemble",
        "SnapshotEnsembleClassifier, Ensemble-PyTorch",
        f"{OTHERS}:snapshots_torchensemble",
        "restarts_torch",
    ),
    Contender(
        "snapshot ensemble",
        "CheckpointCollector, torch-uncertainty",
        f"{OTHERS}:snapshots_torch_uncertainty",
        "restarts_torch",
    ),
    Contender("averaged weights", "average_weights, ours", f"{LIGHTNING}:average_ours", "restarts_torch", ours=True),
    Contender(
        "averaged weights",
        'average_weights(method="greedy"), ours',
        f"{LIGHTNING}:average_greedy_ours",
        "restarts_torch",
        ours=True,
    ),
    Contender(
        "averaged weights",
        "StochasticWeightAveraging, Lightning",
        f"{LIGHTNING}:average_lightning",
        "average_lightning",
    ),
)


def tuned() -> tuple[str, ...]:
    """Name the functions that a rate is chosen for, each once: no contender of ours among them."""
    return tuple(dict.fromkeys(each.rate for each in CONTENDERS if each.rate is not None))


@dataclass(frozen=True)
class Run:
    """What all of them train on, and for how long.

    Args:
        data: As `peers_cell` knows it.
        told: As it is told.
        epochs: Of a run; cycles are a whole number of them, and of updates, which Ensemble-PyTorch asks for.
        needs_images: Whether a folder of images has to be named.
    """

    data: str
    told: str
    epochs: int
    cycles: int = 5
    needs_images: bool = False

    @property
    def said(self) -> dict[str, object]:
        """To a cell."""
        return {"data": self.data, "epochs": self.epochs, "cycles": self.cycles}


RUNS = (
    Run("digits", "digits, small CNN", epochs=30),
    Run("images", "CIFAR-10 in part, ResNet-9", epochs=5, needs_images=True),
)
