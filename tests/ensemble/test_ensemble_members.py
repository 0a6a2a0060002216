"""Who the members of an ensemble are: copies, checked, read once, and run with their own weights."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from lightning.pytorch.utilities.compile import from_compiled
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr.ensemble import SnapshotEnsemble
from lightning_lr.snapshots import Snapshots, SnapshotWriter
from tests.ensembles import INPUTS, TARGETS, LitNet, Net, module_and_states, nets, softmax_mean, trainer


def alone(ensemble, index):
    """What one member of an ensemble predicts."""
    return list(ensemble.readings(INPUTS))[index].exp()


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
@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_the_module_and_the_snapshots_are_left_bit_for_bit(make, backend, tmp_path):
    members = nets(3, make)
    module = members[0].train()
    states = [copy.deepcopy(member.state_dict()) for member in members]
    given = [copy.deepcopy(state) for state in states]
    ensemble = SnapshotEnsemble(module, given, backend=backend)
    trainer(tmp_path).test(ensemble, DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=4), verbose=False)
    ensemble.half().float()
    for member, state, handed in zip(members, states, given, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in member.state_dict().items())
        assert all(torch.equal(value, state[key]) for key, value in handed.items())
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_training_goes_on_without_the_ensemble():
    module, states = module_and_states()
    ensemble = SnapshotEnsemble(module, [*states, module])
    expected = ensemble(INPUTS)
    with torch.no_grad():
        for tensor in [*module.parameters(), *(value for state in states for value in state.values())]:
            tensor.zero_()
    assert torch.equal(ensemble(INPUTS), expected)


def test_a_half_precision_snapshot_runs_in_the_modules_own():
    module, states = module_and_states()
    half = [
        {key: value.half() if value.is_floating_point() else value for key, value in state.items()} for state in states
    ]
    probs = SnapshotEnsemble(module, half)(INPUTS)
    widened = [{key: value.to(states[0][key].dtype) for key, value in state.items()} for state in half]
    assert probs.dtype == torch.float32
    assert torch.equal(probs, SnapshotEnsemble(module, widened)(INPUTS))


def test_tied_weights_and_hidden_buffers_are_kept():
    members = nets(3)
    states = [copy.deepcopy(member.state_dict()) for member in members]
    for member in members:
        member.scale.fill_(5.0)
    probs = SnapshotEnsemble(members[0], states)(INPUTS)
    torch.testing.assert_close(probs.double(), softmax_mean(members, INPUTS), rtol=0, atol=1e-6)


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
    torch.testing.assert_close(ensemble(INPUTS).double(), softmax_mean([module.net], INPUTS), rtol=0, atol=1e-6)


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


def test_a_part_whose_name_only_looks_like_compiled_is_a_part():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.my_orig_mod = nn.Linear(2, 2)

        def forward(self, x):
            return self.my_orig_mod(x)

    state = {"my_orig_mod.weight": torch.full((2, 2), 3.0), "my_orig_mod.bias": torch.tensor([0.0, 4.0])}
    # softmax([0, 4])
    expected = torch.tensor([[0.01798621, 0.98201379]])
    torch.testing.assert_close(SnapshotEnsemble(Named(), [state])(torch.ones(1, 2)), expected)
    prefixed = {"_orig_mod.weight": torch.ones(2, 2), "bias": torch.tensor([0.0, 4.0])}
    torch.testing.assert_close(SnapshotEnsemble(nn.Linear(2, 2), [prefixed])(torch.ones(1, 2)), expected)


@pytest.mark.parametrize("backend", ["loop", "vmap"])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda ensemble: pickle.loads(pickle.dumps(ensemble))])
def test_copied_and_pickled(backend, again, folder):
    path, _ = folder
    ensemble = SnapshotEnsemble(Net(), path, backend=backend, member_weights=[0.0, 1.0, 2.0], temperature=2.0)
    expected = ensemble(INPUTS)
    other = again(ensemble)
    assert torch.equal(other(INPUTS), expected)
    other.double()
    assert torch.equal(ensemble(INPUTS), expected)


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
@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_a_folder_its_reader_and_its_files_are_the_same_members(given, backend, folder):
    path, members = folder
    ensemble = SnapshotEnsemble(Net(), given(path), last_m=2, backend=backend)
    for file in path.iterdir():
        file.unlink()  # all of it was read when the ensemble was made
    torch.testing.assert_close(ensemble(INPUTS).double(), softmax_mean(members[1:], INPUTS), rtol=0, atol=1e-6)


def test_member_by_member_from_disk(folder):
    path, members = folder
    ensemble = SnapshotEnsemble(Net(), path)
    assert [member.step for member in ensemble.members] == [1, 2, 3]
    for index, member in enumerate(members):
        one = SnapshotEnsemble(Net(), [Snapshots(path).load(index)])
        torch.testing.assert_close(one(INPUTS).double(), softmax_mean([member], INPUTS), rtol=0, atol=1e-6)
        assert torch.equal(one(INPUTS), alone(ensemble, index))


def test_a_file_of_another_writer_and_without_a_manifest(folder, tmp_path):
    path, members = folder
    moved = (path / "snapshot-001.safetensors").rename(tmp_path / "moved.safetensors")
    save_file({"weight": torch.ones(2, 4), "bias": torch.zeros(2)}, "plain.safetensors")
    (from_moved,) = SnapshotEnsemble(Net(), [moved]).members
    assert torch.equal(from_moved.state_dict()["head.weight"], members[1].head.weight)
    (from_plain,) = SnapshotEnsemble(nn.Linear(4, 2), ["plain.safetensors"]).members
    assert torch.equal(from_plain.state_dict()["weight"], torch.ones(2, 4))


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
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        SnapshotEnsemble(Net(), tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"^path='gone.safetensors': there is no such file; "):
        SnapshotEnsemble(Net(), ["gone.safetensors"])
    with pytest.raises(
        ValueError, match=r"^snapshots='.*snapshot-000.safetensors': is a file, not a folder; pass files"
    ):
        SnapshotEnsemble(Net(), path / "snapshot-000.safetensors")


def test_a_folder_without_snapshots(tmp_path):
    SnapshotWriter(tmp_path / "empty", run_id="1").open()
    with pytest.raises(ValueError, match=r"^snapshots='.*empty': there is no snapshot in it; train with"):
        SnapshotEnsemble(Net(), tmp_path / "empty")


def test_checkpoints_of_lightning_and_what_torch_saved(tmp_path):
    members = nets(2, LitNet)
    fitted = trainer(tmp_path, max_epochs=1)
    fitted.fit(members[0], DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=7))
    fitted.save_checkpoint(tmp_path / "last.ckpt")
    torch.save(members[1].state_dict(), tmp_path / "weights.pt")
    ensemble = SnapshotEnsemble(LitNet(), [tmp_path / "last.ckpt", str(tmp_path / "weights.pt")])
    torch.testing.assert_close(
        ensemble(INPUTS).double(), softmax_mean([member.net for member in members], INPUTS), rtol=0, atol=1e-6
    )


# ---- what is refused


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
    module, states = module_and_states()
    states[1] = dict(states[1])
    change(states[1])
    with pytest.raises(ValueError, match=rf"^snapshots\[1\]: does not fit the module: {message} pass the Net .*$"):
        SnapshotEnsemble(module, states)


def test_no_snapshot_at_all():
    with pytest.raises(ValueError, match=r"^snapshots=\[\]: there is no snapshot in it; .*$"):
        SnapshotEnsemble(Net(), [])


def test_more_than_there_are():
    with pytest.raises(ValueError, match=r"^last_m=4: there are only 3 snapshots; pass at most that, or None for all$"):
        SnapshotEnsemble(*module_and_states(), last_m=4)


@pytest.mark.parametrize("snapshots", [Net().state_dict(), Net(), 3, None])
def test_snapshots_must_be_a_list(snapshots):
    with pytest.raises(TypeError, match=r"^snapshots=\w+: not a folder, not a list; pass a list of"):
        SnapshotEnsemble(Net(), snapshots)


def test_a_member_of_another_type():
    with pytest.raises(TypeError, match=r"^snapshots\[1\]=int: not a member; pass a snapshot file, .*module$"):
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
