"""The loss on the straight line between two networks' weights: whether they lie in one basin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import nn

from lightning_lr.arguments import require_int
from lightning_lr.ensemble.batches import Unpack
from lightning_lr.ensemble.members import Member, Source, members_of
from lightning_lr.snapshots.reader import Snapshots
from lightning_lr.weight_space.landscape import Landscape, Loss, Mean, loss_for


@dataclass(frozen=True)
class Line:
    """The loss along the straight line between two networks' weights, ``θ(α) = (1 − α) θ_first + α θ_second``.

    Args:
        alphas: From 0 to 1, rising.
        losses: At each of them. Between the ends a loss may be infinite or not a number, at the ends it may not.
        names: Of the two networks.

    Raises:
        ValueError: If these are not one loss an α, from 0 to 1, with a finite loss at both ends.

    Example:
        >>> line = Line((0.0, 0.5, 1.0), (1.0, 5.0, 3.0), ("first", "second"))
        >>> line.barrier, line.barrier_at, line.rise
        (3.0, 0.5, 1.5)

    J. Frankle et al., *Linear Mode Connectivity and the Lottery Ticket Hypothesis*, ICML 2020,
    https://arxiv.org/abs/1912.05671.
    """

    alphas: tuple[float, ...]
    losses: tuple[float, ...]
    names: tuple[str, str]

    def __post_init__(self) -> None:
        for attribute in ("alphas", "losses", "names"):
            object.__setattr__(self, attribute, tuple(getattr(self, attribute)))
        alphas, losses = self.alphas, self.losses
        if len(alphas) < 2 or alphas[0] != 0 or alphas[-1] != 1 or any(a >= b for a, b in pairwise(alphas)):
            raise ValueError(
                f"alphas={alphas!r}: not a way from one end to the other; pass numbers that rise from 0 to 1"
            )
        if len(losses) != len(alphas):
            raise ValueError(f"losses: {len(losses)} of them at {len(alphas)} points; pass one a point")
        for name, loss in zip(self.names, (losses[0], losses[-1]), strict=True):
            if not math.isfinite(loss):
                raise ValueError(f"{name}: its own loss is {loss}; leave it out, and see where the run diverged")

    def chord(self, alpha: float) -> float:
        """Return the loss on the straight line between the losses at the two ends."""
        first, last = self.losses[0], self.losses[-1]
        # From the nearer end: exact at both, and level where they are.
        return first + alpha * (last - first) if alpha < 0.5 else last - (1 - alpha) * (last - first)

    @cached_property
    def barrier(self) -> float:
        """How far the loss climbs above the straight line between its ends, at its highest: 0 or more."""
        return self._highest[0]

    @cached_property
    def barrier_at(self) -> float:
        """The α where it is that high."""
        return self._highest[1]

    @cached_property
    def rise(self) -> float:
        """The barrier as a share of the straight line's loss there."""
        level = abs(self.chord(self.barrier_at))
        if level == 0:
            return math.inf if self.barrier else 0.0
        return self.barrier / level

    @cached_property
    def _highest(self) -> tuple[float, float]:
        rises = [(loss - self.chord(alpha), alpha) for alpha, loss in zip(self.alphas, self.losses, strict=True)]
        # What is not a number is worse than any loss that is one.
        walls = [(math.inf if math.isnan(rise) else rise, alpha) for rise, alpha in rises]
        return max(walls, key=lambda wall: wall[0])

    def plot(self, path: str | Path) -> Path:
        """Draw the loss along the line.

        Args:
            path: The picture to write; its ending says the format.

        Returns:
            The path written.
        """
        from lightning_lr.plots import plot_lines

        return plot_lines([self], path)


def loss_along_line(
    module: nn.Module,
    first: Source,
    second: Source,
    dataloader: Iterable[Any],
    *,
    train_dataloader: Iterable[Any] | None = None,
    points: int = 11,
    loss: Loss | None = None,
    task: str = "multiclass",
    outputs: str = "logits",
    num_classes: int | None = None,
    unpack: Unpack | None = None,
    ckpt_weights: str | None = None,
) -> Line:
    """Measure the loss along the straight line between the weights of two networks; see `lines_between`.

    Args:
        module: The network that was trained; it is not written to.
        first: A snapshot file, a checkpoint, a state dict or a module.
        second: The same, at the other end.
        dataloader: Where the loss is measured.
        train_dataloader: Where batch statistics are taken.
        points: How many, the two ends among them.
        loss: What is measured.
        task: What is predicted, for the loss of None.
        outputs: What `forward` returns, for the loss of None.
        num_classes: C, for the loss of None.
        unpack: ``unpack(batch) -> (input, target)``.
        ckpt_weights: Which weights of a checkpoint that holds two sets.

    Raises:
        ValueError: As `lines_between`.
        TypeError: As `lines_between`.
        FileNotFoundError: If a file is missing.

    Example:
        >>> import torch
        >>> net = nn.Linear(1, 1, bias=False)
        >>> ends = {"weight": torch.tensor([[-1.0]])}, {"weight": torch.tensor([[1.0]])}
        >>> data = [(torch.tensor([[1.0]]), torch.tensor([[1.0]]))]
        >>> loss_along_line(net, *ends, data, task="regression", points=5).losses
        (4.0, 2.25, 1.0, 0.25, 0.0)
    """
    (line,) = lines_between(
        module,
        [first, second],
        dataloader,
        train_dataloader=train_dataloader,
        points=points,
        loss=loss,
        task=task,
        outputs=outputs,
        num_classes=num_classes,
        unpack=unpack,
        ckpt_weights=ckpt_weights,
    )
    return line


