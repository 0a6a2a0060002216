"""`average_weights`: one network of the snapshots' mean weights, where these lie in one basin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn

from lightning_lr.arguments import require_choice, require_int, require_number
from lightning_lr.ensemble.batches import Unpack
from lightning_lr.ensemble.clone import copy_of
from lightning_lr.ensemble.members import Member, Source
from lightning_lr.snapshots.reader import Snapshots
from lightning_lr.weight_space.basin import Line, lines, members_to_mix
from lightning_lr.weight_space.landscape import Landscape, Loss, Mean, loss_for

_REMEDY = "average their predictions instead, with SnapshotEnsemble"


class BasinError(ValueError):
    """The members lie in different basins: their mean is no network.

    Attributes:
        line: The line that goes over a barrier; None where none does, and the mean of all has too high a loss.

    Example:
        >>> import torch
        >>> net = nn.Linear(1, 1, bias=False)
        >>> far = [{"weight": torch.tensor([[weight]])} for weight in (-1.0, 1.0)]
        >>> data = [(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [2.0]]))]
        >>> def loss(output, target):
        ...     return (output**2 - target**2).square()
        >>> try:
        ...     average_weights(net, far, None, data, loss=loss)
        ... except BasinError as error:
        ...     print(error.line.losses)
        (0.0, 4.78125, 8.5, 4.78125, 0.0)
    """

    def __init__(self, message: str, line: Line | None = None) -> None:
        super().__init__(message)
        self.line = line

    def __reduce__(self) -> tuple[type[BasinError], tuple[str, Line | None]]:
        # An exception from another process comes as a pickle, which knows the message alone.
        return BasinError, (str(self), self.line)


def average_weights(
    module: nn.Module,
    snapshots: str | Path | Snapshots | Sequence[Source],
    train_dataloader: Iterable[Any] | None,
    val_dataloader: Iterable[Any],
    *,
    last_m: int | None = None,
    method: str = "uniform",
    tolerance: float = 0.1,
    points: int = 5,
    loss: Loss | None = None,
    task: str = "multiclass",
    outputs: str = "logits",
    num_classes: int | None = None,
    unpack: Unpack | None = None,
    ckpt_weights: str | None = None,
) -> nn.Module:
    r"""Average the weights of M snapshots, ``θ = 1/M Σ_m θ_m``: one network, at the cost of one.

    "uniform" is SWA: all members. It is refused where validation says that they lie in different basins: between two
    neighbours the loss climbs above the straight line between theirs by more than `tolerance`, or the loss of the mean
    is above the mean of the losses by as much. "greedy" is the greedy soup: members in the order of their losses, the
    best first, each kept if with it the loss of the mean is no higher. On validation that is never worse than the best
    member, so nothing is refused, and where no two members share a basin the best one is all that is left. It has
    chosen by the validation data: what it is worth is told on other data.

    At each point the batch statistics are taken anew; see `lines_between`, which measures the same and shows it.

    Args:
        module: The network that was trained; it is not written to.
        snapshots: A snapshot folder, its `Snapshots` reader, or a list of snapshot files, checkpoints, state dicts and
            modules of the same architecture.
        train_dataloader: Where batch statistics are taken, some thousands of samples are enough; None for a network
            without batch normalisation.
        val_dataloader: Where the loss is measured.
        last_m: Average the last `last_m` only; None is all.
        method: "uniform" or "greedy".
        tolerance: Of "uniform", how far the loss may climb where it climbs highest, as a share of what it would be
            there without a barrier.
            Snapshots of one basin were found at 0 to 0.03, independent networks at 0.15 and up to a hundred; with a
            validation set of some hundred samples chance adds a few hundredths.
        points: Of "uniform", on each line, the two ends among them.
        loss: ``loss(output, target)``, the mean of a batch or one value a sample; None is the task's: NLL in nats, for
            a regression the squared error.
        task: What is predicted, for the loss of None: see `SnapshotEnsemble`.
        outputs: What `forward` returns, for the loss of None.
        num_classes: C, for the loss of None; None takes it from the first output.
        unpack: ``unpack(batch) -> (input, target)``; None takes a batch that is a pair as it is.
        ckpt_weights: Which weights of a checkpoint that holds two sets, "raw" or "averaged".

    Returns:
        A copy of the module with the mean of the weights, in evaluation mode; its attribute ``averaged`` names the
        members that are in it.

    Raises:
        BasinError: If the members lie in different basins.
        ValueError: If an argument is out of range, a member does not fit the module or has no finite loss, or batch
            statistics are to be taken and there is no `train_dataloader`.
        TypeError: If an argument is of another type, or the module cannot be copied.
        FileNotFoundError: If the folder or a file is missing.

    Example:
        >>> import torch
        >>> net = nn.Linear(1, 1, bias=False)
        >>> members = [{"weight": torch.tensor([[weight]])} for weight in (0.5, 1.0, 3.0)]
        >>> data = [(torch.tensor([[1.0]]), torch.tensor([[1.25]]))]
        >>> average_weights(net, members, None, data, task="regression").weight.item()
        1.5
        >>> greedy = average_weights(net, members, None, data, method="greedy", task="regression")
        >>> greedy.averaged, greedy.weight.item()
        (('snapshots[1]',), 1.0)

    P. Izmailov et al., *Averaging Weights Leads to Wider Optima and Better Generalization*, UAI 2018,
    https://arxiv.org/abs/1803.05407; M. Wortsman et al., *Model soups*, ICML 2022, https://arxiv.org/abs/2203.05482.
    """
    require_choice("method", method, ("uniform", "greedy"))
    tolerance = require_number("tolerance", tolerance, at_least=0.0)
    require_int("points", points, at_least=3)
    members = members_to_mix(module, snapshots, last_m, ckpt_weights)
    loss = loss_for(loss, task, outputs, num_classes)
    landscape = Landscape(module, members, val_dataloader, train_dataloader, loss, unpack, "val_dataloader")
    kept = _uniform(landscape, members, tolerance, points) if method == "uniform" else _greedy(landscape, members)
    # The one that was measured on is mute and has no gradients.
    network = copy_of(module, "module").eval()
    network.load_state_dict(landscape.network.state_dict())
    network.averaged = tuple(member.name for member in kept)  # type: ignore[assignment]
    return network


def _uniform(landscape: Landscape, members: Sequence[Member], tolerance: float, points: int) -> Sequence[Member]:
    """Put the mean of all into the network, or refuse them."""
    mean = Mean()
    for member in members:
        mean = mean.plus(member.state_dict())
    if len(members) == 1:
        landscape.put(mean.state())
        return members
    losses: list[float] = []
    for line in lines(landscape, members, points):
        if line.rise > tolerance:
            raise BasinError(_over_a_barrier(line, tolerance), line)
        losses = [*(losses or line.losses[:1]), line.losses[-1]]
    _check_mean(landscape.loss_at(mean.state()), losses, tolerance)
    return members


def _check_mean(loss: float, losses: Sequence[float], tolerance: float) -> None:
    count, level = len(losses), math.fsum(losses) / len(losses)
    # Written so that what is not a number does not pass.
    if not loss - level <= tolerance * abs(level):
        raise BasinError(
            f"snapshots: lie in different basins: the mean of the {count} has validation loss {loss:.4g}, a barrier of "
            f"{loss - level:.4g} above the mean of their own, {level:.4g}, where tolerance={tolerance:g} allows "
            f"{tolerance * abs(level):.2g}; {_REMEDY}"
        )
    if loss - losses[-1] > tolerance * abs(losses[-1]):
        rank_zero_warn(
            f"average_weights: the mean of {count} has validation loss {loss:.4g}, the last one alone "
            f'{losses[-1]:.4g}; take the later ones only, by last_m, or pass method="greedy"'
        )


def _over_a_barrier(line: Line, tolerance: float) -> str:
    alpha = line.barrier_at
    loss = line.losses[line.alphas.index(alpha)]
    return (
        f"{line.names[0]}, {line.names[1]}: lie in different basins: {alpha:.0%} of the way from one to the other the "
        f"validation loss is {loss:.4g}, a barrier of {line.barrier:.4g} above the line from {line.losses[0]:.4g} to "
        f"{line.losses[-1]:.4g}, where tolerance={tolerance:g} allows {tolerance * abs(line.chord(alpha)):.2g}; "
        f"{_REMEDY}"
    )


def _greedy(landscape: Landscape, members: Sequence[Member]) -> Sequence[Member]:
    """Put the mean of the best into the network, and of each other that does it no harm."""
    losses = [landscape.loss_at(member.state_dict()) for member in members]
    order = sorted((index for index, loss in enumerate(losses) if math.isfinite(loss)), key=losses.__getitem__)
    if not order:
        raise ValueError(
            f"snapshots: none of the {len(members)} has a finite validation loss; see where the run diverged"
        )
    kept, mean, lowest = order[:1], Mean().plus(members[order[0]].state_dict()), losses[order[0]]
    for index in order[1:]:
        candidate = mean.plus(members[index].state_dict())
        loss = landscape.loss_at(candidate.state())
        if loss <= lowest:
            kept, mean, lowest = [*kept, index], candidate, loss
    landscape.put(mean.state())
    oldest_first = [members[index] for index in sorted(kept)]
    names = ", ".join(member.name for member in oldest_first)
    rank_zero_info(
        f"average_weights: {len(kept)} of {len(members)} are in the mean, {names}; its validation loss is "
        f"{lowest:.4g}, the best one's alone {losses[order[0]]:.4g}"
    )
    return oldest_first
