"""Cyclical policies: Smith's triangles, warm restarts, and 1cycle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from lightning_lr.arguments import require_choice, require_number, require_order
from lightning_lr.callbacks.schedule import Schedule
from lightning_lr.durations import Duration, parse
from lightning_lr.schedules.auto import AutoRates, Rates, per_group
from lightning_lr.schedules.composition import Join, Repeat
from lightning_lr.schedules.curves import Anneal, Curve
from lightning_lr.schedules.profiles import Mode, Peak, Triangles


class CyclicLR(Schedule):
    """Up and down between two bounds, again and again.

    A cycle has ``step_size_up + step_size_down`` updates. At update ``r`` of cycle ``k`` the learning rate is
    ``base_lr + (max_lr - base_lr) * s * x``, with ``x = r / step_size_up`` on the way up and
    ``(step_size_up + step_size_down - r) / step_size_down`` on the way down, and ``s`` by mode: 1 (``"triangular"``),
    ``2**-k`` (``"triangular2"``) or ``gamma**step`` (``"exp_range"``). Momentum is
    ``max_momentum - (max_momentum - base_momentum) * s * x``. Names and defaults are those of
    `torch.optim.lr_scheduler.CyclicLR`, whose curve this is at every update.

    Args:
        base_lr: Learning rate at the start of each cycle; a list has one a param group; ``"auto"`` takes that of an LR
            range test.
        max_lr: Learning rate of the first peak; a list has one a param group; ``"auto"`` takes that of an LR range
            test.
        step_size_up: Duration of the way up; two to ten epochs in the paper.
        step_size_down: Duration of the way down; None for that of the way up.
        mode: How the peaks sink.
        gamma: Factor of an update in mode ``"exp_range"``.
        cycle_momentum: Whether momentum goes the other way. Refused for an optimizer that has none.
        base_momentum: Momentum where the learning rate is highest.
        max_momentum: Momentum where the learning rate is lowest.
        optimizer: See `Schedule`.
        total_steps: See `Schedule`.
        on_new_horizon: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense.

    Example:
        >>> CyclicLR(0.0, 1.0, step_size_up=2, mode="triangular2").preview(total_steps=8)["lr"]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]

    Reference:
        Smith, "Cyclical Learning Rates for Training Neural Networks", 2015, https://arxiv.org/abs/1506.01186
    """

    def __init__(
        self,
        base_lr: AutoRates,
        max_lr: AutoRates,
        step_size_up: Duration = "2ep",
        step_size_down: Duration | None = None,
        mode: Mode = "triangular",
        gamma: float = 1.0,
        *,
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        _require_momenta(base_momentum, max_momentum)
        triangles = partial(Triangles, up=step_size_up, down=step_size_down, mode=mode, gamma=gamma)
        super().__init__(
            lr=per_group(
                partial(_between_base_and_max, triangles),
                momentum=base_momentum if cycle_momentum else None,
                max_lr=max_lr,
                base_lr=base_lr,
            ),
            momentum=triangles(max_momentum, base_momentum) if cycle_momentum else None,
            optimizer=optimizer,
            total_steps=total_steps,
            on_new_horizon=on_new_horizon,
        )


class SGDR(Schedule):
    r"""Cosine annealing with warm restarts.

    Update ``t`` of a cycle of ``T`` updates has ``min_lr + (max_lr - min_lr)/2 * (1 + cos(pi * t/T))``: a restart is at
    ``max_lr`` exactly, and the last update of a cycle just above ``min_lr``.

    ``cycles=M`` shares out what is left of the run's ``N`` updates after the warm-up, in proportion to
    ``cycle_mult**i``; with ``cycle_mult=1`` cycle ``i`` begins at ``warmup + (N - warmup) * i // M``. ``cycle=T`` gives
    cycle ``i`` ``round(T * cycle_mult**i)`` updates until the run is over, which may cut the last one.

    Args:
        max_lr: Learning rate at each restart; a list has one a param group; ``"auto"`` takes that of an LR range test.
        min_lr: Learning rate that each cycle falls towards; a list has one a param group.
        cycles: Number of cycles; this or ``cycle``.
        cycle: Length of the first cycle, as a duration.
        cycle_mult: How much longer each cycle is than the one before, at least 1. For one epoch, then two, then four:
            ``cycle="1ep", cycle_mult=2``.
        max_lr_decay: What ``max_lr`` is multiplied by after each cycle.
        min_lr_decay: What ``min_lr`` is multiplied by after each cycle.
        warmup: Duration of a linear rise before the first cycle, which belongs to no cycle: update ``t`` of ``W`` has
            ``max_lr * (t + 1)/(W + 1)``.
        cycle_momentum: Whether momentum goes the other way: ``base_momentum`` at each restart, then up towards
            ``max_momentum``.
        base_momentum: Momentum where the learning rate is highest.
        max_momentum: Momentum where the learning rate is lowest.
        optimizer: See `Schedule`.
        total_steps: See `Schedule`.
        on_new_horizon: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense, not exactly one of ``cycles`` and ``cycle`` is given, or
            (before the first update) a cycle would be left without an update.

    Example:
        >>> [round(lr, 3) for lr in SGDR(max_lr=0.1, cycles=2).preview(total_steps=8)["lr"]]
        [0.1, 0.085, 0.05, 0.015, 0.1, 0.085, 0.05, 0.015]

    Reference:
        Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016,
        https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        max_lr: AutoRates,
        min_lr: Rates = 0.0,
        *,
        cycles: int | None = None,
        cycle: Duration | None = None,
        cycle_mult: float = 1,
        max_lr_decay: float = 1.0,
        min_lr_decay: float = 1.0,
        warmup: Duration = 0,
        cycle_momentum: bool = False,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        _require_momenta(base_momentum, max_momentum)
        require_number("max_lr_decay", max_lr_decay, above=0.0, at_most=1.0)
        require_number("min_lr_decay", min_lr_decay, above=0.0, at_most=1.0)
        restarts = partial(_restarts, warmup, cycles=cycles, cycle=cycle, cycle_mult=cycle_mult)
        super().__init__(
            lr=per_group(
                partial(_decaying_restarts, restarts, cycles, max_lr_decay, min_lr_decay),
                momentum=base_momentum if cycle_momentum else None,
                max_lr=max_lr,
                min_lr=min_lr,
            ),
            momentum=restarts(max_momentum, base_momentum, max_momentum) if cycle_momentum else None,
            optimizer=optimizer,
            total_steps=total_steps,
            on_new_horizon=on_new_horizon,
        )


