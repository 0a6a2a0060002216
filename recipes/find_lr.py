"""Find the learning rate to train with: an LR range test of what `recipes.train` trains, and the command to go on with.

    python -m recipes.find_lr
    python -m recipes.find_lr schedule=one_cycle range_test.repeats=5
    python -m recipes.find_lr 'over.momentum=[0.8,0.9,0.95]'
    python -m recipes.find_lr trainer=ddp trainer.accelerator=cpu trainer.devices=2

It takes every override that `recipes.train` takes. `--help` lists what can be chosen.
"""

from __future__ import annotations

from omegaconf import DictConfig

from .errors import one_line
from .launch import command
from .schema.checks import check
from .train import CONF
from .variants import variants


@command(CONF, "find_lr")
def main(config: DictConfig) -> None:
    """Run what the command line composed."""
    with one_line():
        check(config)
        tests = variants(config)
        # Here, not above: torch and lightning take seconds, and `--help`, `--cfg` and a wrong override need neither.
        from .range_test import find

        find(config, tests)


if __name__ == "__main__":
    main()
