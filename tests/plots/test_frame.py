"""What is the same for every picture: the file, what is refused, and that matplotlib is left as the user has it."""

from __future__ import annotations

import ast
import errno
import os
import struct
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot

from lightning_lr import plots
from lightning_lr.ensemble.scores import Bin
from lightning_lr.plots import (
    plot_calibration,
    plot_diversity,
    plot_last_m,
    plot_lines,
    plot_loss,
    plot_poolings,
    plot_range_test,
    plot_range_tests,
    plot_schedule,
    plot_training_spent,
)
from lightning_lr.range_test.readings import Run, Settings
from lightning_lr.range_test.result import RangeTest
from lightning_lr.weight_space.basin import Line

FOUND = RangeTest(Settings(min_lr=0.01, max_lr=1.0, steps=3, smoothing=0.0), [Run((2.0, 1.0, 3.0), "complete")])
SCORES = {"accuracy": 0.9, "nll": 0.3}
HALVES = [[1.0, 0.5], [0.5, 1.0]]
DRAW = [
    lambda path, **look: plot_schedule({"lr": [0.1, 0.2]}, path, **look),
    lambda path, **look: plot_loss([(0, 1.0)], path, **look),
    lambda path, **look: plot_range_test(FOUND, path, **look),
    lambda path, **look: plot_range_tests({"one": FOUND}, path, **look),
    lambda path, **look: plot_last_m([SCORES], [SCORES], path, **look),
    lambda path, **look: plot_training_spent([10], [SCORES], [SCORES], path, **look),
    lambda path, **look: plot_poolings({"vote": SCORES}, path, **look),
    lambda path, **look: plot_calibration({"before": [Bin(0.5, 1.0, 0.8, 0.7, 10)]}, path, **look),
    lambda path, **look: plot_diversity(HALVES, HALVES, ["a", "b"], path, **look),
    lambda path, **look: plot_lines([Line((0.0, 1.0), (0.3, 0.2), ("a", "b"))], path, **look),
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
    known = {"frame", "loss", "schedule", "range_test", "range_tests"}
    known |= {"calibration", "diversity", "lines", "members", "names", "poolings", "quantities"}
    assert known <= {source.stem for source in SOURCES}


@pytest.mark.parametrize("write", DRAW)
def test_a_title_is_shown_whole_and_as_it_is_written(write, figures):
    title = "costs $5 and $6, " + "a word " * 20 + "\nand a second line"
    write("picture.png", title=title)
    (figure,) = figures
    (above,) = [each._suptitle for each in (figure, *figure.subfigs) if each._suptitle]
    assert above.get_text().split() == title.split()
    assert above.get_text().splitlines()[-1] == "and a second line"
    assert not above.get_parse_math()
    box = above.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1


def test_what_is_in_two_panels_is_in_the_legend_once(figures):
    plot_last_m([SCORES], [SCORES], "picture.png")
    names = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert names == ["best single member", "ensemble of the last m", "the member that joins there, alone"]


def test_an_older_picture_stays_where_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    DRAW[0](path)
    older = path.read_bytes()

    def refuse(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="No space left on device; not written") as refused:
            DRAW[1](path)
    assert refused.value.filename == str(path)
    assert path.read_bytes() == older
    assert [each.name for each in tmp_path.iterdir()] == ["picture.png"]
    DRAW[1](path)
    assert path.read_bytes() != older


def test_a_folder_in_the_pictures_place(tmp_path):
    (tmp_path / "picture.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"picture\.png"):
        DRAW[0](tmp_path / "picture.png")
