"""Any of torchvision's classifiers, fitted to other images than they were made for."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from recipes.models.from_torchvision import from_torchvision, names


def first_convolution(model):
    return next(each for each in model.modules() if isinstance(each, nn.Conv2d))


# RegNets reckon their widths with tensors, and so cannot be made without memory; the smallest stand for the others.
NAMES = [name for name in names() if not name.startswith("regnet") or name.endswith("400mf")]


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_name_makes_logits_of_images(name, channels):
    # Shapes alone, where that will do: the largest of them has hundreds of millions of parameters.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = from_torchvision(name, channels=channels, num_classes=7, shape=(channels, 224, 224))
        assert model.train()(torch.empty(2, channels, 224, 224)).shape == (2, 7)


def test_images_as_torchvision_wants_them_get_torchvisions_network():
    torch.manual_seed(3)
    ours = from_torchvision("resnet18", channels=3, num_classes=1000, shape=(3, 224, 224))
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(weights=None)
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", ["resnet18", "ResNet18"])
def test_the_name_is_told_in_any_case(name):
    assert from_torchvision(name, channels=3, num_classes=2).fc.out_features == 2


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_0", "googlenet"])
def test_other_channels_change_the_first_convolution_alone(name):
    torch.manual_seed(0)
    ours = from_torchvision(name, channels=5, num_classes=10)
    with pytest.warns(FutureWarning) if name == "googlenet" else torch.no_grad():
        theirs = torchvision.models.get_model(name, weights=None, num_classes=10)
    mine, other = first_convolution(ours), first_convolution(theirs)
    assert mine.weight.shape == (other.out_channels, 5, *other.kernel_size)
    assert (mine.stride, mine.padding, mine.bias is None) == (other.stride, other.padding, other.bias is None)
    assert mine.weight.std().item() == pytest.approx(other.weight.std().item(), rel=0.15)
    shapes = {key: each.shape for key, each in ours.state_dict().items()}
    theirs = {key: each.shape for key, each in theirs.state_dict().items() if not key.startswith("aux")}
    assert list(shapes) == list(theirs)
    assert len([key for key in shapes if shapes[key] != theirs[key]]) == 1


@pytest.mark.parametrize(
    ("small_images", "shape", "small"),
    [
        (None, (3, 32, 32), True),
        (None, (3, 64, 64), True),
        (None, (3, 64, 65), False),
        (None, (3, 224, 224), False),
        (None, (), False),
        (True, (3, 224, 224), True),
        (False, (3, 32, 32), False),
    ],
)
def test_a_resnet_keeps_the_size_of_small_images(small_images, shape, small):
    model = from_torchvision("resnet18", channels=3, num_classes=10, shape=shape, small_images=small_images)
    assert model.conv1.kernel_size == ((3, 3) if small else (7, 7))
    sizes = []
    model.layer1.register_forward_hook(lambda *made: sizes.append(tuple(made[2].shape[1:])))
    model(torch.zeros(2, 3, 32, 32))
    assert sizes == [(64, 32, 32) if small else (64, 8, 8)]


def test_the_beginning_for_small_images_spreads_as_torchvisions_convolutions_do():
    torch.manual_seed(0)
    conv = from_torchvision("resnet18", channels=3, num_classes=10, shape=(3, 32, 32)).conv1
    # Kaiming by fan out, with 64 channels and 3 × 3 pixels.
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert conv.bias is None


def test_a_resnet_of_small_grey_images():
    model = from_torchvision("resnet18", channels=1, num_classes=10, shape=(1, 28, 28))
    assert model.conv1.weight.shape == (64, 1, 3, 3)
    # 11.17 million in Lightning's and kuangliu's ResNet-18 for CIFAR, which has three channels.
    assert sum(each.numel() for each in model.parameters()) == 11_173_962 - 2 * 64 * 9


def test_an_option_goes_to_the_builder():
    model = from_torchvision("mobilenet_v3_small", channels=3, num_classes=10, dropout=0.45)
    assert [each.p for each in model.modules() if isinstance(each, nn.Dropout)] == [0.45]
    with pytest.raises(TypeError, match="unexpected keyword argument 'drop'"):
        from_torchvision("resnet18", channels=3, num_classes=10, drop=0.45)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"name": "resnet81"},
            "^name='resnet81': torchvision has no such classifier; pass resnet18, resnet152, resnet101 or another$",
        ),
        ({"name": "fcn_resnet50"}, "no such classifier; pass .*resnet50"),
        ({"name": "?"}, "^name='\\?': torchvision has no such classifier; pass resnet18, resnet50, convnext_tiny or"),
        (
            {"name": "squeezenet1_1", "small_images": True},
            "^small_images=True: squeezenet1_1 has no beginning that could be replaced; ",
        ),
        ({"channels": 0}, "^channels=0: out of range; pass an int of at least 1$"),
        ({"num_classes": 0}, "^num_classes=0: out of range; pass an int of at least 1$"),
    ],
)
def test_what_it_refuses(arguments, said):
    with pytest.raises(ValueError, match=said):
        from_torchvision(**{"name": "resnet18", "channels": 3, "num_classes": 10, **arguments})
