"""What a range test found: the curve, what each rule reads from it, bounds to use, and how far to trust them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_lr.durable import staged
from lightning_lr.range_test import suggestions as rules
from lightning_lr.range_test.readings import Ended, Run, Settings

FORMAT = 1
"""Version of the file. A reader refuses a later one."""

_AGAIN = "restore it from a copy, or run the test again"


@dataclass(frozen=True)
class RangeTest:
    """What an LR range test found: curve, suggestions and how far to trust them.

    Everything follows from the settings and the runs. Bounds are ``None`` where the loss never fell by more than the
    noise of its readings; then there are no suggestions either, and `reliability` says so.

    Args:
        settings: What was asked for.
        runs: What was measured, one run a repeat.

    Raises:
        ValueError: If there is no run, or one has more or fewer readings than its end allows.

    Example:
        >>> run = Run((2.0, 2.0, 2.0, 2.0, 1.9, 1.5, 1.0, 9.0), "diverged")
        >>> found = RangeTest(Settings(1e-7, 100.0, steps=10, smoothing=0.0), (run,))
        >>> round(found.suggestions["minimum/4"], 3)
        0.025
    """

    settings: Settings
    runs: tuple[Run, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "runs", tuple(self.runs))
        if not self.runs:
            raise ValueError("runs=(): nothing was measured; pass one run or more")
        for index, run in enumerate(self.runs):
            count, steps = len(run.losses), self.settings.steps
            if count > steps or (run.ended == "complete" and count < steps):
                what = f"{count} readings of {steps} in a run that ended {run.ended!r}"
                raise ValueError(f"runs[{index}]: {what}; pass one reading a step")

    @cached_property
    def lrs(self) -> tuple[float, ...]:
        """Learning rates that every run reached."""
        return self.settings.lrs[: min(len(run.losses) for run in self.runs)]

    @cached_property
    def losses(self) -> tuple[float, ...]:
        """The loss at each of `lrs`, mean over the runs."""
        # Divided before it is added up: the last reading before the end may be close to the largest float.
        count = len(self.runs)
        readings = zip(*(run.losses[: len(self.lrs)] for run in self.runs), strict=True)
        return tuple(sum(loss / count for loss in losses) for losses in readings)

    @cached_property
    def smoothed(self) -> tuple[float, ...]:
        """The losses after smoothing; see `suggestions.smooth`."""
        return tuple(rules.smooth(self.losses, self.settings.weight))

    @cached_property
    def suggestions(self) -> Mapping[str, float]:
        """What each rule says, by its name; empty where the loss never fell. See `suggestions.suggest`."""
        return self._suggest(self.losses)

    @cached_property
    def bands(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest suggestion of each rule over the runs; empty for a single run."""
        if len(self.runs) == 1:
            return {}
        found = [self._suggest(run.losses) for run in self.runs]
        spread = {rule: [each[rule] for each in found if rule in each] for rule in rules.RULES}
        return {rule: (min(lrs), max(lrs)) for rule, lrs in spread.items() if lrs}

    @cached_property
    def max_lr(self) -> float | None:
        """The top of a cycle; None where it cannot be told."""
        return self.suggestions.get(rules.MAX_LR)

    @cached_property
    def base_lr(self) -> float | None:
        """The bottom of a cycle, between a tenth and a third of `max_lr`; None where it cannot be told."""
        return None if self.max_lr is None else rules.base_lr(self.lrs, self.smoothed, self.max_lr)

    @cached_property
    def fixed_lr(self) -> float | None:
        """One learning rate for the whole run; None where it cannot be told."""
        return self.suggestions.get(rules.FIXED_LR)

    @cached_property
    def ended(self) -> Ended:
        """What ended the shortest run, and with it the curve."""
        return min(self.runs, key=lambda run: len(run.losses)).ended

    @cached_property
    def reliability(self) -> tuple[str, ...]:
        """What speaks against the suggestions, a line each; nothing where nothing does."""
        notes = rules.reliability(
            self.lrs,
            self.smoothed,
            self.suggestions,
            noise=rules.noise(self.losses, self.settings.weight),
            steps=self.settings.steps,
            ended=self.ended,
            bands=self.bands,
        )
        silent = sum(not self._suggest(run.losses) for run in self.runs)
        if self.suggestions and silent:
            notes += (
                f"{silent} of {len(self.runs)} repeats tell nothing by themselves, their fall is no more than noise; "
                "test with more steps or larger batches",
            )
        return notes

    def _suggest(self, losses: Sequence[float]) -> dict[str, float]:
        smoothed = rules.smooth(losses, self.settings.weight)
        if rules.drop(smoothed) <= rules.noise(losses, self.settings.weight):
            return {}
        return rules.suggest(self.settings.lrs[: len(losses)], smoothed)

    def __str__(self) -> str:
        settings, runs = self.settings, len(self.runs)
        what = "validation" if settings.validation else "training"
        how = "" if settings.momentum is None else f", momentum {settings.momentum:g}"
        over = f", mean of {runs} runs" if runs > 1 else ""
        lines = [
            f"LR range test, {settings.min_lr:g} to {settings.max_lr:g} ({settings.mode}{how})",
            f"{len(self.lrs)} of {settings.steps} readings of the {what} loss{over}; {self.ended}",
            "",
        ]
        uses = {"max_lr": "top of a cycle", "base_lr": "bottom of a cycle", "fixed_lr": "without a cycle"}
        sources = {"max_lr": rules.MAX_LR, "base_lr": "where the loss begins to fall", "fixed_lr": rules.FIXED_LR}
        for name, use in uses.items():
            value: float | None = getattr(self, name)
            known = "cannot be told" if value is None else f"{value:<8.2g}  {use} ({sources[name]})"
            lines.append(f"{name:<18}{known}")
        if self.suggestions:
            lines.append("")
        for rule, lr in self.suggestions.items():
            band = f"  ({self.bands[rule][0]:.2g} to {self.bands[rule][1]:.2g})" if rule in self.bands else ""
            lines.append(f"{rule:<18}{lr:<8.2g}{band}".rstrip())
        if self.reliability:
            lines += ["", *(f"! {note}" for note in self.reliability)]
        return "\n".join(lines)

    def plot(self, path: str | Path) -> Path:
        """Draw the loss against the learning rate, with every rule.

        Args:
            path: The picture to write; its ending says the format.

        Returns:
            The path written.
        """
        from lightning_lr.plots import plot_range_test

        return plot_range_test(self, path)

    def save(self, path: str | Path) -> Path:
        """Write everything into a JSON file, complete or not at all; an older one there is replaced.

        Args:
            path: The file.

        Returns:
            The path written.

        Raises:
            FileNotFoundError: If the path's folder is missing.
            IsADirectoryError: If the path is one.
            OSError: If the disk refuses.
        """
        from lightning_lr import __version__

        target = Path(path)
        if target.is_dir():
            raise IsADirectoryError(f"path={str(path)!r}: a folder; give the name of a file in it")
        if not target.parent.is_dir():
            raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; make it first")
        content = {
            "format": FORMAT,
            "lightning_lr": __version__,
            "settings": asdict(self.settings),
            "runs": [asdict(run) for run in self.runs],
            # The rest follows from the two: for other readers.
            "lrs": self.lrs,
            "losses": self.losses,
            "smoothed": self.smoothed,
            "suggestions": self.suggestions,
            "bands": self.bands,
            "max_lr": self.max_lr,
            "base_lr": self.base_lr,
            "fixed_lr": self.fixed_lr,
            "reliability": self.reliability,
        }
        with staged(target, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()) as publish:
            publish()
        return target

    @classmethod
    def load(cls, path: str | Path) -> RangeTest:
        """Read what `save` wrote. What follows from settings and runs is found anew.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is damaged, or a later version of this package wrote it.
        """
        source = Path(path)
        if not source.is_file():
            raise FileNotFoundError(f"path={str(path)!r}: no such file; pass the one that RangeTest.save wrote")
        try:
            content = json.loads(source.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{source}: not JSON ({error}); {_AGAIN}") from error
        if not isinstance(content, dict) or type(content.get("format")) is not int or content["format"] < 1:
            raise ValueError(f"{source}: not a range test, it names no format; {_AGAIN}")
        if content["format"] > FORMAT:
            later = f"format={content['format']}, and this version reads up to {FORMAT}"
            raise ValueError(f"{source}: {later}; install a newer lightning_lr")
        try:
            settings = Settings(**_named(content, "settings", Settings))
            runs = [Run(**_named({"run": run}, "run", Run)) for run in _of(content, "runs", list)]
            return cls(settings, tuple(runs))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source}: damaged ({error}); {_AGAIN}") from error


def _of(content: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(content.get(name), kind):
        raise ValueError(f"{name} is missing or no {kind.__name__}")
    return content[name]


def _named(content: Mapping[str, Any], name: str, kind: type[Settings] | type[Run]) -> dict[str, Any]:
    entries = _of(content, name, dict)
    if set(entries) != (expected := {field.name for field in fields(kind)}):
        raise ValueError(f"{name} has {sorted(entries)} and not {sorted(expected)}")
    return dict(entries)
