"""What is the same for every picture: the file, what is refused, and that matplotlib is left as the user has it."""

from __future__ import annotations

import ast
import struct
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot

from lightning_lr import plots
from lightning_lr.plots import plot_loss, plot_range_test, plot_range_tests, plot_schedule
from lightning_lr.range_result import RangeTest
from lightning_lr.readings import Run, Settings

FOUND = RangeTest(Settings(min_lr=0.01, max_lr=1.0, steps=3, smoothing=0.0), [Run((2.0, 1.0, 3.0), "complete")])
DRAW = [
    lambda path: plot_schedule({"lr": [0.1, 0.2]}, path),
    lambda path: plot_loss([(0, 1.0)], path),
    lambda path: plot_range_test(FOUND, path),
    lambda path: plot_range_tests({"one": FOUND}, path),
]
SOURCES = sorted(Path(plots.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("write", DRAW)
@pytest.mark.parametrize("kind", [str, Path])
def test_the_path_written_is_returned(write, kind, tmp_path):
    path = write(kind(tmp_path / "picture.png"))
    assert path == tmp_path / "picture.png"
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    # 7.5 inches at 144 dots an inch
    assert struct.unpack(">I", header[16:20]) == (1080,)


@pytest.mark.parametrize("write", DRAW)
@pytest.mark.parametrize("name", ["picture", "picture.xyz", "picture."])
def test_an_ending_that_is_no_format(write, name):
    with pytest.raises(ValueError, match=f"^path='{name}': not the name of a picture; end it in .png, .svg or .pdf$"):
        write(name)


@pytest.mark.parametrize("write", DRAW)
def test_a_folder_that_is_missing(write):
    with pytest.raises(FileNotFoundError, match=r"^path='no/picture\.png': there is no folder 'no'; make it first$"):
        write("no/picture.png")


@pytest.mark.parametrize("write", DRAW)
def test_without_matplotlib(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError) as refused:
        write("picture.png")
    assert (
        str(refused.value) == 'matplotlib: not installed, and pictures need it; run pip install "lightning_lr[recipes]"'
    )


@pytest.mark.parametrize("write", DRAW)
def test_pyplot_is_left_alone(write):
    own = pyplot.figure()
    try:
        write("picture.png")
        assert pyplot.get_fignums() == [own.number]
        assert pyplot.gcf() is own
    finally:
        pyplot.close(own)


@pytest.mark.parametrize("write", DRAW)
@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_other_formats(write, ending):
    assert write(f"picture.{ending}").read_bytes()[:5] in (b"<?xml", b"%PDF-")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_matplotlib_is_imported_when_a_picture_is_drawn_and_not_before(source):
    # By the source: torchmetrics imports matplotlib itself, so that sys.modules tells nothing.
    tree = ast.parse(source.read_text())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "matplotlib" not in " ".join(ast.unparse(node) for node in imports)
    assert "numpy" not in " ".join(ast.unparse(node) for node in imports)
    assert "pyplot" not in " ".join(
        ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)
    )


def test_there_is_a_source_a_picture():
    assert {"frame", "loss", "schedule", "range_test", "range_tests"} <= {source.stem for source in SOURCES}
