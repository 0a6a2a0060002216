"""What the pictures show, read from the figures that are written, and what cannot be drawn."""

from __future__ import annotations

import ast
import math
import struct
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from lightning_lr import plots
from lightning_lr.cycles import Cycle
from lightning_lr.plots import plot_loss, plot_schedule

NAN = math.nan


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved."""
    saved = []
    save = Figure.savefig

    def remember(self, *args, **kwargs):
        saved.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return saved


def points(line):
    return [(x, y) for x, y in zip(*line.get_data(), strict=True) if not math.isnan(x)]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marks(panel):
    return [line.get_xdata()[0] for line in panel.lines if len(set(line.get_xdata())) == 1]


# ---- schedules


def test_schedule_draws_every_value_and_breaks_where_a_cycle_ends(figures):
    plot_schedule({"lr": [0.4, 0.2, 0.4, 0.2]}, "schedule.png", cycles=[Cycle(0, 0, 2), Cycle(1, 2, 4)])
    (panel,) = figures[0].axes
    x, y = panel.lines[0].get_data()
    assert list(x) == pytest.approx([0, 1, 2, NAN, 2, 3, 4, NAN], nan_ok=True)
    assert list(y) == pytest.approx([0.4, 0.2, 0.2, NAN, 0.4, 0.2, 0.2, NAN], nan_ok=True)
    assert marks(panel) == [2, 4]
    assert legend(figures[0]) == ["cycle end"]


def test_schedule_has_a_panel_a_kind_and_a_line_a_group(figures):
    plot_schedule(
        {"lr[0]": [0.1, 0.2], "momentum": [0.9, 0.8], "lr[1]": [0.3, 0.4], "weight_decay": [1e-4, 1e-4]}, "schedule.svg"
    )
    panels = figures[0].axes
    assert [panel.get_ylabel() for panel in panels] == ["learning rate", "momentum", "weight decay"]
    assert [panel.get_xlabel() for panel in panels] == ["", "", "optimizer updates"]
    assert [points(line)[:2] for line in panels[0].lines] == [[(0, 0.1), (1, 0.2)], [(0, 0.3), (1, 0.4)]]
    assert legend(figures[0]) == ["lr[0]", "lr[1]"]
    assert len({line.get_color() for line in panels[0].lines}) == 2
    assert len({line.get_linestyle() for line in panels[0].lines}) == 2


def test_a_cut_cycle_has_no_end(figures):
    plot_schedule({"lr": [0.4, 0.2, 0.4]}, "schedule.png", cycles=[Cycle(0, 0, 2), Cycle(1, 2, 3, complete=False)])
    assert marks(figures[0].axes[0]) == [2]


def test_epochs_stand_above(figures):
    plot_schedule({"lr": [0.1] * 10}, "schedule.png", steps_per_epoch=5, title="Constant")
    (panel,) = figures[0].axes
    (epochs,) = panel.child_axes
    assert epochs.get_xlabel() == "epochs"
    assert [edge * 5 for edge in epochs.get_xlim()] == pytest.approx(panel.get_xlim())
    assert figures[0].get_suptitle() == "Constant"


# ---- the loss


def test_loss_is_smoothed_within_each_cycle_and_the_legend_says_how(figures):
    train = [(step, 1.0 if step < 12 else 3.0) for step in range(24)]
    train[2] = (2, 11.0)
    train[20] = (20, NAN)
    plot_loss(train, "loss.png", validation=[(12, 1.5), (24, 2.5)], cycles=[Cycle(0, 0, 12), Cycle(1, 12, 24)])
    raw, first, second, validation = figures[0].axes[0].lines[:4]
    assert list(raw.get_ydata()) == pytest.approx([loss for _, loss in train], nan_ok=True)
    # (1 + 1 + 11)/3, (1 + 1 + 11 + 1)/4, then fifths until the spike has left the window
    assert list(first.get_ydata()) == pytest.approx([13 / 3, 3.5, 3.0, 3.0, 3.0, *[1.0] * 7])
    assert list(second.get_xdata()) == list(range(12, 24))
    assert list(second.get_ydata()) == pytest.approx([3.0] * 12)
    assert points(validation) == [(12, 1.5), (24, 2.5)]
    assert legend(figures[0]) == [
        "training, each reading, 1 not finite",
        "training, mean of 5 readings",
        "validation",
        "cycle end",
    ]


def test_one_explosion_does_not_stay_in_the_mean(figures):
    train = [(step, 1e30 if step == 10 else 0.25) for step in range(200)]
    plot_loss(train, "loss.png")
    assert list(figures[0].axes[0].lines[1].get_ydata()[13:]) == [0.25] * 187


@pytest.mark.parametrize(
    ("losses", "scale"),
    [((2.0, 0.05), "log"), ((2.0, 0.5), "linear"), ((2.0, 0.0), "linear"), ((0.05, -2.0), "linear")],
)
def test_loss_axis_is_logarithmic_where_the_spread_asks_for_it(losses, scale, figures):
    plot_loss(enumerate(losses), "loss.png")
    assert figures[0].axes[0].get_yscale() == scale


def test_few_readings_are_drawn_as_they_are(figures):
    plot_loss([(0, 2.0), (10, 1.0)], "loss.png")
    (line,) = figures[0].axes[0].lines
    assert points(line) == [(0, 2.0), (10, 1.0)]
    assert legend(figures[0]) == ["training"]


# ---- the members


# ---- the file


def draw(path, **given):
    return plot_schedule(given.pop("values", {"lr": [0.1, 0.2]}), path, **given)


DRAW = [draw, lambda path: plot_loss([(0, 1.0)], path)]


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


def test_matplotlib_is_imported_when_a_picture_is_drawn_and_not_before():
    # By the source: torchmetrics imports matplotlib itself, so that sys.modules tells nothing.
    tree = ast.parse(Path(plots.__file__).read_text())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "matplotlib" not in " ".join(ast.unparse(node) for node in imports)
    assert "pyplot" not in " ".join(
        ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)
    )


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": {}}, "values={}: nothing to draw; give one value an optimizer update, by name"),
        ({"values": {"lr": []}}, r"values\['lr'\]=\[\]: nothing to draw; give at least one value"),
        ({"values": {"lr": [NAN, NAN]}}, r"values\['lr'\]: nothing to draw, none of its 2 values is finite; "),
        (
            {"values": {"lr": [0.1], "momentum": [0.9, 0.8]}},
            r"values of {'lr': 1, 'momentum': 2} updates: lengths differ; ",
        ),
        ({"steps_per_epoch": 0}, "steps_per_epoch=0: out of range; pass a number above 0"),
    ],
)
def test_schedules_that_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        draw("schedule.png", **arguments)
    assert not Path("schedule.png").exists()


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        ([], None, r"train=\[\]: nothing to draw; give at least one value"),
        ([(0, NAN), (1, math.inf)], None, "train: nothing to draw, none of its 2 values is finite; "),
        ([(0, 1.0)], [], r"validation=\[\]: nothing to draw; "),
        ([(0, 1.0)], [(0, NAN)], "validation: nothing to draw, none of its 1 values is finite; "),
    ],
)
def test_losses_that_cannot_be_drawn(train, validation, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        plot_loss(train, "loss.png", validation=validation)
