"""Members from every source, each against a module that `load_state_dict` made of it."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lightning_lr.ensemble.members import members_of
from lightning_lr.snapshots import Snapshots, SnapshotWriter


class Net(nn.Module):
    """Tied weights, batch statistics, and a buffer outside of the state dict."""

    def __init__(self, classes=3):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, classes)
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, x):
        return self.head(self.second(torch.tanh(self.first(self.norm(x))))) * self.scale


X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))


def nets(count):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        net = Net()
        net.norm.running_mean.uniform_(-1, 1)
        net.norm.running_var.uniform_(0.5, 2)
        net.norm.num_batches_tracked.fill_(seed + 10)
        made.append(net)
    return made


def of(net):
    """What the member must give: the oracle is torch's own `load_state_dict`."""
    made = Net()
    made.load_state_dict(net.state_dict())
    return made.eval()(X)


def check(members, expected, module=None):
    assert len(members) == len(expected)
    for member, net in zip(members, expected, strict=True):
        state = net.state_dict()
        assert list(member.state_dict()) == list(state)
        assert all(torch.equal(value, state[key]) for key, value in member.state_dict().items())
        assert torch.equal(member.network(module or Net())(X), of(net))


@pytest.fixture
def folder(tmp_path):
    made = nets(3)
    writer = SnapshotWriter(tmp_path / "snapshots", run_id="1")
    writer.open()
    for cycle, net in enumerate(made):
        writer.write(net.state_dict(), cycle=cycle, step=100 * (cycle + 1), epoch=cycle, lr=0.1)
    return tmp_path / "snapshots", made


# ---- every source


@pytest.mark.parametrize("given", [str, Path, Snapshots, lambda path: sorted(path.glob("*.safetensors"))])
def test_a_folder_its_reader_and_its_files(given, folder):
    path, made = folder
    members = members_of(Net(), given(path))
    check(members, made)
    assert [member.name for member in members] == [f"snapshots[{i}] (snapshot-00{i}.safetensors)" for i in range(3)]
    assert [(member.step, member.cycle) for member in members] == [(100, 0), (200, 1), (300, 2)]


def test_everything_is_read_when_the_members_are_made(folder):
    path, made = folder
    members = members_of(Net(), path)
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    check(members, made)


def test_last_m_reads_the_last_ones_alone(folder):
    path, made = folder
    (path / "snapshot-000.safetensors").write_bytes(b"not to be read")
    members = members_of(Net(), path, last_m=2)
    check(members, made[1:])
    assert [member.name for member in members] == [f"snapshots[{i}] (snapshot-00{i}.safetensors)" for i in (1, 2)]


def test_a_file_of_another_writer_and_without_a_manifest(folder, tmp_path):
    path, made = folder
    moved = tmp_path / "moved.safetensors"
    (path / "snapshot-001.safetensors").rename(moved)
    save_file({"weight": torch.ones(2, 4), "bias": torch.zeros(2)}, "plain.safetensors")
    (member,) = members_of(Net(), [str(moved)])
    assert (member.name, member.step, member.cycle) == ("snapshots[0] (moved.safetensors)", None, None)
    check([member], [made[1]])
    (member,) = members_of(nn.Linear(4, 2), ["plain.safetensors"])
    assert torch.equal(member.state_dict()["weight"], torch.ones(2, 4))


def test_a_safetensors_file_by_another_name(tmp_path):
    save_file({"weight": torch.ones(2, 4), "bias": torch.zeros(2)}, "model.bin")
    (member,) = members_of(nn.Linear(4, 2), ["model.bin"])
    assert torch.equal(member.state_dict()["weight"], torch.ones(2, 4))


def test_state_dicts_and_modules_are_copied():
    made = nets(3)
    expected = copy.deepcopy(made)
    members = members_of(made[0], [made[0].state_dict(), made[1].state_dict(), made[2]])
    with torch.no_grad():
        for net in made:
            for tensor in net.state_dict().values():
                tensor.zero_()
    for member, net in zip(members, expected, strict=True):
        assert torch.equal(member.network(Net())(X), of(net))
    assert [(m.name, m.step, m.cycle) for m in members] == [(f"snapshots[{i}]", None, None) for i in range(3)]


