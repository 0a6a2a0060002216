"""The named policies: each says which curves it is made of, and `Schedule` does the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from lightning_lr.arguments import require_choice, require_number
from lightning_lr.callbacks.schedule import Schedule
from lightning_lr.curves import Anneal, Curve, Staircase
from lightning_lr.durations import Duration, parse
from lightning_lr.schedules import Join, Peak, Repeat

Rates: TypeAlias = float | Sequence[float]
"""One learning rate for all param groups, whose ratios are kept, or one a param group."""


class StepDecay(Schedule):
    r"""Hold the learning rate, and multiply it by a factor again and again.

    Update ``t`` has ``initial_lr * factor**k``: with ``every``, ``k = t // every``; with ``milestones``, ``k`` is the
    number of those that ``t`` has reached.

    Args:
        initial_lr: Learning rate of the first update; a list has one a param group.
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
        initial_lr: Rates,
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
        lr = _per_group(lambda rate: Staircase(rate, factor, every, stairs), initial_lr=initial_lr)
        super().__init__(lr=lr, optimizer=optimizer, total_steps=total_steps, on_new_horizon=on_new_horizon)


class SGDR(Schedule):
    r"""Cosine annealing with warm restarts.

    Update ``t`` of a cycle of ``T`` updates has ``min_lr + (max_lr - min_lr)/2 * (1 + cos(pi * t/T))``: a restart is at
    ``max_lr`` exactly, and the last update of a cycle just above ``min_lr``.

    ``cycles=M`` shares out what is left of the run's ``N`` updates after the warm-up, in proportion to
    ``cycle_mult**i``; with ``cycle_mult=1`` cycle ``i`` begins at ``warmup + (N - warmup) * i // M``. ``cycle=T`` gives
    cycle ``i`` ``round(T * cycle_mult**i)`` updates until the run is over, which may cut the last one.

    Args:
        max_lr: Learning rate at each restart; a list has one a param group.
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
            (at fit start) a cycle would be left without an update.

    Example:
        >>> [round(lr, 3) for lr in SGDR(max_lr=0.1, cycles=2).preview(total_steps=8)["lr"]]
        [0.1, 0.085, 0.05, 0.015, 0.1, 0.085, 0.05, 0.015]

    Reference:
        Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016,
        https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        max_lr: Rates,
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
        length, _ = parse(warmup, "warmup")

        # `rest` is where a warm-up comes from.
        def restarts(rest: float, start: float, end: float, start_decay: float = 1.0, end_decay: float = 1.0) -> Curve:
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

        def rates(high: float, low: float) -> Curve:
            if low > high:
                raise ValueError(f"min_lr={low!r}: above max_lr={high!r}; pass a min_lr of at most max_lr")
            if low and cycles is not None and high * max_lr_decay ** (cycles - 1) < low * min_lr_decay ** (cycles - 1):
                raise ValueError(
                    f"max_lr_decay={max_lr_decay!r}, min_lr_decay={min_lr_decay!r}: by cycle {cycles - 1} max_lr would "
                    "be below min_lr; let them decay alike, or pass a lower min_lr"
                )
            # A lower bound of 0 stays there whatever it is multiplied by.
            return restarts(0.0, high, low, max_lr_decay, min_lr_decay if low else max_lr_decay)

        super().__init__(
            lr=_per_group(rates, max_lr=max_lr, min_lr=min_lr),
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
        max_lr: Learning rate at the peak; a list has one a param group.
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
        max_lr: Rates,
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

        def peak(start: float, top: float, end: float) -> Curve:
            return Peak(start, top, end, pct_start, anneal_strategy, three_phase)

        def rates(top: float) -> Curve:
            first = require_number("max_lr / div_factor", top / div_factor)
            last = require_number("max_lr / div_factor / final_div_factor", first / final_div_factor)
            return peak(first, top, last)

        super().__init__(
            lr=_per_group(rates, max_lr=max_lr),
            momentum=peak(max_momentum, base_momentum, max_momentum) if cycle_momentum else None,
            optimizer=optimizer,
            total_steps=total_steps,
            on_new_horizon=on_new_horizon,
        )


def _per_group(build: Callable[..., Curve], **rates: Rates) -> list[Curve] | Curve:
    """Build one curve, or one a param group where any of the rates is a list; the first rate must be positive."""
    first, *_ = rates
    lengths = {
        name: len(rate) for name, rate in rates.items() if isinstance(rate, Sequence) and not isinstance(rate, str)
    }
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        given = ", ".join(f"{name}={rates[name]!r}" for name in lengths)
        raise ValueError(
            f"{given}: lists have one entry a param group; give them the same length, or one number for all"
        )
    groups = []
    for group in range(max(lengths.values(), default=1)):
        chosen = {name: rates[name][group] if name in lengths else rates[name] for name in rates}  # type: ignore[index]
        for name, rate in chosen.items():
            if name == first:
                require_number(name, rate, above=0.0)
            else:
                require_number(name, rate, at_least=0.0)
        groups.append(build(*chosen.values()))
    return groups if lengths else groups[0]


def _require_momenta(base_momentum: float, max_momentum: float) -> None:
    require_number("base_momentum", base_momentum, at_least=0.0, below=1.0)
    require_number("max_momentum", max_momentum, at_least=0.0, below=1.0)
    if base_momentum > max_momentum:
        raise ValueError(
            f"base_momentum={base_momentum!r}: above max_momentum={max_momentum!r}; pass the smaller as base_momentum"
        )
