"""Whatever happens to a folder of snapshots: one clear line, nothing wrong is ever read, and the rest still loads."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import pickle
import random
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from lightning_lr.snapshots import Snapshots, SnapshotWriter, load_weights

ROOT = Path(__file__).resolve().parents[2]


def state(cycle: int) -> dict[str, torch.Tensor]:
    weight = torch.arange(4.0) + 10 * cycle
    return {"encoder.weight": weight, "decoder.weight": weight, "steps": torch.tensor(cycle)}


def is_state(read: dict[str, torch.Tensor], cycle: int) -> bool:
    expected = state(cycle)
    return read.keys() == expected.keys() and all(torch.equal(read[name], expected[name]) for name in expected)


@pytest.fixture
def folder(tmp_path):
    writer = SnapshotWriter(tmp_path / "snapshots", run_id="first")
    writer.open()
    for cycle in range(3):
        writer.write(state(cycle), cycle=cycle, step=10 * (cycle + 1), epoch=cycle, lr=0.01)
        writer.set_metrics(cycle, {"val/loss": 0.5})
    return writer.dirpath


def refusal(read) -> str | None:
    """The one line with which something is refused; None if it is not."""
    message = None
    try:
        read()
    except (ValueError, OSError) as error:
        message = str(error)
    assert message is None or "\n" not in message
    return message


# Bytes that are not those that were written


def test_a_file_cut_at_any_length_is_refused_and_the_others_load(folder):
    path = folder / "snapshot-001.safetensors"
    whole = path.read_bytes()
    snapshots = Snapshots(folder)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert f"{path}: damaged, its SHA-256" in refusal(lambda: snapshots.load(1))
        assert f"path={str(path)!r}: not a whole safetensors file" in refusal(lambda: load_weights(path))
    assert snapshots.problems() == {path.name: "damaged"}
    assert is_state(snapshots.load(0), 0)
    assert is_state(snapshots.load(2), 2)


def test_a_file_that_goes_on_is_refused(folder):
    path = folder / "snapshot-001.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    assert "damaged" in refusal(lambda: Snapshots(folder).load(1))
    assert "not a whole safetensors file" in refusal(lambda: load_weights(path))


def test_a_file_with_a_bit_flipped_is_refused(folder):
    """By its hash. Read by itself it may pass, for the format has no checksum; nothing else can happen."""
    path = folder / "snapshot-001.safetensors"
    whole = path.read_bytes()
    snapshots = Snapshots(folder)
    for bit in random.Random(0).sample(range(8 * len(whole)), 400):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert "damaged" in refusal(lambda: snapshots.load(1))
        refusal(lambda: load_weights(path))


def test_a_manifest_cut_at_any_length_is_refused_and_left(folder):
    path = folder / "manifest.json"
    # Without the newline at its end it says the same.
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert f"{path}: not JSON" in refusal(lambda: Snapshots(folder))
    for run in ("first", "second"):
        assert f"{path}: not JSON" in refusal(lambda run=run: SnapshotWriter(folder, run).open(overwrite=True))
    assert path.read_bytes() == whole[:-1]
    assert [is_state(load_weights(folder / f"snapshot-00{i}.safetensors"), i) for i in range(3)] == [True] * 3


def test_a_manifest_with_a_flipped_bit_never_makes_a_member_of_another_file(folder):
    path = folder / "manifest.json"
    whole, refused = path.read_bytes(), 0
    for bit in random.Random(0).sample(range(8 * len(whole)), 600):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if refusal(lambda: Snapshots(folder)):
            refused += 1
            continue
        # It may be another number in a row, for nothing checks those; or another hash, and then the file is refused.
        snapshots = Snapshots(folder)
        for index, row in enumerate(snapshots):
            if not refusal(lambda index=index, snapshots=snapshots: snapshots.load(index)):
                assert is_state(snapshots.load(index), row.cycle)
    assert refused > 300


def test_a_manifest_of_a_later_format_is_refused_and_left(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": 2, "chapters": manifest["snapshots"]}))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    message = f"{path}: format=2, and this version reads up to 1; install a newer lightning_lr"
    writer = SnapshotWriter(folder, "first")
    for read in (
        lambda: Snapshots(folder),
        lambda: writer.check(overwrite=True),
        lambda: writer.open(overwrite=True),
        lambda: writer.write(state(3), cycle=3, step=40, epoch=3, lr=0.01),
        lambda: writer.set_metrics(0, {}),
        lambda: writer.keep_last(1),
    ):
        assert refusal(read) == message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert is_state(load_weights(folder / "snapshot-000.safetensors"), 0)


@pytest.mark.parametrize(
    "file",
    [
        "../snapshots/snapshot-000.safetensors",
        "./snapshot-000.safetensors",
        "sub/snapshot-000.safetensors",
        "/etc/hostname",
        "snapshot-000.safetensors/../snapshot-000.safetensors",
        "snapshot-000.safetensors\n",
        "snapshot-000.safetensors\0",
        "snapshot-0000.safetensors",
        "snapshot-\u0660\u0660\u0660.safetensors",
        "Snapshot-000.safetensors",
        ".staging-snapshot-000.safetensors",
        "manifest.json",
        "",
    ],
)
def test_a_name_that_is_no_snapshots_is_refused(folder, file):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["snapshots"][0]["file"] = file
    path.write_text(json.dumps(manifest))
    assert f"snapshots[0]: file={file!r} is not the name of a snapshot of cycle=0; " in refusal(
        lambda: Snapshots(folder)
    )


@pytest.mark.parametrize("text", ["[" * 200_000, '{"format": 1, "run_id": NaN, "snapshots": []}', "\xff\xfe", "\0"])
def test_a_manifest_that_is_no_json_at_all(folder, text):
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    assert "manifest.json: not JSON" in refusal(lambda: Snapshots(folder))


# Pickles


class Malicious:
    """Unpickled, it leaves a file."""

    def __reduce__(self):
        return Path.write_text, (Path("executed"), "")


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"encoder.weight": Malicious()}))


def torch_zip(path: Path) -> None:
    torch.save({"encoder.weight": Malicious()}, path)


def torch_legacy(path: Path) -> None:
    torch.save({"encoder.weight": Malicious()}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [pickled, torch_zip, torch_legacy])
@pytest.mark.parametrize("name", ["snapshot-001.safetensors", "snapshot-003.safetensors", "any.pt", "any.ckpt", "any"])
def test_a_pickle_is_never_executed(folder, write, name):
    """In place of a member, with its row's hash and without; beside the members; and by itself under any name."""
    path = folder / name
    write(path)
    snapshots = Snapshots(folder)
    for index in range(3):
        refusal(lambda index=index: snapshots.load(index))
    snapshots.problems()
    snapshots.strays()
    manifest = json.loads((folder / "manifest.json").read_text())
    row = {**manifest["snapshots"][1], "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    cycle = 3 if "003" in name else 1
    rows = [*manifest["snapshots"][:1], {**row, "cycle": cycle, "file": f"snapshot-00{cycle}.safetensors"}]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "snapshots": rows}))
    snapshots = Snapshots(folder)
    assert is_state(snapshots.load(0), 0)
    refused = refusal(lambda: snapshots.load(1))
    assert f"snapshot-00{cycle}.safetensors: " in refused
    if name.startswith("snapshot-"):
        assert "not a whole safetensors file" in refused
    assert f"path={str(path)!r}: not a whole safetensors file" in refusal(lambda: load_weights(path))
    assert not Path("executed").exists()
    # What it does if it is executed.
    with contextlib.suppress(Exception):
        torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
    assert Path("executed").exists()


