"""What the pictures of an ensemble and its members show, read from the figure that is written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lightning_lr.plots import plot_last_m, plot_training_spent
from lightning_lr.plots.frame import BLUE, VERMILLION
from tests.plots.drawn import assert_texts_stand_clear, legend, named, points, shown_ticks, texts

NAN = math.nan
MEMBERS = [
    {"accuracy": 0.90, "nll": 0.40, "brier": 0.2, "ece": 0.05},
    {"accuracy": 0.94, "nll": 0.20, "brier": 0.1, "ece": 0.03},
    {"accuracy": 0.92, "nll": 0.30, "brier": 0.1, "ece": 0.04},
]
ENSEMBLES = [MEMBERS[2], {"accuracy": 0.955, "nll": 0.15}, {"accuracy": 0.95, "nll": 0.16}]
SO_FAR = [MEMBERS[0], {"accuracy": 0.93, "nll": 0.25}, {"accuracy": 0.95, "nll": 0.16}]
ENSEMBLE, ALONE, BEST = "ensemble of the last m", "the member that joins there, alone", "best single member"


def scores(accuracies, nll=0.5):
    return [{"accuracy": accuracy, "nll": nll} for accuracy in accuracies]


def regression(errors, nlls):
    return [{"mse": mse, "mae": 1.0, "nll": nll} for mse, nll in zip(errors, nlls, strict=True)]


def level(panel, label):
    (height,) = set(named(panel, label).get_ydata())
    return height


# ---- by how many members


def test_each_ensemble_and_above_it_the_member_that_joins_it(figures):
    plot_last_m(ENSEMBLES, MEMBERS, "last_m.png", title="digits")
    accuracy, nll = figures[0].axes
    assert points(named(accuracy, ENSEMBLE)) == [(1, 92.0), (2, 95.5), (3, 95.0)]
    assert points(named(accuracy, ALONE)) == [(1, 92.0), (2, 94.0), (3, 90.0)]
    assert points(named(nll, ENSEMBLE)) == [(1, 0.30), (2, 0.15), (3, 0.16)]
    assert points(named(nll, ALONE)) == [(1, 0.30), (2, 0.20), (3, 0.40)]
    assert (level(accuracy, BEST), level(nll, BEST)) == (94.0, 0.20)
    assert (accuracy.get_ylabel(), nll.get_ylabel()) == ("accuracy (%)", "NLL (nats)")
    assert (accuracy.get_xlabel(), nll.get_xlabel()) == ("", "m: members in the ensemble, counted from the last one")
    assert legend(figures[0]) == [BEST, ENSEMBLE, ALONE]
    assert figures[0].get_suptitle() == "digits"


def test_the_answer_stands_above_each_panel(figures):
    plot_last_m(ENSEMBLES, MEMBERS, "last_m.png")
    accuracy, nll = figures[0].axes
    assert accuracy.get_title(loc="left") == "all 3: 95.00 % (+1.00 points)"
    assert accuracy.get_title(loc="right") == "best single member: 94.00 %"
    assert nll.get_title(loc="left") == "all 3: 0.160 (-0.0400)"
    assert nll.get_title(loc="right") == "best single member: 0.200"
    assert accuracy._left_title.get_color() == BLUE


def test_what_was_chosen_is_marked_in_every_panel(figures):
    plot_last_m(ENSEMBLES, MEMBERS, "last_m.png", chosen=2)
    accuracy, nll = figures[0].axes
    assert points(named(accuracy, "chosen: m = 2")) == [(2, 95.5)]
    assert points(named(nll, "chosen: m = 2")) == [(2, 0.15)]
    for panel in (accuracy, nll):
        (upright,) = [line for line in panel.lines if list(line.get_xdata()) == [2, 2]]
        assert list(upright.get_ydata()) == [0, 1]
        assert upright.get_color() == panel._left_title.get_color() == VERMILLION
    assert accuracy.get_title(loc="left") == "last 2 of 3: 95.50 % (+1.50 points)"
    assert nll.get_title(loc="left") == "last 2 of 3: 0.150 (-0.0500)"


def test_a_regression(figures):
    errors = regression([3e6, 2e6], [-1.0, -1.5])
    plot_last_m(errors[::-1], errors, "last_m.png")
    mse, nll = figures[0].axes
    assert (mse.get_ylabel(), nll.get_ylabel()) == ("MSE (target units²)", "NLL (nats)")
    assert points(named(mse, ENSEMBLE)) == [(1, 2e6), (2, 3e6)]
    assert points(named(nll, ALONE)) == [(1, -1.5), (2, -1.0)]
    assert mse.get_title(loc="left") == "all 2: 3.00e6 (+1.00e6)"
    assert nll.get_title(loc="right") == "best single member: -1.50"


def test_a_panel_a_score_that_there_is(figures):
    plot_last_m([{"nll": 0.3}], [{"nll": 0.3}], "last_m.png")
    assert [panel.get_ylabel() for panel in figures[0].axes] == ["NLL (nats)"]


def test_one_member(figures):
    plot_last_m(MEMBERS[:1], MEMBERS[:1], "last_m.png")
    accuracy, nll = figures[0].axes
    assert accuracy.get_title(loc="left") == "the only one: 90.00 % (+0.00 points)"
    assert nll.get_title(loc="left") == "the only one: 0.400 (+0)"
    low, high = accuracy.get_xlim()
    assert low < 1 < high
    assert shown_ticks(nll.xaxis) == ["1"]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (5, ["1", "2", "3", "4", "5"]),
        (20, ["2", "4", "6", "8", "10", "12", "14", "16", "18", "20"]),
        (60, ["1", "5", "10", "15", "20", "25", "30", "35", "40", "45", "50", "55", "60"]),
    ],
)
def test_m_is_counted_from_one_in_whole_numbers(count, expected, figures):
    plot_last_m(scores([0.9] * count), scores([0.9] * count), "last_m.png")
    assert shown_ticks(figures[0].axes[1].xaxis) == expected


# ---- the scores' axes


def test_accuracies_of_one_leave_the_axis_within_a_hundred_percent(figures):
    plot_last_m(scores([1.0] * 3, nll=0.0), scores([1.0] * 3, nll=0.0), "last_m.png")
    accuracy, nll = figures[0].axes
    assert accuracy.get_ylim() == pytest.approx((98.92, 100.08))
    assert shown_ticks(accuracy.yaxis)[-1] == "100"
    bottom, top = nll.get_ylim()
    assert bottom < 0 < top
    assert nll.get_title(loc="left") == "all 3: 0 (+0)"


def test_a_member_far_off_does_not_flatten_the_rest(figures):
    members = [{"accuracy": 0.10, "nll": 2.3}, {"accuracy": 0.97, "nll": 0.12}, {"accuracy": 0.98, "nll": 0.10}]
    ensembles = [{"accuracy": 0.98, "nll": 0.10}, {"accuracy": 0.99, "nll": 0.08}, {"accuracy": 0.985, "nll": 0.09}]
    plot_last_m(ensembles, members, "last_m.png")
    accuracy, nll = figures[0].axes
    # The answer spans a point: four of them are shown, and a margin.
    assert accuracy.get_ylim() == pytest.approx((95 - 0.32, 99 + 0.32))
    assert list(named(accuracy, ALONE).get_ydata()) == pytest.approx([98.0, 97.0, NAN], nan_ok=True)
    off = named(accuracy, f"{ALONE}, off the axis")
    assert list(off.get_xdata()) == [3]
    assert off.get_marker() == "v"
    assert texts(accuracy) == ["10"]
    assert nll.get_ylim() == pytest.approx((0.08 - 0.0064, 0.16 + 0.0064))
    assert named(nll, f"{ALONE}, off the axis").get_marker() == "^"
    assert texts(nll) == ["2.3"]
    assert legend(figures[0])[-1] == f"{ALONE}, off the axis"


def test_members_below_the_ensemble_as_they_usually_are_stay_on_the_axis(figures):
    plot_last_m(ENSEMBLES, MEMBERS, "last_m.png")
    for panel in figures[0].axes:
        low, high = panel.get_ylim()
        assert all(low < score < high for _, score in points(named(panel, ALONE)))
        assert texts(panel) == []


@pytest.mark.parametrize(
    ("nlls", "scale"), [((1.0, 0.04), "log"), ((1.0, 0.06), "linear"), ((1.0, 0.0), "linear"), ((1.0, -9.0), "linear")]
)
def test_the_scale_is_logarithmic_where_the_answer_asks_for_it(nlls, scale, figures):
    losses = [{"nll": nll} for nll in nlls]
    plot_last_m(losses, losses[::-1], "last_m.png")
    (panel,) = figures[0].axes
    assert panel.get_yscale() == scale
    assert panel.get_ylabel() == {"log": "NLL (nats)\n(log scale)", "linear": "NLL (nats)"}[scale]
    low, high = panel.get_ylim()
    assert low < min(nlls) < max(nlls) < high


def test_a_member_that_broke_is_left_out_and_counted(figures):
    members = [{"accuracy": 0.1, "nll": NAN}, *MEMBERS[1:]]
    ensembles = [*ENSEMBLES[:2], {"accuracy": 0.1, "nll": NAN}]
    plot_last_m(ensembles, members, "last_m.png")
    nll = figures[0].axes[1]
    assert list(named(nll, f"{ENSEMBLE}, 1 not finite").get_ydata()) == pytest.approx([0.3, 0.15, NAN], nan_ok=True)
    assert list(named(nll, f"{ALONE}, 1 not finite").get_ydata()) == pytest.approx([0.3, 0.2, NAN], nan_ok=True)
    assert nll.get_title(loc="left") == "all 3: nan"
    assert level(nll, BEST) == 0.2


def test_a_score_that_is_nowhere_finite(figures):
    broken = scores([0.5, 0.6], nll=NAN)
    plot_last_m(broken, broken[::-1], "last_m.png")
    nll = figures[0].axes[1]
    assert nll.get_title(loc="right") == "best single member: nan"
    assert list(nll.get_yticks()) == []


# ---- by the training spent


def test_alone_and_all_so_far_at_each_restart(figures):
    plot_training_spent([100, 300, 700], MEMBERS, SO_FAR, "spent.png", title="digits")
    accuracy, nll = figures[0].axes
    alone, together = "the snapshot taken there, alone", "all snapshots so far, together"
    assert points(named(accuracy, alone)) == [(100, 90.0), (300, 94.0), (700, 92.0)]
    assert points(named(accuracy, together)) == [(100, 90.0), (300, 93.0), (700, 95.0)]
    assert points(named(nll, alone)) == [(100, 0.40), (300, 0.20), (700, 0.30)]
    assert points(named(nll, together)) == [(100, 0.40), (300, 0.25), (700, 0.16)]
    assert (level(accuracy, BEST), level(nll, BEST)) == (94.0, 0.20)
    assert accuracy.get_title(loc="left") == "all 3: 95.00 % (+1.00 points)"
    assert nll.get_xlabel() == "training spent (optimizer updates)"
    assert nll.get_xlim()[0] == 0
    assert nll.get_xlim()[1] > 700
    assert figures[0].get_suptitle() == "digits"


def test_a_million_updates_read_well(figures):
    plot_training_spent([250_000, 500_000, 1_000_000], MEMBERS, SO_FAR, "spent.png")
    assert shown_ticks(figures[0].axes[1].xaxis) == ["0", "200k", "400k", "600k", "800k", "1M"]


# ---- both

LAST_M = {
    "one": (scores([0.9]), scores([0.9]), 1),
    "sixty": (scores([0.97] * 60), scores([0.9, *[0.1] * 59]), 40),
    "twenty, all but one off": (scores([0.97] * 20, nll=1e-4), scores([0.97, *[0.1] * 19], nll=12345.0), 20),
    "large": (regression([1e12, 2e12], [-1e5, -2e5]), regression([1e12, 9e13], [-1e5, 7e7]), None),
    "small": (regression([1e-9, 2e-9], [1e-5, 2e-5]), regression([1e-9, 2e-9], [1e-5, 3e-5]), 2),
    "none right": (scores([0.0] * 3, nll=87.3), scores([0.0] * 3, nll=87.3), None),
}


@pytest.mark.parametrize("case", LAST_M)
def test_no_text_is_cut_off_and_none_lies_on_another(case, figures):
    ensembles, members, chosen = LAST_M[case]
    plot_last_m(ensembles, members, "last_m.png", chosen=chosen, title="a title")
    steps = [2**index for index in range(len(members))]
    plot_training_spent(steps, members, ensembles, "spent.png", title="a title")
    for figure in figures:
        assert_texts_stand_clear(figure)


REFUSED = [
    (([], MEMBERS), {}, r"ensembles=\[\]: nothing to draw; give the scores of at least one member"),
    ((ENSEMBLES, []), {}, r"members=\[\]: nothing to draw; "),
    ((ENSEMBLES, MEMBERS[:2]), {}, "ensembles of 3, members of 2 members: lengths differ; give one dict a member"),
    (([{"ece": 0.1}], MEMBERS[:1]), {}, r"ensembles\[0\]={'ece': 0.1}: nothing to draw; give at least one of acc"),
    ((ENSEMBLES, [*MEMBERS[:2], {"accuracy": 0.9}]), {}, r"members\[2\]\['nll'\]=None: missing; give the same scores"),
    ((ENSEMBLES, [{"accuracy": 90.0, "nll": 0.1}] * 3), {}, r"members\[0\]\['accuracy'\]=90.0: not a share; give it f"),
    (([{"nll": "low"}], [{"nll": 1.0}]), {}, r"ensembles\[0\]\['nll'\]='low': not a number; "),
    (
        ([{"nll": NAN}], [{"nll": math.inf}]),
        {},
        "ensembles: nothing to draw, no score is finite; see where the run div",
    ),
    ((ENSEMBLES, MEMBERS), {"chosen": 0}, "chosen=0: out of range; pass an int of at least 1"),
    ((ENSEMBLES, MEMBERS), {"chosen": 4}, "chosen=4: there are 3 members; pass an int of at most 3"),
]


@pytest.mark.parametrize(("arguments", "keywords", "message"), REFUSED)
def test_ensembles_that_cannot_be_drawn(arguments, keywords, message):
    with pytest.raises(ValueError, match=f"^{message}") as refused:
        plot_last_m(*arguments, "last_m.png", **keywords)
    assert "\n" not in str(refused.value)
    assert not Path("last_m.png").exists()


@pytest.mark.parametrize(
    ("steps", "kind", "message"),
    [
        ([1, 2], ValueError, "steps of 2, alone of 3 snapshots: lengths differ; give one step of each"),
        (
            [1, 3, 3],
            ValueError,
            r"steps\[2\]=3: not above the 3 before it; give snapshots of one run, the oldest first",
        ),
        ([-1, 3, 4], ValueError, r"steps\[0\]=-1: out of range; pass an int of at least 0"),
        ([1, None, 4], TypeError, r"steps\[1\]=None: not an int; pass an int of at least 0"),
    ],
)
def test_steps_that_cannot_be_drawn(steps, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        plot_training_spent(steps, MEMBERS, SO_FAR, "spent.png")
    assert not Path("spent.png").exists()
