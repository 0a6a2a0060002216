"""The ensemble against its formula, torchmetrics and scikit-learn."""

from __future__ import annotations

import copy
import math

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from lightning.pytorch.utilities.compile import from_compiled
from safetensors.torch import save_file
from sklearn.metrics import log_loss
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler, TensorDataset
from torchmetrics.functional.classification import multiclass_calibration_error

from lightning_lr.ensemble import SnapshotEnsemble, _first_time
from lightning_lr.scores import brier_score, entropy, negative_log_likelihood
from lightning_lr.snapshots import Snapshots, SnapshotWriter


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
    """Returns its one parameter, (N, C): a network whose outputs the test writes down."""

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


# ---- the members


def test_forward_is_the_mean_of_the_members_softmax_outputs():
    members = nets(3)
    ensemble = SnapshotEnsemble(members[0], [member.state_dict() for member in members])
    torch.testing.assert_close(ensemble(INPUTS).double(), softmax_mean(members, INPUTS), rtol=0, atol=1e-6)


def test_hand_computed_mean():
    ensemble = SnapshotEnsemble(
        Scores([[0.0, 0.0]]), [Scores([[0.0, math.log(3.0)]]), {"rows": torch.tensor([[math.log(4.0), 0.0]])}]
    )
    # (1/4 + 4/5) / 2 and (3/4 + 1/5) / 2
    torch.testing.assert_close(ensemble(torch.tensor([0])), torch.tensor([[0.525, 0.475]]))


def test_modules_and_state_dicts_mix():
    members = nets(3)
    mixed = SnapshotEnsemble(members[0], [members[0], members[1].state_dict(), members[2]])
    plain = SnapshotEnsemble(members[0], [member.state_dict() for member in members])
    assert torch.equal(mixed(INPUTS), plain(INPUTS))


def test_last_m_takes_the_last_ones():
    members = nets(4)
    ensemble = SnapshotEnsemble(members[0], [member.state_dict() for member in members], last_m=2)
    assert len(ensemble.members) == 2
    torch.testing.assert_close(ensemble(INPUTS).double(), softmax_mean(members[2:], INPUTS), rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [Net, LitNet])
def test_the_module_and_the_snapshots_are_left_bit_for_bit(make, tmp_path):
    members = nets(3, make)
    module = members[0].train()
    states = [copy.deepcopy(member.state_dict()) for member in members]
    given = [copy.deepcopy(state) for state in states]
    ensemble = SnapshotEnsemble(module, given)
    trainer(tmp_path).test(ensemble, DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=4), verbose=False)
    for member, state, handed in zip(members, states, given, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in member.state_dict().items())
        assert all(torch.equal(value, state[key]) for key, value in handed.items())
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_members_stay_in_evaluation_mode_and_without_gradients():
    ensemble = SnapshotEnsemble(*_module_and_states()).train()
    assert not any(part.training for part in ensemble.modules())
    assert not any(parameter.requires_grad for parameter in ensemble.parameters())
    assert not ensemble(INPUTS).requires_grad
    with torch.inference_mode():
        assert torch.equal(ensemble(INPUTS), ensemble(INPUTS))


def test_tied_weights_and_hidden_buffers_are_kept():
    module, states = _module_and_states()
    module.scale.fill_(5.0)
    for member in SnapshotEnsemble(module, states).members:
        assert member.second.weight is member.first.weight
        assert member.scale.item() == 5.0


def test_a_half_precision_snapshot_runs_in_the_modules_own():
    module, states = _module_and_states()
    half = [
        {key: value.half() if value.is_floating_point() else value for key, value in state.items()} for state in states
    ]
    ensemble = SnapshotEnsemble(module, half)
    assert {parameter.dtype for parameter in ensemble.parameters()} == {torch.float32}
    torch.testing.assert_close(ensemble(INPUTS), SnapshotEnsemble(module, states)(INPUTS), rtol=0, atol=1e-2)


def test_probabilities_are_float32_under_autocast():
    ensemble = SnapshotEnsemble(*_module_and_states())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probs = ensemble(INPUTS)
    assert probs.dtype == torch.float32
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(7), rtol=0, atol=1e-6)


