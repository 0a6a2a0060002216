"""Two real processes against one: the same metrics, each sample once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import lightning_lr
from lightning_lr.snapshots import SnapshotWriter

SCRIPT = """
import json
import sys
import warnings

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr.ensemble import SnapshotEnsemble

devices, strategy, folder, out = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
warnings.simplefilter("error")
for package in ("lightning", "torch"):  # neither's own deprecations nor advice on the number of workers are ours
    warnings.filterwarnings("ignore", category=FutureWarning, module=package)
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
# Lightning advises one device for `test`; that each sample counts once all the same is what is tested here.
warnings.filterwarnings("ignore", message=".*it is recommended to use `Trainer.devices=1.*")
torch.set_num_threads(1)


def data(samples, seed, task="multiclass"):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 4, generator=generator)
    targets = {
        "multiclass": lambda: torch.randint(3, (samples,), generator=generator),
        "multilabel": lambda: torch.randint(2, (samples, 3), generator=generator),
        "regression": lambda: torch.randn(samples, 3, generator=generator),
    }
    return TensorDataset(inputs, targets[task]())


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def trainer(**arguments):
    return pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


def main():
    ensemble = SnapshotEnsemble(net(), folder)
    results = {}
    if strategy == "ddp_spawn":
        # The ensemble is pickled on its way to the processes.
        for name, given in {"loop": {}, "vmap": {"backend": "vmap"}, "weights": {"member_weights": [0, 2, 1]}}.items():
            results[name] = trainer().test(
                SnapshotEnsemble(net(), folder, **given), DataLoader(data(7, 1), batch_size=2), verbose=False
            )
        with open(f"{out}-0.json", "w") as file:
            json.dump({"metrics": results}, file)
        return
    for samples in (7, 8, 1, 3):
        for batch_size in (2, 4):
            # Of 1 sample, the second process has a repeat and nothing else.
            loader = DataLoader(data(samples, 1), batch_size=batch_size)
            results[f"test {samples} {batch_size}"] = trainer().test(ensemble, loader, verbose=False)
    results["validate"] = trainer().validate(ensemble, DataLoader(data(7, 2), batch_size=2), verbose=False)
    loaders = [DataLoader(data(7, 3), batch_size=2), DataLoader(data(5, 4), batch_size=4)]
    results["two loaders"] = trainer().test(ensemble, loaders, verbose=False)
    backwards = DataLoader(data(7, 5), batch_size=2, sampler=range(6, -1, -1))
    results["sampler"] = trainer().test(ensemble, backwards, verbose=False)
    for name, given in {
        "loop": {},
        "vmap": {"backend": "vmap"},
        "weights": {"member_weights": [0, 2, 1]},
        "multilabel": {"task": "multilabel", "pooling": "geometric"},
        "regression": {"task": "regression"},
    }.items():
        loader = DataLoader(data(7, 1, given.get("task", "multiclass")), batch_size=2)
        results[name] = trainer().test(SnapshotEnsemble(net(), folder, **given), loader, verbose=False)
    loader = DataLoader(data(7, 1), batch_size=2)
    results["autocast"] = trainer(precision="bf16-mixed").test(ensemble, loader, verbose=False)
    last = trainer()
    predicted = last.predict(ensemble, DataLoader(data(7, 6), batch_size=2))
    rows = torch.cat([batch["probs"] for batch in predicted])
    with open(f"{out}-{last.global_rank}.json", "w") as file:
        json.dump({"metrics": results, "predicted": rows.tolist()}, file)


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path):
    writer = SnapshotWriter(tmp_path / "snapshots", run_id="1")
    writer.open()
    for cycle in range(3):
        torch.manual_seed(cycle)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        writer.write(net.state_dict(), cycle=cycle, step=cycle + 1, epoch=cycle, lr=0.1)
    return tmp_path / "snapshots"


def run(devices, strategy, folder, tmp_path, files=None):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    # Without what a launcher of this very test run may have set: Lightning would take it for its own.
    launcher = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_NTASKS")
    environment = {key: value for key, value in os.environ.items() if key not in launcher}
    # The package that this test imported, be it installed or the working tree.
    environment["PYTHONPATH"] = str(Path(lightning_lr.__file__).parents[1])
    out = tmp_path / f"of-{devices}-{strategy}"
    command = [sys.executable, str(script), str(devices), strategy, str(folder), str(out)]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(Path(f"{out}-{rank}.json").read_text()) for rank in range(files or devices)]


def assert_same_metrics(shared, alone, name):
    for one, other in zip(alone, shared, strict=True):
        assert other.keys() == one.keys()
        for metric, value in one.items():
            # In float32, whose last digit depends on how many rows are multiplied at once.
            assert other[metric] == pytest.approx(value, rel=1e-6, abs=1e-6), name


@pytest.mark.slow
def test_two_processes_log_what_one_does(folder, tmp_path):
    (one,) = run(1, "auto", folder, tmp_path)
    ranks = run(2, "ddp", folder, tmp_path)
    for rank in ranks:
        assert rank["metrics"].keys() == one["metrics"].keys()
        for name, passes in one["metrics"].items():
            assert_same_metrics(rank["metrics"][name], passes, name)
    # Lightning deals out samples for `predict` without repeats: 0, 2, 4, 6 and 1, 3, 5.
    for rank, expected in zip(ranks, (one["predicted"][0::2], one["predicted"][1::2]), strict=True):
        assert len(rank["predicted"]) == len(expected)
        for row, other in zip(rank["predicted"], expected, strict=True):
            assert row == pytest.approx(other, abs=1e-6)
    # The ensemble pickled on its way to two processes.
    (spawned,) = run(2, "ddp_spawn", folder, tmp_path, files=1)
    for name, passes in spawned["metrics"].items():
        assert_same_metrics(passes, one["metrics"][name], name)
