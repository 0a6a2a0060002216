"""What the configuration of each logger may hold; see `recipes.schema`.

Without `save_dir`, which is the run's folder.
"""

from __future__ import annotations

from dataclasses import dataclass

from .places import ours


@dataclass
class CSV:
    """A file in the run's folder, from which its pictures are drawn; every run has it."""

    _target_: str = ours("log.MetricsFile")
    flush_logs_every_n_steps: int = 100


@dataclass
class TensorBoard:
    """TensorBoard, beside the CSV file."""

    _target_: str = "lightning.pytorch.loggers.TensorBoardLogger"
    name: str | None = "lightning_logs"
    version: int | str | None = None
    default_hp_metric: bool = True


@dataclass
class WandB:
    """Weights & Biases, beside the CSV file."""

    _target_: str = "lightning.pytorch.loggers.WandbLogger"
    name: str | None = None
    project: str | None = None
    offline: bool = False
    id: str | None = None


SCHEMAS: dict[str, type] = {"csv": CSV, "tensorboard": TensorBoard, "wandb": WandB}
