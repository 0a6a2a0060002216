"""What the picture of a schedule is drawn from."""

from __future__ import annotations

from recipes.pictures import used


def series(*values):
    return list(enumerate(values))


def test_one_curve_for_all_param_groups_that_share_it():
    logged = {"train/loss": series(2.0), "lr-SGD/pg1": series(0.1, 0.2), "lr-SGD/pg1-momentum": series(0.9, 0.9)}
    logged |= {"lr-SGD/pg2": series(0.1, 0.2), "lr-SGD/pg2-momentum": series(0.9, 0.9)}
    assert used(logged) == {"lr": [0.1, 0.2], "momentum": [0.9, 0.9]}


def test_one_curve_a_group_where_they_differ_in_the_groups_order():
    # As a file's columns are sorted: the tenth before the second.
    logged = {"lr-AdamW/pg1": series(0.1), "lr-AdamW/pg10": series(0.3), "lr-AdamW/pg2": series(0.2)}
    assert used(logged) == {"lr[0]": [0.1], "lr[1]": [0.2], "lr[2]": [0.3]}


def test_a_single_group_has_no_number():
    logged = {"lr-SGD": series(0.1), "lr-SGD-momentum": series(0.9), "val/loss": series(1.0)}
    assert used(logged) == {"lr": [0.1], "momentum": [0.9]}