def test_a_module_of_another_class_is_a_member_of_its_own():
    (member,) = members_of(Net(), [nn.Linear(4, 3)])
    network = member.network(Net())
    assert type(network) is nn.Linear
    assert list(member.state_dict()) == ["weight", "bias"]


def test_sources_mix(folder):
    path, made = folder
    files = [path / "snapshot-000.safetensors", made[1].state_dict(), made[2]]
    check(members_of(Net(), files), made)
    check(members_of(Net(), tuple(files), last_m=1), made[2:])


def test_what_is_outside_of_the_state_dict_comes_from_the_module(folder):
    path, _ = folder
    module = Net()
    module.scale.fill_(7.0)
    for member in members_of(module, path):
        network = member.network(module)
        assert network.scale.item() == 7.0
        assert network.second.weight is network.first.weight


def test_a_half_precision_snapshot_in_a_modules_own(tmp_path):
    made = nets(1)[0]
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        cast = {k: v.to(dtype) if v.is_floating_point() else v for k, v in made.state_dict().items()}
        (member,) = members_of(Net(), [cast])
        network = member.network(Net())
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
        assert torch.equal(network.head.weight, made.head.weight.to(dtype).float())
        assert network.norm.num_batches_tracked.dtype == torch.int64


def test_what_a_member_hands_out_is_the_takers():
    # In a file and in memory: what is written to it does not change the member.
    made = nets(1)[0]
    (member,) = members_of(Net(), [made.state_dict()])
    for value in member.state_dict().values():
        value.zero_()
    member.network(Net()).head.weight.zero_()
    check([member], [made])


def test_what_was_compiled_and_what_ran_distributed():
    made = nets(1)[0]
    state = made.state_dict()
    compiled = {f"_orig_mod.{key}": value for key, value in state.items()}
    inner = {key.replace("head.", "head._orig_mod."): value for key, value in state.items()}
    distributed = {f"module.{key}": value for key, value in state.items()}
    both = {f"_orig_mod.module.{key}": value for key, value in state.items()}
    check(members_of(Net(), [state, compiled, inner, distributed, both]), [made] * 5)
    check(members_of(torch.compile(Net(), backend="eager"), [state, compiled]), [made] * 2)


def test_a_prefix_is_taken_off_where_all_fits_without_it_alone():
    # A module's own part may be called `module`: then the names are as they are to be.
    own = nn.Module()
    own.module = nn.Linear(2, 2)
    state = {"module.weight": torch.ones(2, 2), "module.bias": torch.ones(2)}
    assert list(members_of(own, [state])[0].state_dict()) == ["module.weight", "module.bias"]
    state["n_averaged"] = torch.tensor(3)
    with pytest.raises(ValueError, match=r"does not fit the module: it lacks weight, bias; "):
        members_of(nn.Linear(2, 2), [state])
    with pytest.raises(ValueError, match=r"does not fit the module: it lacks weight, bias; "):
        members_of(nn.Linear(2, 2), [{"module.weight": torch.ones(2, 2)}])
    with pytest.raises(ValueError, match=r"does not fit the module: it lacks weight, bias; "):
        members_of(nn.Linear(2, 2), [{"model.weight": torch.ones(2, 2), "model.bias": torch.ones(2)}])


def test_members_are_copied_and_pickled(folder):
    path, made = folder
    members = members_of(Net(), [path / "snapshot-000.safetensors", made[1].state_dict(), made[2]])
    check(copy.deepcopy(members), made)
    check(pickle.loads(pickle.dumps(members)), made)


