from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import stat
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file

import lightning_lr
from lightning_lr.snapshots import Snapshots, SnapshotWriter, load_weights, weights
from lightning_lr.snapshots.manifest import write_manifest
from lightning_lr.snapshots.weights import as_floating_dtype, check_state_dict, pack, pieces, uncompiled, unpack

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}


def state(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 3), value)}


@pytest.fixture
def writer(tmp_path):
    writer = SnapshotWriter(tmp_path / "snapshots", run_id="first")
    writer.open()
    return writer


def fill(writer, cycles, value=0.0):
    for cycle in cycles:
        writer.write(state(cycle + value), cycle=cycle, step=10 * (cycle + 1), epoch=cycle, lr=0.01)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()


def edit_manifest(folder: Path, edit) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


# What is on the disk


def test_folder_is_what_the_contract_says(writer):
    writer.write(STATE, cycle=0, step=40, epoch=3, lr=0.001)
    assert sorted(os.listdir(writer.dirpath)) == ["manifest.json", "snapshot-000.safetensors"]

    manifest = json.loads((writer.dirpath / "manifest.json").read_text())
    file = writer.dirpath / "snapshot-000.safetensors"
    row = manifest["snapshots"][0]
    versions = row.pop("versions")
    assert manifest["format"] == 1
    assert manifest["run_id"] == "first"
    assert row == {
        "file": "snapshot-000.safetensors",
        "cycle": 0,
        "step": 40,
        "epoch": 3,
        "lr": 0.001,
        "metrics": None,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "complete": True,
    }
    assert versions["lightning_lr"] == lightning_lr.__version__
    assert set(versions) == {"lightning_lr", "python", "lightning", "safetensors", "torch"}
    # Any reader of safetensors can read it.
    assert same_bits(load_file(file)["weight"], STATE["weight"])


def test_rows_are_in_the_order_of_cycles_and_the_same_cycle_is_replaced(writer):
    fill(writer, [2, 0, 1])
    fill(writer, [1], value=0.5)
    snapshots = Snapshots(writer.dirpath)
    assert [row.cycle for row in snapshots] == [0, 1, 2]
    assert [row.step for row in snapshots] == [10, 20, 30]
    assert [snapshots.load(i)["weight"][0, 0].item() for i in range(3)] == [0.0, 1.5, 2.0]
    assert snapshots[-1].cycle == 2
    assert snapshots.run_id == "first"
    with pytest.raises(IndexError, match=r"index=3: .* holds 3 snapshots"):
        snapshots[3]


def test_metrics_are_set_later_and_kept_with_the_row(writer):
    fill(writer, [0, 1])
    writer.set_metrics(1, {"val/loss": 0.25, "val/odd": float("inf")})
    writer.set_metrics(7, {"val/loss": 1.0})
    rows = list(Snapshots(writer.dirpath))
    assert rows[0].metrics is None
    assert rows[1].metrics["val/loss"] == 0.25
    # Strict JSON has no infinity.
    assert json.loads((writer.dirpath / "manifest.json").read_text(), parse_constant=pytest.fail)
    assert rows[1].metrics["val/odd"] != rows[1].metrics["val/odd"]


def test_the_same_weights_keep_their_metrics_and_others_do_not(writer):
    """As when a run is resumed from before the cycle's end, and comes to it again."""
    fill(writer, [0, 1])
    for cycle in (0, 1):
        writer.set_metrics(cycle, {"val/loss": 0.25})
    fill(writer, [0])
    fill(writer, [1], value=0.5)
    assert [row.metrics for row in Snapshots(writer.dirpath)] == [{"val/loss": 0.25}, None]


def test_what_keep_last_was_killed_in_is_swept(writer):
    fill(writer, range(4))
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"].__delitem__(slice(0, 3, 2)))
    writer.sweep()
    # The third may be one that a killed process had not yet noted.
    assert sorted(os.listdir(writer.dirpath)) == ["manifest.json", *(f"snapshot-00{i}.safetensors" for i in (1, 2, 3))]


def test_keep_last_drops_the_oldest_and_what_a_killed_process_left(writer):
    fill(writer, range(4))
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"].pop(0))
    writer.keep_last(2)
    assert [row.cycle for row in Snapshots(writer.dirpath)] == [2, 3]
    assert sorted(os.listdir(writer.dirpath)) == [
        "manifest.json",
        "snapshot-002.safetensors",
        "snapshot-003.safetensors",
    ]