def test_a_pickle_for_a_manifest_is_never_executed(folder):
    pickled(folder / "manifest.json")
    assert "manifest.json: not JSON" in refusal(lambda: Snapshots(folder))
    assert not Path("executed").exists()


# Disks that refuse


@pytest.mark.parametrize("limit", [0, 100, 5_000, 100_000, 1_000_000])
def test_a_file_that_the_system_lets_grow_no_further(folder, limit):
    """`EFBIG` from the system itself, wherever in the file: what a full disk is, without a disk of our own."""
    writer, large = SnapshotWriter(folder, "first"), {"weight": torch.zeros(500_000)}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        refused = refusal(lambda: writer.write(large, cycle=1, step=20, epoch=1, lr=0.01))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused == (
        f"[Errno {errno.EFBIG}] File too large; not written, see to the disk or choose another folder: "
        f"'{folder / 'snapshot-001.safetensors'}'"
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    writer.write(large, cycle=1, step=20, epoch=1, lr=0.01)
    assert torch.equal(Snapshots(folder).load(1)["weight"], large["weight"])


def test_the_first_refusal_is_told_where_the_disk_goes_on_refusing(folder, monkeypatch):
    """As when it is mounted read-only in mid-write."""

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    def read_only(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(os, "unlink", read_only)
    writer = SnapshotWriter(folder, "first")
    refused = refusal(lambda: writer.write(state(3), cycle=3, step=40, epoch=3, lr=0.01))
    assert refused.startswith(f"[Errno {errno.ENOSPC}] No space left on device; not written, ")
    monkeypatch.undo()
    assert Snapshots(folder).strays() == {".staging-snapshot-003.safetensors": "not complete"}
    writer.open()
    assert Snapshots(folder).strays() == {}
    Snapshots(folder).verify()


@contextlib.contextmanager
def bound_by_permissions():
    """Root is not: it becomes somebody else for a while."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_folder_that_may_not_be_written_is_refused_and_still_read(folder, tmp_path, monkeypatch):
    # From inside, for what pytest makes above it is closed to others.
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    folder.chmod(0o555)
    writer = SnapshotWriter("snapshots", "first")
    with bound_by_permissions():
        refused = [
            refusal(call)
            for call in (
                writer.check,
                writer.open,
                lambda: writer.write(state(3), cycle=3, step=40, epoch=3, lr=0.01),
                lambda: writer.set_metrics(0, {}),
            )
        ]
        snapshots = Snapshots("snapshots")
        snapshots.verify()
        assert [is_state(snapshots.load(i), i) for i in range(3)] == [True] * 3
    folder.chmod(0o755)
    refused_here = "dirpath='snapshots': snapshots cannot be written; give another folder"
    assert refused[:2] == [refused_here] * 2
    told = "[Errno 13] Permission denied; not written, see to the disk or choose another folder: "
    assert refused[2:] == [f"{told}'snapshots/snapshot-003.safetensors'", f"{told}'snapshots/manifest.json'"]


def test_a_file_that_may_not_be_read_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    (folder / "snapshot-001.safetensors").chmod(0o000)
    snapshots = Snapshots("snapshots")
    with bound_by_permissions():
        assert snapshots.problems() == {"snapshot-001.safetensors": "unreadable"}
        assert "snapshot-001.safetensors" in refusal(lambda: snapshots.load(1))
        assert is_state(snapshots.load(2), 2)


ON_A_SMALL_DISK = """
    import subprocess, sys
    from pathlib import Path
    import torch
    from lightning_lr.snapshots import Snapshots, SnapshotWriter

    disk = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    writer = SnapshotWriter(disk / "snapshots", "first")
    writer.open()
    state = lambda cycle: {"weight": torch.full((50_000,), float(cycle))}
    whole = lambda: [bool((Snapshots(writer.dirpath).load(i)["weight"] == i).all()) for i in range(cycle)]
    cycle = 0
    try:
        while cycle < 10:
            writer.write(state(cycle), cycle=cycle, step=cycle + 1, epoch=0, lr=0.1)
            cycle += 1
    except OSError as error:
        print(error)
    # Not a byte is left, for what replaces a file and for a manifest neither.
    with (disk / "rest").open("wb", buffering=0) as rest:
        try:
            while rest.write(bytes(512)):
                pass
        except OSError:
            pass
    for call in (
        lambda: writer.write(state(0.5), cycle=0, step=1, epoch=0, lr=0.1),
        lambda: writer.set_metrics(0, {"val/loss": 0.5}),
        lambda: writer.keep_last(1),
    ):
        try:
            call()
        except OSError as error:
            print(error)
    Snapshots(writer.dirpath).verify()
    print(cycle, whole(), Snapshots(writer.dirpath).strays())
    ballast.unlink()
    writer.write(state(cycle), cycle=cycle, step=cycle + 1, epoch=0, lr=0.1)
    cycle += 1
    print(cycle, whole())
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for call in (writer.check, lambda: writer.write(state(9), cycle=9, step=9, epoch=0, lr=0.1)):
        try:
            call()
        except OSError as error:
            print(error)
    Snapshots(writer.dirpath).verify()
    print(cycle, whole())
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full_and_then_really_read_only(tmp_path):
    """In a mount namespace of its own, which most Linux systems give to anybody."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*alone, "mount", "-t", "tmpfs", "none", tmp_path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    ran = subprocess.run(
        [*alone, sys.executable, "-c", textwrap.dedent(ON_A_SMALL_DISK), tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    full = "[Errno 28] No space left on device; not written, see to the disk or choose another folder"
    snapshots = tmp_path / "snapshots"
    assert ran.stdout.splitlines() == [
        f"{full}: '{snapshots}/snapshot-003.safetensors'",
        f"{full}: '{snapshots}/snapshot-000.safetensors'",
        f"{full}: '{snapshots}/manifest.json'",
        f"{full}: '{snapshots}/manifest.json'",
        "3 [True, True, True] {}",
        "4 [True, True, True, True]",
        f"dirpath='{snapshots}': {snapshots} cannot be written; give another folder",
        "[Errno 30] Read-only file system; not written, see to the disk or choose another folder: "
        f"'{snapshots}/snapshot-009.safetensors'",
        "4 [True, True, True, True]",
    ]
