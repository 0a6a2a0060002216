"""What random search draws: within its bounds, evenly, each parameter by itself; and what it refuses."""

from __future__ import annotations

import math

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from scipy import stats

from hydra_plugins.lightning_lr_random import RandomSweeper, draw
from recipes.train import CONF


def drawn(*overrides, n_trials=2000, seed=0):
    """The values of the first override."""
    jobs = draw(OverridesParser.create().parse_overrides(list(overrides)), n_trials, seed)
    return [job[0].partition("=")[2] for job in jobs]


def test_hydra_finds_it_and_its_options():
    assert "RandomSweeper" in {each.__name__ for each in Plugins.instance().discover(Sweeper)}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["hydra/sweeper=random"], return_hydra_config=True)
    assert dict(config.hydra.sweeper) == {
        "_target_": "hydra_plugins.lightning_lr_random.RandomSweeper",
        "n_trials": 10,
        "seed": 0,
        "max_batch_size": None,
        "params": None,
    }


def test_the_bayesian_search_composes_where_optuna_is_there():
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="an extra: lightning_lr[optuna]")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sweeper = compose("train", ["hydra/sweeper=bayesian"], return_hydra_config=True).hydra.sweeper
    assert (sweeper.direction, sweeper.n_trials, sweeper.n_jobs, sweeper.max_failure_rate) == ("maximize", 20, 1, 1.0)
    assert sweeper.sampler._target_ == "optuna.samplers.TPESampler"


@pytest.mark.parametrize(
    ("override", "low", "high", "spread"),
    [
        ("lr=interval(0.25,0.75)", 0.25, 0.75, stats.uniform(0.25, 0.5)),
        ("lr=tag(log,interval(0.001,1))", 0.001, 1.0, stats.loguniform(0.001, 1.0)),
    ],
)
def test_floats_are_spread_as_they_should_be(override, low, high, spread):
    values = [float(value) for value in drawn(override)]
    assert low <= min(values) < max(values) <= high
    assert stats.kstest(values, spread.cdf).pvalue > 0.01
    assert all(
        len(value.replace("0.", "").lstrip("0")) <= 4 for value in drawn(override, n_trials=50) if "e" not in value
    )


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("width=int(interval(3,6))", ["3", "4", "5", "6"]),
        ("seed=range(0,4)", ["0", "1", "2", "3"]),
        ("schedule=sgdr,one_cycle", ["sgdr", "one_cycle"]),
        ("data.batch_size=choice(32,64,128)", ["32", "64", "128"]),
    ],
)
def test_each_choice_has_the_same_share(override, values):
    found = drawn(override)
    counts = [found.count(value) for value in values]
    assert sum(counts) == 2000
    assert stats.chisquare(counts).pvalue > 0.01


def test_whole_numbers_on_a_logarithmic_scale():
    values = [int(value) for value in drawn("width=tag(log,int(interval(1,100)))")]
    assert (min(values), max(values)) == (1, 100)
    # As many up to 10 as above.
    assert abs(sum(value <= 10 for value in values) / 2000 - 0.5) < 0.05


def test_each_parameter_draws_by_itself():
    alone = drawn("lr=interval(0,1)", n_trials=5)
    assert drawn("lr=interval(0,1)", "width=int(interval(1,9))", "seed=1", n_trials=5) == alone
    # More trials begin as fewer did.
    assert drawn("lr=interval(0,1)", n_trials=9)[:5] == alone
    assert drawn("lr=interval(0,1)", n_trials=5, seed=1) != alone
    assert drawn("rate=interval(0,1)", n_trials=5) != alone


def test_what_is_not_drawn_is_the_same_for_all():
    jobs = draw(OverridesParser.create().parse_overrides(["seed=1,2", "a=x", "+b=[1,2]", "~c", "a=y"]), 3, 0)
    assert [job[1:] for job in jobs] == [["a=y", "+b=[1,2]", "~c"]] * 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seed=1"], r"hydra/sweeper=random: nothing to draw; pass a list, or 'key=interval\(a,b\)'"),
        (["lr=tag(log,interval(0,1))"], r"lr=tag\(log,interval\(0,1\)\): no logarithm of 0; pass an interval above 0"),
    ],
)
def test_refused(overrides, said):
    with pytest.raises(HydraException, match=said):
        drawn(*overrides)


@pytest.mark.parametrize("options", [{"n_trials": 0}, {"n_trials": 3, "max_batch_size": 0}])
def test_no_jobs_are_refused(options):
    name = "n_trials" if options["n_trials"] == 0 else "max_batch_size"
    with pytest.raises(ValueError, match=rf"^hydra.sweeper.{name}=0: out of range; pass an int of at least 1$"):
        RandomSweeper(seed=0, **options)


def test_the_end_of_an_interval_is_an_end_after_rounding_too():
    values = [float(value) for value in drawn("lr=interval(0.123456,0.123457)", n_trials=20)]
    assert all(0.123456 <= value <= 0.123457 for value in values)
    assert not math.isclose(values[0], 0.1235, abs_tol=1e-9)
