"""The schedules that are held against each other, as overrides of `recipes.train`."""

from __future__ import annotations

Overrides = tuple[str, ...]


def constant(lr: float) -> Overrides:
    return ("schedule=constant", f"schedule.lr={lr}")


def step_decay(lr: float) -> Overrides:
    """A tenth of the rate at half of the run, and again at three quarters."""
    return ("schedule=step_decay", f"schedule.initial_lr={lr}")


def one_cycle(lr: float) -> Overrides:
    return ("schedule=one_cycle", f"schedule.max_lr={lr}")


def one_cycle_steady_momentum(lr: float) -> Overrides:
    return (*one_cycle(lr), "schedule.cycle_momentum=false")


def sgdr(lr: float, cycles: int) -> Overrides:
    return ("schedule=sgdr", f"schedule.max_lr={lr}", f"schedule.cycles={cycles}")


def sgdr_doubling(lr: float) -> Overrides:
    """Cycles of one epoch, two, four, and so on."""
    return (
        *("schedule=sgdr", f"schedule.max_lr={lr}", "schedule.cycles=null", "schedule.cycle=1ep"),
        "schedule.cycle_mult=2",
    )


def sgdr_decaying(lr: float, cycles: int, decay: float) -> Overrides:
    """The upper bound of each cycle is `decay` times that of the one before."""
    return (*sgdr(lr, cycles), f"schedule.max_lr_decay={decay}")


def triangular(base_lr: float, max_lr: float, step_size: str, mode: str = "triangular") -> Overrides:
    """Smith's triangles; the momentum stays where it is, as in his paper."""
    return (
        *("schedule=cyclic", f"schedule.base_lr={base_lr}", f"schedule.max_lr={max_lr}"),
        *(f"schedule.step_size_up={step_size}", f"schedule.mode={mode}", "schedule.cycle_momentum=false"),
    )
