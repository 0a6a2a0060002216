from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_lr.__main__ import main
from lightning_lr.snapshots import SnapshotWriter


@pytest.fixture
def folder():
    """Four snapshots, in a folder that is called `snapshots`."""
    writer = SnapshotWriter("snapshots", run_id="d41f")
    writer.open()
    for cycle in range(4):
        writer.write({"weight": torch.full((3,), float(cycle))}, cycle=cycle, step=10, epoch=0, lr=0.1)
    return writer.dirpath


def run(capsys, *arguments: str) -> tuple[int, list[str], list[str]]:
    status = main(["verify", *arguments])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.splitlines()


def test_a_whole_folder(folder, capsys):
    assert run(capsys, "snapshots") == (
        0,
        [
            "snapshots/manifest.json: ok, it names 4 snapshots of run d41f",
            "snapshots/snapshot-000.safetensors: ok",
            "snapshots/snapshot-001.safetensors: ok",
            "snapshots/snapshot-002.safetensors: ok",
            "snapshots/snapshot-003.safetensors: ok",
        ],
        [],
    )


def test_what_is_wrong_with_each_file(folder, capsys):
    path = folder / "snapshot-001.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    (folder / "snapshot-002.safetensors").unlink()
    assert run(capsys, "snapshots") == (
        1,
        [
            "snapshots/manifest.json: ok, it names 4 snapshots of run d41f",
            "snapshots/snapshot-000.safetensors: ok",
            "snapshots/snapshot-001.safetensors: damaged",
            "snapshots/snapshot-002.safetensors: missing",
            "snapshots/snapshot-003.safetensors: ok",
        ],
        [],
    )


def test_what_is_no_member_is_told_and_no_error(folder, capsys):
    (folder / "snapshot-007.safetensors").write_text("of another run")
    (folder / ".staging-snapshot-004.safetensors").write_text("half")
    (folder / "notes.txt").write_text("mine")
    status, out, err = run(capsys, "snapshots")
    assert (status, err) == (0, [])
    assert out[5:] == [
        "snapshots/.staging-snapshot-004.safetensors: not complete",
        "snapshots/snapshot-007.safetensors: not named by the manifest",
    ]


def test_of_several_folders_one_that_is_wrong_does_not_hide_another(folder, capsys):
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/manifest.json").write_text("{")
    status, out, err = run(capsys, "nowhere", "empty", "broken", "snapshots")
    assert status == 1
    assert len(out) == 5
    assert err[:2] == [
        "dirpath='nowhere': there is no such folder; pass the folder that SnapshotCheckpoint wrote",
        "dirpath='empty': no manifest.json in it; pass the folder that SnapshotCheckpoint wrote",
    ]
    assert err[2].startswith("broken/manifest.json: not JSON (")
    assert len(err) == 3


@pytest.mark.parametrize("arguments", [[], ["verify"], ["check", "snapshots"]])
def test_what_is_no_command(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m lightning_lr")


def test_help(capsys):
    with pytest.raises(SystemExit) as left:
        main(["verify", "--help"])
    assert left.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "usage: python -m lightning_lr verify [-h] DIR [DIR ...]" in told
    assert "The exit status is 0 where all members of all folders are ok, else 1." in told


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_from_a_shell(folder, damaged):
    if damaged:
        (folder / "snapshot-003.safetensors").write_bytes(b"")
    ran = subprocess.run(
        [sys.executable, "-m", "lightning_lr", "verify", "snapshots"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == damaged
    assert ran.stderr == ""
    assert ran.stdout.splitlines()[-1] == f"snapshots/snapshot-003.safetensors: {'damaged' if damaged else 'ok'}"
