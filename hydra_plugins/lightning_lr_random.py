"""Random search for Hydra: `hydra/sweeper=random`.

    python -m recipes.train -m hydra/sweeper=random hydra.sweeper.n_trials=20 \
        'schedule.max_lr=tag(log,interval(0.01,1))' 'data.batch_size=choice(32,64)' 'model.width=int(interval(8,32))'

The words are those of Hydra's override grammar, and mean what they mean to its Optuna sweeper: the same command line
goes on to `hydra/sweeper=bayesian`. Here, and not beside what uses it, for Hydra looks for plugins nowhere else; and
without postponed annotations, for it runs this module before anybody could find it by its name.
"""

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


@dataclass
class RandomSweeperConf:
    """What `hydra.sweeper` may hold."""

    _target_: str = "hydra_plugins.lightning_lr_random.RandomSweeper"
    n_trials: int = 10
    seed: int = 0
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="random", node=RandomSweeperConf, provider="lightning_lr_random"
)


class RandomSweeper(Sweeper):
    """Draws every value of every job anew, each parameter from random numbers of its own.

    Another parameter, or more trials, leave the values of the others as they were.

    Args:
        n_trials: Jobs.
        seed: Of the random numbers.
        max_batch_size: Jobs that are handed to the launcher at once; null is all of them.
        params: Overrides by key, beside those of the command line, which are stronger.
    """

    def __init__(
        self, n_trials: int, seed: int, max_batch_size: int | None = None, params: DictConfig | None = None
    ) -> None:
        for name, number in (("n_trials", n_trials), ("max_batch_size", max_batch_size)):
            if number is not None and number < 1:
                raise ValueError(f"hydra.sweeper.{name}={number}: out of range; pass an int of at least 1")
        self.n_trials = n_trials
        self.seed = seed
        self.max_batch_size = max_batch_size
        self.params: dict[str, Any] = dict(params) if params is not None else {}
        self._launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands to a sweeper."""
        self.config = config
        self.hydra_context = hydra_context
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Draw the jobs and launch them.

        Args:
            arguments: The overrides of the command line.
        """
        if self._launcher is None or self.config is None or self.hydra_context is None:
            raise RuntimeError("sweep: called before setup; it is for Hydra to call")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        jobs = draw(overrides, self.n_trials, self.seed)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        # What cannot be composed is refused before anything runs.
        self.validate_batch_is_legal(jobs)
        returned = []
        size = self.max_batch_size or len(jobs)
        for first in range(0, len(jobs), size):
            results = self._launcher.launch(jobs[first : first + size], initial_job_idx=first)
            for result in results:
                # Raises what the job raised.
                _ = result.return_value
            returned.append(results)
        return returned


def draw(overrides: Sequence[Override], n_trials: int, seed: int) -> list[list[str]]:
    """Return the overrides of each job.

    Args:
        overrides: Those of the sweep. Of two for one key, the last one counts.
        n_trials: Jobs.
        seed: Of the random numbers.

    Raises:
        HydraException: If nothing is left to chance.
    """
    by_key = {override.get_key_element(): override for override in overrides}
    if not any(override.is_sweep_override() for override in by_key.values()):
        raise HydraException(
            "hydra/sweeper=random: nothing to draw; pass a list, or 'key=interval(a,b)', 'key=tag(log,interval(a,b))'"
        )
    columns = []
    for key, override in by_key.items():
        numbers = random.Random(f"{seed} {key}")
        drawn = override.is_sweep_override()
        said = override.input_line
        columns.append([f"{key}={_value(override, numbers)}" if drawn else said for _ in range(n_trials)])
    return [list(job) for job in zip(*columns, strict=True)]


def _value(override: Override, numbers: random.Random) -> Any:
    value = override.value()
    if not isinstance(value, IntervalSweep):
        return numbers.choice(list(override.sweep_string_iterator()))
    low, high = (float(each) for each in (value.start, value.end) if each is not None)
    whole = isinstance(value.start, int) and isinstance(value.end, int)
    logarithmic = "log" in value.tags
    if logarithmic and low <= 0:
        raise HydraException(f"{override.input_line}: no logarithm of {low:g}; pass an interval above 0")
    if whole:
        # Both ends count, and each whole number has the same share.
        low, high = low - 0.5 * (not logarithmic), high + 0.5 * (not logarithmic)
    drawn = numbers.uniform(math.log(low), math.log(high)) if logarithmic else numbers.uniform(low, high)
    drawn = math.exp(drawn) if logarithmic else drawn
    if whole:
        return min(max(round(drawn), int(value.start or 0)), int(value.end or 0))
    # Four digits: to be read, and typed again.
    return min(max(float(f"{drawn:.4g}"), low), high)
