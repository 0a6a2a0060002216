"""Which snapshots a path means, and which data and model go with them: nothing that a file names is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lightning_lr.snapshots.manifest import MANIFEST
from recipes import run_folder
from recipes.run_folder import adopt, locate
from recipes.train import CONF

DATA = {
    "_target_": "recipes.data.digits.Digits",
    "batch_size": 32,
    "val_size": 100,
    "test_size": 300,
    "split_seed": 7,
    "shuffle_seed": 3,
    "drop_last": False,
}
MODEL = {"_target_": "recipes.models.small_cnn.SmallCNN", "width": 8}


@pytest.fixture
def taken_up(tmp_path):
    """Compose `conf/ensemble.yaml` with overrides and take up what the snapshots' run says."""

    def taken_up(*overrides, snapshots="run"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("ensemble", overrides=[f"snapshots={snapshots}", *overrides])
        given = OmegaConf.to_container(config, resolve=True)["snapshots"]
        adopted, notes = adopt(config, locate(given, tmp_path), list(overrides))
        return OmegaConf.to_container(adopted, resolve=True), notes

    return taken_up


@pytest.fixture
def run(tmp_path):
    """Make a run's folder with a manifest and this config.yaml in it; a run has a trainer."""

    def run(name="run", text=None, trained=True, **sections):
        (tmp_path / name / "snapshots").mkdir(parents=True)
        (tmp_path / name / "snapshots" / MANIFEST).write_text("{}")
        if text is not None or sections:
            (tmp_path / name / "config.yaml").write_text(
                text if text is not None else yaml.safe_dump(sections | ({"trainer": {}} if trained else {}))
            )
        return tmp_path / name

    return run


@pytest.mark.parametrize("said", ["run", "run/snapshots", "./run/", "run/../run"])
def test_a_run_and_its_folder_of_snapshots_are_the_same(said, run, tmp_path):
    folder = run(data=DATA)
    found = locate(said, tmp_path)
    assert found.members.resolve() == folder / "snapshots"
    assert found.configs == (folder / "config.yaml",)
    assert locate(str(folder), Path("/")) == locate("run", tmp_path)


def test_files_are_of_the_runs_that_they_lie_in(run, tmp_path):
    first, second = run("first", data=DATA), run("second", data=DATA)
    (first / "checkpoints").mkdir()
    (tmp_path / "alone.pt").touch()
    files = [first / "snapshots" / MANIFEST, second / "snapshots" / MANIFEST, first / "checkpoints" / "last.ckpt"]
    files[-1].touch()
    found = locate([*map(str, files), "alone.pt"], tmp_path)
    assert found.members == [*files, tmp_path / "alone.pt"]
    assert found.configs == (first / "config.yaml", second / "config.yaml")
    assert locate("alone.pt", tmp_path).members == [tmp_path / "alone.pt"]


def test_home_is_known(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = run()
    assert locate("~/run", Path("/")).members == folder / "snapshots"


@pytest.mark.parametrize(
    ("said", "kind", "line"),
    [
        (
            "gone",
            FileNotFoundError,
            r"^snapshots=gone: not there; pass a folder of snapshots, a run of ",
        ),
        ("empty", FileNotFoundError, r"^snapshots=empty: neither has snapshots nor is a run that has; pass "),
        (["run/config.yaml", "gone"], FileNotFoundError, r"^snapshots=gone: not there; "),
        (["run"], ValueError, r"^snapshots: run is a folder, in a list of files; pass a folder alone, or its files$"),
        ([], ValueError, r"^snapshots=\[\]: no path; "),
        ("", ValueError, r"^snapshots='': no path; "),
        (3, ValueError, r"^snapshots=3: no path; "),
        (["run", None], ValueError, r"^snapshots=\['run', None\]: no path; "),
        ({"a": "run"}, ValueError, r"^snapshots=\{'a': 'run'\}: no path; "),
    ],
)
def test_what_is_no_member_is_refused(said, kind, line, run, tmp_path):
    run(data=DATA)
    (tmp_path / "empty").mkdir()
    with pytest.raises(kind, match=line) as refused:
        locate(said, tmp_path)
    assert "\n" not in str(refused.value)


def test_data_and_model_are_those_of_the_run(run, taken_up):
    run(data=DATA, model=MODEL, seed=9, optimizer={"_target_": "os.system"}, trainer="anything")
    config, notes = taken_up()
    assert (config["data"], config["model"], config["seed"]) == (DATA, MODEL, 0)
    assert notes == []


@pytest.mark.parametrize("text", [None, "seed: 3", "[]", ""])
def test_where_a_run_does_not_say_the_command_line_does(text, run, taken_up):
    run(text=text)
    config, notes = taken_up("model.width=4")
    assert (config["data"]["split_seed"], config["model"]["width"]) == (2017, 4)
    assert notes == ["data: no config.yaml tells the run's: what it was trained on may be among these samples"]
    assert taken_up("data=digits")[1] == []


def test_a_value_of_the_command_line_is_put_into_the_runs_section(run, taken_up):
    run(data=DATA, model=MODEL)
    config, notes = taken_up("data.batch_size=256", "++model.width=4", "data.shuffle_seed=${seed}", "seed=5")
    assert config["data"] == DATA | {"batch_size": 256, "shuffle_seed": 5}
    assert config["model"] == MODEL | {"width": 4}
    assert notes == []


def test_a_group_of_the_command_line_is_its_own_altogether(run, taken_up):
    run(data=DATA, model=MODEL)
    config, notes = taken_up("data=digits", "data.test_size=300")
    assert (config["data"]["split_seed"], config["data"]["test_size"], config["model"]) == (2017, 300, MODEL)
    assert notes == [
        "data: not the run's (val_size, split_seed): what it was trained on may be among these samples",
    ]


def test_a_folder_in_which_nothing_was_trained_does_not_vouch_for_the_split(run, taken_up):
    run(data=DATA, model=MODEL, trained=False)
    config, notes = taken_up()
    assert (config["data"], config["model"]) == (DATA, MODEL)
    assert notes == ["data: no config.yaml tells the run's: what it was trained on may be among these samples"]


def test_another_split_than_the_runs_is_told(run, taken_up):
    run(data=DATA, model=MODEL)
    _, notes = taken_up("data.split_seed=8")
    assert notes == ["data: not the run's (split_seed): what it was trained on may be among these samples"]


EVIL = [
    {"_target_": "os.system", "command": "touch pwned"},
    # What begins like one of ours, and is reached through it.
    {"_target_": "recipes.data.digits.torch.load", "f": "evil.pt", "weights_only": False},
    {"_target_": "recipes.data.digits.Digits.__init__.__globals__"},
    {"_target_": "recipes.data.digits.Digits", "batch_size": {"_target_": "os.system", "command": "touch pwned"}},
    {"_target_": "recipes.data.digits.Digits", "_args_": [{"_target_": "os.system", "command": "touch pwned"}]},
    {"_target_": "recipes.data.digits.Digits", "batch_size": "${oc.env:HOME}"},
    {"_target_": "recipes.data.digits.Digits", "batch_size": "${oc.create:'{_target_: os.system}'}"},
    {"_target_": "recipes.data.digits.Digits", "mine": 3},
    {"_target_": "recipes.data.digits.Digits", "batch_size": "many"},
    # A model of ours is no data.
    {"_target_": "recipes.models.small_cnn.SmallCNN"},
    {"_target_": None},
    {"_target_": ["os.system"]},
    {"batch_size": 64},
    ["os.system"],
    "coco.yaml",
    None,
]


@pytest.mark.parametrize("section", EVIL, ids=str)
def test_what_is_not_this_recipes_own_is_refused_and_not_looked_at_where_the_command_line_chooses(
    section, run, taken_up, tmp_path
):
    run(data=section, model=MODEL)
    with pytest.raises(ValueError, match=r"config.yaml: data.*; pass data=\.\.\. on the command line$") as refused:
        taken_up()
    assert "\n" not in str(refused.value)
    assert taken_up("data=digits")[0]["data"]["split_seed"] == 2017
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("text", ["data: [", "data: *nobody", "\x00", "!!python/object/apply:os.system ['touch x']"])
def test_a_file_that_cannot_be_read_is_refused_in_a_line(text, run, taken_up, tmp_path):
    run(text=text)
    with pytest.raises(
        ValueError, match=r"config.yaml: cannot be read .*; pass data=\.\.\. model=\.\.\. on the "
    ) as no:
        taken_up()
    assert "\n" not in str(no.value)
    assert taken_up("data=digits", "model=small_cnn")[0]["model"]["width"] == 16
    assert not (tmp_path / "x").exists()


def test_a_value_that_the_runs_own_class_does_not_have_is_refused(run, taken_up, monkeypatch):
    other = dataclasses.make_dataclass("Deep", [("_target_", str, "recipes.models.deep.Deep"), ("depth", int, 3)])
    monkeypatch.setitem(run_folder.SCHEMAS, "schema/model/deep", other)
    run(data=DATA, model={"_target_": "recipes.models.deep.Deep", "depth": 5})
    assert taken_up()[0]["model"] == {"_target_": "recipes.models.deep.Deep", "depth": 5}
    said = r"^model.width: Deep, which is the run's model, has no such option; pass model=\.\.\. on the command line$"
    with pytest.raises(ValueError, match=said):
        taken_up("model.width=4")


def test_runs_that_differ_do_not_decide(run, taken_up, tmp_path):
    paths = []
    for name, seed in (("first", 1), ("second", 2)):
        folder = run(name, data=DATA | {"split_seed": seed}, model=MODEL)
        paths.append(folder / "snapshots" / "snapshot-000.safetensors")
        paths[-1].touch()
    said = "[first/snapshots/snapshot-000.safetensors,second/snapshots/snapshot-000.safetensors]"
    with pytest.raises(ValueError, match=r"^data: .*first.* and .*second.* differ in it; pass data=\.\.\. on the "):
        taken_up(snapshots=said)
    chosen = ("data=digits", "data.val_size=100", "data.test_size=300", "data.split_seed=7")
    config, notes = taken_up(*chosen, snapshots=said)
    assert config["model"] == MODEL
    assert notes == [f"data: not the run's (split_seed): {run_folder._LEAK}"]


def test_runs_of_several_seeds_decide_together(run, taken_up):
    for name, seed in (("first", 1), ("second", 2)):
        folder = run(name, data=DATA | {"shuffle_seed": seed, "batch_size": 16 * seed}, model=MODEL)
        (folder / "snapshots" / "snapshot-000.safetensors").touch()
    said = "[first/snapshots/snapshot-000.safetensors,second/snapshots/snapshot-000.safetensors]"
    config, notes = taken_up(snapshots=said)
    assert config["data"] == DATA | {"shuffle_seed": 1, "batch_size": 16}
    assert notes == []