def lines_between(
    module: nn.Module,
    snapshots: str | Path | Snapshots | Sequence[Source],
    dataloader: Iterable[Any],
    *,
    train_dataloader: Iterable[Any] | None = None,
    last_m: int | None = None,
    points: int = 11,
    loss: Loss | None = None,
    task: str = "multiclass",
    outputs: str = "logits",
    num_classes: int | None = None,
    unpack: Unpack | None = None,
    ckpt_weights: str | None = None,
) -> tuple[Line, ...]:
    """Measure the loss along the straight lines between the weights of neighbouring snapshots.

    At each point the batch statistics are taken anew, over one pass through `train_dataloader`, unless they are the
    same in all snapshots, frozen. All points see the same batches. Module and random states are left as they are; the
    networks run on the module's device.

    Args:
        module: The network that was trained; it is not written to.
        snapshots: A snapshot folder, its `Snapshots` reader, or a list of snapshot files, checkpoints, state dicts and
            modules of the same architecture.
        dataloader: Where the loss is measured.
        train_dataloader: Where batch statistics are taken, some thousands of samples are enough; None for a network
            without batch normalisation.
        last_m: Between the last `last_m` only; None is all.
        points: On each line, the two ends among them.
        loss: ``loss(output, target)``, the mean of a batch or one value a sample; None is the task's: NLL in nats, for
            a regression the squared error.
        task: What is predicted, for the loss of None: see `SnapshotEnsemble`.
        outputs: What `forward` returns, for the loss of None.
        num_classes: C, for the loss of None; None takes it from the first output.
        unpack: ``unpack(batch) -> (input, target)``; None takes a batch that is a pair as it is.
        ckpt_weights: Which weights of a checkpoint that holds two sets, "raw" or "averaged".

    Returns:
        A line between each two neighbours, the oldest first.

    Raises:
        ValueError: If an argument is out of range, there are fewer than two snapshots, one does not fit the module or
            has no finite loss, or batch statistics are to be taken and there is no `train_dataloader`.
        TypeError: If an argument is of another type, or the module cannot be copied.
        FileNotFoundError: If the folder or a file is missing.

    Example:
        >>> import torch
        >>> net = nn.Linear(1, 1, bias=False)
        >>> members = [{"weight": torch.tensor([[weight]])} for weight in (-1.0, 1.0, 3.0)]
        >>> data = [(torch.tensor([[1.0]]), torch.tensor([[1.0]]))]
        >>> [line.losses for line in lines_between(net, members, data, task="regression", points=3)]
        [(4.0, 1.0, 0.0), (0.0, 1.0, 4.0)]
    """
    require_int("points", points, at_least=2)
    members = members_to_mix(module, snapshots, last_m, ckpt_weights)
    if len(members) < 2:
        raise ValueError("snapshots: there is one, and a line has two ends; pass two or more")
    loss = loss_for(loss, task, outputs, num_classes)
    return tuple(lines(Landscape(module, members, dataloader, train_dataloader, loss, unpack), members, points))


def members_to_mix(
    module: nn.Module,
    snapshots: str | Path | Snapshots | Sequence[Source],
    last_m: int | None,
    ckpt_weights: str | None,
) -> tuple[Member, ...]:
    """Find members whose weights can be mixed: all of the module's own architecture."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module={type(module).__name__}: not a torch.nn.Module; pass the network that was trained")
    if isinstance(snapshots, Sequence) and not isinstance(snapshots, str | Snapshots):
        # A member that runs by itself may be of any class; its weights must fit.
        snapshots = [each.state_dict() if isinstance(each, nn.Module) else each for each in snapshots]
    return members_of(module, snapshots, last_m, ckpt_weights)


def lines(landscape: Landscape, members: Sequence[Member], points: int) -> Iterator[Line]:
    """Yield the line between each two neighbours; where two lines meet the loss is measured once."""
    alphas = tuple(index / (points - 1) for index in range(points))
    end = landscape.loss_at(members[0].state_dict())
    for first, second in pairwise(members):
        begin, end = end, landscape.loss_at(second.state_dict())
        between = (
            landscape.loss_at(Mean().plus(first.state_dict(), 1 - alpha).plus(second.state_dict(), alpha).state())
            for alpha in alphas[1:-1]
        )
        yield Line(alphas, (begin, *between, end), (first.name, second.name))
