"""Policies that only go down: a constant rate as the baseline, steps, and smooth decays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lightning_lr.arguments import require_number, require_order
from lightning_lr.callbacks.schedule import Schedule
from lightning_lr.durations import Duration, parse
from lightning_lr.schedules.auto import AutoRates, Rates, per_group
from lightning_lr.schedules.composition import Join
from lightning_lr.schedules.curves import Anneal, Curve, Flat, Staircase
from lightning_lr.schedules.profiles import Trapezoid


class Constant(Schedule):
    """Hold the learning rate: the baseline of every comparison.

    Args:
        lr: Learning rate of every update; a list has one a param group; ``"auto"`` takes the ``fixed_lr`` of an LR
            range test.
        optimizer: See `Schedule`.
        total_steps: See `Schedule`.
        on_new_horizon: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense.

    Example:
        >>> Constant(0.1).preview(total_steps=3)["lr"]
        [0.1, 0.1, 0.1]
    """

    def __init__(
        self,
        lr: AutoRates,
        *,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        super().__init__(
            lr=per_group(Flat, lr=lr), optimizer=optimizer, total_steps=total_steps, on_new_horizon=on_new_horizon
        )


class StepDecay(Schedule):
    r"""Hold the learning rate, and multiply it by a factor again and again.

    Update ``t`` has ``initial_lr * factor**k``: with ``every``, ``k = t // every``; with ``milestones``, ``k`` is the
    number of those that ``t`` has reached.

    Args:
        initial_lr: Learning rate of the first update; a list has one a param group; ``"auto"`` takes the ``fixed_lr``
            of an LR range test.
        factor: What each step multiplies by.
        every: Length of a stair, as a duration; this or ``milestones``.
        milestones: Durations from the start at which the rate changes, in order.
        optimizer: See `Schedule`.
        total_steps: See `Schedule`.
        on_new_horizon: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense, or not exactly one of ``every`` and ``milestones`` is
            given.

    Example:
        >>> StepDecay(0.1, factor=0.5, every="1ep").preview(total_steps=6, steps_per_epoch=2)["lr"]
        [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", 2015, https://arxiv.org/abs/1512.03385
    """

    def __init__(
        self,
        initial_lr: AutoRates,
        factor: float = 0.1,
        every: Duration | None = None,
        milestones: Sequence[Duration] | None = None,
        *,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        if milestones is not None and (isinstance(milestones, str) or not isinstance(milestones, Sequence)):
            raise TypeError(f'milestones={milestones!r}: not a list; pass a list of durations, ["50%", "75%"]')
        stairs = None if milestones is None else tuple(milestones)
        stairs_from = partial(Staircase, factor=factor, every=every, milestones=stairs)
        lr = per_group(stairs_from, initial_lr=initial_lr)
        super().__init__(lr=lr, optimizer=optimizer, total_steps=total_steps, on_new_horizon=on_new_horizon)


class ExponentialDecay(Schedule):
    """Multiply the learning rate by the same factor at every update.

    Update ``t`` of ``N`` has ``initial_lr * (final_lr / initial_lr)**(t / (N - 1))``: the first has ``initial_lr``, the
    last ``final_lr``.

    Args:
        initial_lr: Learning rate of the first update; a list has one a param group; ``"auto"`` takes the ``fixed_lr``
            of an LR range test.
        final_lr: Learning rate of the last update, above 0; a list has one a param group.
        optimizer: See `Schedule`.
        total_steps: See `Schedule`.
        on_new_horizon: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense.

    Example:
        >>> [round(lr, 4) for lr in ExponentialDecay(1.0, 0.001).preview(total_steps=4)["lr"]]
        [1.0, 0.1, 0.01, 0.001]
    """

    def __init__(
        self,
        initial_lr: AutoRates,
        final_lr: Rates,
        *,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        super().__init__(
            lr=per_group(_decay, initial_lr=initial_lr, final_lr=final_lr),
            optimizer=optimizer,
            total_steps=total_steps,
            on_new_horizon=on_new_horizon,
        )


class CosineAnnealing(Schedule):
    """Half a cosine down, once: one cycle of `SGDR` that nobody takes for a cycle.

    After the warm-up, update ``t`` of the ``T`` that are left has
    ``min_lr + (max_lr - min_lr)/2 * (1 + cos(pi * t/T))``: the last is just above ``min_lr``.

    Args:
        max_lr: Learning rate at the top; a list has one a param group; ``"auto"`` takes that of an LR range test.
        min_lr: Learning rate that it falls towards; a list has one a param group.
        warmup: Duration of a linear rise: update ``t`` of ``W`` has ``max_lr * (t + 1)/(W + 1)``.
        optimizer: See `Schedule`.
        total_steps: See `Schedule`.
        on_new_horizon: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense, or (before the first update) the warm-up leaves nothing.

    Example:
        >>> [round(lr, 3) for lr in CosineAnnealing(0.1).preview(total_steps=4)["lr"]]
        [0.1, 0.085, 0.05, 0.015]

    Reference:
        Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016,
        https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        max_lr: AutoRates,
        min_lr: Rates = 0.0,
        warmup: Duration = 0,
        *,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        super().__init__(
            lr=per_group(partial(_cosine, warmup), max_lr=max_lr, min_lr=min_lr),
            optimizer=optimizer,
            total_steps=total_steps,
            on_new_horizon=on_new_horizon,
        )


class WarmupStableDecay(Schedule):
    """Up in a line, level for most of the run, and down in a line.

    Update ``t`` of a warm-up of ``W`` has ``max_lr * (t + 1)/(W + 1)``; update ``t`` of a decay of ``D``, which ends
    with the run, ``max_lr + (min_lr - max_lr) * t/D``: the last is just above ``min_lr``. All between have ``max_lr``.

    Args:
        max_lr: Learning rate of the level; a list has one a param group; ``"auto"`` takes that of an LR range test.
        warmup: Duration of the rise; 0 for none.
        decay: Duration of the fall; 0 for none.
        min_lr: Learning rate that it falls towards; a list has one a param group.
        optimizer: See `Schedule`.
        total_steps: See `Schedule`.
        on_new_horizon: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense, or (before the first update) the two are longer than the
            run.

    Example:
        >>> [round(lr, 3) for lr in WarmupStableDecay(0.1, warmup=1, decay=2).preview(total_steps=5)["lr"]]
        [0.05, 0.1, 0.1, 0.1, 0.05]

    Reference:
        Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", 2024,
        https://arxiv.org/abs/2405.18392
    """

    def __init__(
        self,
        max_lr: AutoRates,
        warmup: Duration = "5%",
        decay: Duration = "20%",
        min_lr: Rates = 0.0,
        *,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        super().__init__(
            lr=per_group(partial(_trapezoid, warmup, decay), max_lr=max_lr, min_lr=min_lr),
            optimizer=optimizer,
            total_steps=total_steps,
            on_new_horizon=on_new_horizon,
        )


# Functions of the module, not of a constructor: a policy that waits for its rate is pickled with them.


def _decay(initial: float, final: float) -> Curve:
    require_number("final_lr", final, above=0.0)
    return Anneal(initial, final, "exp", reaches="both")


def _cosine(warmup: Duration, high: float, low: float) -> Curve:
    require_order("min_lr", low, "max_lr", high)
    down = Anneal(high, low)
    rise, _ = parse(warmup, "warmup")
    return Join((Anneal(0.0, high, "linear", "neither"), down), (warmup,), argument="warmup") if rise else down


def _trapezoid(warmup: Duration, decay: Duration, high: float, low: float) -> Curve:
    require_order("min_lr", low, "max_lr", high)
    return Trapezoid(high, low, warmup, decay)
