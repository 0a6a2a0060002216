"""What a curve of loss against learning rate says: rules side by side, bounds to use, and how far to trust them.

>>> lrs = [10.0**exponent for exponent in (-5, -4, -3, -2, -1, 0)]
>>> for rule, lr in suggest(lrs, [2.0, 2.0, 1.6, 0.4, 0.2, 5.0]).items():
...     print(f"{rule}: {lr:.2g}")
steepest: 0.001
valley: 0.01
minimum/10: 0.01
minimum/4: 0.025
minimum/3: 0.033
minimum/1.5: 0.067
half of the drop: 0.01
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import median

STEEPEST, VALLEY, HALF = "steepest", "valley", "half of the drop"
STEPS_BACK = (10, 4, 3, 1.5)
RULES = (STEEPEST, VALLEY, *(f"minimum/{back}" for back in STEPS_BACK), HALF)
"""The names of all rules, in the order in which they are told."""

MAX_LR, FIXED_LR = "minimum/1.5", "minimum/3"
"""The rules that `max_lr` and `fixed_lr` go by. The one place that says so."""

_LEVEL = 5  # readings that tell the level a curve starts at
_CUT = 0.5  # how far above that a reading counts, as a share of how far below it the lowest lies
_STANDARD_ERRORS = 4.0  # a drop of fewer than these is noise
_BEGINS = 0.1  # share of the drop that is lost where the loss begins to fall
_BASE_AT_LEAST, _BASE_AT_MOST = 1 / 10, 1 / 3  # of max_lr: the bounds that Smith (2017) gives
_AT_ONCE = 0.05  # share of the readings in which half of the drop is too early
_DECADES_APART = 2.0
_FACTOR_APART = 3.0


def smooth(losses: Sequence[float], smoothing: float) -> list[float]:
    """Average each reading with those before and after it, without a lag and without a pull at either end.

    Reading ``i`` becomes ``sum_j(w_ij * x_j) / sum_j(w_ij)`` with ``w_ij = smoothing**abs(i - j)``: an exponential
    moving average run forwards and backwards, whose weights sum to one at the ends too. Before that ``x`` is cut at
    ``start + (start - lowest)/2``, with ``start`` the median of the first five readings: a loss that explodes would
    lift the readings before it and move the minimum to the left.

    Args:
        losses: One finite loss a reading.
        smoothing: Weight of the next reading against the reading itself, at least 0 (none) and below 1.

    Example:
        >>> [round(loss, 3) for loss in smooth([2.0, 2.0, 2.0, 1.0, 1e9], smoothing=0.5)]
        [1.952, 1.921, 1.85, 1.684, 2.0]
    """
    if not losses or smoothing == 0:
        return [float(loss) for loss in losses]
    start, lowest = median(losses[:_LEVEL]), min(losses)
    ceiling = start + _CUT * (start - lowest)
    cut = [float(min(loss, ceiling)) for loss in losses]
    weights = _both_ways([1.0] * len(cut), smoothing)
    means = [total / weight for total, weight in zip(_both_ways(cut, smoothing), weights, strict=True)]
    # A mean lies between its readings; this catches the last ulp, so that a constant stays one.
    highest = max(cut)
    return [min(max(mean, lowest), highest) for mean in means]


def _both_ways(values: list[float], smoothing: float) -> list[float]:
    # A share of each value, for their sum may be more than the largest float.
    shares = [value / len(values) for value in values]
    forwards = accumulate(shares, lambda total, share: smoothing * total + share)
    backwards = [*accumulate(shares[::-1], lambda total, share: smoothing * total + share)][::-1]
    return [before + after - share for before, after, share in zip(forwards, backwards, shares, strict=True)]


def drop(smoothed: Sequence[float]) -> float:
    """Return how far the loss falls: from the first reading of the smoothed curve to its lowest.

    Example:
        >>> drop([2.0, 2.5, 0.5, 9.0])
        1.5
    """
    return smoothed[0] - min(smoothed) if smoothed else 0.0


def noise(losses: Sequence[float], smoothing: float) -> float:
    """Return how far a smoothed curve may seem to fall where the loss does not: four standard errors of its drop.

    A reading's own spread is taken from second differences, which a curve that merely falls leaves at 0:
    ``1.4826 * median(abs(x[i-1] - 2*x[i] + x[i+1])) / sqrt(6)``.

    Args:
        losses: The readings before smoothing. Fewer than three cannot be told from noise: infinity.
        smoothing: As it is given to `smooth`.

    Example:
        >>> noise([3.0, 2.0, 1.0, 0.0], smoothing=0.5)
        0.0
    """
    if len(losses) < 3:
        return math.inf
    bends = [abs(losses[i - 1] - 2 * losses[i] + losses[i + 1]) for i in range(1, len(losses) - 1)]
    spread = 1.4826 * median(bends) / math.sqrt(6)
    # What smoothing leaves of the variance: at the first reading, with neighbours on one side, and at one amid others.
    first = (1 - smoothing) / (1 + smoothing)
    amid = first * (1 + smoothing**2) / (1 + smoothing) ** 2
    least = 1 / len(losses)  # that of a mean of all
    return _STANDARD_ERRORS * spread * math.sqrt(max(first, least) + max(amid, least))


def suggest(lrs: Sequence[float], smoothed: Sequence[float]) -> dict[str, float]:
    r"""Ask every rule.

    With ``m`` the first index of the lowest loss ``L[m]``, and distances in the logarithm of the learning rate:

    - ``"steepest"``: ``lrs[i]``, ``i <= m``, where ``(L[i+1] - L[i-1]) / log(lrs[i+1] / lrs[i-1])`` is most negative;
      at an end of the curve the slope to its one neighbour. The slope by index, which is often taken, is another one
      where learning rates are equally spaced.
    - ``"valley"``: ``lrs[a]**(1/3) * lrs[b]**(2/3)``, two thirds of the way from the first reading ``a`` to the last
      reading ``b`` of the longest falling stretch: the most readings, others left out, each below the one before it.
    - ``"minimum/10"``, ``"minimum/4"``, ``"minimum/3"``, ``"minimum/1.5"``: ``lrs[m]`` divided by that.
    - ``"half of the drop"``: the first ``lrs[i]`` with ``L[0] - L[i] >= (L[0] - L[m]) / 2``.

    Args:
        lrs: Learning rates, positive, each above the one before it.
        smoothed: The loss at each of them.

    Returns:
        Learning rates by the names of the rules. Empty where the loss is never below that of the first reading.

    References:
        Smith, L. N. Cyclical Learning Rates for Training Neural Networks. WACV 2017.
        Smith, L. N. A disciplined approach to neural network hyper-parameters: Part 1. arXiv:1803.09820.
        The valley is a rule of ESRI's, known from fastai.
    """
    fall = drop(smoothed)
    if not fall > 0:
        return {}
    lowest = smoothed.index(min(smoothed))
    start, end = _falling_stretch(smoothed)
    found = {
        STEEPEST: lrs[_steepest(lrs, smoothed, lowest)],
        VALLEY: lrs[start] ** (1 / 3) * lrs[end] ** (2 / 3),
    }
    found |= {f"minimum/{back}": lrs[lowest] / back for back in STEPS_BACK}
    found[HALF] = lrs[_lost(smoothed, 0.5)]
    return found


def base_lr(lrs: Sequence[float], smoothed: Sequence[float], max_lr: float) -> float:
    """Return the bottom of a cycle: where the loss begins to fall, between a tenth and a third of ``max_lr``.

    It begins to fall at the first reading that has lost a tenth of the drop.

    Example:
        >>> base_lr([0.001, 0.01, 0.02, 0.1], [2.0, 2.0, 1.7, 1.0], max_lr=0.1)
        0.02
    """
    begins = lrs[_lost(smoothed, _BEGINS)]
    return min(max(begins, max_lr * _BASE_AT_LEAST), max_lr * _BASE_AT_MOST)


def _lost(smoothed: Sequence[float], share: float) -> int:
    """The first reading at which so much of the drop is lost."""
    enough = share * drop(smoothed)
    return next(index for index, loss in enumerate(smoothed) if smoothed[0] - loss >= enough)


def _steepest(lrs: Sequence[float], smoothed: Sequence[float], lowest: int) -> int:
    def slope(index: int) -> float:
        before, after = max(index - 1, 0), min(index + 1, len(lrs) - 1)
        return (smoothed[after] - smoothed[before]) / math.log(lrs[after] / lrs[before])

    return min(range(lowest + 1), key=slope)


def _falling_stretch(smoothed: Sequence[float]) -> tuple[int, int]:
    """The ends of the longest falling subsequence, by patience sorting: quadratic time would be felt."""
    tops: list[float] = []  # of each pile: the highest last loss, negated, that a stretch of this length can have
    reached: list[int] = []
    before: list[int | None] = []
    for index, loss in enumerate(smoothed):
        length = bisect_left(tops, -loss)
        before.append(reached[length - 1] if length else None)
        tops[length : length + 1] = [-loss]
        reached[length : length + 1] = [index]
    start = end = reached[-1]
    while (earlier := before[start]) is not None:
        start = earlier
    return start, end


def reliability(
    lrs: Sequence[float],
    smoothed: Sequence[float],
    found: Mapping[str, float],
    *,
    noise: float,
    steps: int,
    ended: str,
    bands: Mapping[str, tuple[float, float]],
) -> tuple[str, ...]:
    """Return what speaks against the suggestions, a line each with figures and a remedy; nothing where nothing does.

    Args:
        lrs: Learning rates that were reached.
        smoothed: The loss at each of them.
        found: What the rules say, empty where the loss never fell.
        noise: How far the smoothed curve may seem to fall where the loss does not.
        steps: Readings that were asked for.
        ended: What ended the run: ``"complete"``, ``"diverged"`` or ``"stopped"``.
        bands: Lowest and highest of each rule over several runs; empty for one.
    """
    notes = []
    if ended == "stopped":
        at = _lr(lrs[-1]) if lrs else "its start"
        notes.append(
            f"range cut at {at}: the run was stopped after {len(lrs)} of {steps} readings, and not by divergence; "
            "take away what stopped it (max_time, a callback, an interrupt) and test again"
        )
    if not found:
        return (*notes, _never_fell(lrs, smoothed, noise, ended))
    fall, lowest = drop(smoothed), min(smoothed)
    if ended != "diverged" and smoothed[-1] < lowest + fall / 2:
        remedy = "test the whole range" if ended == "stopped" else "pass a larger max_lr"
        notes.append(
            f"did not diverge: the loss is lowest at {_lr(lrs[smoothed.index(lowest)])} and by {_lr(lrs[-1])} has not "
            f"climbed back by half of its drop, so every suggestion is a lower bound; {remedy}"
        )
    half = _lost(smoothed, 0.5)
    if half < max(2, round(_AT_ONCE * steps)):
        notes.append(
            f"the loss fell at once: half of its drop is lost by reading {half + 1} of {steps}, at {_lr(lrs[half])}, "
            "so the level it starts from is not known; pass a smaller min_lr"
        )
    low, high = min(found, key=lambda rule: found[rule]), max(found, key=lambda rule: found[rule])
    decades = math.log10(found[high] / found[low])
    if decades >= _DECADES_APART:
        notes.append(
            f"rules disagree by {decades:.1f} decades: {low} says {_lr(found[low])} and {high} {_lr(found[high])}; "
            "look at the plot, and test with more steps or repeats"
        )
    lower, upper = bands.get(MAX_LR, (1.0, 1.0))
    if upper >= _FACTOR_APART * lower:
        notes.append(
            f"repeats disagree by a factor of {upper / lower:.1f}: {MAX_LR} goes from {_lr(lower)} to {_lr(upper)} "
            "with the order of the data; test with more steps or larger batches"
        )
    return tuple(notes)


def _never_fell(lrs: Sequence[float], smoothed: Sequence[float], noise: float, ended: str) -> str:
    other = "smaller min_lr" if ended == "diverged" else "larger max_lr"
    remedy = f"pass a {other} or more steps, and see that the model learns at all"
    if len(lrs) < 3:
        return f"the loss never fell: too few readings ({len(lrs)}) to tell; {remedy}"
    return (
        f"the loss never fell: by {drop(smoothed):.2g} from {_lr(lrs[0])} to {_lr(lrs[-1])}, where noise alone may "
        f"make it {noise:.2g}; {remedy}"
    )


def _lr(value: float) -> str:
    return f"{value:.2g}"
