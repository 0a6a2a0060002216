"""What the picture of a schedule shows, read from the figure that is written, and what cannot be drawn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lightning_lr.plots import plot_schedule
from lightning_lr.schedules.cycles import Cycle
from tests.plots.drawn import legend, marks, points

NAN = math.nan


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
        plot_schedule(**{"values": {"lr": [0.1, 0.2]}, "path": "schedule.png", **arguments})
    assert not Path("schedule.png").exists()
