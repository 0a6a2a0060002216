"""A refusal is one line that names the option; a fault of the code keeps its traceback."""

from __future__ import annotations

import pytest
from hydra.errors import CompactHydraException
from lightning.fabric.utilities.exceptions import MisconfigurationException

from recipes.errors import one_line
from recipes.run import build


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["schedule.cycles=0"], "schedule: cycles=0: out of range; pass an int of at least 1"),
        (["schedule.max_lr=-1"], "schedule: max_lr=-1: out of range; pass a number above 0"),
        (
            ["schedule.warmup=2miles"],
            'schedule: warmup=\'2miles\': not a duration; write 500 or "500st" for updates, "10ep" for epochs, '
            '"30%" for a share of the run',
        ),
        (["schedule.cycle=2ep"], "schedule: cycles=5, cycle='2ep': they exclude each other; pass exactly one of them"),
        (["data.batch_size=0"], "data: batch_size=0: out of range; pass an int of at least 1"),
        (["model.width=-1"], "model: width=-1: out of range; pass an int of at least 1"),
        (["snapshots.keep_last=0"], "snapshots: keep_last=0: out of range; pass an int of at least 1"),
    ],
)
def test_what_a_part_refuses_is_one_line_that_names_the_option(overrides, line, composed, tmp_path):
    with pytest.raises(CompactHydraException) as refused, one_line():
        build(composed(*overrides), tmp_path)
    assert str(refused.value) == line


@pytest.mark.parametrize("kind", [ValueError, TypeError, RuntimeError, FileExistsError, MisconfigurationException])
def test_lines_are_joined(kind):
    with pytest.raises(CompactHydraException, match=r"^first second$"), one_line():
        raise kind("first\n  second")


def test_another_process_says_which_it_is(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(CompactHydraException, match=r"^\[process 1\] wrong$"), one_line():
        raise ValueError("wrong")


def test_a_fault_of_the_code_keeps_its_traceback():
    with pytest.raises(KeyError), one_line():
        raise KeyError("step")
