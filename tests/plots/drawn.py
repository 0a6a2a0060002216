"""What is read back from a figure."""

from __future__ import annotations

import math


def points(line):
    return [(x, y) for x, y in zip(*line.get_data(), strict=True) if not math.isnan(x)]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marks(panel):
    return [line.get_xdata()[0] for line in panel.lines if len(set(line.get_xdata())) == 1]
