"""What the task logs is the loss and the accuracy of what it was given."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from recipes.models.mlp import MLP
from recipes.models.small_cnn import SmallCNN
from recipes.task import Classifier


class Logged(pl.loggers.Logger):
    name, version = "logged", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))


def test_logs_the_loss_of_each_update_and_the_validation_of_each_epoch(tmp_path):
    torch.manual_seed(0)
    images, labels = torch.rand(50, 1, 4, 4), torch.randint(0, 3, (50,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=20)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    first = F.cross_entropy(model(images[:20]), labels[:20]).item()
    task = Classifier(model, lambda parameters: torch.optim.SGD(parameters, lr=0.1), num_classes=3)
    logger = Logged()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(task, loader, loader)

    losses = [(step, row["train/loss"]) for step, row in logger.rows if "train/loss" in row]
    assert [step for step, _ in losses] == [0, 1, 2, 3, 4, 5]
    assert losses[0][1] == pytest.approx(first)
    validations = [row for _, row in logger.rows if "val/loss" in row]
    assert len(validations) == 2
    with torch.no_grad():
        logits = task(images)
    assert validations[-1]["val/loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert validations[-1]["val/accuracy"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))


def test_labels_are_smoothed_in_the_training_loss_and_nowhere_else():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    task = Classifier(nn.Identity(), torch.optim.SGD, num_classes=4, label_smoothing=0.2)
    logged = {}
    task.log = lambda name, value, **_: logged.update({name: value})
    loss = task.training_step((logits, labels), 0)
    # Szegedy et al. 2016: a fifth of the label goes to all four classes alike.
    target = 0.8 * F.one_hot(labels, 4) + 0.2 / 4
    assert loss.item() == pytest.approx(-(target * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-6)
    assert loss.item() == pytest.approx(F.cross_entropy(logits, labels, label_smoothing=0.2).item(), rel=1e-6)
    task.validation_step((logits, labels), 0)
    assert logged["val/loss"].item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)


def test_rows_of_a_table_are_classified_too(tmp_path):
    torch.manual_seed(0)
    rows = torch.randn(40, 5)
    loader = DataLoader(TensorDataset(rows, (rows[:, 0] > 0).long()), batch_size=20)
    task = Classifier(MLP((5,), 2, hidden=(8,)), lambda groups: torch.optim.Adam(groups, lr=0.05), num_classes=2)
    trainer = pl.Trainer(
        max_epochs=30,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(task, loader, loader)
    assert trainer.callback_metrics["val/accuracy"] == 1.0


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_a_label_is_never_smoothed_away(value):
    with pytest.raises(ValueError, match=f"^label_smoothing={value!r}: "):
        Classifier(nn.Identity(), torch.optim.SGD, num_classes=4, label_smoothing=value)


def test_small_cnn_normalises_by_batch_and_returns_logits():
    model = SmallCNN(channels=3, num_classes=7, width=4)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 7)
    assert model.eval()(torch.rand(2, 3, 5, 9)).shape == (2, 7)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in model.modules()) == 3
    # 3·4·9 + 4·8·9 + 8·16·9 weights, 2·(4 + 8 + 16) of normalisation, 16·7 + 7 of the head.
    assert sum(parameter.numel() for parameter in model.parameters()) == 108 + 288 + 1152 + 56 + 119


@pytest.mark.parametrize("argument", ["channels", "num_classes", "width"])
def test_small_cnn_has_positive_sizes(argument):
    with pytest.raises(ValueError, match=f"^{argument}=0: out of range"):
        SmallCNN(**{"channels": 1, "num_classes": 2, argument: 0})