class OneCycle(Schedule):
    r"""One cycle: up to a high learning rate, down again, and further down; momentum goes the other way.

    Of ``N`` updates, update ``p = max(0, floor(pct_start * N + 0.5) - 1)`` has ``max_lr`` exactly and update ``N - 1``
    ``max_lr / div_factor / final_div_factor``; update 0 has ``max_lr / div_factor``, and so has update ``2 * p`` with
    ``three_phase``. Between two of these, with ``q`` the share of the way, ``"cos"`` has
    ``end + (start - end)/2 * (1 + cos(pi * q))`` and ``"linear"`` ``start + (end - start) * q``. Momentum is at
    ``base_momentum`` where the learning rate is at its peak, and at ``max_momentum`` at both ends. Names and defaults
    are those of `torch.optim.lr_scheduler.OneCycleLR`, whose curve this is wherever ``pct_start * N`` is whole.

    Args:
        max_lr: Learning rate at the peak; a list has one a param group; ``"auto"`` takes that of an LR range test.
        pct_start: Share of the run that rises, in (0, 1); at most 0.5 with ``three_phase``.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: The first learning rate is ``max_lr`` divided by this.
        final_div_factor: The last learning rate is the first divided by this.
        three_phase: Whether to fall as steeply as it rose, and then to annihilate the rest.
        cycle_momentum: Whether momentum goes the other way. Refused for an optimizer that has none.
        base_momentum: Momentum where the learning rate is highest.
        max_momentum: Momentum where the learning rate is lowest.
        optimizer: See `Schedule`.
        total_steps: See `Schedule`.
        on_new_horizon: See `Schedule`.

    Raises:
        TypeError, ValueError: If an argument makes no sense.

    Example:
        >>> policy = OneCycle(max_lr=1.0, pct_start=0.5, anneal_strategy="linear", div_factor=10, final_div_factor=10)
        >>> [round(lr, 4) for lr in policy.preview(total_steps=6)["lr"]]
        [0.1, 0.55, 1.0, 0.67, 0.34, 0.01]

    Reference:
        Smith & Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2017,
        https://arxiv.org/abs/1708.07120
    """

    def __init__(
        self,
        max_lr: AutoRates,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        *,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        optimizer: int | None = None,
        total_steps: int | None = None,
        on_new_horizon: str | None = None,
    ) -> None:
        _require_momenta(base_momentum, max_momentum)
        require_choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
        require_number("div_factor", div_factor, above=0.0)
        require_number("final_div_factor", final_div_factor, above=0.0)
        peak = partial(Peak, pct_start=pct_start, shape=anneal_strategy, three_phase=three_phase)
        super().__init__(
            lr=per_group(
                partial(_one_cycle, peak, div_factor, final_div_factor),
                momentum=base_momentum if cycle_momentum else None,
                max_lr=max_lr,
            ),
            momentum=peak(max_momentum, base_momentum, max_momentum) if cycle_momentum else None,
            optimizer=optimizer,
            total_steps=total_steps,
            on_new_horizon=on_new_horizon,
        )


