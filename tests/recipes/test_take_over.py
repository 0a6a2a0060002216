"""A folder is taken over where the run goes on, and left as it was where the fit is refused."""

from __future__ import annotations

import pytest
import torch

from recipes.run import build
from recipes.take_over import TakeOver
from recipes.terminal import quiet

BEFORE = {"config.yaml": "seed: 1\n", "metrics.csv": "step\n", "result.json": "{}"}
SHORT = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1"),
    *("schedule=constant", "model.width=2"),
)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run that is over."""
    for name, text in BEFORE.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def fit(parts, folder, **options):
    take_over = TakeOver(folder, {"seed": 2})
    parts.trainer.callbacks.insert(0, take_over)
    with quiet(), take_over():
        parts.trainer.fit(parts.module, datamodule=parts.datamodule, weights_only=True, **options)


def files(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".yaml", ".csv", ".json")}


def test_what_the_fit_refuses_leaves_all_as_it_was(composed, folder):
    parts = build(composed(*SHORT), folder)
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.5.0"}, folder / "other.ckpt")
    with pytest.raises(RuntimeError, match="Missing key"):
        fit(parts, folder, ckpt_path=folder / "other.ckpt")
    assert files(folder) == BEFORE


def test_what_goes_on_sets_the_old_aside_even_if_it_fails_later(composed, folder):
    parts = build(composed(*SHORT), folder)

    def stop(*_):
        raise RuntimeError("later")

    parts.stopwatch.on_train_end = stop
    with pytest.raises(RuntimeError, match="later"):
        fit(parts, folder)
    left = files(folder)
    assert {name: left[name] for name in ("config-0.yaml", "metrics-0.csv", "result-0.json", "config.yaml")} == {
        "config-0.yaml": BEFORE["config.yaml"],
        "metrics-0.csv": BEFORE["metrics.csv"],
        "result-0.json": BEFORE["result.json"],
        "config.yaml": "seed: 2\n",
    }
    assert "result.json" not in left
