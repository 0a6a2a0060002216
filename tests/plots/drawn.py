"""What is read back from a figure."""

from __future__ import annotations

import math
from itertools import combinations


def points(line):
    return [(x, y) for x, y in zip(*line.get_data(), strict=True) if not math.isnan(x)]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marks(panel):
    return [line.get_xdata()[0] for line in panel.lines if len(set(line.get_xdata())) == 1]


def part(figure):
    """Where the panels are: what is written below them has a part of its own."""
    return figure.subfigs[0] if figure.subfigs else figure


def boxes(figure):
    """Where each text is that is drawn."""
    every = [*figure.texts, *(text for each in figure.subfigs for text in each.texts)]
    every += [text for each in part(figure).legends for text in each.get_texts()]
    for panel in figure.axes:
        every += [
            *panel.texts,
            panel.title,
            panel._left_title,
            panel._right_title,
            panel.xaxis.label,
            panel.yaxis.label,
        ]
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            every += [
                tick.label1
                for tick in axis.get_major_ticks()
                if low <= tick.get_loc() <= high and tick.label1.get_visible()
            ]
    return [(text.get_text(), text.get_window_extent()) for text in every if text.get_text() and text.get_visible()]


def assert_texts_stand_clear(figure):
    """No text is cut off, and none lies on another."""
    extents = boxes(figure)
    for text, box in extents:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1, text
    assert [(one, other) for (one, box), (other, its) in combinations(extents, 2) if box.overlaps(its)] == []


def texts(panel):
    return [text.get_text() for text in panel.texts]


def named(panel, label):
    """The line that the legend calls so."""
    (line,) = [line for line in panel.lines if line.get_label() == label]
    return line


def shown_ticks(axis):
    """What is written along an axis."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
