"""What a reliability diagram shows, read from the figure that is written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from lightning_lr.ensemble.scores import Bin, reliability
from lightning_lr.plots import plot_calibration
from tests.plots.drawn import assert_texts_stand_clear, legend, named, points

BEFORE = (Bin(0.5, 0.75, 0.7, 0.5, 10), Bin(0.75, 1.0, 0.9, 0.8, 30))
AFTER = (Bin(0.25, 0.5, 0.4, 0.4, 10), Bin(0.5, 0.75, 0.6, 0.6, 30), Bin(0.75, 1.0, 0.8, 0.9, 40))
EMPTY = Bin(0.0, 0.25, math.nan, math.nan, 0)
DIAGONAL = "as often as predicted; below: overconfident"


def bars(panel):
    """Left edge, right edge and height, in order."""
    return sorted((patch.get_x(), patch.get_x() + patch.get_width(), patch.get_height()) for patch in panel.patches)


def test_shares_against_predicted_probabilities_beside_the_diagonal(figures):
    plot_calibration({"before": BEFORE, "after": AFTER}, "calibration.png", title="digits")
    panel, below = figures[0].axes
    # (10 × 0.2 + 30 × 0.1) / 40 and 40 × 0.1 / 80
    assert [text.strip() for text in legend(figures[0])] == [DIAGONAL, "before: ECE 12.50 %", "after: ECE 5.00 %"]
    assert points(named(panel, " before: ECE 12.50 %")) == [(70, 50), (90, 80)]
    assert points(named(panel, " after: ECE 5.00 %")) == [(40, 40), (60, 60), (80, 90)]
    assert points(named(panel, DIAGONAL)) == [(0, 0), (100, 100)]
    assert (panel.get_ylabel(), below.get_xlabel()) == ("observed share (%)", "predicted probability (%)")
    assert panel.get_xlim() == below.get_xlim() == (-2, 102)
    assert panel.get_ylim() == (-3, 103)
    assert figures[0].get_suptitle() == "digits"
    drawn = [named(panel, " before: ECE 12.50 %"), named(panel, " after: ECE 5.00 %")]
    assert len({line.get_color() for line in drawn}) == len({line.get_marker() for line in drawn}) == 2
    assert len({line.get_linestyle() for line in drawn}) == 2


def test_counts_stand_below_side_by_side_in_their_bins(figures):
    plot_calibration({"before": BEFORE, "after": AFTER}, "calibration.png")
    below = figures[0].axes[1]
    assert below.get_yscale() == "log"
    assert below.get_ylabel() == "samples\n(log scale)"
    counts = bars(below)
    assert [count for *_, count in counts] == [10, 10, 30, 30, 40]
    assert [edge for edge, *_ in counts] == pytest.approx([37.5, 51.25, 62.5, 76.25, 87.5])
    assert [edge for _, edge, _ in counts] == pytest.approx([48.75, 62.5, 73.75, 87.5, 98.75])


def test_one_sample_is_seen(figures):
    plot_calibration({"one": [Bin(0.9, 1.0, 1.0, 1.0, 1)]}, "calibration.png")
    below = figures[0].axes[1]
    assert [count for *_, count in bars(below)] == [1]
    assert 0 < below.get_ylim()[0] < 1


def test_bars_are_wilsons_interval(figures):
    plot_calibration({"a": [Bin(0.0, 0.5, 0.4, 0.0, 10), Bin(0.5, 1.0, 0.9, 0.8, 30)]}, "calibration.png")
    (intervals,) = figures[0].axes[0].collections
    # Wilson's interval of 0 of 10 and of 24 of 30, as R's prop.test(correct=FALSE) has them.
    expected = [[(40, 0.0), (40, 27.7533)], [(90, 62.6946), (90, 90.4948)]]
    for segment, line in zip(intervals.get_segments(), expected, strict=True):
        assert [tuple(point) for point in segment] == [pytest.approx(point, abs=1e-3) for point in line]


def test_bins_of_few_samples_are_hollow_and_off_the_line(figures):
    few = [Bin(0.0, 0.25, 0.2, 1.0, 9), Bin(0.25, 0.5, 0.4, 0.0, 1)]
    plot_calibration({"a": [BEFORE[0], *few, BEFORE[1]]}, "calibration.png")
    panel = figures[0].axes[0]
    solid = named(panel, next(name for name in legend(figures[0]) if "ECE" in name))
    assert points(solid) == [(70, 50), (90, 80)]
    assert solid.get_linestyle() == "-"
    (hollow,) = [line for line in panel.lines if points(line) == [(20, 100), (40, 0)]]
    assert (hollow.get_linestyle(), hollow.get_markerfacecolor()) == ("None", "white")
    assert hollow.get_color() == solid.get_color()
    assert legend(figures[0])[-1] == "fewer than 10 samples"


def test_empty_bins_are_left_out(figures):
    plot_calibration({"before": (EMPTY, *BEFORE)}, "calibration.png")
    panel, below = figures[0].axes
    assert points(named(panel, " before: ECE 12.50 %")) == [(70, 50), (90, 80)]
    assert len(below.patches) == 2


def test_the_error_is_that_of_torchmetrics(figures):
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(500, generator=generator, dtype=torch.float64)
    hits = torch.rand(500, generator=generator, dtype=torch.float64) < probs**2
    error = binary_calibration_error(probs, hits.long(), n_bins=15, norm="l1").item()
    plot_calibration({"a": reliability(probs, hits, bins=15)}, "calibration.png")
    assert legend(figures[0])[1].strip() == f"a: ECE {100 * error:.2f} %"
    assert error > 0.1


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("name", ["_a", "$x$ 5$ ", "mean_prob, last 3 of 5 members, temperature 1.3 " * 3])
def test_no_text_is_cut_off_and_none_lies_on_another(name, count, figures):
    plot_calibration({f"{name}{index}": BEFORE for index in range(count)}, "calibration.png", title="a title")
    (figure,) = figures
    assert_texts_stand_clear(figure)
    assert "".join(legend(figure)[1].split()) == "".join(f"{name}0: ECE 12.50 %".split())
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())


@pytest.mark.parametrize(
    ("diagrams", "message"),
    [
        ({}, "diagrams={}: nothing to draw; give the bins of each diagram by its name"),
        ({"a": BEFORE, "b": ()}, r"diagrams\['b'\]: nothing to draw, no bin has a sample; give bins of a data set"),
        ({"a": (EMPTY,)}, r"diagrams\['a'\]: nothing to draw, no bin has a sample; give bins of a data set"),
    ],
)
def test_diagrams_that_cannot_be_drawn(diagrams, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        plot_calibration(diagrams, "calibration.png")
    assert not Path("calibration.png").exists()
