"""docs/coming-from.md: both sides of each row are evaluated, and are as far apart as the row says."""

from __future__ import annotations

import inspect
import re
from math import cos, floor, log, pi
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch.optim import lr_scheduler

import lightning_lr
from lightning_lr.callbacks.plateau import PlateauRule, Standing

PAGE = (Path(__file__).parent.parent / "docs" / "coming-from.md").read_text()
STEPS, EPOCH, LR = 1000, 50, 0.1


class Row(NamedTuple):
    library: str
    theirs: str
    ours: str
    difference: str


def rows():
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and "`" in line]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def code(cell):
    (found,) = re.findall(r"`([^`]+)`", cell)
    return found


# What the libraries that are not installed do, written from their source: update -> values.


def half_cosine(start, end, share):
    return end + (start - end) * (1 + cos(pi * share)) / 2


def fit_one_cycle(n_epoch, lr_max, div=25.0, div_final=1e5, pct_start=0.25, moms=(0.95, 0.85, 0.95)):
    def way(first, middle, last, done):
        if done < pct_start:
            return half_cosine(first, middle, done / pct_start)
        return half_cosine(middle, last, (done - pct_start) / (1 - pct_start))

    shares = [step / (n_epoch * EPOCH) for step in range(n_epoch * EPOCH)]
    lrs = [way(lr_max / div, lr_max, lr_max / div_final, done) for done in shares]
    return {"lr": lrs, "momentum": [way(*moms, done) for done in shares]}


def fit_flat_cos(n_epoch, lr, div_final=1e5, pct_start=0.75):
    shares = [step / (n_epoch * EPOCH) for step in range(n_epoch * EPOCH)]
    ways = [max(0.0, (done - pct_start) / (1 - pct_start)) for done in shares]
    return {"lr": [half_cosine(lr, lr / div_final, way) for way in ways]}


def fit_sgdr(n_cycles, cycle_len, lr_max, cycle_mult=2):
    lengths = [cycle_len * cycle_mult**index * EPOCH for index in range(n_cycles)]
    return {"lr": [half_cosine(lr_max, 0.0, step / length) for length in lengths for step in range(length)]}


def timm_cosine(
    optimizer,
    t_initial,
    lr_min=0.0,
    cycle_mul=1.0,
    cycle_decay=1.0,
    cycle_limit=1,
    warmup_t=0,
    warmup_lr_init=0.0,
    warmup_prefix=False,
    t_in_epochs=True,
):
    assert not t_in_epochs

    def at(step):
        if step < warmup_t:
            return warmup_lr_init + step * (LR - warmup_lr_init) / warmup_t
        step -= warmup_t if warmup_prefix else 0
        if cycle_mul == 1:
            index, length = step // t_initial, t_initial
            into = step - index * length
        else:
            index = floor(log(1 - step / t_initial * (1 - cycle_mul), cycle_mul))
            length = cycle_mul**index * t_initial
            into = step - (1 - cycle_mul**index) / (1 - cycle_mul) * t_initial
        return half_cosine(LR * cycle_decay**index, lr_min, into / length) if index < cycle_limit else lr_min

    return {"lr": [at(step) for step in range(STEPS)]}


def keras_clr(base_lr, max_lr, step_size, mode):
    assert mode == "triangular2"

    def at(step):
        cycle = floor(1 + step / (2 * step_size))
        x = abs(step / step_size - 2 * cycle + 1)
        return base_lr + (max_lr - base_lr) * max(0.0, 1 - x) / 2 ** (cycle - 1)

    return {"lr": [at(step) for step in range(STEPS)]}


def with_warmup(fall):
    def schedule(optimizer, num_warmup_steps, num_training_steps, num_cycles=None):
        def at(step):
            if step < num_warmup_steps:
                return step / num_warmup_steps
            return fall((step - num_warmup_steps) / (num_training_steps - num_warmup_steps), num_cycles)

        return lr_scheduler.LambdaLR(optimizer, at)

    return schedule


THEIRS = {
    "torch": vars(lr_scheduler),
    "fastai": {"fit_one_cycle": fit_one_cycle, "fit_flat_cos": fit_flat_cos, "fit_sgdr": fit_sgdr},
    "timm": {"CosineLRScheduler": timm_cosine},
    "Keras": {"CyclicLR": keras_clr},
    "transformers": {
        "get_cosine_schedule_with_warmup": with_warmup(lambda way, _: half_cosine(1, 0, way)),
        "get_cosine_with_hard_restarts_schedule_with_warmup": with_warmup(
            lambda way, cycles: half_cosine(1, 0, cycles * way % 1.0)
        ),
        "get_linear_schedule_with_warmup": with_warmup(lambda way, _: 1 - way),
    },
}


