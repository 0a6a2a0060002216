"""What is learned: to tell classes of images apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import lightning.pytorch as pl
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy


class Classifier(pl.LightningModule):
    """Trains a network by cross entropy; ``forward`` returns its logits.

    Logs ``train/loss`` at each update, ``val/loss`` and ``val/accuracy`` at the end of each epoch. The learning rate is
    a schedule's, a callback; this module has none.

    Args:
        model: Takes images ``(N, C, H, W)`` and returns logits ``(N, num_classes)``.
        optimizer: Makes the optimizer of the parameters.
        num_classes: How many classes there are.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> task = Classifier(nn.Flatten(), torch.optim.SGD, num_classes=4)
        >>> task(torch.zeros(3, 1, 2, 2)).shape
        torch.Size([3, 4])
    """

    def __init__(
        self, model: nn.Module, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer], num_classes: int
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, num_classes)."""
        logits: Tensor = self.model(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross entropy of a batch."""
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        # The first process's own: a mean over processes would make all of them wait at every update.
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Cross entropy and accuracy, over all batches and processes."""
        images, labels = batch
        logits = self(images)
        self.val_accuracy(logits, labels)
        self.log("val/loss", F.cross_entropy(logits, labels), batch_size=len(labels), sync_dist=True)
        self.log("val/accuracy", self.val_accuracy, prog_bar=True)

    def configure_optimizers(self) -> Optimizer:
        """The optimizer alone."""
        return self.optimizer(self.parameters())