# Tensors

EVERY_KIND = {
    "float": torch.randn(3, 4),
    "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
    "double": torch.randn(2, dtype=torch.float64),
    "half": torch.randn(2).half(),
    "bfloat": torch.randn(2).bfloat16().view(torch.int16),
    "scalar": torch.tensor(3.5),
    "counter": torch.tensor(12345678901),
    "empty": torch.empty(0, 5),
    "mask": torch.tensor([True, False]),
    "bytes": torch.arange(256).to(torch.uint8),
    "complex": torch.randn(2, dtype=torch.complex64),
    "conjugated": torch.randn(2, dtype=torch.complex64).conj(),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "sliced": torch.arange(10.0)[2:5],
    "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "expanded": torch.tensor([1.0]).expand(4),
    "parameter": torch.nn.Parameter(torch.randn(3)),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_of_tensor_comes_back_bit_for_bit(writer, kind):
    writer.write({kind: EVERY_KIND[kind]}, cycle=0, step=1, epoch=0, lr=0.1)
    read = Snapshots(writer.dirpath).load(0)[kind]
    assert same_bits(read, EVERY_KIND[kind].detach().resolve_conj())


def test_the_bytes_are_those_that_the_formats_own_library_writes():
    plain = {"b": torch.randn(3, 4), "a": torch.arange(3), "ü": torch.randn(5).half(), "n": torch.ones(0, 2).bool()}
    assert pack(plain) == safetensors.torch.save(plain)
    assert pack({}) == safetensors.torch.save({})
    for dtype in weights._NAMES:
        one = {"x": torch.arange(12).reshape(3, 4).to(dtype)}
        assert pack(one) == safetensors.torch.save(one)


def test_a_tensor_on_the_cpu_is_not_copied():
    weight = torch.zeros(1000)
    _, memory = pieces({"w": weight})
    weight.fill_(1.0)
    assert bytes(memory) == torch.ones(1000).numpy().tobytes()


def test_what_is_written_while_somebody_trains_on_has_the_hash_of_what_was_written(writer, monkeypatch):
    weight = torch.zeros(1_000_000)
    real = hashlib.sha256

    class Disturbed:
        def __init__(self):
            self.digest = real()

        def update(self, data):
            weight.add_(1.0)
            self.digest.update(data)

        def hexdigest(self):
            return self.digest.hexdigest()

    monkeypatch.setattr("lightning_lr.snapshots.writer.hashlib.sha256", Disturbed)
    writer.write({"w": weight}, cycle=0, step=1, epoch=0, lr=0.1)
    monkeypatch.undo()
    assert Snapshots(writer.dirpath).problems() == {}


def test_overlapping_views_are_stored_each_for_itself():
    whole = torch.arange(10.0)
    read = unpack(pack({"whole": whole, "head": whole[:4], "tail": whole[3:], "as_int": whole.view(torch.int32)}))
    assert same_bits(read["head"], whole[:4])
    assert same_bits(read["tail"], whole[3:])
    assert same_bits(read["as_int"], whole.view(torch.int32))
    assert read["head"].untyped_storage().data_ptr() != read["whole"].untyped_storage().data_ptr()


def test_a_single_element_of_a_wider_tensor_is_stored():
    assert torch.equal(unpack(pack({"mean": torch.arange(5.0)[None, 3:][:, 0]}))["mean"], torch.tensor([3.0]))


def test_a_conjugate_is_not_tied_to_what_it_is_the_conjugate_of():
    value = torch.tensor([1 + 2j, 3 - 4j])
    loaded = unpack(pack({"a": value, "b": value.conj(), "c": value.imag, "d": value.conj().imag}))
    assert loaded["b"].tolist() == [1 - 2j, 3 + 4j]
    assert (loaded["c"].tolist(), loaded["d"].tolist()) == ([2, -4], [-2, 4])


def test_tied_weights_are_stored_once_and_tied_again():
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(100, 100), "decoder": torch.nn.Linear(100, 100)})
    model["decoder"].weight = model["encoder"].weight
    data = pack(model.state_dict())
    assert len(data) < 1.2 * 100 * 100 * 4
    read = unpack(data)
    assert set(read) == set(model.state_dict())
    read["encoder.weight"].zero_()
    assert read["decoder.weight"].abs().sum() == 0