def _require_momenta(base_momentum: float, max_momentum: float) -> None:
    require_number("base_momentum", base_momentum, at_least=0.0, below=1.0)
    require_number("max_momentum", max_momentum, at_least=0.0, below=1.0)
    require_order("base_momentum", base_momentum, "max_momentum", max_momentum)


# Functions of the module, not of a constructor: a policy that waits for its rates is pickled with them.


def _between_base_and_max(triangles: Callable[[float, float], Curve], high: float, low: float) -> Curve:
    require_order("base_lr", low, "max_lr", high)
    return triangles(low, high)


def _restarts(
    warmup: Duration,
    rest: float,
    start: float,
    end: float,
    start_decay: float = 1.0,
    end_decay: float = 1.0,
    *,
    cycles: int | None,
    cycle: Duration | None,
    cycle_mult: float,
) -> Curve:
    """Return cosines from ``start`` to ``end``, after a warm-up that comes from ``rest``."""
    length, _ = parse(warmup, "warmup")
    cosines = Repeat(
        Anneal(start, end),
        cycles=cycles,
        cycle=cycle,
        cycle_mult=cycle_mult,
        start_decay=start_decay,
        end_decay=end_decay,
    )
    if length == 0:
        return cosines
    return Join((Anneal(rest, start, "linear", "neither"), cosines), (warmup,), argument="warmup")


def _decaying_restarts(
    restarts: Callable[..., Curve],
    cycles: int | None,
    max_lr_decay: float,
    min_lr_decay: float,
    high: float,
    low: float,
) -> Curve:
    require_order("min_lr", low, "max_lr", high)
    if low and cycles is not None and high * max_lr_decay ** (cycles - 1) < low * min_lr_decay ** (cycles - 1):
        raise ValueError(
            f"max_lr_decay={max_lr_decay!r}, min_lr_decay={min_lr_decay!r}: by cycle {cycles - 1} max_lr would "
            "be below min_lr; let them decay alike, or pass a lower min_lr"
        )
    # A lower bound of 0 stays there whatever it is multiplied by.
    return restarts(0.0, high, low, max_lr_decay, min_lr_decay if low else max_lr_decay)


def _one_cycle(
    peak: Callable[[float, float, float], Curve], div_factor: float, final_div_factor: float, top: float
) -> Curve:
    first = require_number("max_lr / div_factor", top / div_factor)
    last = require_number("max_lr / div_factor / final_div_factor", first / final_div_factor)
    return peak(first, top, last)
