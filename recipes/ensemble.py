"""Tell what the snapshots of a run are worth together: fitted on the validation data, told on the test data.

    python -m recipes.ensemble snapshots=outputs/2026-01-31/12-00-00
    python -m recipes.ensemble snapshots=outputs/2026-01-31/12-00-00 last_m=3 export=ensemble.pt2
    python -m recipes.ensemble snapshots=outputs/2026-01-31/12-00-00 average=greedy lines=null

`snapshots` is a folder of snapshots or a run of `recipes.train`, whose data and model it takes up. `--help` lists what
can be chosen.
"""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from .errors import one_line
from .launch import command
from .run_folder import adopt, locate
from .schema.checks import check
from .train import CONF


@command(CONF, "ensemble")
def main(config: DictConfig) -> float:
    """Run what the command line composed; return the ensemble's accuracy on the test data, for a sweep to maximise."""
    with one_line():
        if OmegaConf.is_missing(config, "snapshots"):
            raise ValueError("snapshots: missing; pass snapshots=DIR, a folder of snapshots or a run of recipes.train")
        check(config)
        job = HydraConfig.get()
        given = config.snapshots
        named = OmegaConf.to_container(given) if OmegaConf.is_config(given) else given
        found = locate(named, Path(job.runtime.cwd))
        config, notes = adopt(config, found, job.overrides.task)
        # Here, not above: torch and lightning take seconds, and `--help`, `--cfg` and a wrong override need neither.
        from .told import tell

        return tell(config, found, notes)


if __name__ == "__main__":
    main()