def test_the_same_state_has_the_same_bytes_whatever_is_tied():
    shared = [torch.ones(3), torch.zeros(2)]
    tied = {f"{name}{i}": tensor for i, tensor in enumerate(shared) for name in "abcdefgh"}
    assert len({hashlib.sha256(pack(tied)).hexdigest() for _ in range(20)}) == 1


def test_prefix_of_a_compiled_submodule_is_stripped():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.compile(torch.nn.Linear(2, 2)))
    assert "1._orig_mod.weight" in net.state_dict()
    assert set(unpack(pack(net.state_dict()))) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    with pytest.raises(ValueError, match=r"a second entry is called 'a\.w'"):
        pack({"a.w": torch.ones(1), "a._orig_mod.w": torch.ones(1)})


@pytest.mark.parametrize("key", ["my_orig_mod.x", "net.my_orig_mod.weight", "_orig_modest.x", "a._orig_mod_.x"])
def test_a_name_that_only_looks_like_the_prefix_is_left(key):
    assert uncompiled(key) == key
    assert set(unpack(pack({key: torch.ones(1)}))) == {key}


@pytest.mark.parametrize(
    "aliases",
    [
        "[]",
        '["w"]',
        '"w"',
        "3",
        "null",
        '{"tied": "gone"}',
        '{"tied": "w", "a": "tied"}',
        '{"a": ["w"]}',
        '{"a": {}}',
        "{",
    ],
)
def test_tied_names_that_lead_nowhere_are_refused(tmp_path, aliases):
    path = tmp_path / "bad.safetensors"
    save_file({"w": torch.ones(1)}, path, {"aliases": aliases})
    with pytest.raises(ValueError, match=r"^path='.*bad\.safetensors': its names of tied weights lead nowhere; pass a"):
        load_weights(path)


def test_the_name_that_the_format_keeps_for_itself_is_refused():
    with pytest.raises(
        ValueError, match=r"^state_dict\['__metadata__'\]: a name that the file format keeps for itself;"
    ):
        check_state_dict({"__metadata__": torch.ones(1)})


def test_dtype_casts_what_is_floating_and_nothing_else(writer):
    mixed = {"w": torch.tensor([1.0, 1 / 3]), "n": torch.tensor([70000]), "m": torch.tensor([True])}
    writer.write(mixed, cycle=0, step=1, epoch=0, lr=0.1, dtype="float16")
    read = Snapshots(writer.dirpath).load(0)
    assert same_bits(read["w"], torch.tensor([1.0, 1 / 3]).half())
    assert same_bits(read["n"], mixed["n"])
    assert same_bits(read["m"], mixed["m"])
    assert unpack(pack(mixed, torch.bfloat16))["w"].dtype == torch.bfloat16


def test_a_value_that_the_dtype_cannot_hold_is_not_lost():
    with pytest.warns(UserWarning, match=r"dtype=torch\.float16: 'var' holds values that it cannot"):
        read = unpack(pack({"var": torch.tensor([1e6]), "inf": torch.tensor([float("inf")])}, torch.float16))
    assert same_bits(read["var"], torch.tensor([1e6]))
    assert read["inf"].dtype == torch.float16


@pytest.mark.parametrize("value", [65504.0, 65519.0, -65519.0, float("nan"), float("-inf")])
def test_what_the_dtype_can_hold_is_cast_without_a_word(value):
    mixed = torch.tensor([value, 1.0])
    assert same_bits(unpack(pack({"w": mixed}, torch.float16))["w"], mixed.half())


@pytest.mark.parametrize("value", [65520.0, -65520.0])
def test_the_smallest_value_that_the_dtype_cannot_hold(value):
    with pytest.warns(UserWarning, match="'w' holds values that it cannot"):
        read = unpack(pack({"w": torch.tensor([float("nan"), value])}, torch.float16))
    assert read["w"].dtype == torch.float32


