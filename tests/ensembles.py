"""Small networks to make ensembles of, and the oracle of what their mean should be."""

from __future__ import annotations

import copy

import lightning.pytorch as pl
import torch
from torch import nn


class Net(nn.Module):
    """All that can go wrong in a copy: dropout, batch statistics, tied weights, a buffer outside of the state dict."""

    def __init__(self, features=4, classes=3):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.first = nn.Linear(features, features)
        self.second = nn.Linear(features, features)
        self.second.weight = self.first.weight
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(features, classes)
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, x):
        x = self.second(torch.tanh(self.first(self.norm(x))))
        return self.head(self.drop(x)) * self.scale


class LitNet(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.kept_loss = nn.functional.cross_entropy(self(x), y)
        return self.kept_loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Scores(nn.Module):
    """Returns its one parameter, (N, …): a network whose outputs the test writes down."""

    def __init__(self, rows):
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, x):
        return self.rows[x]


def nets(count, make=Net):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        net = make()
        for buffer in net.buffers():
            if buffer.ndim == 1:
                buffer.uniform_(0.5, 2.0)
        made.append(net)
    return made


def module_and_states(count=3):
    members = nets(count)
    return members[0], [member.state_dict() for member in members]


def trainer(tmp_path, **kwargs):
    return pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **kwargs,
    )


def softmax_mean(members, x):
    # The oracle: one member after the other, in double precision.
    with torch.no_grad():
        rows = [copy.deepcopy(member).eval()(x).double().softmax(dim=1) for member in members]
    return torch.stack(rows).mean(dim=0)


INPUTS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 2, 2, 1, 0, 1])
