"""A mapped snapshot against the reader that copies, and against what may happen to the file meanwhile."""

from __future__ import annotations

import copy
import hashlib
import mmap
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from lightning_lr.snapshots import mapped
from lightning_lr.snapshots.mapped import MappedFile
from lightning_lr.snapshots.weights import pack

ROOT = Path(__file__).resolve().parents[2]


def big(seed=0, rows=300):
    generator = torch.Generator().manual_seed(seed)
    return {"weight": torch.randn(rows, 1000, generator=generator), "bias": torch.randn(rows, generator=generator)}


@pytest.fixture(params=["read", "mapped"])
def file(request, tmp_path):
    """A file on either side of the size from which on files are mapped."""
    path = tmp_path / "snapshot-000.safetensors"
    state = big(rows=3 if request.param == "read" else 300)
    save_file(state, path)
    assert (path.stat().st_size >= 1 << 20) == (request.param == "mapped")
    return path, state


def rewrite(path, data):
    """Write into the file that is there, as an editor or `cp` does."""
    with path.open("r+b") as handle:
        handle.write(data)
    # Within one tick of the file system's clock the time of the write would be the old one.
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10_000_000))


def test_the_tensors_are_those_of_the_safetensors_library(file):
    path, state = file
    tensors = MappedFile(path).tensors
    assert tensors.keys() == load_file(path).keys() == state.keys()
    assert all(torch.equal(tensors[name], value) for name, value in load_file(path).items())


STORABLE = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    *(torch.bool, torch.complex64),
]


@pytest.mark.parametrize("rows", [2, 300_000])
def test_every_dtype_that_can_be_stored(rows, tmp_path):
    state = {str(dtype): torch.arange(rows).remainder(3).to(dtype) for dtype in STORABLE}
    (tmp_path / "all.safetensors").write_bytes(pack(state))
    tensors = MappedFile(tmp_path / "all.safetensors").tensors
    for name, value in state.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name].view(torch.uint8), value.view(torch.uint8))


def test_scalars_and_empty_tensors(tmp_path):
    state = {"steps": torch.tensor(7), "none": torch.zeros(0, 3), "one": torch.tensor([2.5])}
    save_file(state, tmp_path / "odd.safetensors")
    tensors = MappedFile(tmp_path / "odd.safetensors").tensors
    assert tensors["steps"].shape == ()
    assert tensors["steps"].item() == 7
    assert tensors["none"].shape == (0, 3)
    assert tensors["one"].tolist() == [2.5]


@pytest.mark.parametrize("rows", [3, 300])
def test_tied_weights_share_their_memory(rows, tmp_path):
    weight = big(rows=rows)["weight"]
    (tmp_path / "tied.safetensors").write_bytes(pack({"encoder": weight, "decoder": weight}))
    tensors = MappedFile(tmp_path / "tied.safetensors").tensors
    assert tensors["decoder"] is tensors["encoder"]
    assert torch.equal(tensors["decoder"], weight)


def test_a_writer_that_does_not_align(tmp_path):
    # A header of 8 k + 1 bytes: the format allows it, and old writers made such files.
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (8 - len(header) % 8 + 1)
    data = len(header).to_bytes(8, "little") + header + torch.tensor([1.5, -2.0]).numpy().tobytes()
    (tmp_path / "odd.safetensors").write_bytes(data)
    tensor = MappedFile(tmp_path / "odd.safetensors").tensors["w"]
    assert tensor.tolist() == [1.5, -2.0]
    assert tensor.data_ptr() % 4 == 0


def test_what_is_written_to_a_tensor_does_not_reach_the_file(file):
    path, state = file
    before = path.read_bytes()
    MappedFile(path).tensors["weight"].fill_(0.0)
    assert path.read_bytes() == before
    assert torch.equal(MappedFile(path).tensors["weight"], state["weight"])


def test_released_pages_are_read_again(file):
    path, state = file
    opened = MappedFile(path)
    for _ in range(2):
        opened.release()
        assert torch.equal(opened.tensors["weight"], state["weight"])


def test_without_madvise(file, monkeypatch):
    path, state = file
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    opened = MappedFile(path)
    opened.release()
    assert torch.equal(opened.tensors["weight"], state["weight"])


def test_its_hash_is_that_of_the_bytes(file):
    path, _ = file
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert MappedFile(path).sha256 == MappedFile(path, digest).sha256 == digest


def test_a_wrong_hash_is_refused(file):
    path, _ = file
    with pytest.raises(ValueError, match=r"snapshot-000\.safetensors: damaged, its SHA-256 is not the manifest's; "):
        MappedFile(path, "0" * 64)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^path='gone.safetensors': there is no such file; pass "):
        MappedFile("gone.safetensors")
    with pytest.raises(FileNotFoundError, match=r"^gone.safetensors: missing, though the manifest names it; "):
        MappedFile("gone.safetensors", "0" * 64)


