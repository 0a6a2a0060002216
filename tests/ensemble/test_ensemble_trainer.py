"""The ensemble in Lightning's hands: validate, test, predict, precisions, loaders; and what it does not do."""

from __future__ import annotations

import copy
import math

import lightning.pytorch as pl
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from lightning_lr.ensemble import SnapshotEnsemble
from tests.ensembles import INPUTS, TARGETS, LitNet, Net, module_and_states, nets, softmax_mean, trainer


def loader(*tensors, batch_size=3):
    return DataLoader(TensorDataset(*(tensors or (INPUTS, TARGETS))), batch_size=batch_size)


def test_a_pass_outside_of_inference_mode_follows_one_inside(tmp_path):
    ensemble = SnapshotEnsemble(*module_and_states())
    inside = trainer(tmp_path).test(ensemble, loader(), verbose=False)
    assert trainer(tmp_path, inference_mode=False).test(ensemble, loader(), verbose=False) == inside
    assert trainer(tmp_path).test(ensemble, loader(), verbose=False) == inside


def test_two_dataloaders_are_told_apart(tmp_path):
    module, states = module_and_states()
    loaders = [loader(INPUTS[part], TARGETS[part], batch_size=2) for part in (slice(0, 3), slice(3, 7))]
    both = trainer(tmp_path).test(SnapshotEnsemble(module, states), loaders, verbose=False)
    for index, one in enumerate(loaders):
        (alone,) = trainer(tmp_path).test(SnapshotEnsemble(module, states), one, verbose=False)
        assert both[index] == {f"{name}/dataloader_idx_{index}": value for name, value in alone.items()}


def test_a_broken_member_shows(tmp_path):
    module, states = module_and_states()
    states[1] = {**states[1], "head.bias": torch.full((3,), math.nan)}
    (logged,) = trainer(tmp_path).test(SnapshotEnsemble(module, states), loader(), verbose=False)
    assert math.isnan(logged["test/nll"])
    assert math.isnan(logged["test/brier"])


@pytest.mark.parametrize("tensors", [(INPUTS,), (INPUTS, TARGETS)])
@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_predict(tensors, backend, tmp_path):
    members = nets(3)
    ensemble = SnapshotEnsemble(members[0], [member.state_dict() for member in members], backend=backend)
    batches = trainer(tmp_path).predict(ensemble, loader(*tensors))
    assert [len(batch["probs"]) for batch in batches] == [3, 3, 1]
    predicted = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    probs = softmax_mean(members, INPUTS)
    total = -(probs * probs.log()).sum(dim=1)
    each = torch.stack([softmax_mean([member], INPUTS) for member in members])
    information = total + (each * each.log()).sum(dim=2).mean(dim=0)
    assert sorted(predicted) == ["entropy", "mutual_information", "probs"]
    torch.testing.assert_close(predicted["probs"].double(), probs, rtol=0, atol=1e-6)
    torch.testing.assert_close(predicted["entropy"].double(), total, rtol=0, atol=1e-6)
    torch.testing.assert_close(predicted["mutual_information"].double(), information, rtol=0, atol=1e-6)


def test_repeats_of_a_distributed_sampler_are_dropped_from_the_metrics(tmp_path):
    members = nets(2)
    # Process 1 of 2 gets the samples 1, 3, 5 and, for the eighth that there is not, 0.
    for batch_size, items in (
        (3, TensorDataset(INPUTS, TARGETS)),
        (None, TensorDataset(INPUTS[:, None], TARGETS[:, None])),
    ):
        sampler = DistributedSampler(items, num_replicas=2, rank=1, shuffle=False)
        source = DataLoader(items, batch_size=batch_size, sampler=sampler)
        (logged,) = trainer(tmp_path).test(SnapshotEnsemble(members[0], members), source, verbose=False)
        probs = softmax_mean(members, INPUTS)[[1, 3, 5]]
        assert logged["test/nll"] == pytest.approx(log_loss(TARGETS[[1, 3, 5]], probs, labels=[0, 1, 2]), abs=1e-6)


# ---- batches of every kind