@pytest.mark.parametrize("dtype", ["bfloat16", "torch.bfloat16", torch.bfloat16])
def test_dtype_by_name(dtype):
    assert as_floating_dtype(dtype) is torch.bfloat16


@pytest.mark.parametrize("dtype", ["int8", torch.int64, "fp16", "nn", torch.complex64])
def test_dtype_that_is_not_floating_is_refused(dtype):
    with pytest.raises(ValueError, match=r"^dtype=.*: not a floating dtype that can be stored; pass"):
        as_floating_dtype(dtype)
    with pytest.raises(TypeError, match="dtype=16: not a dtype"):
        as_floating_dtype(16)


def test_what_is_no_tensor_is_refused_by_name():
    with pytest.raises(TypeError, match=r"^state_dict\['net\._extra_state'\]: dict, and a snapshot holds tensors only"):
        check_state_dict({"w": torch.ones(1), "net._extra_state": {"n": 1}})
    with pytest.raises(ValueError, match=r"state_dict\['w'\]: has no values yet"):
        check_state_dict({"w": torch.ones(1, device="meta")})
    with pytest.raises(ValueError, match=r"state_dict\['weight'\]: has no values yet"):
        check_state_dict(torch.nn.LazyLinear(2).state_dict())
    with pytest.raises(ValueError, match=r"state_dict\['s'\]: torch\.sparse_coo"):
        check_state_dict({"s": torch.ones(2).to_sparse()})
    with pytest.raises(ValueError, match=r"state_dict\['c'\]: torch\.strided of torch\.complex128 cannot be stored"):
        check_state_dict({"c": torch.ones(1, dtype=torch.complex128)})


def test_one_file_can_be_read_by_itself(writer, tmp_path):
    fill(writer, [0])
    assert same_bits(load_weights(writer.dirpath / "snapshot-000.safetensors")["weight"], torch.zeros(2, 3))
    save_file({"w": torch.ones(1)}, tmp_path / "other.safetensors")
    assert load_weights(tmp_path / "other.safetensors")["w"].item() == 1.0
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"^path='.*bad\.safetensors': not a whole safetensors file"):
        load_weights(tmp_path / "bad.safetensors")
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors': there is no such file"):
        load_weights(tmp_path / "nothing.safetensors")


# Damage


def test_damaged_and_missing_files_are_named(writer):
    fill(writer, range(4))
    files = [writer.dirpath / f"snapshot-{i:03d}.safetensors" for i in range(4)]
    files[0].write_bytes(files[0].read_bytes()[:-1])
    flipped = bytearray(files[1].read_bytes())
    flipped[-1] ^= 1
    files[1].write_bytes(flipped)
    files[2].unlink()
    # The bit flip is one that the format itself does not see.
    with safetensors.safe_open(files[1], "pt") as file:
        assert file.keys() == ["weight"]

    snapshots = Snapshots(writer.dirpath)
    for i in (0, 1):
        with pytest.raises(ValueError, match=rf"snapshot-00{i}\.safetensors: damaged, its SHA-256"):
            snapshots.load(i)
    with pytest.raises(FileNotFoundError, match=r"snapshot-002\.safetensors: missing"):
        snapshots.load(2)
    assert snapshots.load(3)["weight"][0, 0] == 3.0
    with pytest.raises(
        ValueError,
        match=r"snapshot-000\.safetensors \(damaged\), snapshot-001\.safetensors \(damaged\), "
        r"snapshot-002\.safetensors \(missing\); restore",
    ) as error:
        snapshots.verify()
    assert "\n" not in str(error.value)
    assert "snapshot-003" not in str(error.value)


def test_a_whole_folder_verifies(writer):
    fill(writer, range(2))
    snapshots = Snapshots(writer.dirpath)
    snapshots.verify()
    assert snapshots.members() == {"snapshot-000.safetensors": "ok", "snapshot-001.safetensors": "ok"}
    assert snapshots.strays() == {}


def test_what_is_beside_the_members_is_told_and_is_no_member(writer):
    fill(writer, range(2))
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"].pop(0))
    for name in (".staging-manifest.json", ".staging-snapshot-002.safetensors", ".staging-notes", "snapshot-1.txt"):
        (writer.dirpath / name).write_text("half")
    snapshots = Snapshots(writer.dirpath)
    snapshots.verify()
    assert snapshots.members() == {"snapshot-001.safetensors": "ok"}
    assert snapshots.strays() == {
        ".staging-manifest.json": "not complete",
        ".staging-snapshot-002.safetensors": "not complete",
        "snapshot-000.safetensors": "not named by the manifest",
    }


