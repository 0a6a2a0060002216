"""Train with a cyclical schedule, snapshot at each restart, average the snapshots, and report what that bought.

    python -m recipes.train
    python -m recipes.train schedule=one_cycle schedule.max_lr=0.2 seed=1
    python -m recipes.train trainer=ddp trainer.accelerator=cpu trainer.devices=2
    python -m recipes.train resume=outputs/2026-01-31/12-00-00

`--help` lists what can be chosen, `--cfg job` shows what a command line composes. Without an argument: the digits of
scikit-learn, a small convolutional network, SGD with Nesterov momentum, SGDR with five cycles.
"""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from .alone import alone
from .errors import one_line
from .launch import command
from .resume import require_own_folder, take_up
from .schema.checks import check

# Absolute, so that the command works from any folder.
CONF = Path(__file__).resolve().parent.parent / "conf"


@command(CONF, "train")
def main(config: DictConfig) -> float:
    """Run what the command line composed; return the ensemble's accuracy, for a sweep to maximise."""
    with one_line():
        check(config)
        if config.resume is not None:
            job = HydraConfig.get()
            here = Path(job.runtime.cwd)
            require_own_folder(config, here, Path(job.runtime.output_dir))
            config = take_up(config, here, job.overrides.task)
        with alone(Path(HydraConfig.get().runtime.output_dir)):
            # Here, not above: torch and lightning take seconds; `--help`, `--cfg` and a wrong override need neither.
            from .run import run

            return run(config)


if __name__ == "__main__":
    main()
