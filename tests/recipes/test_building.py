"""What a run trains is what a loop that is written by hand trains, with each switch and optimizer."""

from __future__ import annotations

import contextlib
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from hydra.errors import CompactHydraException
from torch import nn

from lightning_lr import SnapshotEnsemble, Snapshots
from recipes.building import build_task
from recipes.errors import one_line
from recipes.evaluation import evaluate
from recipes.run import build
from recipes.terminal import quiet

TWO_UPDATES = [
    *("data.batch_size=16", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.max_epochs=1"),
    *("model.width=4", "schedule=constant", "schedule.lr=0.05"),
]
DECAYED = ["layers.0.0.weight", "layers.1.0.weight", "layers.3.0.weight", "layers.6.weight"]


@pytest.fixture
def eager(monkeypatch):
    """Compile without a code generator: what is tested is what is compiled, not how."""
    compiled = []
    plain = nn.Module.compile

    def compile(self, **options):
        compiled.append(type(self).__name__)
        plain(self, backend="eager", **options)

    monkeypatch.setattr(nn.Module, "compile", compile)
    yield compiled
    torch._dynamo.reset()


def by_hand(model, batches, make, *, decay=0.0, smoothing=0.0, last=False, amp=None):
    """Train as PyTorch's tutorial does; return the losses."""
    named = dict(model.named_parameters())
    rest = [each for name, each in named.items() if name not in DECAYED]
    optimizer = make([{"params": [named[name] for name in DECAYED], "weight_decay": decay}, {"params": rest}])
    losses = []
    for images, labels in batches:
        if last:
            images = images.to(memory_format=torch.channels_last)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=amp) if amp else contextlib.nullcontext():
            loss = F.cross_entropy(model(images), labels, label_smoothing=smoothing)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def sgd(groups):
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)


