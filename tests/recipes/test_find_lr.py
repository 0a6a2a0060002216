"""What is compared, what is said about it, and the command that it ends in."""

from __future__ import annotations

import io
import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console

from lightning_lr import RangeTest, lr_range_test
from lightning_lr.range_test.readings import Run, Settings
from recipes import advice
from recipes.data.digits import Digits
from recipes.models.small_cnn import SmallCNN
from recipes.range_test import file_of, measure, trainer_options, waiting
from recipes.task import Classifier
from recipes.terminal import quiet
from recipes.train import CONF
from recipes.variants import trained_alike, variants, varied


@pytest.fixture
def composed():
    """Compose `conf/find_lr.yaml` with overrides."""

    def composed(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("find_lr", overrides=list(overrides))

    return composed


def found(*lowest):
    """A test of a run each: flat, down to that loss at 0.1, and up again at the last rate of 1."""
    settings = Settings(1e-8, 1.0, steps=9, smoothing=0.0)
    return RangeTest(settings, tuple(Run((2.0,) * 6 + (1.9, low, 7.0), "diverged") for low in lowest))


def cut(*readings, steps=10):
    """A test of a run each, that diverged after so many readings of 1e-4, 1e-3, ..., or never where there are all."""
    settings = Settings(1e-4, 1e5, steps=steps, smoothing=0.0)
    return RangeTest(
        settings, tuple(Run((1.0,) * count, "complete" if count == steps else "diverged") for count in readings)
    )


def test_a_training_command_line_is_understood(composed):
    overrides = ["schedule=one_cycle", "snapshots.dtype=float16", "seed=3", "trainer.max_epochs=2"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        training = compose("train", overrides=overrides)
    config = composed(*overrides)
    assert {key: config[key] for key in training} == training
    assert {key for key in config if key not in training} == {"range_test", "over"}


def test_a_single_test_is_that_of_the_recipe(composed):
    config = composed()
    assert varied(config) is None
    assert variants(config) == {"": config}
    assert trained_alike(config) == {}
    assert file_of("") == "range_test.json"


@pytest.mark.parametrize(
    ("override", "labels", "key", "values"),
    [
        ("over.momentum=[0.8,0.95]", ["momentum=0.8", "momentum=0.95"], ("range_test", "momentum"), [0.8, 0.95]),
        (
            "over.weight_decay=[0,1e-3]",
            ["weight_decay=0.0", "weight_decay=0.001"],
            ("optimizer", "weight_decay"),
            [0, 0.001],
        ),
        (
            "over.batch_size=[32,1048576]",
            ["batch_size=32", "batch_size=1048576"],
            ("data", "batch_size"),
            [32, 1048576],
        ),
    ],
)
def test_several_tests_differ_in_one_value_each(override, labels, key, values, composed):
    config = composed(override)
    before = config.copy()
    tests = variants(config)
    assert list(tests) == labels
    group, field = key
    assert [test[group][field] for test in tests.values()] == values
    for test in tests.values():
        test[group][field] = config[group][field]
        assert test == config
    assert config == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["over.momentum=[0.9]"], r"^over.momentum=\[0.9\]: nothing to compare; pass two values or more, each once$"),
        (["over.momentum=[]"], r"^over.momentum=\[\]: nothing to compare"),
        (["over.batch_size=[8,8]"], r"^over.batch_size=\[8,8\]: nothing to compare"),
        (["over.momentum=[0.9,1.0]"], r"^over.momentum=\[0.9,1.0\]: out of range; pass .* at least 0 and below 1$"),
        (["over.momentum=[0.9,nan]"], r"^over.momentum=\[0.9,nan\]: out of range"),
        (["over.weight_decay=[-1,0]"], r"^over.weight_decay=\[-1.0,0.0\]: out of range; pass numbers of at least 0$"),
        (["over.batch_size=[0,1]"], r"^over.batch_size=\[0,1\]: out of range; pass numbers of at least 1$"),
        (
            ["over.momentum=[0.8,0.9]", "over.batch_size=[1,2]"],
            "^over.momentum, over.batch_size: they exclude each other; pass one of them at a time$",
        ),
        (
            ["over.momentum=[0.8,0.9]", "range_test.momentum=0.5"],
            r"^over.momentum=\[0.8,0.9\], range_test.momentum=0.5: they exclude each other; pass exactly one of them$",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(overrides, said, composed):
    with pytest.raises(ValueError, match=said):
        variants(composed(*overrides))


@pytest.mark.parametrize(
    ("overrides", "trained"),
    [
        (["range_test.momentum=0.8"], {"optimizer.momentum": "0.8"}),
        (["range_test.momentum=0.8", "schedule=one_cycle"], {"schedule.base_momentum": "0.8"}),
        (
            ["range_test.momentum=0.97", "schedule=cyclic"],
            {"schedule.base_momentum": "0.97", "schedule.max_momentum": "0.97"},
        ),
        (["over.momentum=[0.8,0.955]"], {"optimizer.momentum": "0.955"}),
        (["over.weight_decay=[0,1e-3]"], {"optimizer.weight_decay": "0.001"}),
        (["over.batch_size=[32,128]"], {"data.batch_size": "128"}),
        (
            ["over.batch_size=[32,128]", "range_test.momentum=0.8"],
            {"data.batch_size": "128", "optimizer.momentum": "0.8"},
        ),
        (["range_test.momentum=0.8", "optimizer=adamw"], {"optimizer.betas": "[0.8,0.999]"}),
        # Measured on all processes: what was found is not to be scaled for them again.
        (["scale_lr=true"], {"scale_lr": "false"}),
    ],
)
def test_training_is_told_what_the_test_had(overrides, trained, composed):
    *_, last = variants(composed(*overrides)).values()
    assert trained_alike(last) == trained


@pytest.mark.parametrize(
    ("overrides", "asked", "momentum"),
    [
        (["schedule=one_cycle"], {"max_lr": "max_lr"}, 0.85),
        (["schedule=cyclic"], {"base_lr": "base_lr", "max_lr": "max_lr"}, 0.8),
        (["schedule=sgdr"], {"max_lr": "max_lr"}, None),
        (["schedule=sgdr", "schedule.cycle_momentum=true"], {"max_lr": "max_lr"}, 0.85),
        (["schedule=constant"], {"lr": "fixed_lr"}, None),
        (["schedule=step_decay"], {"initial_lr": "fixed_lr"}, None),
    ],
)
def test_the_schedule_says_which_rates_it_takes_and_its_momentum_at_the_peak(overrides, asked, momentum, composed):
    auto = waiting(composed(*overrides))
    assert (auto.asked, auto.momentum) == (asked, momentum)


def test_the_command_keeps_what_was_chosen_and_leaves_out_what_was_only_for_the_test():
    said = [
        "schedule=step_decay",
        "schedule.milestones=[50%,80%]",
        "schedule.initial_lr=auto",
        "range_test.repeats=5",
        "over.batch_size=[16,32]",
        "data.batch_size=64",
        "++optimizer.weight_decay=1e-3",
    ]
    assert advice.command(said, {"data.batch_size": "32", "schedule.initial_lr": "0.05"}) == (
        "python -m recipes.train schedule=step_decay 'schedule.milestones=[50%,80%]' ++optimizer.weight_decay=1e-3 "
        "data.batch_size=32 schedule.initial_lr=0.05"
    )


def test_a_difference_is_told_only_where_no_run_says_otherwise():
    clear = {"momentum=0.8": found(0.5, 0.6), "momentum=0.9": found(0.3, 0.4)}
    lowest, limit = advice.comparison(clear)
    assert lowest == "momentum=0.9 reaches the lowest loss: each of its 2 runs is beyond every run of the others."
    assert limit == "Which tolerates the largest rate cannot be told: runs of momentum=0.8 and momentum=0.9 overlap."
    assert advice.choice("momentum", clear) == ("To train with momentum=0.9:", ["momentum=0.9"])


def test_runs_that_overlap_tell_no_difference():
    overlapping = {"momentum=0.8": found(0.4, 0.6), "momentum=0.9": found(0.3, 0.45), "momentum=0.95": found(0.5, 0.7)}
    lowest, _ = advice.comparison(overlapping)
    assert lowest == (
        "Which reaches the lowest loss cannot be told: runs of momentum=0.8 and momentum=0.9 overlap; each run of "
        "momentum=0.9 is beyond those of momentum=0.95."
    )
    assert advice.choice("momentum", overlapping) == (
        "None is better beyond doubt. To train with each:",
        ["momentum=0.8", "momentum=0.9", "momentum=0.95"],
    )


def test_one_run_of_each_tells_no_difference():
    single = {"momentum=0.8": found(0.9), "momentum=0.9": found(0.1)}
    (line,) = advice.comparison(single)
    assert line.startswith("One run of each: ")
    assert advice.choice("momentum", single)[1] == ["momentum=0.8", "momentum=0.9"]


def test_the_largest_rate_is_told_by_where_the_runs_diverged():
    # Readings 4, 5, 6, 7 are at 0.1, 1, 10, 100.
    _, limit = advice.comparison({"a=1": cut(4, 5), "a=2": cut(6, 7)})
    assert limit == "a=2 tolerates the largest rate: each of its 2 runs is beyond every run of the others."
    _, limit = advice.comparison({"a=1": cut(4, 6), "a=2": cut(6, 7)})
    assert limit.startswith("Which tolerates the largest rate cannot be told")
    _, limit = advice.comparison({"a=1": cut(4, 6), "a=2": cut(10, 10)})
    assert limit == "a=2 tolerates the largest rate: each of its 2 runs is beyond every run of the others."
    _, limit = advice.comparison({"a=1": cut(10, 10), "a=2": cut(10, 10)})
    assert limit == "None diverged: pass a larger range_test.max_lr to see which tolerates the largest rate."


@pytest.mark.parametrize("name", ["weight_decay", "batch_size"])
def test_the_training_loss_does_not_choose_what_it_cannot(name):
    tests = {f"{name}=1": found(0.5, 0.6), f"{name}=2": found(0.3, 0.4)}
    before, chosen = advice.choice(name, tests)
    assert "does not choose it" in before
    assert chosen == list(tests)


def test_without_a_rate_there_is_no_command():
    flat = RangeTest(Settings(0.001, 1.0, steps=4), (Run((2.0, 2.0, 2.0, 2.0), "complete"),))
    assert flat.max_lr is None
    before, chosen = advice.choice(None, {"": flat})
    assert before.startswith("There is no rate to train with")
    assert chosen == []
    assert advice.choice("momentum", {"momentum=0.8": flat, "momentum=0.9": found(0.5)})[1] == ["momentum=0.9"]


def test_the_table_has_a_row_for_every_value_and_fits_80_columns():
    screen = Console(width=80, record=True, file=io.StringIO())
    # 0.1 is lowest: max_lr is that by 1.5 and fixed_lr by 3. A tenth of the fall is lost no earlier, so that base_lr is
    # a third of max_lr.
    screen.print(
        advice.table("weight_decay", {"weight_decay=1e-05": found(0.6, 0.5), "weight_decay=0.001": cut(4, 10)})
    )
    text = screen.export_text()
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in text.splitlines() if line[0] == "│"]
    assert rows == [
        ["1e-05", "0.067", "0.022", "0.033", "0.5 - 0.6", "1"],
        ["0.001", "-", "-", "-", "1", "0.1 - never"],
    ]
    assert text.startswith("LR range tests, 2 runs each: lowest to highest")
    assert "weight decay" in text


def test_the_test_is_told_what_makes_an_update_and_not_how_long_a_run_is(composed):
    options = trainer_options(composed("trainer=ddp", "trainer.devices=2", "trainer.gradient_clip_val=0.5"))
    assert options["strategy"] == "ddp"
    assert options["devices"] == 2
    assert options["gradient_clip_val"] == 0.5
    assert options["accumulate_grad_batches"] == 1
    assert not [name for name in options if name.startswith(("_", "max_", "min_", "val_", "limit_val", "limit_test"))]


def test_measures_what_the_engine_measures_on_the_recipes_module(composed):
    overrides = ["trainer.accelerator=cpu", "trainer.accumulate_grad_batches=2", "seed=3", "schedule=one_cycle"]
    config = composed("range_test.steps=12", "range_test.repeats=2", "range_test.min_lr=0.01", *overrides)
    with quiet():
        measured = measure(config)
        torch.manual_seed(3)
        model = SmallCNN(channels=1, num_classes=10)
        optimizer = lambda parameters: torch.optim.SGD(parameters, momentum=0.9, nesterov=True, weight_decay=5e-4)  # noqa: E731
        anew = lr_range_test(
            Classifier(model, optimizer, num_classes=10),
            datamodule=Digits(shuffle_seed=3),
            min_lr=0.01,
            steps=12,
            repeats=2,
            momentum=0.85,
            accelerator="cpu",
            devices=1,
            deterministic=True,
            accumulate_grad_batches=2,
        )
    assert measured == anew
    assert measured.settings.momentum == 0.85


def test_what_was_saved_is_what_was_measured(tmp_path):
    tests = {"momentum=0.8": found(0.5, 0.6), "momentum=0.9": found(0.3, 0.4)}
    for label, test in tests.items():
        test.save(tmp_path / file_of(label))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "range_test_momentum=0.8.json",
        "range_test_momentum=0.9.json",
    ]
    assert RangeTest.load(tmp_path / "range_test_momentum=0.9.json") == tests["momentum=0.9"]
    assert json.loads((tmp_path / "range_test_momentum=0.8.json").read_text())["max_lr"] == pytest.approx(0.1 / 1.5)
