"""What an ensemble's report looks like in a terminal: two tables, and what there is to say beside them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from rich.table import Table

from lightning_lr.plots.names import member_names
from lightning_lr.report.tradeoff import Cost, Restart

from .schema import places

Scores = Mapping[str, float]

_SCORES = ("accuracy", "nll", "brier", "ece")
_HEADINGS = ("accuracy %", "NLL", "Brier", "ECE")
_NAME = 14  # letters, with which the table fits into 80

# What the next run says anew, or has no need of.
_OF_THE_RUN = ("last_m", "member_weights", "temperature", "lines", "average", "export", "hydra")


def members(
    samples: int,
    names: Sequence[str],
    so_far: Sequence[Restart],
    last_m: Sequence[Scores],
    poolings: Mapping[str, Scores],
) -> Table:
    """Return the table of the members, of the last m of them, and of all of them under other poolings.

    Args:
        samples: How many they were measured on.
        names: Of the members, oldest first.
        so_far: Their scores, and when they were taken.
        last_m: Scores of the last m together, m from 1 on.
        poolings: Scores of all together, by the name of the pooling; without that of `last_m`.
    """
    scores = _table(f"{samples} test samples", "update", "so far %")
    for name, restart in zip(member_names(names, _NAME), so_far, strict=True):
        step = "-" if restart.step is None else str(restart.step)
        scores.add_row(name, step, *cells(restart.alone), f"{100 * restart.together['accuracy']:.2f}")
    if len(so_far) == 1:
        return scores
    scores.add_section()
    # The last one alone stands above.
    for m, each in enumerate(last_m[1:], start=2):
        scores.add_row(f"last {m}", "", *cells(each), "")
    scores.add_section()
    for pooling, each in poolings.items():
        scores.add_row(f"all, {pooling}", "", *cells(each), "")
    return scores


def fitted(samples: int, before: Scores, passes: int, after: Mapping[str, tuple[int, Scores]]) -> Table:
    """Return the table of what was fitted, before and after.

    Args:
        samples: How many it was fitted on.
        before: Scores of the ensemble as it is, on the test data.
        passes: Its forward passes for a sample.
        after: Forward passes and scores of what was fitted, on the test data, by its name.
    """
    scores = _table(f"Fitted on {samples} validation samples, told on the test samples", "passes")
    scores.add_row("as it is", str(passes), *cells(before))
    scores.add_section()
    for name, (count, each) in after.items():
        scores.add_row(name, str(count), *cells(each))
    return scores


def cells(scores: Scores) -> tuple[str, ...]:
    """Return the cells of a row of scores."""
    accuracy, *rest = (scores[name] for name in _SCORES)
    return (f"{100 * accuracy:.2f}", *(f"{score:.4f}" for score in rest))


def diversity(disagreement: Sequence[Sequence[float]], correlation: Sequence[Sequence[float]]) -> str:
    """Return how different the members are, from the two least to the two most different.

    Example:
        >>> diversity([[0.0, 0.015], [0.015, 0.0]], [[1.0, 0.5], [0.5, 1.0]])
        'Two members differ on 1.5 % of the samples, and their errors correlate by 0.50.'
    """
    pairs = list(combinations(range(len(disagreement)), 2))
    if not pairs:
        return "One member: nothing to differ from."
    differ = _range([100 * disagreement[i][j] for i, j in pairs], ".1f")
    correlate = _range([correlation[i][j] for i, j in pairs], ".2f")
    errors = f"their errors correlate by {correlate}" if correlate else "how their errors correlate cannot be told"
    return f"Two members differ on {differ or '?'} % of the samples, and {errors}."


def cost(told: Cost) -> str:
    """Return what a prediction costs.

    Example:
        >>> cost(Cost(passes=5, seconds=1e-3, seconds_of_one=2e-4, batch_size=64, device="cpu"))
        'A prediction takes 5 forward passes, 1 ms a sample instead of 0.2 ms, in batches of 64 on cpu.'
    """
    if told.passes == 1:
        return f"A prediction takes one forward pass, {1e3 * told.seconds:.3g} ms a sample on {told.device}."
    return (
        f"A prediction takes {told.passes} forward passes, {1e3 * told.seconds:.3g} ms a sample instead of "
        f"{1e3 * told.seconds_of_one:.3g} ms, in batches of {told.batch_size} on {told.device}."
    )


def barriers(rises: Sequence[float]) -> str:
    """Return how far the loss rises between neighbours in weight space.

    Args:
        rises: From each member to the next, oldest first, as a share of the loss where there is no barrier.

    Example:
        >>> barriers([0.0, 0.0374])
        'From each member to the next, in weight space, the validation loss rises by 0 %, 3.7 %.'
    """
    shares = ", ".join(f"{100 * rise:.2g} %" for rise in rises)
    return f"From each member to the next, in weight space, the validation loss rises by {shares}."


def averaged(method: str, told: Mapping[str, Any], file: str) -> str:
    """Return what one model of all members is worth, or why there is none.

    Args:
        method: How their weights were averaged.
        told: Its ``"scores"`` on the test data, or what it was ``"refused"`` with.
        file: Where its weights are.

    Example:
        >>> averaged("greedy", {"refused": "last_m=5: in different basins"}, "average.safetensors")
        '! average=greedy: last_m=5: in different basins'
    """
    if "refused" in told:
        return f"! average={method}: {told['refused']}"
    accuracy, nll, brier, ece = cells(told["scores"])
    scores = f"accuracy {accuracy} %, NLL {nll}, Brier {brier}, ECE {ece}"
    return f"One model, the {method} average of their weights: {scores}; in {file}."


def command(said: Sequence[str], overrides: Mapping[str, str]) -> str:
    """Return the command that writes what is recommended into a file.

    Args:
        said: The overrides that this run was started with.
        overrides: What the ensemble should be.

    Example:
        >>> command(["snapshots=outputs/my run", "lines=5", "last_m=4"], {"last_m": "3", "export": "last_3.pt2"})
        "python -m recipes.ensemble 'snapshots=outputs/my run' lines=null last_m=3 export=last_3.pt2"
    """
    # One model is pooled with nothing: a vote of one would take its probabilities away.
    anew = (*_OF_THE_RUN, "pooling") if overrides.get("last_m") == "1" else _OF_THE_RUN
    kept = [each for each in said if each.lstrip("+~").partition("=")[0].partition(".")[0] not in anew]
    new = [f"{key}={value}" for key, value in {"lines": "null", **overrides}.items()]
    return shlex.join([*places.command("ensemble"), *kept, *new])


def _table(title: str, *beside: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("model")
    first, *last = beside
    for heading in (first, *_HEADINGS, *last):
        table.add_column(heading, justify="right")
    return table


def _range(values: Sequence[float], form: str) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    # What rounds to 0 has no sign.
    low, high = (format(0.0 if float(format(value, form)) == 0 else value, form) for value in (min(known), max(known)))
    return low if low == high else f"{low} to {high}"