CASES = {
    "plain": ([], sgd, {"decay": 5e-4}),
    "label_smoothing": (["label_smoothing=0.1"], sgd, {"decay": 5e-4, "smoothing": 0.1}),
    "channels_last": (["channels_last=true"], sgd, {"decay": 5e-4, "last": True}),
    "compile": (["compile=true"], sgd, {"decay": 5e-4}),
    "amp": (["trainer.precision=bf16-mixed"], sgd, {"decay": 5e-4, "amp": torch.bfloat16}),
    "adam": (["optimizer=adam"], lambda groups: torch.optim.Adam(groups, lr=0.05), {}),
    "adamw": (
        ["optimizer=adamw", "optimizer.betas=[0.8,0.9]", "optimizer.weight_decay=0.5"],
        lambda groups: torch.optim.AdamW(groups, lr=0.05, betas=(0.8, 0.9), weight_decay=0.0),
        {"decay": 0.5},
    ),
    "rmsprop": (["optimizer=rmsprop"], lambda groups: torch.optim.RMSprop(groups, lr=0.05, momentum=0.9), {}),
    "custom": (
        ["optimizer=custom", "optimizer._target_=torch.optim.NAdam", "+optimizer.weight_decay=0.1"],
        lambda groups: torch.optim.NAdam(groups, lr=0.05),
        {"decay": 0.1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_two_updates_are_those_of_a_loop_by_hand(case, composed, tmp_path, eager):
    overrides, make, options = CASES[case]
    with quiet():
        parts = build(composed(*TWO_UPDATES, *overrides), tmp_path)
        model = deepcopy(parts.module.model)
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
    assert parts.policy.step == 2
    batches = [batch for batch, _ in zip(parts.datamodule.train_dataloader(), range(2), strict=False)]
    losses = by_hand(model, batches, make, **options)
    assert parts.trainer.callback_metrics["train/loss"].item() == pytest.approx(losses[1], rel=1e-5)
    trained, expected = parts.module.model.state_dict(), model.state_dict()
    assert list(trained) == list(expected)
    for name in expected:
        torch.testing.assert_close(trained[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)
    assert eager == (["SmallCNN"] if case == "compile" else [])


def test_the_switches_are_what_they_say(composed, eager):
    task, _ = build_task(composed("channels_last=true", "compile=true", "label_smoothing=0.1", "decay_all=true"))
    weight = task.model.layers[1][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert (task.label_smoothing, task.decay_all, eager) == (0.1, True, ["SmallCNN"])
    assert len(task.configure_optimizers().param_groups) == 1
    plain, _ = build_task(composed())
    assert list(task.state_dict()) == list(plain.state_dict())
    assert (plain.label_smoothing, plain.channels_last, plain.decay_all) == (0.0, False, False)
    assert len(plain.configure_optimizers().param_groups) == 2


def test_images_come_to_the_model_with_their_channels_last(composed):
    task, _ = build_task(composed("channels_last=true"))
    seen = []
    task.model = nn.Flatten()
    task.model.register_forward_pre_hook(lambda model, inputs: seen.append(inputs[0].stride()))
    task(torch.rand(2, 3, 4, 5))
    assert seen == [(60, 1, 15, 3)]


@pytest.mark.parametrize("switches", [["channels_last=true"], ["compile=true"], ["optimizer=adamw"]], ids=str)
def test_snapshots_and_their_ensemble_do_not_see_a_switch(switches, composed, tmp_path, eager):
    config = composed(
        *("data.batch_size=16", "trainer.limit_train_batches=4", "trainer.limit_test_batches=2", "model.width=4"),
        *("trainer.max_epochs=1", "schedule.cycles=2", "schedule.max_lr=0.05", *switches),
    )
    with quiet():
        parts = build(config, tmp_path)
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
        snapshots = Snapshots(parts.snapshots.dirpath)
        found = evaluate(parts.trainer, parts.module, parts.datamodule, snapshots)
    assert len(snapshots) == 2
    last, expected = snapshots.load(1), parts.module.state_dict()
    assert {name: each.tolist() for name, each in last.items()} == {
        name: each.tolist() for name, each in expected.items() if name in last
    }
    assert found.members[-1].score == found.last
    # Into a plain model, as another command would load them.
    plain, _ = build_task(composed("model.width=4"))
    images = torch.rand(5, 1, 8, 8)
    mine, others = (SnapshotEnsemble(each.eval(), snapshots)(images) for each in (parts.module, plain))
    torch.testing.assert_close(mine, others)
    assert mine.sum(1).tolist() == pytest.approx([1.0] * 5)


@pytest.mark.parametrize("switches", [[], ["compile=true", "channels_last=true"], ["optimizer=adamw"]], ids=str)
def test_a_range_test_before_the_fit_leaves_no_trace_in_it(switches, composed, tmp_path, eager):
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=4", "model.width=4", "data.batch_size=32", *switches]
    schedule = ["schedule=one_cycle", "schedule.cycle_momentum=true"]
    with quiet():
        auto = build(composed(*short, *schedule, "schedule.max_lr=auto"), tmp_path / "auto")
        auto.trainer.fit(auto.module, datamodule=auto.datamodule)
        rate = auto.policy.found["max_lr"]
        given = build(composed(*short, *schedule, f"schedule.max_lr={rate!r}"), tmp_path / "given")
        given.trainer.fit(given.module, datamodule=given.datamodule)
    for name, each in given.module.state_dict().items():
        assert torch.equal(auto.module.state_dict()[name], each), name


def test_momentum_is_cycled_in_both_param_groups_of_adamw(composed, tmp_path):
    config = composed(*TWO_UPDATES[:5], "optimizer=adamw", "schedule=one_cycle", "schedule.max_lr=0.01")
    with quiet():
        parts = build(config, tmp_path)
        parts.trainer.fit(parts.module, datamodule=parts.datamodule)
    groups = parts.trainer.optimizers[0].param_groups
    curve = parts.policy.preview(2)["momentum"]
    assert [(len(group["params"]), group["betas"]) for group in groups] == [
        (4, (curve[1], 0.999)),
        (7, (curve[1], 0.999)),
    ]
    assert curve[0] == 0.85


def test_a_list_of_the_configuration_is_a_tuple_to_torch(composed):
    of_mine = ["optimizer=custom", "optimizer._target_=torch.optim.NAdam", "+optimizer.betas=[0.8,0.9]"]
    for overrides in (of_mine, ["optimizer=adam", "optimizer.betas=[0.8,0.9]"]):
        task, _ = build_task(composed(*overrides))
        assert task.configure_optimizers().param_groups[0]["betas"] == (0.8, 0.9)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["label_smoothing=1.0"], "label_smoothing=1.0: out of range; pass a number of at least 0 and below 1"),
        (["optimizer.weight_decay=-1"], "optimizer: Invalid weight_decay value: -1.0"),
        (["optimizer.momentum=0"], "optimizer: Nesterov momentum requires a momentum and zero dampening"),
        (["optimizer=adamw", "optimizer.betas=[1.0,0.9]"], "optimizer: Invalid beta parameter at index 0: 1.0"),
        (
            ["optimizer=custom", "optimizer._target_=torch.optim.NAdam", "+optimizer.momentum=0.9"],
            "optimizer: NAdam.__init__() got an unexpected keyword argument 'momentum'",
        ),
        (["data=image_folder"], "data.root: missing; pass data.root=photos"),
        (["data=table", "data.path=x.csv", "model=mlp"], "data.target: missing; pass data.target=district"),
        (
            ["data=fake", "data.num_classes=1"],
            "data: all samples are of one class, and there is nothing to tell apart; name data with two",
        ),
        (["optimizer=custom"], "optimizer._target_: missing; pass optimizer._target_=torch.optim.NAdam"),
        (
            ["channels_last=true", "model=mlp", "data=table"],
            "channels_last=True: a sample has the shape (30,) and is no image; leave it out",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_when_it_is_built(overrides, line, composed, monkeypatch):
    if "data=table" in overrides:
        overrides = overrides[:-1]
        monkeypatch.setattr("recipes.data.digits.Digits.shape", (30,))
    with pytest.raises(CompactHydraException) as refused, one_line():
        build_task(composed(*overrides))
    assert str(refused.value) == line