def test_an_attached_trainer_is_not_copied(tmp_path):
    module = LitNet()
    fitted = trainer(tmp_path, max_epochs=1)
    fitted.fit(module, DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=7))
    module.by_another_name = fitted
    # What a training step leaves behind: a tensor in the middle of a graph, which deepcopy refuses.
    module.kept_loss = module(INPUTS).sum()
    fitted.__class__.__deepcopy__ = lambda self, memo: pytest.fail("the trainer was copied")
    try:
        ensemble = SnapshotEnsemble(module, [module.state_dict(), module])
    finally:
        del fitted.__class__.__deepcopy__
    assert module.trainer is fitted
    assert [member._trainer for member in ensemble.members] == [None, None]
    assert [member.by_another_name for member in ensemble.members] == [None, None]


def test_a_compiled_module_is_taken_apart():
    members = nets(2, LitNet)
    states = [copy.deepcopy(member.state_dict()) for member in members]
    compiled = torch.compile(members[0], backend="eager")
    expected = softmax_mean(members, INPUTS)
    prefixed = {f"_orig_mod.{key}": value for key, value in states[1].items()}
    torch.testing.assert_close(
        SnapshotEnsemble(compiled, [states[0], prefixed])(INPUTS).double(), expected, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("how", ["in place", "a part", "by the Trainer"])
def test_what_was_compiled_does_not_run_the_original_weights(how):
    members = nets(2, LitNet)
    states = [copy.deepcopy(member.state_dict()) for member in members]
    expected = softmax_mean(members, INPUTS)
    module = members[0]
    if how == "in place":
        module.compile(backend="eager")
    elif how == "a part":
        module.net = torch.compile(module.net, backend="eager")
    else:
        module = from_compiled(torch.compile(module, backend="eager"))
    ensemble = SnapshotEnsemble(module, states)
    torch.testing.assert_close(ensemble(INPUTS).double(), expected, rtol=0, atol=1e-6)


def _module_and_states(count=3):
    members = nets(count)
    return members[0], [member.state_dict() for member in members]


def test_a_part_whose_name_only_looks_like_compiled_is_a_part():
    module = nn.Module()
    module.my_orig_mod = nn.Linear(2, 2)
    state = {"my_orig_mod.weight": torch.full((2, 2), 3.0), "my_orig_mod.bias": torch.full((2,), 4.0)}
    (member,) = SnapshotEnsemble(module, [state]).members
    assert torch.equal(member.my_orig_mod.weight, torch.full((2, 2), 3.0))
    assert torch.equal(member.my_orig_mod.bias, torch.full((2,), 4.0))
    (member,) = SnapshotEnsemble(
        nn.Linear(2, 2), [{"_orig_mod.weight": torch.ones(2, 2), "bias": torch.ones(2)}]
    ).members
    assert torch.equal(member.weight, torch.ones(2, 2))


# ---- from disk


@pytest.fixture
def folder(tmp_path):
    members = nets(3)
    writer = SnapshotWriter(tmp_path / "snapshots", run_id="1")
    writer.open()
    for cycle, member in enumerate(members):
        writer.write(member.state_dict(), cycle=cycle, step=cycle + 1, epoch=cycle, lr=0.1)
    return tmp_path / "snapshots", members


@pytest.mark.parametrize("given", [str, Snapshots, lambda path: sorted(path.glob("*.safetensors"))])
def test_a_folder_its_reader_and_its_files_are_the_same_members(given, folder):
    path, members = folder
    ensemble = SnapshotEnsemble(Net(), given(path), last_m=2)
    for file in path.iterdir():
        file.unlink()  # all of it was read when the ensemble was made
    torch.testing.assert_close(ensemble(INPUTS).double(), softmax_mean(members[1:], INPUTS), rtol=0, atol=1e-6)


def test_member_by_member_from_disk(folder):
    path, members = folder
    ensemble = SnapshotEnsemble(Net(), path)
    for index, member in enumerate(members):
        alone = SnapshotEnsemble(Net(), [Snapshots(path).load(index)])
        torch.testing.assert_close(alone(INPUTS).double(), softmax_mean([member], INPUTS), rtol=0, atol=1e-6)
        assert torch.equal(alone(INPUTS), ensemble.members[index](INPUTS).softmax(dim=1))


def test_a_file_of_another_writer_and_without_a_manifest(folder, tmp_path):
    path, members = folder
    moved = (path / "snapshot-001.safetensors").rename(tmp_path / "moved.safetensors")
    save_file({"weight": torch.ones(2, 4), "bias": torch.zeros(2)}, "plain.safetensors")
    (from_moved,) = SnapshotEnsemble(Net(), [moved]).members
    assert torch.equal(from_moved.head.weight, members[1].head.weight)
    (from_plain,) = SnapshotEnsemble(nn.Linear(4, 2), ["plain.safetensors"]).members
    assert torch.equal(from_plain.weight, torch.ones(2, 4))


def test_a_damaged_file_is_refused_in_a_list_as_well(folder):
    path, _ = folder
    file = path / "snapshot-001.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    for given in (path, [file]):
        with pytest.raises(ValueError, match=r"snapshot-001\.safetensors: damaged"):
            SnapshotEnsemble(Net(), given)


def test_a_snapshot_of_another_network_is_named(folder):
    path, _ = folder
    with pytest.raises(ValueError, match=r"^snapshots\[0\] \(snapshot-000.safetensors\): does not fit the module: "):
        SnapshotEnsemble(Net(classes=5), path)


def test_paths_that_lead_nowhere(folder, tmp_path):
    path, _ = folder
    (tmp_path / "last.ckpt").write_bytes(b"PK" * 40)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        SnapshotEnsemble(Net(), tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"^path='gone.safetensors': there is no such file; "):
        SnapshotEnsemble(Net(), ["gone.safetensors"])
    with pytest.raises(ValueError, match=r"^path='last.ckpt': not a whole safetensors file \(.*\); pass"):
        SnapshotEnsemble(Net(), ["last.ckpt"])
    with pytest.raises(
        ValueError, match=r"^snapshots='.*snapshot-000.safetensors': is a file, not a folder; pass files"
    ):
        SnapshotEnsemble(Net(), path / "snapshot-000.safetensors")


def test_a_folder_without_snapshots(tmp_path):
    SnapshotWriter(tmp_path / "empty", run_id="1").open()
    with pytest.raises(ValueError, match=r"^snapshots='.*empty': there is no snapshot in it; train with"):
        SnapshotEnsemble(Net(), tmp_path / "empty")


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "median"}, "pooling='median': unknown; pass 'mean_prob'"),
        ({"task": "regression"}, "task='regression': unknown; pass 'multiclass'"),
        ({"backend": "vmap"}, "backend='vmap': unknown; pass 'loop'"),
        ({"outputs": "scores"}, "outputs='scores': unknown; pass 'logits' or 'log_probs' or 'probs'"),
        ({"last_m": 0}, "last_m=0: out of range; pass an int of at least 1"),
        ({"last_m": 4}, "last_m=4: there are only 3 snapshots; pass at most that, or None for all"),
        ({"num_classes": 1}, "num_classes=1: out of range; pass an int of at least 2"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is compared
        SnapshotEnsemble(*_module_and_states(), **arguments)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("head.bias"), "it lacks head.bias;"),
        (lambda s: s.update(extra=torch.ones(1)), "it has, and the module has not, extra;"),
        (lambda s: s.update({"head.bias": torch.ones(5)}), "it has in another shape head.bias;"),
        (lambda s: [s.pop(key) for key in list(s) if key != "head.bias"], "it lacks .*, .*, .* and 7 more;"),
    ],
)
def test_a_member_that_does_not_fit_is_named(change, message):
    module, states = _module_and_states()
    states[1] = dict(states[1])
    change(states[1])
    with pytest.raises(ValueError, match=rf"^snapshots\[1\]: does not fit the module: {message} pass the Net .*$"):
        SnapshotEnsemble(module, states)


