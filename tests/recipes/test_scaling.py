"""Every learning rate of a schedule grows with the number of processes, and nothing else does."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from recipes.run import build
from recipes.scaling import scaled, schedule_of
from recipes.train import CONF

# Those that can be seen before they run: all but the one that listens to a metric.
SCHEDULES = sorted({file.stem for file in (CONF / "schedule").glob("*.yaml")} - {"reduce_on_plateau"})
# Two processes, of which none is started before a fit.
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


@pytest.mark.parametrize(
    ("option", "rates"),
    [
        ("sgdr", {"max_lr": 2.0, "min_lr": 0.0}),
        ("constant", {"lr": 0.4}),
        ("exponential_decay", {"initial_lr": 0.4, "final_lr": 0.004}),
        ("cyclic", {"base_lr": 0.04, "max_lr": 0.4}),
        ("reduce_on_plateau", {"initial_lr": 0.4, "min_lr": 0.0}),
    ],
)
def test_every_rate_and_nothing_else(option, rates, composed):
    schedule = composed(f"schedule={option}").schedule
    made = scaled(schedule, 4)
    assert {name: made[name] for name in rates} == pytest.approx(rates)
    assert {name: value for name, value in made.items() if name not in rates} == {
        name: value for name, value in schedule.items() if name not in rates
    }
    assert OmegaConf.get_type(made) is OmegaConf.get_type(schedule)
    assert schedule == composed(f"schedule={option}").schedule


@pytest.mark.parametrize("option", SCHEDULES)
def test_the_curve_keeps_its_shape(option, composed, tmp_path):
    schedules = [f"schedule={option}", *TWO]
    once, twice = (build(composed(*schedules, f"scale_lr={on}"), tmp_path).policy for on in ("false", "true"))
    plain, scaled_up = (policy.preview(40, 4)["lr"] for policy in (once, twice))
    assert scaled_up == pytest.approx([2 * lr for lr in plain])


def test_auto_stays_and_what_stands_beside_it_is_scaled(composed):
    schedule = scaled(composed("schedule.max_lr=auto", "schedule.min_lr=0.01", "schedule.max_lr_decay=0.5").schedule, 8)
    assert (schedule.max_lr, schedule.min_lr, schedule.max_lr_decay) == ("auto", 0.08, 0.5)


def test_a_list_is_one_rate_a_param_group():
    assert scaled(OmegaConf.create({"max_lr": [0.1, "auto"]}), 2).max_lr == [0.2, "auto"]


def test_without_the_switch_or_with_one_process_nothing_changes(composed):
    config = composed("scale_lr=false", *TWO)
    assert schedule_of(config) is config.schedule
    assert schedule_of(composed("scale_lr=true")) == composed().schedule


def test_nodes_count(composed):
    config = composed("scale_lr=true", *TWO, "trainer.num_nodes=3")
    assert schedule_of(config).max_lr == pytest.approx(6 * 0.5)
