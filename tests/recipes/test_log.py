"""When rows reach the disk: where enough wait, at a checkpoint, and at the end."""

from __future__ import annotations

from lightning.pytorch.callbacks import ModelCheckpoint

from recipes.log import MetricsFile
from recipes.metrics import read


def on_disk(folder):
    return [step for step, _ in read(folder)["a"]] if (folder / "metrics.csv").exists() else []


def log(logger, *steps):
    for step in steps:
        logger.log_metrics({"a": 0.5}, step)
        # As Lightning does after each.
        logger.save()


def test_rows_wait_until_there_are_enough(tmp_path):
    logger = MetricsFile(tmp_path, flush_logs_every_n_steps=3)
    log(logger, 7, 8)
    assert on_disk(tmp_path) == []
    log(logger, 9)
    assert on_disk(tmp_path) == [7, 8, 9]


def test_a_checkpoint_and_the_end_wait_for_nothing(tmp_path):
    logger = MetricsFile(tmp_path)
    log(logger, 0)
    logger.after_save_checkpoint(ModelCheckpoint())
    assert on_disk(tmp_path) == [0]
    # The loss of the checkpoint's own update, which Lightning logs after its callbacks.
    log(logger, 1)
    assert on_disk(tmp_path) == [0, 1]
    log(logger, 2)
    assert on_disk(tmp_path) == [0, 1]
    logger.finalize("failed")
    assert on_disk(tmp_path) == [0, 1, 2]


def test_the_end_of_a_run_that_logged_nothing_leaves_nothing(tmp_path):
    MetricsFile(tmp_path).finalize("success")
    assert not (tmp_path / "metrics.csv").exists()