def test_no_snapshot_at_all():
    with pytest.raises(ValueError, match=r"^snapshots=\[\]: there is no snapshot in it; .*$"):
        SnapshotEnsemble(Net(), [])


@pytest.mark.parametrize("snapshots", [Net().state_dict(), Net(), 3, None])
def test_snapshots_must_be_a_list(snapshots):
    with pytest.raises(TypeError, match=r"^snapshots=\w+: not a folder, not a list; pass a list of"):
        SnapshotEnsemble(Net(), snapshots)


def test_a_member_of_another_type():
    with pytest.raises(
        TypeError, match=r"^snapshots\[1\]=int: not a member; pass a snapshot file, a state dict or a module$"
    ):
        SnapshotEnsemble(Net(), [Net(), 3])


def test_a_module_of_another_type():
    with pytest.raises(TypeError, match=r"^module=function: not a torch.nn.Module; "):
        SnapshotEnsemble(softmax_mean, [Net()])


def test_a_module_that_cannot_be_copied():
    module = Net()
    module.log_file = open("log.txt", "w")  # noqa: SIM115 - an attribute that deepcopy refuses
    try:
        with pytest.raises(
            TypeError, match=r"^module=Net: cannot be copied \(.*TextIOWrapper.*\); remove the attribute"
        ):
            SnapshotEnsemble(module, [Net().state_dict()])
    finally:
        module.log_file.close()


