"""A model is given what its signature names, and what is wrong with a user's own is one line."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from hydra.errors import CompactHydraException
from torch import nn

from recipes.errors import one_line
from recipes.models.building import build_model
from recipes.schema.checks import check

IMAGES = SimpleNamespace(channels=3, num_classes=7, shape=(3, 16, 16))


class Table:
    shape, num_classes = (30,), 2


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write a module of a user's."""
    monkeypatch.syspath_prepend(tmp_path)

    def written(text):
        (tmp_path / "my_networks.py").write_text(f"from torch import nn\n{text}")

    yield written
    sys.modules.pop("my_networks", None)


OF_MINE = "model._target_=my_networks.Net"

NET = """
class Net(nn.Linear):
    def __init__(self, {arguments}):
        self.told = dict(locals())
        super().__init__(1, 1)
"""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("channels, num_classes", {"channels": 3, "num_classes": 7}),
        ("shape, num_classes", {"shape": [3, 16, 16], "num_classes": 7}),
        ("num_classes, width=5", {"num_classes": 7, "width": 5}),
        ("channels=1", {"channels": 3}),
        ("**others", {"others": {}}),
    ],
)
def test_a_model_is_given_what_it_names_of_the_data(arguments, told, mine, composed):
    mine(NET.format(arguments=arguments))
    config = composed("model=custom", "model._target_=my_networks.Net")
    check(config)
    model = build_model(config.model, IMAGES)
    assert {name: model.told[name] for name in told} == told


def test_what_the_command_line_says_is_stronger_and_goes_to_the_model(mine, composed):
    mine(NET.format(arguments="channels, num_classes, widths, width=5"))
    overrides = ["model._target_=my_networks.Net", "+model.width=3", "+model.widths=[1,2]", "+model.num_classes=99"]
    config = composed("model=custom", *overrides)
    check(config)
    told = build_model(config.model, IMAGES).told
    assert (told["channels"], told["num_classes"], told["width"], told["widths"]) == (3, 99, 3, [1, 2])
    # A list, and nothing of OmegaConf's.
    assert type(told["widths"]) is list


def test_a_function_will_do(mine, composed):
    mine("def net(num_classes):\n    return nn.Linear(4, num_classes)\n")
    model = build_model(composed("model=custom", "model._target_=my_networks.net").model, IMAGES)
    assert isinstance(model, nn.Linear)
    assert model.out_features == 7


def test_a_table_has_no_channels(composed):
    assert build_model(composed("model=mlp").model, Table()).layers[1].in_features == 30
    said = (
        "^model: SmallCNN needs channels, which Table does not tell; choose a model for such data, as model=mlp is for "
        r"tables, or pass \+model.channels=...$"
    )
    with pytest.raises(ValueError, match=said):
        build_model(composed("model=small_cnn").model, Table())


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        ("", r"ModuleNotFoundError: No module named 'my_networks\.Net'.*"),
        ("import not_there", r"ModuleNotFoundError: No module named 'not_there'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("class Net(", "SyntaxError: .*"),
    ],
)
def test_what_cannot_be_imported_is_one_line(text, raised, mine, composed):
    mine(text)
    line = rf"^model\._target_=my_networks\.Net: cannot be imported \({raised}\); see whether .* PYTHONPATH$"
    with pytest.raises(CompactHydraException, match=line), one_line():
        build_model(composed("model=custom", OF_MINE).model, IMAGES)


@pytest.mark.parametrize(
    ("text", "overrides", "line"),
    [
        ("", [], "model._target_: missing; pass model._target_=my_package.MyNet"),
        ("Net = 3", [OF_MINE], f"{OF_MINE}: int cannot be called; name a class or a function"),
        ("def Net(): return 3", [OF_MINE], f"{OF_MINE}: made int, no torch.nn.Module; name one that does"),
        (
            "class Net(nn.Module):\n    def __init__(self, width): pass",
            [OF_MINE, "+model.wdth=3"],
            "model: Net.__init__() got an unexpected keyword argument 'wdth'",
        ),
        (
            "class Net(nn.Module):\n    def __init__(self, width): pass",
            [OF_MINE],
            "model: Net.__init__() missing 1 required positional argument: 'width'",
        ),
    ],
)
def test_what_is_wrong_with_a_users_own_is_one_line(text, overrides, line, mine, composed):
    mine(text)
    config = composed("model=custom", *overrides)
    check(config)
    with pytest.raises(CompactHydraException) as refused, one_line():
        build_model(config.model, IMAGES)
    assert str(refused.value) == line


def test_a_name_is_missing(composed):
    with pytest.raises(ValueError, match=r"^model.name: missing; pass model.name=resnet18$"):
        build_model(composed("model=torchvision").model, IMAGES)


def test_only_what_is_not_ours_takes_more(composed):
    check(composed("model=torchvision", "model.name=resnet18", "+model.dropout=0.5"))
    check(composed("optimizer=custom", "optimizer._target_=torch.optim.NAdam", "+optimizer.momentum_decay=0.1"))
    with pytest.raises(ValueError, match=r"^model.wdth: there is no such option; choose from width$"):
        check(composed("+model.wdth=3"))
