"""The loss of a network on a data set, as a function of its weights.

Weights that were mixed have activations that no training has seen: with the batch statistics of one member, or with a
mean of all, the way from one member to the next goes over a hill that is not there. So the statistics are taken anew at
each point; see K. Jordan et al., *REPAIR*, ICLR 2023, https://arxiv.org/abs/2211.08403.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from lightning_lr import undo
from lightning_lr.ensemble.batches import Unpack, described, input_of, pair_of
from lightning_lr.ensemble.clone import clone_of
from lightning_lr.ensemble.members import Member
from lightning_lr.ensemble.tasks import task_named
from lightning_lr.surroundings import Surroundings

Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""``loss(output, target)``: the mean over a batch, or one value a sample."""


@dataclass(frozen=True)
class Mean:
    """The weighted mean of state dicts, taken one after the other: none of them is kept.

    Gathered in float64 on the CPU, where the mean of equal weights is these weights. What counts, such as the batches
    that a normalisation has seen, is not averaged: the last one's stays.

    Example:
        >>> mean = Mean().plus({"weight": torch.tensor([1.0, 2.0])}).plus({"weight": torch.tensor([3.0, 8.0])})
        >>> mean.state()
        {'weight': tensor([2., 5.], dtype=torch.float64)}
    """

    total: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 0.0

    def plus(self, state: Mapping[str, Any], weight: float = 1.0) -> Mean:
        """Return the mean of one state dict more.

        Args:
            state: Tensors by name, of any device and dtype.
            weight: Of this one, above 0.
        """
        total = {}
        for name, value in state.items():
            if _continuous(value):
                wide = torch.complex128 if value.is_complex() else torch.float64
                value = value.detach().to("cpu", wide) * weight
                if name in self.total:
                    value += self.total[name]
            total[name] = value
        return Mean(total, self.weight + weight)

    def state(self) -> dict[str, Any]:
        """Return the mean by name."""
        return {name: value / self.weight if _continuous(value) else value for name, value in self.total.items()}


def _continuous(value: object) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


class Landscape:
    """The mean loss of a network at any weights.

    The network is a copy of the module in evaluation mode, on the module's device. Each pass over a loader starts from
    the random states that the first one started from: all points see the same batches, and whoever draws afterwards
    draws what he would have drawn.

    Args:
        module: The network that was trained; it is not written to.
        members: Those whose weights are mixed. Batch statistics that are the same in all of them were frozen when they
            were trained, and stay.
        dataloader: Where the loss is measured.
        train_dataloader: Where batch statistics are taken; None for a network that has none to be taken.
        loss: What is measured.
        unpack: ``unpack(batch) -> (input, target)``; None takes a batch that is a pair as it is.
        argument: What an error calls `dataloader`.

    Raises:
        ValueError: If statistics are to be taken and there is no `train_dataloader`, or a loader can be gone through
            only once.
        TypeError: If a loader is none, or the module cannot be copied.
    """

    def __init__(
        self,
        module: nn.Module,
        members: Sequence[Member],
        dataloader: Iterable[Any],
        train_dataloader: Iterable[Any] | None,
        loss: Loss,
        unpack: Unpack | None,
        argument: str = "dataloader",
    ) -> None:
        loaders: dict[str, object] = {argument: dataloader, "train_dataloader": train_dataloader}
        for name, loader in loaders.items():
            what = type(loader).__name__
            if not isinstance(loader, Iterable) and (loader is not None or name == argument):
                raise TypeError(f"{name}={what}: not a loader; pass a DataLoader, or a list of batches")
            if isinstance(loader, Iterator):
                raise ValueError(f"{name}={what}: can be gone through only once; pass the loader, not its iterator")
        self.network = clone_of(module)
        self._dataloader, self._train_dataloader = dataloader, train_dataloader
        self._loss, self._unpack, self._argument = loss, unpack, argument
        self._device = _device(self.network)
        self._norms = _trained_norms(self.network, members)
        if self._norms and train_dataloader is None:
            raise ValueError(
                f"train_dataloader=None: the {type(module).__name__} has batch normalisation, whose statistics are "
                "taken on training data at each point; pass the loader that it was trained on"
            )

    def put(self, state: Mapping[str, Any]) -> None:
        """Put weights into the network, and take the batch statistics that go with them.

        Args:
            state: Entries by their names in the network; they are cast to its dtypes.
        """
        # What is made in inference mode could not be written to outside of it.
        with torch.inference_mode(False), torch.no_grad():
            self.network.load_state_dict(state)
            if self._norms:
                self._take_statistics()

    def loss_at(self, state: Mapping[str, Any]) -> float:
        """Put weights into the network, and measure the mean loss there; it may be infinite, or not a number."""
        self.put(state)
        total, count = 0.0, 0
        with torch.inference_mode(), _undisturbed(self._dataloader):
            for batch in self._dataloader:
                x, target = move_data_to_device(pair_of(batch, self._unpack), self._device)
                value, samples = _sum_of(self._loss(self.network(x), target), (target, x))
                total, count = total + value, count + samples
        if count == 0:
            raise ValueError(f"{self._argument}: there is no sample in it; pass data to measure the loss on")
        return total / count

    def _take_statistics(self) -> None:
        # The cumulative mean of `torch.optim.swa_utils.update_bn`. All else stays in evaluation mode: there is no
        # dropout where these statistics will be used, and nothing else that a training writes is to be written.
        momenta = [norm.momentum for norm in self._norms]
        batches = 0
        for norm in self._norms:
            # The first batch counts for all that was before it. A part that only runs in training is not reached, and
            # keeps what it has.
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.zero_()
            norm.momentum = None
            norm.train()
        try:
            with _undisturbed(self._train_dataloader):
                for batch in self._train_dataloader or ():
                    self.network(move_data_to_device(input_of(batch, self._unpack), self._device))
                    batches += 1
        finally:
            for norm, momentum in zip(self._norms, momenta, strict=True):
                norm.momentum = momentum
                norm.eval()
        if batches == 0:
            raise ValueError("train_dataloader: there is no batch in it; pass data to take batch statistics on")