def damage(data):
    yield "empty", b""
    yield "short", data[: len(data) // 2]
    yield "one byte short", data[:-1]
    yield "one byte more", data + b"!"
    yield "no header", data[:8]
    yield "a pickle", b"\x80\x02" + data
    yield "a header that never ends", b"\xff" * 8 + data[8:]
    yield "not JSON", data[:8] + b"!" + data[9:]
    yield "an unknown dtype", data.replace(b'"F32"', b'"F99"', 1)
    yield "another shape", data.replace(b'"shape":[3', b'"shape":[4', 1).replace(b'"shape":[300', b'"shape":[400', 1)
    yield "text", b"{}"


@pytest.mark.parametrize("index", range(11))
def test_a_damaged_file_is_refused(index, file):
    path, _ = file
    what, data = list(damage(path.read_bytes()))[index]
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^path='.*snapshot-000.safetensors': not a whole safetensors file \(") as e:
        MappedFile(path)
    assert "\n" not in str(e.value), what


def test_names_of_tied_weights_that_lead_nowhere(tmp_path):
    for aliases in ('{"b": "gone"}', '["b"]', "3", "{"):
        (tmp_path / "tied.safetensors").write_bytes(save({"a": torch.ones(2)}, {"aliases": aliases}))
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            MappedFile(tmp_path / "tied.safetensors")


@pytest.mark.parametrize("what", ["deleted", "replaced", "moved"])
def test_it_outlives_its_file(what, file, tmp_path):
    path, state = file
    opened = MappedFile(path)
    if what == "deleted":
        path.unlink()
    elif what == "moved":
        path.parent.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    else:
        save_file(big(1, rows=2), tmp_path / "new")
        os.replace(tmp_path / "new", path)
    for _ in range(2):
        opened.check()
        assert torch.equal(opened.tensors["weight"], state["weight"])
        opened.release()


def test_a_file_that_is_written_into_is_noticed(tmp_path):
    path = tmp_path / "snapshot-000.safetensors"
    save_file(big(0), path)
    opened = MappedFile(path)
    opened.check()
    save_file(big(1), tmp_path / "other")
    rewrite(path, (tmp_path / "other").read_bytes())
    with pytest.raises(RuntimeError, match=r"snapshot-000.safetensors: was written into while .*; make the ensemble"):
        opened.check()


def test_a_file_that_was_cut_short_is_noticed_before_it_is_read(tmp_path):
    # To read beyond the end of a mapped file kills the process.
    path = tmp_path / "snapshot-000.safetensors"
    save_file(big(), path)
    opened = MappedFile(path)
    with path.open("r+b") as handle:
        handle.truncate(100)
    with pytest.raises(RuntimeError, match="was written into"):
        opened.check()


def test_the_same_bytes_written_again_are_no_matter(tmp_path):
    path = tmp_path / "snapshot-000.safetensors"
    save_file(big(), path)
    opened = MappedFile(path)
    rewrite(path, path.read_bytes())
    opened.check()
    assert torch.equal(opened.tensors["weight"], big()["weight"])


def test_what_was_read_and_not_mapped_is_not_looked_at_again(tmp_path):
    path = tmp_path / "snapshot-000.safetensors"
    save_file(big(rows=3), path)
    opened = MappedFile(path)
    rewrite(path, b"\0" * path.stat().st_size)
    opened.check()
    opened.release()
    assert torch.equal(opened.tensors["weight"], big(rows=3)["weight"])


def test_a_copy_is_the_same_mapping_and_a_pickle_maps_again(file):
    path, state = file
    opened = MappedFile(path)
    assert copy.deepcopy(opened) is opened
    assert len(pickle.dumps(opened)) < 1000
    again = pickle.loads(pickle.dumps(opened))
    assert again.sha256 == opened.sha256
    assert torch.equal(again.tensors["weight"], state["weight"])


def test_a_pickle_finds_its_file_from_another_folder(file, monkeypatch, tmp_path):
    path, state = file
    monkeypatch.chdir(path.parent)
    pickled = pickle.dumps(MappedFile(path.name))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert torch.equal(pickle.loads(pickled).tensors["weight"], state["weight"])


def test_a_pickle_refuses_another_file_under_the_old_name(file):
    path, _ = file
    pickled = pickle.dumps(MappedFile(path))
    save_file(big(1, rows=2), path)
    with pytest.raises(ValueError, match="damaged"):
        pickle.loads(pickled)


def test_made_in_inference_mode_it_can_be_used_outside(file):
    path, _ = file
    with torch.inference_mode():
        opened = MappedFile(path)
    assert not any(tensor.is_inference() for tensor in opened.tensors.values())
    opened.tensors["weight"].add_(1)


def test_nothing_is_left_open(file, recwarn):
    path, _ = file
    for _ in range(20):
        MappedFile(path)
    held = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        MappedFile(path)
    if held:
        assert len(os.listdir("/proc/self/fd")) <= held + 1


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_released_files_take_no_memory(tmp_path):
    for index in range(8):
        save_file({"weight": torch.full((2_000_000,), float(index))}, tmp_path / f"{index}.safetensors")
    # In a process of its own: what other tests left free would hide it.
    code = """
import sys
from lightning_lr.snapshots.mapped import MappedFile
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
files = [MappedFile(f"{sys.argv[1]}/{i}.safetensors") for i in range(8)]
files[0].tensors["weight"].sum(); files[0].release()
start = resident()
for i, file in enumerate(files):
    assert file.tensors["weight"].mean() == i
    if sys.argv[2] == "release": file.release()
print(resident() - start)
"""
    grown = {}
    for how in ("release", "keep"):
        run = [sys.executable, "-c", code, str(tmp_path), how]
        ran = subprocess.run(
            run, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert ran.returncode == 0, ran.stderr
        grown[how] = float(ran.stdout)
    # Eight files of 7.6 MiB.
    assert grown["release"] < 10
    assert grown["keep"] > 50


def test_the_size_from_which_on_files_are_mapped():
    assert mapped._SMALL == 1_048_576
