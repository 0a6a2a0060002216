"""What only a CUDA device can show; skipped where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.cuda
def test_the_recipe_on_cuda(tmp_path):
    command = [sys.executable, "-m", "recipes.train", "trainer.accelerator=gpu", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert len(result["members"]) == 5
    assert result["ensemble"]["accuracy"] > 0.97
