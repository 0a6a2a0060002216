"""What members are called in a picture."""

from __future__ import annotations

import pytest

from lightning_lr.plots.names import member_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("snapshots[12] (snapshot-012.safetensors)", "snapshot-012"),
        ("snapshots[0] (epoch=3 (1).ckpt)", "epoch=3 (1).ckpt"),
        ("snapshots[0]", "snapshots[0]"),
        ("snapshot-000.safetensors", "snapshot-000.safetensors"),
        ("a model (of 2021)", "a model (of 2021)"),
        ("two\nlines", "two lines"),
        ("", ""),
    ],
)
def test_a_member_goes_by_its_file(name, expected):
    assert member_names([name], 40) == [expected]


def test_files_of_one_name_are_told_apart():
    names = ["snapshots[0] (last.ckpt)", "snapshots[1] (last.ckpt)", "snapshots[2] (other.ckpt)"]
    assert member_names(names, 40) == names


def test_a_member_that_is_there_twice():
    names = ["snapshots[0] (a.safetensors)", "snapshots[0] (a.safetensors)"]
    assert member_names(names, 40) == ["a", "a"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("snapshot-000", "snapshot-000"), ("snapshot-0000", "snapsho…0000"), ("x" * 99, "xxxxxxx…xxxx")],
)
def test_a_long_name_loses_its_middle(name, expected):
    assert member_names([name], 12) == [expected]
