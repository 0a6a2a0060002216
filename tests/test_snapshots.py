from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

import lightning_lr
from lightning_lr.manifest import write_manifest
from lightning_lr.snapshots import Snapshots, SnapshotWriter, load_weights
from lightning_lr.weights import as_floating_dtype, check_state_dict, pack, uncompiled, unpack

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


def test_overlapping_views_are_stored_each_for_itself():
    whole = torch.arange(10.0)
    read = unpack(pack({"whole": whole, "head": whole[:4], "tail": whole[3:], "as_int": whole.view(torch.int32)}))
    assert same_bits(read["head"], whole[:4])
    assert same_bits(read["tail"], whole[3:])
    assert same_bits(read["as_int"], whole.view(torch.int32))
    assert read["head"].untyped_storage().data_ptr() != read["whole"].untyped_storage().data_ptr()


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
    Snapshots(writer.dirpath).verify()


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


@pytest.mark.parametrize("metric", ["0.25", "high", [0.25], {"mean": 0.25}])
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


def test_metrics_that_are_numbers_are_floats_and_null_is_nan(writer):
    fill(writer, [0])
    row = {"metrics": {"val/accuracy": 1, "val/odd": None}}
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"][0].update(row))
    metrics = Snapshots(writer.dirpath)[0].metrics
    assert [(name, repr(value)) for name, value in metrics.items()] == [("val/accuracy", "1.0"), ("val/odd", "nan")]


def test_two_rows_of_one_cycle_are_refused(writer):
    fill(writer, range(3))
    edit_manifest(writer.dirpath, lambda manifest: manifest["snapshots"][2].update(cycle=1))
    with pytest.raises(ValueError, match=r"^/.*manifest\.json: several rows of one cycle; restore it from a copy, or"):
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


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"cannot be written; give another folder"):
        SnapshotWriter(tmp_path / "snapshots", run_id="a").check()


def test_opening_again_keeps_the_rows(writer):
    fill(writer, range(2))
    SnapshotWriter(writer.dirpath, run_id="first").open(overwrite=True)
    assert len(Snapshots(writer.dirpath)) == 2
    assert write_manifest("first", []).startswith('{\n  "format": 1')