def test_read_in_inference_mode_they_can_be_used_outside(folder):
    path, made = folder
    with torch.inference_mode():
        members = members_of(Net(), [path / "snapshot-000.safetensors", made[1].state_dict(), made[2]])
        held = [tensor for member in members for tensor in member.state_dict().values()]
        networks = [member.network(Net()) for member in members]
    assert not any(tensor.is_inference() for tensor in held)
    assert not any(tensor.is_inference() for network in networks for tensor in network.state_dict().values())


def test_a_lazy_module_takes_its_shapes_from_the_first_member():
    states = [nn.Linear(5, 2).state_dict(), nn.Linear(5, 2).state_dict()]
    for member, state in zip(members_of(nn.LazyLinear(2), states), states, strict=True):
        assert torch.equal(member.network(nn.LazyLinear(2)).weight, state["weight"])
    with pytest.raises(ValueError, match=r"^snapshots\[1\]: does not fit the module: it has in another shape weight; "):
        members_of(nn.LazyLinear(2), [states[0], nn.Linear(6, 2).state_dict()])
    with pytest.raises(ValueError, match=r"^snapshots\[0\]: does not fit the module: it has no values for weight, "):
        members_of(nn.LazyLinear(2), [nn.LazyLinear(2).state_dict()])


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("head.bias"), "it lacks head.bias;"),
        (lambda s: s.update(extra=torch.ones(1)), "it has, and the module has not, extra;"),
        (lambda s: s.update({"head.bias": torch.ones(5)}), "it has in another shape head.bias;"),
        (lambda s: s.update({"head.bias": 3.0}), "it has in another shape head.bias;"),
        (lambda s: s.update({"head.bias": torch.ones(3, device="meta")}), "it has no values for head.bias;"),
        (lambda s: s.update({"head.bias": torch.ones(3).to_sparse()}), r"it has in another kind \(.*\) head.bias;"),
        (lambda s: s.update({"head.bias": torch.ones(3) * 1j}), r"it has in another kind \(.*\) head.bias;"),
        (lambda s: [s.pop(key) for key in list(s) if key != "head.bias"], "it lacks .*, .*, .* and 7 more;"),
        (lambda s: s.clear(), "it lacks .*, .*, .* and 8 more;"),
    ],
)
def test_a_member_that_does_not_fit_is_named(change, message):
    states = [dict(net.state_dict()) for net in nets(3)]
    change(states[1])
    with pytest.raises(ValueError, match=rf"^snapshots\[1\]: does not fit the module: {message} pass the Net .*$"):
        members_of(Net(), states)


def test_names_that_are_none():
    with pytest.raises(
        ValueError, match=r"^snapshots\[0\]: no state dict, for 0 is not the name of a tensor; pass what"
    ):
        members_of(Net(), [{0: torch.ones(1)}])


def test_a_folder_in_the_home_of_a_user(folder, monkeypatch):
    path, made = folder
    monkeypatch.setenv("HOME", str(path.parent))
    # As it was given to `SnapshotCheckpoint`, which makes that folder.
    check(members_of(Net(), f"~/{path.name}"), made)
    check(members_of(Net(), [f"~/{path.name}/snapshot-000.safetensors"]), made[:1])


def test_a_snapshot_of_another_network_is_named(folder):
    path, _ = folder
    with pytest.raises(ValueError, match=r"^snapshots\[0\] \(snapshot-000.safetensors\): does not fit the module: "):
        members_of(Net(classes=5), path)


def test_a_damaged_file_is_refused_in_a_list_as_well(folder):
    path, _ = folder
    file = path / "snapshot-001.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    for given in (path, Snapshots(path), [file]):
        with pytest.raises(ValueError, match=r"snapshot-001\.safetensors: damaged"):
            members_of(Net(), given)


def test_a_missing_file_is_named(folder):
    path, _ = folder
    reader = Snapshots(path)
    (path / "snapshot-002.safetensors").unlink()
    for given in (path, reader):
        with pytest.raises(FileNotFoundError, match=r"snapshot-002\.safetensors: missing, though the manifest "):
            members_of(Net(), given)


