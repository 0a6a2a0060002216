"""What every model of `conf/model` must do, whatever it is made of."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops._utils import split_normalization_params

from recipes.decay import kept_off
from recipes.models.building import build_model
from recipes.run import build
from recipes.terminal import quiet
from recipes.train import CONF

# Overrides that make an option complete, and small enough to be trained here.
MODELS = {
    "small_cnn": [],
    "mlp": ["model.hidden=[32,16]"],
    "resnet9": ["model.width=8"],
    "resnet20": [],
    "resnet110": ["model.width=4"],
    "wide_resnet": ["model.depth=10", "model.widen=1", "model.dropout=0.3"],
    "resnet18": [],
    "resnet50": [],
    "torchvision": ["model.name=mobilenet_v3_small"],
    "custom": ["model._target_=recipes.models.small_cnn.SmallCNN", "+model.width=3"],
}
# All of them take images of one channel and of three, and of another size than they were made for.
SHAPES = [(1, 16, 16), (3, 32, 32), (4, 24, 40)]


class Images:
    """What a model is told of the data."""

    num_classes = 7

    def __init__(self, shape):
        self.shape, self.channels = shape, shape[0]


@pytest.fixture
def made(composed):
    def made(option, shape=(3, 32, 32)):
        torch.manual_seed(0)
        return build_model(composed(f"model={option}", *MODELS[option]).model, Images(shape))

    return made


def test_every_option_is_among_them():
    assert sorted(MODELS) == sorted(file.stem for file in (CONF / "model").glob("*.yaml"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("option", MODELS)
def test_makes_one_row_of_logits_of_a_sample(option, shape, made):
    model, images = made(option, shape), torch.rand(3, *shape)
    assert model(images).shape == (3, 7)
    with torch.no_grad():
        logits = model.eval()(images)
        # A sample's logits are its own, whatever else is in the batch.
        torch.testing.assert_close(model(images[1:2]), logits[1:2], rtol=1e-4, atol=1e-4)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("option", MODELS)
def test_every_parameter_has_a_gradient(option, made):
    model = made(option)
    F.cross_entropy(model(torch.rand(4, 3, 32, 32)), torch.arange(4)).backward()
    assert not [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()]


@pytest.mark.parametrize("option", MODELS)
def test_weight_decay_is_kept_off_biases_and_normalisations_and_no_more(option, made):
    model = made(option)
    norms, rest = ({id(each) for each in part} for part in split_normalization_params(model))
    names = dict(model.named_parameters())
    off = {name for name, each in names.items() if id(each) in norms or name.rpartition(".")[2] == "bias"}
    assert kept_off(model) == off
    # What is left is what mixes: the weights of linear layers and convolutions.
    mixing = {id(each.weight) for each in model.modules() if isinstance(each, (nn.Linear, nn.Conv2d))}
    assert {id(each) for name, each in names.items() if name not in off} == mixing
    assert norms | rest == set(map(id, names.values()))


@pytest.mark.parametrize("option", MODELS)
def test_two_batches_are_trained_on_and_validated(option, composed, tmp_path):
    two = ["data.batch_size=4", *(f"trainer.limit_{part}_batches=2" for part in ("train", "val"))]
    config = composed(
        f"model={option}", *MODELS[option], *two, "schedule.cycles=1", "schedule.max_lr=0.05", "trainer.max_epochs=1"
    )
    with quiet():
        parts = build(config, tmp_path)
        before = {name: each.clone() for name, each in parts.module.state_dict().items()}
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
    assert parts.policy.step == 2
    changed = {name for name, each in parts.module.state_dict().items() if not torch.equal(each, before[name])}
    assert {name for name, _ in parts.module.named_parameters()} <= changed
    assert torch.isfinite(parts.trainer.callback_metrics["val/loss"])