def test_a_file_in_place_of_another_is_damaged(writer):
    fill(writer, range(2))
    (writer.dirpath / "snapshot-001.safetensors").write_bytes(
        (writer.dirpath / "snapshot-000.safetensors").read_bytes()
    )
    with pytest.raises(ValueError, match=r"snapshot-001\.safetensors \(damaged\); restore"):
        Snapshots(writer.dirpath).verify()


def test_a_folder_in_place_of_a_file_is_a_missing_file(writer):
    fill(writer, range(1))
    (writer.dirpath / "snapshot-000.safetensors").unlink()
    (writer.dirpath / "snapshot-000.safetensors").mkdir()
    assert Snapshots(writer.dirpath).problems() == {"snapshot-000.safetensors": "missing"}


def test_a_file_that_the_disk_does_not_give_is_unreadable(writer, monkeypatch):
    fill(writer, range(2))
    real = Path.open

    def failing(path, *args, **kwargs):
        if path.name == "snapshot-000.safetensors":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", failing)
    assert Snapshots(writer.dirpath).members() == {
        "snapshot-000.safetensors": "unreadable",
        "snapshot-001.safetensors": "ok",
    }


def test_missing_folder_and_manifest(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dirpath='.*/none': there is no such folder; pass"):
        Snapshots(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no manifest\.json in it; pass"):
        Snapshots(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match=r"^dirpath='.*/file': a file; pass the folder that"):
        Snapshots(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "names no format"),
        ('{"format": "1"}', "names no format"),
        ('{"format": 0, "run_id": "a", "snapshots": []}', r"format=0, which there never was; restore it"),
        ('{"format": -1, "run_id": "a", "snapshots": []}', r"format=-1, which there never was; restore it"),
        ('{"format": true, "run_id": "a", "snapshots": []}', "names no format"),
        ('{"format": 2, "chapters": []}', "format=2, and this version reads up to 1; install a newer lightning_lr"),
        ('{"format": 1, "run_id": "a"}', "run_id or snapshots is missing"),
        ('{"format": 1, "run_id": "a", "snapshots": [3]}', r"snapshots\[0\] is not an object"),
        ('{"format": 1, "run_id": "a", "snapshots": [{"file": 3}]}', r"snapshots\[0\]: file=3 is not what belongs"),
    ],
)
def test_manifest_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=rf"manifest\.json.*{message}") as error:
        Snapshots(tmp_path)
    assert "\n" not in str(error.value)
    # Nor is it overwritten by a run that cannot know what it would destroy.
    with pytest.raises(ValueError, match=message):
        SnapshotWriter(tmp_path, run_id="b").open(overwrite=True)


def test_manifest_cannot_lead_out_of_the_folder(writer):
    fill(writer, [0])
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"][0].update(file="../snapshot-000.safetensors"))
    with pytest.raises(ValueError, match=r"is not the name of a snapshot"):
        Snapshots(writer.dirpath)


@pytest.mark.parametrize("metric", ["0.25", "high", [0.25], {"mean": 0.25}, 10**400])
def test_metrics_that_are_no_numbers_are_refused(writer, metric):
    fill(writer, [0])
    row = {"metrics": {"val/accuracy": 1, "val/odd": None, "val/loss": metric}}
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"][0].update(row))
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is compared
        Snapshots(writer.dirpath)
    assert str(refused.value) == (
        f"{writer.dirpath}/manifest.json: snapshots[0]: metrics['val/loss']={metric!r} is not what belongs there; "
        "restore it from a copy, or move the folder away and train again"
    )


@pytest.mark.parametrize("value", [True, -1, 1.0, "0", None])
def test_a_cycle_that_is_no_number_of_one_is_refused(writer, value):
    fill(writer, [0])
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"][0].update(cycle=value))
    with pytest.raises(ValueError, match=rf"snapshots\[0\]: .*cycle={value!r}") as refused:
        Snapshots(writer.dirpath)
    assert "\n" not in str(refused.value)


