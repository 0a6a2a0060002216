"""Models and switches as a user types them: one's own network, torchvision's on two processes, a real compiler."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from hydra import compose, initialize_config_dir

from recipes.metrics import read
from recipes.run import build
from recipes.terminal import quiet
from recipes.train import CONF
from tests.system.commands import IN_TWO, run

pytestmark = pytest.mark.slow

SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=4", "trainer.limit_val_batches=1")

MY_NETWORK = """
from torch import nn


class Net(nn.Module):
    def __init__(self, shape, num_classes, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))

    def forward(self, images):
        return self.layers(images)
"""


def train(*overrides, cwd):
    return run("-m", "recipes.train", "hydra.run.dir=run", *overrides, cwd=cwd)


def test_a_network_of_ones_own_beside_the_command(tmp_path):
    (tmp_path / "my_package.py").write_text(MY_NETWORK)
    mine = ("model=custom", "model._target_=my_package.Net", "+model.width=3")
    done = train(*mine, *SHORT, "schedule.cycles=1", cwd=tmp_path)
    assert done.process.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["config"]["model"] == {"_target_": "my_package.Net", "width": 3}


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        (MY_NETWORK, ["+model.wdth=3"], "model: Net.__init__() got an unexpected keyword argument 'wdth'"),
        ("import not_there", [], "model._target_=my_package.Net: cannot be imported (ModuleNotFoundError: No module "),
    ],
)
def test_what_is_wrong_with_it_is_one_line_and_exit_code_one(text, overrides, said, tmp_path):
    (tmp_path / "my_package.py").write_text(text)
    done = train("model=custom", "model._target_=my_package.Net", *overrides, cwd=tmp_path)
    assert done.process.returncode == 1
    # Hydra says before it which job it was, and after it how to see more.
    _, line, *rest = done.stderr.splitlines()
    assert line.startswith(said)
    assert [each for each in rest if each] == [
        "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace."
    ]


def test_torchvisions_on_two_processes_at_a_rate_that_a_test_finds(tmp_path):
    # The design's example, on images that are made up, small ones.
    done = train(
        *("data=fake", "data.shape=[3,8,8]", "data.batch_size=8", "model=resnet18", *IN_TWO, *SHORT),
        *("schedule=one_cycle", "schedule.max_lr=auto", "scale_lr=true", "trainer.limit_test_batches=2"),
        cwd=tmp_path,
    )
    assert done.process.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    (rate,) = result["found"].values()
    # As it was found, on both processes: not scaled again. The peak of four updates is the first: 0.3 · 4 = 1.2.
    used = dict(read(tmp_path / "run")["lr-SGD/pg1"])
    assert used[0] == pytest.approx(rate)


def test_a_rate_is_scaled_with_the_number_of_processes(tmp_path):
    done = train(*IN_TWO, *SHORT, "scale_lr=true", "schedule=constant", "schedule.lr=0.03", cwd=tmp_path)
    assert done.process.returncode == 0, done.stderr
    for group in (1, 2):
        assert [lr for _, lr in read(tmp_path / "run")[f"lr-SGD/pg{group}"]] == pytest.approx([0.06] * 4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_network_trains_as_one_that_is_not(tmp_path):
    overrides = ["model.width=4", "data.batch_size=16", *SHORT, "schedule=constant", "schedule.lr=0.05"]

    def trained(*more):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", overrides=[*overrides, *more])
        with quiet():
            parts = build(config, tmp_path / "-".join(more))
            parts.trainer.fit(parts.module, datamodule=parts.datamodule)
        return parts.module.state_dict()

    compiled, plain = trained("compile=true", "channels_last=true"), trained()
    torch._dynamo.reset()
    assert list(compiled) == list(plain)
    for name, each in plain.items():
        torch.testing.assert_close(compiled[name], each, rtol=1e-3, atol=1e-5, msg=name)
