"""The residual networks for CIFAR against their papers, torchvision's blocks and formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock as TorchvisionsBlock

from recipes.models.cifar_resnet import BasicBlock, CifarResNet
from recipes.models.resnet9 import ResNet9
from recipes.models.wide_resnet import WideBlock, WideResNet


def count(model):
    return sum(each.numel() for each in model.parameters())


class OptionA(nn.Module):
    """He et al.: identity, with extra zero entries padded; when it goes across sizes, with a stride of 2."""

    def __init__(self, stride, added):
        super().__init__()
        self.stride, self.added = stride, added

    def forward(self, x):
        picked = F.max_pool2d(x, kernel_size=1, stride=self.stride)
        return torch.cat([picked, picked.new_zeros(len(x), self.added, *picked.shape[2:])], dim=1)


def scrambled(module):
    """Statistics and scales that are not those of a fresh network."""
    torch.manual_seed(1)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.uniform_(-1, 1)
            each.running_var.uniform_(0.5, 2)
            nn.init.uniform_(each.weight, 0.5, 2)
            nn.init.uniform_(each.bias, -1, 1)
    return module


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("before", "after", "stride"), [(4, 4, 1), (4, 8, 2)])
@pytest.mark.parametrize("size", [8, 7])
def test_a_block_is_torchvisions_with_a_shortcut_that_has_no_parameters(before, after, stride, training, size):
    torch.manual_seed(0)
    downsample = OptionA(stride, after - before) if stride > 1 else None
    theirs = scrambled(TorchvisionsBlock(before, after, stride, downsample)).train(training)
    ours = BasicBlock(before, after, stride).train(training)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, before, size, size)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


# Table 6 of the paper, in millions.
@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameters_of_the_paper(depth, millions):
    with torch.device("meta"):
        made = count(CifarResNet(channels=3, num_classes=10, depth=depth)) / 1e6
    assert round(made, 2 if millions < 1 else 1) == millions


def test_layers_of_the_paper():
    model = CifarResNet(channels=3, num_classes=10, depth=20)
    weighted = [each for each in model.modules() if isinstance(each, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == 20
    # Seven convolutions of 16 channels, six of 32, six of 64; images of 32, 16 and 8.
    assert [each.out_channels for each in weighted[:-1]] == [16] * 7 + [32] * 6 + [64] * 6
    sizes = []
    for block in model.stages:
        block.register_forward_hook(lambda *made: sizes.append(tuple(made[2].shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    assert sizes == [(16, 32, 32)] * 3 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3
    # 0.27 million, to the last one: as counted from the layers above.
    assert count(model) == 269_722


# Zagoruyko and Komodakis, tables 4 and 5, in millions; with ten classes.
@pytest.mark.parametrize(
    ("depth", "widen", "millions"),
    [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (40, 8, 35.7), (28, 10, 36.5), (28, 12, 52.5), (22, 8, 17.2)],
)
def test_parameters_of_wide_networks(depth, widen, millions):
    with torch.device("meta"):
        made = count(WideResNet(channels=3, num_classes=10, depth=depth, widen=widen)) / 1e6
    assert made == pytest.approx(millions, abs=0.06)


def test_a_wide_network_has_the_depth_of_its_name():
    convolutions = [each for each in WideResNet(3, 10, depth=16, widen=2).modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) == 16


@pytest.mark.parametrize(("before", "after", "stride"), [(4, 4, 1), (4, 8, 2), (4, 8, 1)])
def test_a_wide_block_is_its_formula(before, after, stride):
    torch.manual_seed(0)
    block = scrambled(WideBlock(before, after, stride, dropout=0.5)).eval()
    x = torch.randn(3, before, 8, 8)

    def normalised(x, bn):
        scale = bn.weight / (bn.running_var + 1e-5).sqrt()
        return (x - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]

    activated = normalised(x, block.bn1).clamp(min=0)
    inner = F.conv2d(activated, block.conv1.weight, stride=stride, padding=1)
    residual = F.conv2d(normalised(inner, block.bn2).clamp(min=0), block.conv2.weight, padding=1)
    identity = before == after and stride == 1
    shortcut = x if identity else F.conv2d(activated, block.shortcut.weight, stride=stride)
    assert identity == (block.shortcut is None)
    torch.testing.assert_close(block(x), shortcut + residual, rtol=1e-4, atol=1e-4)


def test_dropout_is_in_every_wide_block_and_acts_in_training_alone():
    model = WideResNet(3, 10, depth=16, widen=1, dropout=0.3)
    assert [each.p for each in model.modules() if isinstance(each, nn.Dropout)] == [0.3] * 6
    x = torch.rand(4, 16, 8, 8)
    block = model.stages[0]
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_resnet9_is_pages():
    model = ResNet9(channels=3, num_classes=10)
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    assert [each.out_channels for each in convolutions] == [64, 128, 128, 128, 256, 512, 512, 512]
    # Weights of the convolutions, of the normalisations, of the head, which has no bias.
    assert count(model) == 6_563_520 + 2 * 2240 + 5120 == 6_573_120


def test_resnet9_is_its_formula():
    torch.manual_seed(0)
    model = scrambled(ResNet9(channels=1, num_classes=3, width=2)).eval()
    prepare, one, _, first, two, _, three, _, second = model.features
    images = torch.randn(4, 1, 16, 16)
    x = F.max_pool2d(one(prepare(images)), 2)
    x = x + first.layers[1](first.layers[0](x))
    x = F.max_pool2d(three(F.max_pool2d(two(x), 2)), 2)
    x = x + second.layers[1](second.layers[0](x))
    expected = 0.125 * F.max_pool2d(x, 2).flatten(1) @ model.head.weight.T
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize(
    ("model", "arguments", "said"),
    [
        (CifarResNet, {"depth": 18}, "^depth=18: not 6n \\+ 2; pass 20, 32, 44, 56 or 110$"),
        (CifarResNet, {"depth": 2}, "^depth=2: not 6n \\+ 2"),
        (CifarResNet, {"depth": 20, "width": 0}, "^width=0: out of range"),
        (WideResNet, {"depth": 20}, "^depth=20: not 6n \\+ 4; pass 16, 22, 28 or 40$"),
        (WideResNet, {"widen": 0}, "^widen=0: out of range"),
        (WideResNet, {"dropout": 1.5}, "^dropout=1.5: out of range"),
        (ResNet9, {"width": 0}, "^width=0: out of range"),
        (ResNet9, {"scale": 0.0}, "^scale=0.0: out of range; pass a number above 0$"),
        (ResNet9, {"channels": 0}, "^channels=0: out of range"),
    ],
)
def test_what_they_refuse(model, arguments, said):
    with pytest.raises(ValueError, match=said):
        model(**{"channels": 3, "num_classes": 10, **arguments})
