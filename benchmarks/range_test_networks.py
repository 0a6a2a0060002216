"""The networks of `benchmarks/range_test.py`, each made for an example of its inputs and a number of classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.range_test_data import CONTEXT


def mlp(example: Tensor, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(example[0].numel(), 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def mlp_norm(example: Tensor, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(example[0].numel(), 128),
        nn.LayerNorm(128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.LayerNorm(128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def convolution(channels_in: int, channels_out: int, stride: int, norm: bool) -> nn.Module:
    parts = [nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=not norm)]
    return nn.Sequential(*parts, *([nn.BatchNorm2d(channels_out)] if norm else []), nn.ReLU())


def cnn(example: Tensor, classes: int, norm: bool = False) -> nn.Module:
    channels, size = example.shape[1], example.shape[2]
    first = 2 if size > 16 else 1
    last = size // first // 4
    return nn.Sequential(
        convolution(channels, 16, first, norm),
        convolution(16, 32, 2, norm),
        convolution(32, 64, 2, norm),
        nn.Flatten(),
        nn.Linear(64 * last * last, classes),
    )


def cnn_bn(example: Tensor, classes: int) -> nn.Module:
    return cnn(example, classes, norm=True)


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels_in, channels_out, stride, norm=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        same = channels_in == channels_out and stride == 1
        self.around = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.body(images) + self.around(images))


def resnet(example: Tensor, classes: int) -> nn.Module:
    return nn.Sequential(
        convolution(example.shape[1], 16, 2, norm=True),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def embedding_mlp(example: Tensor, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Embedding(classes, 16), nn.Flatten(), nn.Linear(16 * CONTEXT, 128), nn.ReLU(), nn.Linear(128, classes)
    )


class Recurrent(nn.Module):
    """A GRU; its last state names the next character."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, 16)
        self.gru = nn.GRU(16, 64, batch_first=True)
        self.head = nn.Linear(64, classes)

    def forward(self, characters: Tensor) -> Tensor:
        return self.head(self.gru(self.embedding(characters))[1][-1])


class Transformer(nn.Module):
    """One block, norm first; the last position names the next character."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, 32)
        self.position = nn.Parameter(0.02 * torch.randn(CONTEXT, 32))
        self.block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, classes))

    def forward(self, characters: Tensor) -> Tensor:
        return self.head(self.block(self.embedding(characters) + self.position)[:, -1])


NETWORKS = {
    "mlp": mlp,
    "mlp-norm": mlp_norm,
    "cnn": cnn,
    "cnn-bn": cnn_bn,
    "resnet": resnet,
    "embedding-mlp": embedding_mlp,
    "gru": lambda _, classes: Recurrent(classes),
    "transformer": lambda _, classes: Transformer(classes),
}
