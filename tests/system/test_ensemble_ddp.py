"""Two real processes against one: the same metrics, each sample once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_lr

SCRIPT = """
import json
import sys
import warnings

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr.ensemble import SnapshotEnsemble

devices, out = int(sys.argv[1]), sys.argv[2]
warnings.simplefilter("error")
for package in ("lightning", "torch"):  # neither's own deprecations nor advice on the number of workers are ours
    warnings.filterwarnings("ignore", category=FutureWarning, module=package)
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
# Lightning advises one device for `test`; that each sample counts once all the same is what is tested here.
warnings.filterwarnings("ignore", message=".*it is recommended to use `Trainer.devices=1.*")
torch.set_num_threads(1)


def data(samples, seed):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(
        torch.randn(samples, 4, generator=generator), torch.randint(3, (samples,), generator=generator)
    )


def nets():
    for seed in range(3):
        torch.manual_seed(seed)
        yield nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def trainer():
    return pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


members = list(nets())
ensemble = SnapshotEnsemble(members[0], members)
results = {}
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
last = trainer()
predicted = last.predict(ensemble, DataLoader(data(7, 6), batch_size=2))
rows = torch.cat([batch["probs"] for batch in predicted])
with open(f"{out}-{last.global_rank}.json", "w") as file:
    json.dump({"metrics": results, "predicted": rows.tolist()}, file)
"""


def run(devices, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    # Without what a launcher of this very test run may have set: Lightning would take it for its own.
    launcher = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_NTASKS")
    environment = {key: value for key, value in os.environ.items() if key not in launcher}
    # The package that this test imported, be it installed or the working tree.
    environment["PYTHONPATH"] = str(Path(lightning_lr.__file__).parents[1])
    command = [sys.executable, str(script), str(devices), str(tmp_path / f"of-{devices}")]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((tmp_path / f"of-{devices}-{rank}.json").read_text()) for rank in range(devices)]


@pytest.mark.slow
def test_two_processes_log_what_one_does(tmp_path):
    (one,) = run(1, tmp_path)
    ranks = run(2, tmp_path)
    for rank in ranks:
        assert rank["metrics"].keys() == one["metrics"].keys()
        for name, passes in one["metrics"].items():
            for alone, shared in zip(passes, rank["metrics"][name], strict=True):
                assert shared.keys() == alone.keys()
                for metric, value in alone.items():
                    assert shared[metric] == pytest.approx(value, abs=0.0 if "accuracy" in metric else 1e-6), name
    # Lightning deals out samples for `predict` without repeats: 0, 2, 4, 6 and 1, 3, 5.
    for rank, expected in zip(ranks, (one["predicted"][0::2], one["predicted"][1::2]), strict=True):
        assert len(rank["predicted"]) == len(expected)
        for row, other in zip(rank["predicted"], expected, strict=True):
            assert row == pytest.approx(other, abs=1e-6)
