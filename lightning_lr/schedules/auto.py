"""Learning rates as the policies take them: a number, one a param group, or `"auto"` for an LR range test to tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias, TypeGuard

from lightning_lr.arguments import require_number
from lightning_lr.durations import Horizon
from lightning_lr.schedules.curves import Curve, Values
from lightning_lr.schedules.cycles import Cycle

Rates: TypeAlias = float | Sequence[float]
"""One learning rate for all param groups, whose ratios are kept, or one a param group."""

AutoRates: TypeAlias = Rates | Literal["auto"]
"""The same, or what an LR range test finds."""

_TOLD_AS = {"max_lr": "max_lr", "base_lr": "base_lr", "lr": "fixed_lr", "initial_lr": "fixed_lr"}

# Beyond every learning rate, and far from what a float cannot hold.
_LARGE = 1e6


@dataclass(frozen=True, eq=False)
class Auto(Curve):
    """A curve that waits for an LR range test: it knows its cycles, which no rate changes, and has no values yet.

    Args:
        build: Makes a curve of one rate each. A copy of the policy takes it along: a function that can be pickled.
        rates: By the names that the user knows them by, one of them ``"auto"``.
        momentum: What goes with the highest rate, for the test to use; None for what the optimizer has.

    Raises:
        ValueError: If ``"auto"`` is asked of what a range test does not tell, or whatever else is given is refused.

    Example:
        >>> from lightning_lr import Anneal
        >>> waiting = Auto(Anneal, {"max_lr": "auto", "min_lr": 0.0})
        >>> waiting.asked
        {'max_lr': 'max_lr'}
        >>> waiting.resolve({"max_lr": 0.1})
        Anneal(start=0.1, end=0.0, shape='cos', reaches='start')
    """

    build: Callable[..., Curve]
    rates: Mapping[str, AutoRates]
    momentum: float | None = None

    def __post_init__(self) -> None:
        # A list that the user changes later is not to change this.
        held = {name: list(rate) if _is_list(rate) else rate for name, rate in self.rates.items()}
        object.__setattr__(self, "rates", held)
        for name in self.asked:
            if name not in _TOLD_AS:
                raise ValueError(f"{name}='auto': an LR range test does not tell it; pass a number")
        self.stand_in()

    @property
    def asked(self) -> dict[str, str]:
        """What `resolve` needs, and what a `RangeTest` calls it."""
        return {name: _TOLD_AS.get(name, name) for name, rate in self.rates.items() if _is_auto(rate)}

    def resolve(self, found: Mapping[str, float]) -> list[Curve] | Curve:
        """Build the curve, or one a param group.

        Args:
            found: A rate for each argument that was asked for.

        Raises:
            ValueError: If a rate does not go with the others.
        """
        try:
            return _build(self.build, {**self.rates, **{name: found[name] for name in self.asked}})
        except ValueError as error:
            rates = ", ".join(f"{found[name]:.3g}" for name in self.asked)
            raise ValueError(f"{self}: it stands for {rates} here, and {error}") from None

    def rates_near(self, lr: float) -> dict[str, float]:
        """Return rates for all that was asked for, of this size as far as the given ones let them be."""
        sizes = [lr, *(rate for group in _by_group(self.rates) for rate in group.values() if not isinstance(rate, str))]
        return {name: min(lr / 4, *sizes) if name == "base_lr" else max(sizes) for name in self.asked}

    def stand_in(self) -> list[Curve] | Curve:
        """Return what it will be, with rates that nothing speaks against.

        Raises:
            TypeError, ValueError: If something that was given is refused whatever a range test finds.
        """
        return _build(self.build, {**self.rates, **self.rates_near(_LARGE)})

    def refuse_to_foresee(self) -> NoReturn:
        """Refuse what needs the values.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            f"{self}: nobody knows it before the fit, which runs an LR range test; run lr_range_test now, and pass the "
            "number that it finds"
        )

    def bind(self, horizon: Horizon) -> Values:  # noqa: D102
        self.refuse_to_foresee()

    @property
    def cyclic(self) -> bool:  # noqa: D102
        return self._first.cyclic

    def cycles(self, horizon: Horizon) -> tuple[Cycle, ...]:  # noqa: D102
        return self._first.cycles(horizon)

    @property
    def _first(self) -> Curve:
        curves = self.stand_in()
        return curves if isinstance(curves, Curve) else curves[0]

    def __str__(self) -> str:
        return ", ".join(f"{name}='auto'" for name in self.asked)


def per_group(build: Callable[..., Curve], *, momentum: float | None = None, **rates: AutoRates) -> list[Curve] | Curve:
    """Build one curve, or one a param group where any of the rates is a list.

    Args:
        build: Makes a curve of one rate each; one that can be pickled where a rate may be ``"auto"``.
        momentum: What goes with the highest rate, where that is scheduled too.
        rates: By the names that the user knows them by. The first must be positive, the others not negative.

    Returns:
        The curve or curves; with an ``"auto"`` among the rates, what will be them.

    Raises:
        TypeError, ValueError: If a rate is out of range, two lists differ in length, or ``"auto"`` is in a list.

    Example:
        >>> from lightning_lr import Anneal
        >>> per_group(Anneal, max_lr=[0.1, 0.2], min_lr=0.0)[1].start
        0.2
    """
    if any(map(_is_auto, rates.values())):
        return Auto(build, rates, momentum)
    return _build(build, rates)


def _build(build: Callable[..., Curve], rates: Mapping[str, AutoRates]) -> list[Curve] | Curve:
    curves = [build(*group.values()) for group in _by_group(rates)]
    return curves if any(map(_is_list, rates.values())) else curves[0]


def _by_group(rates: Mapping[str, AutoRates]) -> list[dict[str, Any]]:
    """Return the rates of each param group; of all of them where no rate is a list."""
    lists = {name: rate for name, rate in rates.items() if _is_list(rate)}
    for name, each in lists.items():
        if any(map(_is_auto, each)):
            raise ValueError(
                f"{name}={each!r}: an LR range test tells one rate, and the param groups keep their ratios; pass "
                '"auto" alone, or a number for each group'
            )
    lengths = {len(rate) for rate in lists.values()}
    if len(lengths) > 1 or 0 in lengths:
        given = ", ".join(f"{name}={rate!r}" for name, rate in lists.items())
        raise ValueError(
            f"{given}: lists have one entry a param group; give them the same length, or one number for all"
        )
    first, *_ = rates
    groups = []
    for group in range(max(lengths, default=1)):
        chosen = {name: lists[name][group] if name in lists else rate for name, rate in rates.items()}
        for name, rate in chosen.items():
            if not _is_auto(rate):
                _require_rate(name, rate, positive=name == first, alone=name not in lists)
        groups.append(chosen)
    return groups


def _require_rate(name: str, rate: object, *, positive: bool, alone: bool) -> None:
    try:
        if positive:
            require_number(name, rate, above=0.0)
        else:
            require_number(name, rate, at_least=0.0)
    except TypeError as error:
        raise TypeError(f'{error}, or "auto"' if alone and name in _TOLD_AS else str(error)) from None


def _is_auto(rate: object) -> bool:
    return isinstance(rate, str) and rate == "auto"


def _is_list(rate: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(rate, Sequence) and not isinstance(rate, str)