PROBABILITIES = [[0.25, 0.75], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("outputs", "rows", "remedy"),
    [
        ("logits", PROBABILITIES, 'pass outputs="probs"'),
        ("probs", [[0.3, 2.0], [1.0, 0.0]], 'pass outputs="logits"'),
        ("probs", [[1.5, -0.5], [1.0, 0.0]], 'pass outputs="logits"'),
        ("log_probs", [[0.3, 2.0], [1.0, 0.0]], 'pass outputs="logits"'),
    ],
)
def test_rows_that_are_not_what_outputs_says(outputs, rows, remedy):
    ensemble = SnapshotEnsemble(Scores(rows), [Scores(rows)], outputs=outputs)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf'^outputs="{outputs}": .*; {remedy}.*$'):
            ensemble(torch.tensor([0, 1]))


@pytest.mark.parametrize("outputs", ["probs", "log_probs"])
def test_probabilities_are_taken_as_they_are(outputs):
    rows = torch.tensor(PROBABILITIES).clamp_min(1e-30)
    given = rows if outputs == "probs" else rows.log()
    ensemble = SnapshotEnsemble(Scores(PROBABILITIES), [{"rows": given}], outputs=outputs)
    torch.testing.assert_close(ensemble(torch.tensor([0, 1])), torch.tensor(PROBABILITIES))


@pytest.mark.parametrize(
    ("out", "kind", "message"),
    [
        (torch.ones(2, 3, 4), ValueError, r"module: its forward returned shape \(2, 3, 4\); return \(N, C\)"),
        (torch.ones(2, 1), ValueError, r"module: its forward returned shape \(2, 1\); return \(N, C\)"),
        (
            torch.ones(2, 3, dtype=torch.int64),
            TypeError,
            "module: its forward returned a tensor of torch.int64; return",
        ),
        ((torch.ones(2, 3),), TypeError, "module: its forward returned tuple; return a floating-point tensor"),
        (torch.ones(2, 4), ValueError, "num_classes=3: the module's forward returned 4 columns; pass that number"),
    ],
)
def test_outputs_of_another_kind(out, kind, message):
    class Returns(nn.Module):
        def forward(self, x):
            return out

    with pytest.raises(kind, match=f"^{message}"):
        SnapshotEnsemble(Returns(), [{}], num_classes=3)(INPUTS)


# ---- the metrics


def test_a_perfect_predictor_costs_nothing():
    probs, target = torch.eye(3), torch.arange(3)
    assert negative_log_likelihood(probs, target).tolist() == [0.0, 0.0, 0.0]
    assert brier_score(probs, target).tolist() == [0.0, 0.0, 0.0]
    assert entropy(probs).tolist() == [0.0, 0.0, 0.0]


def test_hand_computed_scores():
    probs, target = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]), torch.tensor([1, 2])
    # (0.5)² + (0.7)² + (0.2)² and 1² + 1²
    torch.testing.assert_close(brier_score(probs, target), torch.tensor([0.78, 2.0]))
    torch.testing.assert_close(negative_log_likelihood(probs, target), torch.tensor([1.2039728, 87.3365448]))
    torch.testing.assert_close(entropy(probs), torch.tensor([1.0296530, 0.0]))


