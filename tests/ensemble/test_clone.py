"""A copy that runs by itself, whatever the module has been through."""

from __future__ import annotations

import copy
import warnings

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.utilities.compile import from_compiled
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr.ensemble.clone import clone_of, copy_of

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 2, 1, 0])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, x):
        return self.head(self.drop(self.second(torch.tanh(self.first(self.norm(x)))))) * self.scale


class LitNet(pl.LightningModule):
    """Logs in its forward, and keeps what deepcopy refuses."""

    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x):
        out = self.net(x)
        self.log("norm", out.norm())
        self.log_dict({"mean": out.mean(), "peak": out.max()}, on_step=True, prog_bar=True)
        return out

    def training_step(self, batch, batch_idx):
        self.kept_loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        return self.kept_loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fitted(tmp_path):
    module = LitNet()
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
    )
    trainer.fit(module, DataLoader(TensorDataset(X, Y), batch_size=6))
    return module, trainer


def test_the_clone_gives_what_the_module_gives_in_evaluation_mode():
    module = Net().train()
    state = copy.deepcopy(module.state_dict())
    clone = clone_of(module)
    expected = copy.deepcopy(module).eval()(X)
    assert torch.equal(clone(X), expected)
    assert not any(part.training for part in clone.modules())
    assert not any(parameter.requires_grad for parameter in clone.parameters())
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_nothing_is_shared_and_ties_are_kept():
    module = Net()
    clone = clone_of(module)
    assert clone.second.weight is clone.first.weight
    memory = {tensor.data_ptr() for tensor in [*module.parameters(), *module.buffers()]}
    assert not memory & {tensor.data_ptr() for tensor in [*clone.parameters(), *clone.buffers()]}
    assert clone.scale.item() == 3.0


def test_a_copy_keeps_modes_and_gradients():
    module = LitNet().train()
    module.net.norm.eval()
    module.net.head.weight.requires_grad_(False)
    copied = copy_of(module)
    assert [part.training for part in copied.modules()] == [part.training for part in module.modules()]
    assert [p.requires_grad for p in copied.parameters()] == [p.requires_grad for p in module.parameters()]
    assert "log" not in vars(copied)


def test_the_trainer_stays_behind(tmp_path):
    module, trainer = fitted(tmp_path)
    module.by_another_name = trainer
    module.kept_output = module.net(X)
    clone = clone_of(module)
    assert clone._trainer is None
    assert clone.by_another_name is None
    assert module.trainer is trainer
    assert torch.equal(clone.kept_output, module.kept_output)
    assert not clone.kept_output.requires_grad


@pytest.mark.parametrize("attached", [False, True])
def test_a_clone_logs_nothing(attached, tmp_path):
    module, trainer = fitted(tmp_path)
    clone = clone_of(module)
    if attached:
        clone.trainer = trainer
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clone(X).shape == (6, 3)
    assert trainer.logged_metrics == {}


def test_a_part_that_logs_is_silent_too():
    module = nn.Sequential(LitNet(), nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clone_of(module)(X).shape == (6, 3)
    assert "log" not in vars(module[0])


def test_a_silent_clone_is_copied_and_pickled():
    import pickle

    clone = clone_of(LitNet())
    for again in (copy.deepcopy(clone), pickle.loads(pickle.dumps(clone))):
        assert torch.equal(again(X), clone(X))


@pytest.mark.parametrize("how", ["wrapped", "in place", "a part", "a part in a part", "by the Trainer"])
def test_what_was_compiled_is_taken_apart(how):
    plain, module = LitNet(), LitNet()
    module.load_state_dict(plain.state_dict())
    if how == "wrapped":
        module = torch.compile(module, backend="eager")
    elif how == "in place":
        module.compile(backend="eager")
    elif how == "a part":
        module.net = torch.compile(module.net, backend="eager")
    elif how == "a part in a part":
        module.net.first = torch.compile(module.net.first, backend="eager")
        module.net = torch.compile(module.net, backend="eager")
    else:
        module = from_compiled(torch.compile(module, backend="eager"))
    clone = clone_of(module)
    assert list(clone.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.mul_(2.0)
        for parameter in plain.parameters():
            parameter.mul_(2.0)
    # Compiled code would run the module's own weights, which are not doubled.
    assert torch.equal(clone(X), clone_of(plain)(X))


def test_made_in_inference_mode_it_can_be_used_outside():
    with torch.inference_mode():
        clone = clone_of(Net())
    assert not any(tensor.is_inference() for tensor in [*clone.parameters(), *clone.buffers()])
    clone.scale.add_(1)


def test_what_cannot_be_copied_is_named():
    module = Net()
    module.log_file = open("log.txt", "w")  # noqa: SIM115 - an attribute that deepcopy refuses
    try:
        with pytest.raises(TypeError, match=r"^snapshots\[1\]=Net: cannot be copied \(.*TextIOWrapper.*\); remove"):
            clone_of(module, "snapshots[1]")
    finally:
        module.log_file.close()