def loss_for(loss: Loss | None, task: str, outputs: str, num_classes: int | None) -> Loss:
    """Return the loss that was asked for, or the task's own of each sample: NLL, for a regression the squared error.

    Example:
        >>> loss_for(None, "multiclass", "logits", None)(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor([0.6931])
    """
    if loss is not None:
        if not callable(loss):
            raise TypeError(f"loss={loss!r}: not a function; pass loss(output, target), or None for the task's own")
        return loss
    means = task_named(task, outputs=outputs, num_classes=num_classes)
    name = "mse" if task == "regression" else "nll"

    def own(output: Any, target: Any) -> Tensor:
        pool = means.pool()
        pool.add(means.read(output))
        pooled = pool.pooled()
        (each,) = means.scores(pooled, means.target(target, pooled))[name]
        return each

    return own


def _trained_norms(network: nn.Module, members: Sequence[Member]) -> list[_BatchNorm]:
    """Batch normalisations whose running statistics are not the same in all members."""
    norms = {
        ".".join(filter(None, (name, "running_mean"))): part
        for name, part in network.named_modules()
        if isinstance(part, _BatchNorm) and part.running_mean is not None
    }
    if not norms:
        return []
    first = {key: value for key, value in members[0].state_dict().items() if key in norms}
    trained = set()
    for member in members[1:]:
        state = member.state_dict()
        trained |= {key for key, value in first.items() if not torch.equal(state[key].cpu(), value.cpu())}
    return [norm for key, norm in norms.items() if key in trained]


def _device(network: nn.Module) -> torch.device:
    return next((tensor.device for tensor in (*network.parameters(), *network.buffers())), torch.device("cpu"))


def _sum_of(loss: Any, batch: Any) -> tuple[float, int]:
    """Sum of a batch's losses, and of how many samples, from one value a sample or from their mean."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss: it returned {described(loss)}; return a tensor, a mean or one value a sample")
    if loss.ndim:
        return float(loss.sum(dtype=None if loss.device.type == "mps" else torch.float64)), loss.numel()
    samples = next((len(part) for part in tree_leaves(batch) if isinstance(part, Tensor) and part.ndim), 1)
    # The mean over no samples is not a number.
    return (float(loss) * samples if samples else 0.0), samples


@contextmanager
def _undisturbed(loader: object) -> Iterator[None]:
    """Put all random states back at the end, those of the loader's own generators too."""
    surroundings = Surroundings()
    batch_sampler = getattr(loader, "batch_sampler", None)
    holders = (loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
    generators = [getattr(holder, "generator", None) for holder in holders]
    undos = [undo.generator(each) for each in generators if isinstance(each, torch.Generator)]
    try:
        yield
    finally:
        surroundings.restore()
        for put_back in undos:
            put_back()