@pytest.mark.parametrize(("stage", "prefix"), [("validate", "val"), ("test", "test")])
@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_logged_metrics_equal_the_oracles(stage, prefix, batch_size, tmp_path):
    members = nets(3)
    ensemble = SnapshotEnsemble(members[0], [member.state_dict() for member in members])
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=batch_size)
    probs = softmax_mean(members, INPUTS)
    for _ in range(2):  # nothing of the first pass is left in the second
        (logged,) = getattr(trainer(tmp_path), stage)(ensemble, loader, verbose=False)
        assert logged == {
            f"{prefix}/accuracy": pytest.approx((probs.argmax(dim=1) == TARGETS).double().mean().item(), abs=1e-7),
            f"{prefix}/nll": pytest.approx(log_loss(TARGETS, probs, labels=[0, 1, 2]), abs=1e-6),
            f"{prefix}/brier": pytest.approx(((probs - torch.eye(3)[TARGETS]) ** 2).sum(dim=1).mean().item(), abs=1e-6),
            f"{prefix}/ece": pytest.approx(
                multiclass_calibration_error(probs, TARGETS, 3, n_bins=15, norm="l1").item(), abs=1e-6
            ),
        }


def test_a_pass_outside_of_inference_mode_follows_one_inside(tmp_path):
    ensemble = SnapshotEnsemble(*_module_and_states())
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=3)
    inside = trainer(tmp_path).test(ensemble, loader, verbose=False)
    assert trainer(tmp_path, inference_mode=False).test(ensemble, loader, verbose=False) == inside


def test_two_dataloaders_are_told_apart(tmp_path):
    module, states = _module_and_states()
    loaders = [
        DataLoader(TensorDataset(INPUTS[part], TARGETS[part]), batch_size=2) for part in (slice(0, 3), slice(3, 7))
    ]
    both = trainer(tmp_path).test(SnapshotEnsemble(module, states), loaders, verbose=False)
    for index, loader in enumerate(loaders):
        (alone,) = trainer(tmp_path).test(SnapshotEnsemble(module, states), loader, verbose=False)
        assert both[index] == {f"{name}/dataloader_idx_{index}": value for name, value in alone.items()}


def test_a_broken_member_shows(tmp_path):
    module, states = _module_and_states()
    states[1] = {**states[1], "head.bias": torch.full((3,), math.nan)}
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=7)
    (logged,) = trainer(tmp_path).test(SnapshotEnsemble(module, states), loader, verbose=False)
    assert math.isnan(logged["test/nll"])
    assert math.isnan(logged["test/brier"])