def test_metrics_that_are_numbers_are_floats_and_null_is_nan(writer):
    fill(writer, [0])
    row = {"metrics": {"val/accuracy": 1, "val/odd": None}}
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"][0].update(row))
    metrics = Snapshots(writer.dirpath)[0].metrics
    assert [(name, repr(value)) for name, value in metrics.items()] == [("val/accuracy", "1.0"), ("val/odd", "nan")]


@pytest.mark.parametrize("lr", [math.nan, math.inf])
def test_a_learning_rate_that_is_none_keeps_no_snapshot_from_being_written(writer, lr):
    writer.write(STATE, cycle=0, step=1, epoch=0, lr=lr)
    assert Snapshots(writer.dirpath)[0].lr is None
    Snapshots(writer.dirpath).verify()


def test_two_rows_of_one_cycle_are_refused(writer):
    fill(writer, range(3))
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"].append(manifest["snapshots"][1]))
    with pytest.raises(ValueError, match=r"^/.*manifest\.json: several rows of one cycle; restore it from a copy, or"):
        Snapshots(writer.dirpath)


def test_two_rows_of_one_file_are_refused(writer):
    """Else one snapshot would be two members."""
    fill(writer, range(2))
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"][1].update(file="snapshot-000.safetensors"))
    with pytest.raises(
        ValueError, match=r"file='snapshot-000\.safetensors' is not the name of a snapshot of cycle=1; "
    ):
        Snapshots(writer.dirpath)


# Failure while writing


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("at", range(1, 4))
@pytest.mark.parametrize("cycle", [1, 2])
def test_a_full_disk_leaves_what_was_there(writer, monkeypatch, call, at, cycle):
    """Wherever the disk fails, while a row is added (cycle 2) or replaced (cycle 1), what is named is whole."""
    fill(writer, range(2))
    real, count = getattr(os, call), 0

    def failing(*args):
        nonlocal count
        count += 1
        if count == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    def until_it_fails():
        while count < at:
            fill(writer, [cycle], value=0.5)

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(OSError, match=r"No space left on device; not written.*(snapshot-00|manifest)"):
        until_it_fails()
    monkeypatch.undo()

    snapshots = Snapshots(writer.dirpath)
    snapshots.verify()
    assert snapshots.load(0)["weight"][0, 0] == 0.0
    assert not list(writer.dirpath.glob(".staging*"))
    fill(writer, [cycle], value=0.5)
    assert [row.cycle for row in Snapshots(writer.dirpath)] == list(range(cycle + 1))
    Snapshots(writer.dirpath).verify()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", range(1, 31))