def test_paths_that_lead_nowhere(folder, tmp_path):
    path, _ = folder
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        members_of(Net(), tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"^snapshots\[0\]='.*': a folder, in a list of files; pass a folder alone"):
        members_of(Net(), [path])
    for gone in ("gone.safetensors", "gone.ckpt"):
        with pytest.raises(FileNotFoundError, match=rf"^path='{gone}': there is no such file; "):
            members_of(Net(), [gone])
    with pytest.raises(ValueError, match=r"^snapshots='.*000.safetensors': is a file, not a folder; pass files in"):
        members_of(Net(), path / "snapshot-000.safetensors")


def test_a_folder_without_snapshots(tmp_path):
    SnapshotWriter(tmp_path / "empty", run_id="1").open()
    with pytest.raises(ValueError, match=r"^snapshots='.*empty': there is no snapshot in it; train with"):
        members_of(Net(), tmp_path / "empty")
    with pytest.raises(ValueError, match=r"^snapshots=\[\]: there is no snapshot in it; "):
        members_of(Net(), [])


@pytest.mark.parametrize("snapshots", [Net().state_dict(), Net(), 3, None, {1, 2}])
def test_snapshots_must_be_a_list(snapshots):
    with pytest.raises(TypeError, match=r"^snapshots=\w+: not a folder, not a list; pass a list of"):
        members_of(Net(), snapshots)


def test_a_member_of_another_type():
    with pytest.raises(TypeError, match=r"^snapshots\[1\]=int: not a member; pass a snapshot file, a checkpoint, "):
        members_of(Net(), [Net(), 3])


@pytest.mark.parametrize("last_m", [0, -1, 4, True, 1.0])
def test_last_m_out_of_range(last_m):
    with pytest.raises((ValueError, TypeError), match=rf"^last_m={last_m}: "):
        members_of(Net(), nets(3), last_m=last_m)


def test_a_module_without_values():
    with torch.device("meta"):
        module = Net()
    with pytest.raises(ValueError, match=r"^module: norm.weight is on the meta device, .*; build it on the CPU$"):
        members_of(module, nets(1))


def test_a_module_that_cannot_be_copied_is_named():
    module = Net()
    module.log_file = open("log.txt", "w")  # noqa: SIM115 - an attribute that deepcopy refuses
    try:
        with pytest.raises(TypeError, match=r"^snapshots\[0\]=Net: cannot be copied "):
            members_of(Net(), [module])
    finally:
        module.log_file.close()


class Payload:
    """Makes a file when it is unpickled by a reader that runs what it reads."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("name", ["snapshot-000.safetensors", "a.safetensors", "a.ckpt", "a.pt", "a.bin", "a"])
@pytest.mark.parametrize("how", ["pickle", "torch", "torch, old", "ckpt"])
def test_code_in_a_file_is_never_run(how, name):
    content = {"state_dict": Net().state_dict(), "hyper_parameters": Payload()} if how == "ckpt" else Payload()
    if how == "pickle":
        Path(name).write_bytes(pickle.dumps(content))
    else:
        torch.save(content, name, _use_new_zipfile_serialization=how != "torch, old")
    with pytest.raises(ValueError, match=rf"^path='{name}': .*; ") as refused:
        members_of(Net(), [name])
    assert "\n" not in str(refused.value)
    assert not os.path.exists("ran")


def test_the_payload_would_run():
    # Else the test above could not fail.
    pickle.loads(pickle.dumps(Payload()))
    assert os.path.exists("ran")


def test_snapshots_have_no_average(folder):
    path, made = folder
    check(members_of(Net(), path, ckpt_weights="raw"), made)
    for given in (path, [path / "snapshot-000.safetensors"], [made[0]], [made[0].state_dict()]):
        with pytest.raises(ValueError, match=r'^ckpt_weights="averaged": snapshots\[0\].* holds one set of weights, '):
            members_of(Net(), given, ckpt_weights="averaged")
    with pytest.raises(ValueError, match=r"^ckpt_weights='ema': unknown; pass None or 'raw' or 'averaged'$"):
        members_of(Net(), path, ckpt_weights="ema")