class Rows(TensorDataset):
    """A data set whose batches are dicts in dicts."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return {"seen": {"image": x, "mask": torch.ones(4)}, "label": y}


class TakesDicts(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, seen):
        return self.net(seen["image"] * seen["mask"])


def label_and_image(batch):
    return batch["seen"]["image"], batch["label"]


def label_and_all(batch):
    return batch["seen"], batch["label"]


@pytest.mark.parametrize(("make", "unpack"), [(Net, label_and_image), (TakesDicts, label_and_all)])
@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_unpack(make, unpack, backend, tmp_path):
    members = nets(3, make)
    states = [member.state_dict() for member in members]
    ensemble = SnapshotEnsemble(members[0], states, unpack=unpack, backend=backend)
    inner = [getattr(member, "net", member) for member in members]
    plain = SnapshotEnsemble(inner[0], [member.state_dict() for member in inner])
    dicts = DataLoader(Rows(INPUTS, TARGETS), batch_size=3)
    (logged,) = trainer(tmp_path).test(ensemble, dicts, verbose=False)
    (expected,) = trainer(tmp_path).test(plain, loader(), verbose=False)
    assert logged == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}
    predicted = torch.cat([batch["probs"] for batch in trainer(tmp_path).predict(ensemble, dicts)])
    torch.testing.assert_close(predicted, plain(INPUTS), rtol=0, atol=1e-6)
    x, target = ensemble.split(next(iter(dicts)))
    assert torch.equal(target, TARGETS[:3])
    assert ensemble(x).shape == (3, 3)


@pytest.mark.parametrize(
    ("dataset", "unpack", "message"),
    [
        (Rows(INPUTS, TARGETS), None, r"unpack=None: the batch is a dict, not an \(input, target\) pair; pass unpack="),
        (
            TensorDataset(INPUTS),
            None,
            r"unpack=None: the batch is a list of 1, not an \(input, target\) pair; pass unpack=",
        ),
        (Rows(INPUTS, TARGETS), len, r"unpack: it returned a int, not an \(input, target\) pair; pass unpack="),
    ],
)
def test_a_batch_that_is_no_pair(dataset, unpack, message, tmp_path):
    with pytest.raises(TypeError, match=f"^{message}"):
        trainer(tmp_path).test(SnapshotEnsemble(*module_and_states(), unpack=unpack), DataLoader(dataset, batch_size=7))


# ---- precisions


@pytest.mark.parametrize("backend", ["loop", "vmap"])
@pytest.mark.parametrize(
    ("precision", "atol"), [("bf16-mixed", 0.05), ("bf16-true", 0.05), ("16-true", 0.01), ("64-true", 1e-9)]
)
def test_precisions(precision, atol, backend, tmp_path):
    members = nets(3)
    states = [member.state_dict() for member in members]
    ensemble = SnapshotEnsemble(members[0], states, backend=backend)
    wide = [copy.deepcopy(member).double() for member in members]
    expected = softmax_mean(wide, INPUTS.double())
    inputs = INPUTS.double() if precision == "64-true" else INPUTS
    (logged,) = trainer(tmp_path, precision=precision).test(ensemble, loader(inputs, TARGETS), verbose=False)
    assert logged["test/nll"] == pytest.approx(log_loss(TARGETS, expected, labels=[0, 1, 2]), abs=max(atol, 1e-6))
    batches = trainer(tmp_path, precision=precision).predict(ensemble, loader(inputs))
    probs = torch.cat([batch["probs"] for batch in batches])
    assert probs.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    torch.testing.assert_close(probs.double(), expected, rtol=0, atol=atol)
    # Rows that sum to 1 in half precision only would spoil the NLL.
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(7, dtype=probs.dtype), rtol=0, atol=1e-6)


# ---- LightningModules


class Logs(LitNet):
    """Logs in forward, as its training step does, and asks where it is."""

    def forward(self, x):
        out = super().forward(x) + torch.zeros(3, device=self.device, dtype=self.dtype)
        self.log("forward/norm", out.norm())
        self.log_dict({"forward/max": out.max()}, on_step=True)
        return out


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_a_member_that_logs_in_forward(backend, tmp_path):
    members = nets(3, Logs)
    states = [member.state_dict() for member in members]
    given = states if backend == "vmap" else [states[0], members[1], states[2]]
    ensemble = SnapshotEnsemble(members[0], given, backend=backend)
    expected = softmax_mean([member.net for member in members], INPUTS)
    torch.testing.assert_close(ensemble(INPUTS).double(), expected, rtol=0, atol=1e-6)
    (logged,) = trainer(tmp_path).test(ensemble, loader(), verbose=False)
    assert sorted(logged) == ["test/accuracy", "test/brier", "test/ece", "test/nll"]
    assert ensemble.double()(INPUTS.double()).dtype == torch.float64


class Distillation(pl.LightningModule):
    """A student that learns what its teacher, an ensemble, says."""

    def __init__(self, teacher):
        super().__init__()
        self.student, self.teacher = nn.Linear(4, 3), teacher

    def training_step(self, batch, batch_idx):
        x, _ = batch
        return nn.functional.cross_entropy(self.student(x), self.teacher(x))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


# Lightning's remark on a network in evaluation mode, as a teacher is to be.
@pytest.mark.filterwarnings("ignore:Found 1 module.* in eval mode at the start of training")
def test_the_teacher_of_a_student_stays_as_it_is(tmp_path):
    ensemble = SnapshotEnsemble(*module_and_states())
    before = ensemble(INPUTS)
    student = Distillation(ensemble)
    fitted = trainer(tmp_path, max_epochs=2)
    fitted.fit(student, loader())
    fitted.save_checkpoint(tmp_path / "student.ckpt")
    saved = torch.load(tmp_path / "student.ckpt", weights_only=True)
    assert sorted(saved["state_dict"]) == ["student.bias", "student.weight"]
    assert torch.equal(ensemble(INPUTS), before)
    again = Distillation(SnapshotEnsemble(*module_and_states()))
    trainer(tmp_path, max_epochs=3).fit(again, loader(), ckpt_path=tmp_path / "student.ckpt")


# ---- what it does not do


def test_nothing_to_fit(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"^trainer\.fit\(model=SnapshotEnsemble\): there is nothing to train in it;"
    ):
        trainer(tmp_path, max_epochs=1).fit(SnapshotEnsemble(*module_and_states()), loader())


def test_no_checkpoint_of_it(tmp_path):
    ensemble = SnapshotEnsemble(*module_and_states())
    ran = trainer(tmp_path)
    ran.test(ensemble, loader(), verbose=False)
    with pytest.raises(RuntimeError, match=r"^trainer\.save_checkpoint\(SnapshotEnsemble\): there would be no weights"):
        ran.save_checkpoint(tmp_path / "ensemble.ckpt")
    assert not (tmp_path / "ensemble.ckpt").exists()


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_no_checkpoint_for_it(stage, tmp_path):
    module = LitNet()
    fitted = trainer(tmp_path, max_epochs=1)
    fitted.fit(module, loader(batch_size=7))
    fitted.save_checkpoint(tmp_path / "net.ckpt")
    ensemble = SnapshotEnsemble(module, [module])
    with pytest.raises(RuntimeError, match=r"^ckpt_path='.*net\.ckpt': an ensemble has no weights to restore; leave"):
        getattr(trainer(tmp_path), stage)(ensemble, loader(), ckpt_path=tmp_path / "net.ckpt")