def test_killed_before_any_system_call_the_folder_is_whole(writer, monkeypatch, at):
    fill(writer, range(3))
    count = 0

    def watch(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count >= at:
                raise Killed
            return real(*args, **kwargs)

        return call

    for name in ("replace", "fsync", "unlink"):
        monkeypatch.setattr(os, name, watch(getattr(os, name)))

    def go_on():
        fill(writer, [1], value=0.5)
        fill(writer, [3])
        writer.keep_last(3)

    def until_killed():
        while True:
            go_on()

    with pytest.raises(Killed):
        until_killed()
    monkeypatch.undo()

    Snapshots(writer.dirpath).verify()
    writer.open()
    go_on()
    assert sorted(os.listdir(writer.dirpath)) == [
        "manifest.json",
        *(f"snapshot-00{i}.safetensors" for i in (1, 2, 3)),
    ]
    snapshots = Snapshots(writer.dirpath)
    snapshots.verify()
    assert [snapshots.load(i)["weight"][0, 0].item() for i in range(3)] == [1.5, 2.0, 3.0]


@pytest.mark.parametrize("at", range(1, 10))
def test_killed_while_it_takes_another_runs_folder_all_that_is_named_is_there(writer, monkeypatch, at):
    fill(writer, range(3))
    count = 0

    def watch(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at:
                raise Killed
            return real(*args, **kwargs)

        return call

    for name in ("replace", "fsync", "unlink"):
        monkeypatch.setattr(os, name, watch(getattr(os, name)))
    second = SnapshotWriter(writer.dirpath, run_id="second")
    # Where there are fewer calls than that, it is not killed.
    with contextlib.suppress(Killed):
        second.open(overwrite=True)
    monkeypatch.undo()
    Snapshots(writer.dirpath).verify()
    second.open(overwrite=True)
    fill(second, range(3), value=0.5)
    snapshots = Snapshots(writer.dirpath)
    assert snapshots.run_id == "second"
    assert [snapshots.load(i)["weight"][0, 0].item() for i in range(3)] == [0.5, 1.5, 2.5]
    assert snapshots.strays() == {}


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP"])
def test_a_disk_that_cannot_force_a_folder_is_no_failure(writer, monkeypatch, code):
    real = os.fsync

    def refusing(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(getattr(errno, code), "not for a folder")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    fill(writer, [0])
    Snapshots(writer.dirpath).verify()


def test_a_new_folder_is_forced_to_the_disk_with_all_above_it(tmp_path, monkeypatch):
    forced, real = [], os.fsync

    def noting(descriptor):
        forced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("a descriptor's path can be asked for on Linux alone")
    monkeypatch.setattr(os, "fsync", noting)
    SnapshotWriter(tmp_path / "a" / "b", run_id="r").open()
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(forced)


def test_stale_staging_files_are_swept_and_nothing_else(writer):
    fill(writer, [0])
    for name in (".staging-snapshot-004.safetensors", ".staging-manifest.json", ".staging-notes", "notes.txt"):
        (writer.dirpath / name).write_text("half")
    writer.open()
    assert sorted(os.listdir(writer.dirpath)) == [
        ".staging-notes",
        "manifest.json",
        "notes.txt",
        "snapshot-000.safetensors",
    ]


# Whose folder it is


def test_another_runs_folder_is_refused_and_left_as_it_was(writer):
    fill(writer, range(2))
    other = SnapshotWriter(writer.dirpath, run_id="second")
    for refuse in (other.check, other.open):
        with pytest.raises(
            FileExistsError, match=r'^dirpath=.*: holds 2 snapshots of run first, .* on_existing="overwrite"'
        ):
            refuse()
    Snapshots(writer.dirpath).verify()


def test_overwriting_deletes_what_the_manifest_names_and_nothing_else(writer):
    fill(writer, range(2))
    (writer.dirpath / "notes.txt").write_text("mine")
    (writer.dirpath / "snapshot-007.safetensors").write_text("mine")
    SnapshotWriter(writer.dirpath, run_id="second").open(overwrite=True)
    snapshots = Snapshots(writer.dirpath)
    assert (snapshots.run_id, len(snapshots)) == ("second", 0)
    assert sorted(os.listdir(writer.dirpath)) == ["manifest.json", "notes.txt", "snapshot-007.safetensors"]


def test_snapshots_without_a_manifest_are_nobody_knows_whose(writer):
    fill(writer, [0])
    (writer.dirpath / "manifest.json").unlink()
    with pytest.raises(FileExistsError, match=r"holds snapshots and no manifest"):
        writer.check()


def test_snapshots_that_another_runs_manifest_does_not_name_are_not_replaced_in_silence(writer):
    fill(writer, [0])
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"].clear())
    with pytest.raises(FileExistsError, match=r"holds snapshots and a manifest that does not name them, so whose"):
        SnapshotWriter(writer.dirpath, run_id="second").open()
    writer.open()
    SnapshotWriter(writer.dirpath, run_id="second").open(overwrite=True)


def test_a_folder_without_snapshots_is_free(writer):
    SnapshotWriter(writer.dirpath, run_id="second").open()
    assert Snapshots(writer.dirpath).run_id == "second"
    # And whoever had it is told, instead of mixing two runs.
    with pytest.raises(RuntimeError, match=r"run second took the folder while this run \(first\)"):
        fill(writer, [0])


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "snapshots"):
        with pytest.raises(FileExistsError, match=r"is a file; give a folder"):
            SnapshotWriter(path, run_id="a").check()


def test_opening_again_keeps_the_rows(writer):
    fill(writer, range(2))
    SnapshotWriter(writer.dirpath, run_id="first").open(overwrite=True)
    assert len(Snapshots(writer.dirpath)) == 2
    assert write_manifest("first", []).startswith('{\n  "format": 1')
