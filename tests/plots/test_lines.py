"""What the picture of the loss between members shows, read from the figure that is written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lightning_lr.plots import plot_lines
from lightning_lr.weight_space.basin import Line
from tests.plots.drawn import assert_texts_stand_clear, legend, points, shown_ticks, texts

NAN = math.nan
ALPHAS = (0.0, 0.25, 0.5, 1.0)


def line(losses, first=0, second=None, alphas=ALPHAS):
    second = first + 1 if second is None else second
    return Line(alphas, losses, (f"snapshot-{first:03d}", f"snapshot-{second:03d}"))


def chain(count, peak=2.0):
    return [line((1.0, peak, 1.5, 1.0), index) for index in range(count)]


def drawn(panel, label):
    return [points(each) for each in panel.lines if each.get_label() == label]


def test_neighbours_stand_side_by_side_on_one_axis(figures):
    lines = [line((1.0, 1.5, 2.0, 2.0)), line((2.0, 1.0, 0.5, 3.0), 1)]
    plot_lines(lines, "lines.png", title="digits")
    (panel,) = figures[0].axes
    assert drawn(panel, "loss") == [
        [(0, 1.0), (0.25, 1.5), (0.5, 2.0), (1, 2.0)],
        [(1, 2.0), (1.25, 1.0), (1.5, 0.5), (2, 3.0)],
    ]
    assert drawn(panel, "straight line between the ends") == [
        [(0, 1.0), (0.25, 1.25), (0.5, 1.5), (1, 2.0)],
        [(1, 2.0), (1.25, 2.25), (1.5, 2.5), (2, 3.0)],
    ]
    assert drawn(panel, "members") == [[(0, 1.0), (1, 2.0)], [(1, 2.0), (2, 3.0)]]
    assert shown_ticks(panel.xaxis) == ["snapshot-000", "snapshot-001", "snapshot-002"]
    assert list(panel.get_xticks()) == [0, 1, 2]
    assert panel.get_ylabel() == "validation loss"
    assert panel.get_xlabel() == "on the straight line between the weights of neighbours"
    assert legend(figures[0]) == ["straight line between the ends", "loss", "members", "barrier"]
    assert figures[0].get_suptitle() == "digits"


def test_the_barrier_is_marked_from_the_straight_line_to_the_loss_and_named(figures):
    plot_lines([line((1.0, 1.5, 2.0, 2.0)), line((2.0, 1.0, 0.5, 3.0), 1)], "lines.png")
    (panel,) = figures[0].axes
    # None on the second, which lies below the straight line.
    assert drawn(panel, "barrier") == [[(0.5, 1.5), (0.5, 2.0)]]
    assert texts(panel) == ["barrier 0.500", "barrier 0"]
    assert [text.get_fontweight() for text in panel.texts] == ["bold", "normal"]
    assert [text.get_position()[0] for text in panel.texts] == pytest.approx([0.5, 1.5])


def test_one_line(figures):
    plot_lines([line((0.3, 0.3, 0.3, 0.3))], "lines.png")
    (panel,) = figures[0].axes
    assert texts(panel) == ["barrier 0"]
    assert drawn(panel, "barrier") == []
    assert shown_ticks(panel.xaxis) == ["snapshot-000", "snapshot-001"]


def test_rounding_is_no_barrier(figures):
    flat = line((0.1, 0.1 + 1e-16, 0.1, 0.1))
    assert flat.barrier > 0
    plot_lines([flat], "lines.png")
    assert texts(figures[0].axes[0]) == ["barrier 0"]


def test_lines_that_share_no_member_stand_apart(figures):
    plot_lines([line((1.0, 2.0, 1.0, 1.0), 0, 1), line((1.0, 2.0, 1.0, 1.0), 5, 6)], "lines.png")
    (panel,) = figures[0].axes
    assert shown_ticks(panel.xaxis) == ["snapshot-000", "snapshot-001", "snapshot-005", "snapshot-006"]
    assert list(panel.get_xticks()) == pytest.approx([0, 1, 1.6, 2.6])


def test_a_loss_that_leaves_all_numbers(figures):
    plot_lines([line((1.0, 3.0, math.inf, 2.0)), line((2.0, 2.5, NAN, 2.0), 1)], "lines.png")
    (panel,) = figures[0].axes
    assert texts(panel) == ["barrier inf", "barrier inf"]
    # As high as the highest loss that is one.
    assert drawn(panel, "barrier") == [[(0.5, 1.5), (0.5, 3.0)], [(1.5, 2.0), (1.5, 3.0)]]
    assert panel.get_ylim()[1] < 4


@pytest.mark.parametrize(
    ("peak", "scale"), [(1e6, "log"), (21.0, "log"), (19.0, "linear"), (-1e6, "linear"), (0.0, "linear")]
)
def test_the_scale_is_logarithmic_where_the_spread_asks_for_it(peak, scale, figures):
    plot_lines(chain(2, peak), "lines.png")
    (panel,) = figures[0].axes
    assert panel.get_yscale() == scale
    assert panel.get_ylabel() == {"log": "validation loss (log scale)", "linear": "validation loss"}[scale]


def test_of_many_barriers_the_highest_is_named(figures):
    lines = chain(19)
    lines[4] = line((1.0, 3.25, 1.5, 1.0), 4)
    plot_lines(chain(5), "lines.png")
    plot_lines(lines, "lines.png")
    assert texts(figures[0].axes[0]) == ["1.00"] * 5
    (panel,) = figures[1].axes
    assert texts(panel) == ["highest barrier 2.25"]
    assert len(drawn(panel, "barrier")) == 19


LOSSES = (1.0, 2.0, 1.0, 1.0)
LONG = "snapshots[{}] (snapshot-{:03d}.safetensors) $"
CASES = {
    **{str(count): chain(count) for count in (1, 2, 4, 5, 8, 9, 19, 59)},
    "huge": chain(8, 1.234e30),
    "long names": [Line(ALPHAS, LOSSES, (LONG.format(k, k), LONG.format(k + 1, k + 1))) for k in range(4)],
    "apart": [line(LOSSES, 2 * index) for index in range(3)],
    "short names": [Line(ALPHAS, LOSSES, (str(k), str(k + 1))) for k in range(19)],
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_off_and_none_lies_on_another(case, figures):
    plot_lines(CASES[case], "lines.png", title="a title")
    (figure,) = figures
    assert_texts_stand_clear(figure)
    labels = figure.axes[0].get_xticklabels()
    assert 2 <= len(labels) <= 20
    assert not any(text.get_parse_math() for text in labels)


def test_a_line_draws_itself(figures):
    assert line((1.0, 2.0, 1.0, 1.0)).plot("line.png") == Path("line.png")
    assert texts(figures[0].axes[0]) == ["barrier 1.00"]


def test_nothing_to_draw():
    with pytest.raises(ValueError, match=r"^lines=\[\]: nothing to draw; give at least one line between two members$"):
        plot_lines([], "lines.png")
    assert not Path("lines.png").exists()
