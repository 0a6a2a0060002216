"""What the picture of an ensemble's diversity shows, read from the figure that is written."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lightning_lr.plots import plot_diversity
from lightning_lr.plots.frame import BLACK
from tests.plots.drawn import assert_texts_stand_clear, shown_ticks, texts

NAN = math.nan
NAMES = ["snapshot-000", "snapshot-001", "snapshot-002"]
DISAGREEMENT = [[0.0, 0.04, 0.08], [0.04, 0.0, 0.02], [0.08, 0.02, 0.0]]
CORRELATION = [[1.0, 0.75, 0.5], [0.75, 1.0, 0.875], [0.5, 0.875, 1.0]]


def cells(panel):
    (image,) = panel.images
    return np.ma.filled(image.get_array(), NAN).tolist()


def matrix(count, value):
    return [[value * abs(row - column) for column in range(count)] for row in range(count)]


def darkness(panel):
    """How dark each cell is drawn, 0 to 1."""
    (image,) = panel.images
    return 1 - image.to_rgba(image.get_array())[..., :3].mean(axis=-1)


def test_a_cell_a_pair_with_its_number(figures):
    plot_diversity(DISAGREEMENT, CORRELATION, NAMES, "diversity.png", title="digits")
    disagreement, correlation, first, second = figures[0].axes
    assert cells(disagreement) == [
        pytest.approx([NAN, 4.0, 8.0], nan_ok=True),
        pytest.approx([4.0, NAN, 2.0], nan_ok=True),
        pytest.approx([8.0, 2.0, NAN], nan_ok=True),
    ]
    assert [(text.get_position(), text.get_text()) for text in disagreement.texts] == [
        ((1, 0), "4.0"),
        ((2, 0), "8.0"),
        ((0, 1), "4.0"),
        ((2, 1), "2.0"),
        ((0, 2), "8.0"),
        ((1, 2), "2.0"),
    ]
    assert texts(correlation) == ["0.75", "0.50", "0.75", "0.88", "0.50", "0.88"]
    assert [panel.get_title() for panel in (disagreement, correlation)] == ["disagreement", "correlation of errors"]
    assert first.get_xlabel() == "share of samples (%); darker: more diverse"
    assert second.get_xlabel() == "coefficient; darker: more diverse"
    assert shown_ticks(disagreement.yaxis) == [f"{name}   {index}" for index, name in enumerate(NAMES)]
    assert shown_ticks(disagreement.xaxis) == shown_ticks(correlation.yaxis) == ["0", "1", "2"]
    assert figures[0].get_suptitle() == "digits"


def test_the_more_diverse_the_darker_in_both(figures):
    plot_diversity(DISAGREEMENT, CORRELATION, NAMES, "diversity.png")
    for panel in figures[0].axes[:2]:
        dark = darkness(panel)
        assert dark[0, 2] > dark[0, 1] > dark[1, 2]


def test_the_colours_begin_where_nothing_differs(figures):
    plot_diversity(DISAGREEMENT, CORRELATION, NAMES, "diversity.png")
    disagreement, correlation = figures[0].axes[:2]
    assert disagreement.images[0].get_clim() == (0.0, pytest.approx(8.0))
    assert correlation.images[0].get_clim() == (0.5, 1.0)


def luminance(color):
    """Of the WCAG: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_numbers_are_read_on_their_colours(figures):
    plot_diversity(matrix(10, 0.1), matrix(10, 0.1), list("abcdefghij"), "diversity.png")
    inks = set()
    for panel in figures[0].axes[:2]:
        (image,) = panel.images
        colors = image.to_rgba(image.get_array())
        for text in panel.texts:
            column, row = text.get_position()
            light, dark = sorted((luminance(text.get_color()), luminance(colors[row, column])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) > 3.5
            inks.add(text.get_color())
    assert inks == {"white", BLACK}


def test_members_that_never_differ(figures):
    plot_diversity(matrix(2, 0.0), [[1.0, 1.0], [1.0, 1.0]], ["a", "b"], "diversity.png")
    disagreement, correlation = figures[0].axes[:2]
    assert texts(disagreement) == ["0.0", "0.0"]
    assert texts(correlation) == ["1.00", "1.00"]
    assert {text.get_color() for text in disagreement.texts + correlation.texts} == {BLACK}


def test_a_correlation_that_cannot_be_told_and_one_below_zero(figures):
    plot_diversity(DISAGREEMENT, [[1, -0.5, NAN], [-0.5, 1, NAN], [NAN, NAN, NAN]], NAMES, "diversity.png")
    correlation = figures[0].axes[1]
    assert texts(correlation) == ["-0.50", "-", "-0.50", "-", "-", "-"]
    assert correlation.images[0].get_clim() == (-0.5, 1.0)


def test_correlations_that_cannot_be_told_at_all(figures):
    plot_diversity(DISAGREEMENT, [[NAN] * 3] * 3, NAMES, "diversity.png")
    # There is no colour to explain.
    assert len(figures[0].axes) == 3
    assert texts(figures[0].axes[1]) == ["-"] * 6


def test_distances_of_a_regression(figures):
    plot_diversity(matrix(3, 250.0), CORRELATION, NAMES, "diversity.png", shares=False)
    disagreement, _, first, _ = figures[0].axes
    assert texts(disagreement) == ["250", "500", "250", "250", "500", "250"]
    assert first.get_xlabel() == "RMS distance (target units); darker: more diverse"


@pytest.mark.parametrize(("count", "numbers"), [(2, 2), (10, 90), (11, 0), (60, 0)])
def test_numbers_stand_in_the_cells_of_ten_members_at_most(count, numbers, figures):
    names = [f"snapshots[{index}] (snapshot-{index:03d}.safetensors) $" for index in range(count)]
    plot_diversity(matrix(count, 1 / count), matrix(count, -0.9 / count), names, "diversity.png", title="a title")
    (figure,) = figures
    assert [len(panel.texts) for panel in figure.axes[:2]] == [numbers, numbers]
    assert_texts_stand_clear(figure)
    labels = figure.axes[0].get_yticklabels()
    assert 2 <= len(labels) <= 12
    assert not any(text.get_parse_math() for text in labels)


def test_names_that_are_numbers_stand_once(figures):
    plot_diversity(DISAGREEMENT, CORRELATION, ["0", "1", "2"], "diversity.png")
    assert shown_ticks(figures[0].axes[0].yaxis) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0]], [[1.0]], ["a"]), r"names=\['a'\]: no pair of members to compare; give at least two members"),
        (([], [], []), r"names=\[\]: no pair of members to compare; give at least two members"),
        (
            (DISAGREEMENT, CORRELATION, ["a", "b"]),
            r"disagreement of 3 rows of \[3\], names of 2 members: lengths differ; give a cell a pair",
        ),
        (
            (DISAGREEMENT, [[1.0] * 3, [1.0], [1.0] * 3], NAMES),
            r"correlation of 3 rows of \[1, 3\], names of 3 members: lengths differ; give a cell a pair",
        ),
    ],
)
def test_what_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        plot_diversity(*arguments, "diversity.png")
    assert not Path("diversity.png").exists()
