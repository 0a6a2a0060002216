"""What a resumed run takes up from its folder, what the command line changes, and what is refused."""

from __future__ import annotations

import pytest
import yaml
from omegaconf import OmegaConf

from recipes.resume import CHECKPOINT, put_back, require_own_folder, set_aside, take_up


@pytest.fixture
def stopped(composed, tmp_path):
    """Make the folder of a run that was stopped, composed of these overrides."""

    def stopped(*overrides, **changed):
        folder = tmp_path / "run"
        (folder / CHECKPOINT).parent.mkdir(parents=True)
        (folder / CHECKPOINT).write_bytes(b"")
        sections = OmegaConf.to_container(composed(*overrides), resolve=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(sections | changed))
        return folder

    return stopped


@pytest.fixture
def resumed(composed, tmp_path):
    """Compose `resume=run` with overrides and take up the run."""

    def resumed(*overrides):
        said = ["resume=run", *overrides]
        return take_up(composed(*said), tmp_path, said)

    return resumed


RUN = (
    *("seed=7", "threads=null", "label_smoothing=0.1", "data.batch_size=32", "model.width=4", "optimizer.momentum=0.8"),
    *("schedule=one_cycle", "schedule.max_lr=0.3", "trainer.max_epochs=3", "snapshots.dtype=float16"),
    *("checkpoint.every_n_train_steps=5", "logger=tensorboard"),
)


def test_the_run_is_what_it_was(stopped, resumed, composed):
    stopped(*RUN)
    taken, whole = resumed(), composed(*RUN)
    assert OmegaConf.to_container(taken, resolve=True) == OmegaConf.to_container(whole, resolve=True) | {
        "resume": "run"
    }
    # Typed as before: what is wrong in it is refused as on any command line.
    assert OmegaConf.get_type(taken.schedule) is OmegaConf.get_type(whole.schedule)


def test_the_command_line_changes_single_values(stopped, resumed):
    stopped(*RUN)
    taken = resumed(
        "trainer.max_epochs=6", "schedule.on_new_horizon=stretch", "label_smoothing=0", "checkpoint.every_n_epochs=2"
    )
    assert (taken.trainer.max_epochs, taken.schedule.on_new_horizon, taken.label_smoothing) == (6, "stretch", 0.0)
    assert (taken.checkpoint.every_n_train_steps, taken.checkpoint.every_n_epochs) == (5, 2)
    assert (taken.schedule.max_lr, taken.optimizer.momentum, taken.seed) == (0.3, 0.8, 7)


def test_the_command_line_changes_whole_groups(stopped, resumed):
    stopped(*RUN)
    taken = resumed("logger=csv", "trainer=ddp", "trainer.devices=2")
    assert taken.logger._target_ == "recipes.log.MetricsFile"
    assert (taken.trainer.strategy, taken.trainer.devices, taken.trainer.max_epochs) == ("ddp", 2, 40)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            {"model": {"_target_": "os.system", "command": "touch gone"}},
            "model is 'os.system', not one of",
        ),
        ({"snapshots": {"_target_": "os.system"}}, "snapshots is 'os.system', not what this recipe has there"),
        ({"trainer": {"_target_": "os.system"}}, "trainer is 'os.system', not one of this recipe's own"),
        ({"schedule": {"_target_": "lightning_lr.SGDR", "max_lr": [1]}}, "schedule: "),
        ({"seed": "seven"}, "seed: Value 'seven' of type 'str' could not be converted to Integer"),
        ({"epochs": 3}, "epochs: Key 'epochs' not in 'Train'"),
    ],
)
def test_a_file_does_not_decide_what_is_run(section, said, stopped, resumed):
    stopped(*RUN, **section)
    with pytest.raises(ValueError, match=said):
        resumed()


def test_a_group_that_is_refused_can_be_given_anew(stopped, resumed):
    stopped(*RUN, model={"_target_": "my.own.Net"})
    assert resumed("model=small_cnn").model._target_ == "recipes.models.small_cnn.SmallCNN"


@pytest.mark.parametrize("key", ["experiment=digits_snapshots", "debug=fast"])
def test_what_sets_values_all_over_is_refused(key, stopped, resumed, composed, tmp_path):
    stopped(*RUN)
    with pytest.raises(ValueError, match="the run has its configuration already"):
        take_up(composed("resume=run"), tmp_path, ["resume=run", key])


def test_what_is_no_run_or_has_no_checkpoint_is_refused(stopped, resumed):
    with pytest.raises(FileNotFoundError, match=r"^resume=run: no run of recipes.train \(no config.yaml in it\)"):
        resumed()
    folder = stopped(*RUN)
    (folder / CHECKPOINT).unlink()
    with pytest.raises(FileNotFoundError, match=r"^resume=run: no checkpoints/last.ckpt in it: it was stopped before"):
        resumed()


def test_a_run_at_its_end_goes_on_only_with_something_new(stopped, resumed):
    folder = stopped(*RUN)
    (folder / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"^resume=run: the run is at its end \(result.json\); to train longer, pass"):
        resumed()
    assert resumed("trainer.max_epochs=9").trainer.max_epochs == 9


def test_what_was_written_is_set_aside_and_never_overwritten(tmp_path):
    for round_ in ("first", "second"):
        for name in ("config.yaml", "metrics.csv", "result.json"):
            (tmp_path / name).write_text(round_)
        set_aside(tmp_path)
    (tmp_path / "metrics.csv").write_text("third")
    set_aside(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        **{f"{name}-0.{kind}": "first" for name, kind in (("config", "yaml"), ("metrics", "csv"), ("result", "json"))},
        **{f"{name}-1.{kind}": "second" for name, kind in (("config", "yaml"), ("metrics", "csv"), ("result", "json"))},
        # It stays for the other processes that read it, until it is replaced.
        "config.yaml": "second",
        "config-2.yaml": "second",
        "metrics-2.csv": "third",
    }


def test_what_was_set_aside_is_put_back_with_nothing_beside_it(tmp_path):
    for name in ("config-0.yaml", "config.yaml", "result.json"):
        (tmp_path / name).write_text(f"old {name}")
    number = set_aside(tmp_path)
    assert number == 1
    for name in ("config.yaml", "metrics.csv"):
        (tmp_path / name).write_text("new")
    put_back(tmp_path, number)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: f"old {name}" for name in ("config-0.yaml", "config.yaml", "result.json")
    }


def test_a_run_goes_on_in_its_own_folder_alone(composed, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for said in ("run", "./run/", "link", str(tmp_path / "run")):
        require_own_folder(composed(f"resume={said}"), tmp_path, tmp_path / "run")
    with pytest.raises(ValueError, match=r"^resume=run: a run goes on in its own folder, alone; leave out -m and hyd"):
        require_own_folder(composed("resume=run"), tmp_path, tmp_path / "multirun" / "0")


def test_another_optimizer_is_refused_and_the_same_is_not(stopped, resumed):
    stopped(*RUN)
    with pytest.raises(
        ValueError, match=r"^optimizer: is torch.optim.AdamW, and the checkpoint has the state of torch.o"
    ):
        resumed("optimizer=adamw")
    assert resumed("optimizer=sgd").optimizer.momentum == 0.9