class Rows(TensorDataset):
    """A data set whose batches are dicts."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return {"image": x, "label": y}


def test_unpack(tmp_path):
    module, states = _module_and_states()
    ensemble = SnapshotEnsemble(module, states, unpack=lambda batch: (batch["image"], batch["label"]))
    plain = SnapshotEnsemble(module, states)
    dicts, pairs = (DataLoader(kind(INPUTS, TARGETS), batch_size=3) for kind in (Rows, TensorDataset))
    assert trainer(tmp_path).test(ensemble, dicts, verbose=False) == trainer(tmp_path).test(plain, pairs, verbose=False)
    predicted = torch.cat([batch["probs"] for batch in trainer(tmp_path).predict(ensemble, dicts)])
    torch.testing.assert_close(predicted, plain(INPUTS), rtol=0, atol=1e-6)


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
        trainer(tmp_path).test(
            SnapshotEnsemble(*_module_and_states(), unpack=unpack), DataLoader(dataset, batch_size=7)
        )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (TARGETS.float(), "target=a tensor of torch.float32 .*: not one class index a sample; give an integer tensor"),
        (TARGETS.unsqueeze(1), r"target=.* shape \(7, 1\): not one class index a sample; give .* of shape \(7,\)"),
        (TARGETS + 1, r"target=1\.\.3: outside of the module's 3 classes; give class indices from 0 to 2"),
        (TARGETS - 1, r"target=-1\.\.1: outside of the module's 3 classes; give class indices from 0 to 2"),
    ],
)
def test_targets_that_are_no_classes(target, message, tmp_path):
    with pytest.raises(ValueError, match=f"^{message}"):
        trainer(tmp_path).test(
            SnapshotEnsemble(*_module_and_states()), DataLoader(TensorDataset(INPUTS, target), batch_size=7)
        )


# ---- predictions


@pytest.mark.parametrize("tensors", [(INPUTS,), (INPUTS, TARGETS)])
def test_predict(tensors, tmp_path):
    members = nets(3)
    ensemble = SnapshotEnsemble(members[0], members)
    batches = trainer(tmp_path).predict(ensemble, DataLoader(TensorDataset(*tensors), batch_size=3))
    predicted = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    probs = softmax_mean(members, INPUTS)
    total = -(probs * probs.log()).sum(dim=1)
    each = torch.stack([softmax_mean([member], INPUTS) for member in members])
    information = total + (each * each.log()).sum(dim=2).mean(dim=0)
    assert sorted(predicted) == ["entropy", "mutual_information", "probs"]
    torch.testing.assert_close(predicted["probs"].double(), probs, rtol=0, atol=1e-6)
    torch.testing.assert_close(predicted["entropy"].double(), total, rtol=0, atol=1e-6)
    torch.testing.assert_close(predicted["mutual_information"].double(), information, rtol=0, atol=1e-6)


def test_hand_computed_mutual_information():
    certain = [[40.0, -40.0], [40.0, -40.0]]
    ensemble = SnapshotEnsemble(Scores(certain), [Scores(certain), Scores([[-40.0, 40.0], [40.0, -40.0]])])
    predicted = ensemble.predict_step(torch.tensor([0, 1]))
    # Two certain members that contradict each other on the first sample, ln 2 nats, and agree on the second.
    torch.testing.assert_close(predicted["mutual_information"], torch.tensor([0.6931472, 0.0]))


def test_equal_members_have_no_mutual_information():
    net = Net()
    predicted = SnapshotEnsemble(net, [net] * 7).predict_step(torch.randn(500, 4))
    assert predicted["mutual_information"].min() >= 0.0
    assert predicted["mutual_information"].max() <= 1e-6


# ---- each sample once: what a distributed sampler repeats


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("samples", "world"), [(7, 2), (6, 2), (7, 4), (1, 2), (5, 3), (3, 5)])
def test_over_all_ranks_each_sample_counts_once(shuffle, wrapped, samples, world):
    dataset = TensorDataset(torch.arange(samples))
    counted = []
    for rank in range(world):
        sampler = DistributedSampler(dataset, num_replicas=world, rank=rank, shuffle=shuffle, seed=3)
        if wrapped:
            loader = DataLoader(dataset, batch_sampler=BatchSampler(sampler, batch_size=2, drop_last=False))
        else:
            loader = DataLoader(dataset, batch_size=2, sampler=sampler)
        seen = 0
        for (batch,) in loader:
            counted += batch[: _first_time(len(batch), seen, loader)].tolist()
            seen += len(batch)
    assert sorted(counted) == list(range(samples))


def test_a_sampler_that_repeats_nothing_loses_nothing():
    class Blocks(DistributedSampler):
        def __iter__(self):
            return iter(range(self.rank * 4, self.rank * 4 + 4))

    dataset = TensorDataset(torch.arange(7))
    for sampler in (
        SequentialSampler(dataset),
        UnrepeatedDistributedSampler(dataset, num_replicas=2, rank=1),
        DistributedSampler(dataset, num_replicas=2, rank=1, drop_last=True),
        Blocks(dataset, num_replicas=2, rank=1),
    ):
        assert _first_time(3, 0, DataLoader(dataset, batch_size=3, sampler=sampler)) == 3


@pytest.mark.parametrize("batched", [False, True])
def test_repeats_are_dropped_from_the_metrics(batched, tmp_path):
    members = nets(2)
    # Process 1 of 2 gets the samples 1, 3, 5 and, for the eighth that there is not, 0.
    items = TensorDataset(INPUTS, TARGETS) if batched else TensorDataset(INPUTS.unsqueeze(1), TARGETS.unsqueeze(1))
    loader = DataLoader(
        items,
        batch_size=3 if batched else None,
        sampler=DistributedSampler(items, num_replicas=2, rank=1, shuffle=False),
    )
    (logged,) = trainer(tmp_path).test(SnapshotEnsemble(members[0], members), loader, verbose=False)
    probs = softmax_mean(members, INPUTS)[[1, 3, 5]]
    assert logged["test/nll"] == pytest.approx(log_loss(TARGETS[[1, 3, 5]], probs, labels=[0, 1, 2]), abs=1e-6)
