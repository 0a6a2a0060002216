"""What is learned: to tell classes apart."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from lightning_lr.arguments import require_number

from .decay import MakeOptimizer, optimizer_of


class Classifier(pl.LightningModule):
    """Trains a network by cross entropy; ``forward`` returns its logits.

    Logs ``train/loss`` at each update, ``val/loss`` and ``val/accuracy`` at the end of each epoch. The learning rate is
    a schedule's, a callback; this module has none.

    Args:
        model: Takes images ``(N, C, H, W)``, or rows of a table ``(N, features)``, and returns logits
            ``(N, num_classes)``.
        optimizer: Makes the optimizer of the parameters.
        num_classes: How many classes there are.
        label_smoothing: Share of a label that is spread over all classes, in the training loss alone: the loss that
            validation logs is plain, and compares with any other.
        channels_last: Lay out images and convolutions with the channels last, which mixed precision on a GPU is faster
            with. The values are the same.
        decay_all: Decay every parameter, and not weights alone; see `recipes.decay`.

    Raises:
        TypeError: If `label_smoothing` is no number.
        ValueError: If it is not in [0, 1).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> task = Classifier(nn.Flatten(), torch.optim.SGD, num_classes=4)
        >>> task(torch.zeros(3, 1, 2, 2)).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: MakeOptimizer,
        num_classes: int,
        *,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
        decay_all: bool = False,
    ) -> None:
        super().__init__()
        self.label_smoothing = require_number("label_smoothing", label_smoothing, at_least=0.0, below=1.0)
        # The module's own `to` returns itself, its weights laid out anew.
        self.model = model.to(memory_format=torch.channels_last) if channels_last else model
        self.optimizer = optimizer
        self.channels_last = channels_last
        self.decay_all = decay_all
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, (N, num_classes)."""
        if self.channels_last:
            samples = samples.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.model(samples)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross entropy of a batch, its labels smoothed where that is asked for."""
        samples, labels = batch
        loss = F.cross_entropy(self(samples), labels, label_smoothing=self.label_smoothing)
        # The first process's own: a mean over processes would make all of them wait at every update.
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Cross entropy and accuracy, over all batches and processes."""
        samples, labels = batch
        logits = self(samples)
        self.val_accuracy(logits, labels)
        self.log("val/loss", F.cross_entropy(logits, labels), batch_size=len(labels), sync_dist=True)
        self.log("val/accuracy", self.val_accuracy, prog_bar=True)

    def configure_optimizers(self) -> Optimizer:
        """The optimizer alone."""
        return optimizer_of(self, self.optimizer, decay_all=self.decay_all)