def evaluated(row):
    """What theirs and ours use, by name: a list with the value of each update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR, momentum=0.9)
    theirs = eval(code(row.theirs), {**THEIRS[row.library], "optimizer": optimizer})
    if not isinstance(theirs, dict):
        theirs = stepped(theirs, optimizer, EPOCH if row.theirs.endswith("each epoch") else 1)
    policy = eval(code(row.ours), dict(vars(lightning_lr)))
    return theirs, policy.preview(len(theirs["lr"]), EPOCH)


def stepped(scheduler, optimizer, every):
    values = {"lr": [], "momentum": []}
    for step in range(STEPS):
        for name, column in values.items():
            column.append(optimizer.param_groups[0][name])
        optimizer.step()
        if (step + 1) % every == 0 and step + 1 < STEPS:
            scheduler.step()
    return values


def apart(theirs, ours, start=0):
    return max(abs(one - other) for one, other in zip(theirs[start:], ours[start:], strict=True))


def test_every_library_has_rows_and_one_that_is_the_same():
    assert {row.library for row in rows() if row.difference.startswith("same")} == set(THEIRS)


@pytest.mark.parametrize("row", [row for row in rows() if row.difference.startswith("same")], ids=lambda row: row.ours)
def test_what_is_called_the_same_is(row):
    theirs, ours = evaluated(row)
    start = int(found[1]) if (found := re.match(r"same from update (\d+);", row.difference)) else 0
    for name, values in ours.items():
        assert apart(theirs[name], values, start) < 1e-12
    # The sentence after it is not there for nothing.
    assert all(theirs["lr"][step] != ours["lr"][step] for step in range(start))


def test_one_cycle_of_fastai_is_an_update_behind():
    (row,) = [row for row in rows() if row.difference.startswith("one update apart")]
    theirs, ours = evaluated(row)
    assert "theirs peaks at update 250" in row.difference
    assert theirs["lr"].index(max(theirs["lr"])) == 250
    assert "ours peaks at 249" in row.difference
    assert ours["lr"].index(max(ours["lr"])) == 249
    assert ours["lr"][-1] == pytest.approx(0.1 / 1e5, rel=1e-12)
    assert theirs["lr"][-1] > 0.1 / 1e5
    assert apart(theirs["lr"], ours["lr"]) < 0.1 / 100
    assert apart(theirs["momentum"], ours["momentum"]) < 0.1 / 100


@pytest.mark.parametrize("metric", ["positive", "negative"])
def test_a_plateau_is_one_for_both_unless_the_metric_is_negative(metric):
    (row,) = [row for row in rows() if row.difference.startswith("decides alike on a positive metric")]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    theirs = eval(code(row.theirs), {**THEIRS["torch"], "optimizer": optimizer})
    ours = inspect.signature(lightning_lr.ReduceOnPlateau).parameters
    assert all(getattr(theirs, name) == ours[name].default for name in ("factor", "patience", "threshold"))
    assert eval(code(row.ours), dict(vars(lightning_lr))).monitor == "val/loss"
    # Thirty readings that are each a little worse than the one before.
    readings = [(1.0 if metric == "positive" else -1.0) + 2e-6 * index for index in range(30)]
    rule, standing, lrs = PlateauRule(), Standing(), []
    for reading in readings:
        optimizer.step()
        theirs.step(reading)
        standing = rule.after(standing, reading)
        lrs.append((optimizer.param_groups[0]["lr"], LR * standing.scale))
    expected = [0.1] * 11 + [0.01] * 11 + [0.001] * 8
    assert [lr for _, lr in lrs] == pytest.approx(expected, rel=1e-12)
    assert ([lr for lr, _ in lrs] == pytest.approx(expected, rel=1e-12)) == (metric == "positive")


def test_torch_misses_the_peak_of_1cycle_where_it_falls_between_two_updates():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=7)
    lrs = [scheduler.get_last_lr()[0]]
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        lrs += scheduler.get_last_lr()
    assert max(lrs) < 0.099
    assert max(lightning_lr.OneCycle(0.1).preview(7)["lr"]) == 0.1
