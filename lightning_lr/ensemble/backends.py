"""How the members of an ensemble are run: one after the other in one live module, or all at once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_flatten, tree_map_only

from lightning_lr.ensemble.leftovers import Leftovers
from lightning_lr.ensemble.members import Member
from lightning_lr.ensemble.turns import Turns, takes_turns

_SMALL = 1 << 20


class Loop(nn.Module):
    """Members one after the other in one live module, which each member's weights are put into for its turn.

    What has the live module's dtype and memory format is used where it lies, in a snapshot's file: memory does not grow
    with the number of members. Else it is converted: on the CPU anew for each turn, on an accelerator once. What a
    forward pass leaves in the live module, in attributes and buffers, is cleared after each turn. Members that are
    modules of their own run by themselves; so do those of less than a MiB, where a turn would be seen beside the
    forward pass, and all where the module loads its state dict in a way of its own. One that left nothing behind in its
    first pass is not looked at again.

    Args:
        module: The network that was trained; it is copied.
        members: Whose outputs are asked for.

    Raises:
        TypeError: If the module cannot be copied.

    Example:
        >>> from lightning_lr.ensemble.members import members_of
        >>> net = nn.Linear(1, 1, bias=False)
        >>> members = members_of(net, [{"weight": torch.tensor([[2.0]])}, {"weight": torch.tensor([[3.0]])}])
        >>> list(Loop(net, members).outputs(torch.tensor([[10.0]])))
        [tensor([[20.]]), tensor([[30.]])]
    """

    def __init__(self, module: nn.Module, members: Sequence[Member]) -> None:
        super().__init__()
        self.members = tuple(members)
        self.live: nn.Module | None = None
        self.alone = nn.ModuleDict()
        # The same ones once more: a module is slow to look up in another, which shows beside a tiny network.
        self._alone: dict[int, nn.Module] = {}
        for index, member in enumerate(self.members):
            if isinstance(member.source, nn.Module) or _size(member) < _SMALL:
                # A copy, for what is moved or cast here is not to be so elsewhere.
                self._alone[index] = member.network(module)
            elif self.live is None:
                # With weights in it a lazy module has its shapes.
                self.live = member.network(module)
        if self.live is not None and not takes_turns(self.live):
            self.live = None
            for index, member in enumerate(self.members):
                if index not in self._alone:
                    self._alone[index] = member.network(module)
        self.alone.update({str(index): network for index, network in self._alone.items()})
        # By member: they may be of different classes.
        self._writes_input: dict[int, bool] = {}
        self._turns: Turns | None = None
        self._leftovers: dict[int, Leftovers] = {}
        # Members that run alone, and neither left anything behind nor wrote into their input.
        self._tidy: set[int] = set()
        self.train(False)

    def train(self, mode: bool = True) -> Loop:
        """Stay in evaluation mode."""
        return super().train(False)

    def outputs(self, x: Any, which: Sequence[int] | None = None) -> Iterator[Any]:
        """Yield what each member's forward makes of the input, the oldest member first.

        Args:
            x: What the module's forward takes. It is not written to, should that forward do so.
            which: Indices of the members that are to run; None is all.
        """
        # Nothing to see to: the shortest way there is, for it is seen beside a tiny network.
        plain = () if torch.is_grad_enabled() else self._tidy
        for index in range(len(self.members)) if which is None else which:
            # A turn is over before its output is handed over: who takes it may stop here, or ask for another one.
            yield self._alone[index](x) if index in plain else self._turn(index, x)

    def network(self, index: int) -> nn.Module:
        """Return one member as an ordinary module, a copy, with the dtype and on the device that it runs with.

        Args:
            index: Of the member.
        """
        with torch.inference_mode(False), torch.no_grad():
            if (alone := self._alone.get(index)) is not None:
                return copy.deepcopy(alone)
        return self._live.network(index)

    def _turn(self, index: int, x: Any) -> Any:
        # An in-place first layer writes into its input, and the next member would be given what is left of it.
        if index not in self._writes_input:
            out, self._writes_input[index] = _watched(lambda given: self._run(index, given), x)
            if self._writes_input[index]:
                self._tidy.discard(index)
            return out
        return self._run(index, _cloned(x) if self._writes_input[index] else x)

    def _run(self, index: int, x: Any) -> Any:
        if torch.is_grad_enabled():
            # The graph would be of weights that the next member replaces.
            with torch.no_grad():
                return self._run(index, x)
        if (alone := self._alone.get(index)) is None:
            return self._live.run(index, x)
        leftovers = self._leftovers.get(index)
        if leftovers is None:
            leftovers = self._leftovers[index] = Leftovers(alone)
        try:
            out = alone(x)
            if not leftovers:
                if not self._writes_input.get(index):
                    self._tidy.add(index)
                return out
            # What is returned may lie in a buffer that is put back.
            return _cloned(out)
        finally:
            leftovers.clear()

    @property
    def _live(self) -> Turns:
        if self._turns is None:
            assert self.live is not None
            self._turns = Turns(self.live, self.members)
        return self._turns

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Loop:
        # A buffer that is cast in inference mode could not be written to outside of it.
        with torch.inference_mode(False), torch.no_grad():
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # Moved or cast, a module has other places for other tensors.
        self._turns, self._leftovers, self._tidy = None, {}, set()
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_turns": None, "_leftovers": {}, "_tidy": set()}


class Vmap(nn.Module):
    """All members at once, by `torch.func`: their weights are stacked, and one pass runs the stack.

    It takes the memory of all members and of all their activations.

    Args:
        module: The network that was trained; it is copied.
        members: Whose outputs are asked for.

    Raises:
        TypeError: If the module cannot be copied.
        ValueError: If a member is a module of another kind.

    Example:
        >>> from lightning_lr.ensemble.members import members_of
        >>> net = nn.Linear(1, 1, bias=False)
        >>> members = members_of(net, [{"weight": torch.tensor([[2.0]])}, {"weight": torch.tensor([[3.0]])}])
        >>> list(Vmap(net, members).outputs(torch.tensor([[10.0]])))
        [tensor([[20.]]), tensor([[30.]])]
    """

    def __init__(self, module: nn.Module, members: Sequence[Member]) -> None:
        super().__init__()
        networks = [member.network(module) for member in members]
        for member, network in zip(members, networks, strict=True):
            if _build(network) != _build(networks[0]):
                raise ValueError(
                    f'backend="vmap": {member.name} is not built as {members[0].name} is; pass backend="loop"'
                )
        with torch.inference_mode(False), torch.no_grad():
            parameters, self._buffer_stacks = stack_module_state(networks)
            self._parameter_stacks = {name: stack.detach() for name, stack in parameters.items()}
        # Run with the stacks in the place of its own weights.
        self.live = networks[0]
        self._size = len(networks)
        self._writes_input: bool | None = None
        self._lock = threading.RLock()
        self._leftovers: Leftovers | None = None
        self.train(False)

    def train(self, mode: bool = True) -> Vmap:
        """Stay in evaluation mode."""
        return super().train(False)

    def outputs(self, x: Any, which: Sequence[int] | None = None) -> Iterator[Any]:
        """Yield what each member's forward makes of the input, the oldest member first.

        Args:
            x: What the module's forward takes. It is not written to, should that forward do so.
            which: Indices of the members that are asked for; None is all. All of them run.

        Raises:
            RuntimeError: If forward does what `torch.vmap` cannot.
        """
        if self._writes_input is None:
            out, self._writes_input = _watched(self._run, x)
        else:
            out = self._run(_cloned(x) if self._writes_input else x)
        for index in range(self._size) if which is None else which:
            yield _of(out, index)

    def network(self, index: int) -> nn.Module:
        """Return one member as an ordinary module, a copy, with the dtype and on the device that it runs with.

        Args:
            index: Of the member.
        """
        with torch.inference_mode(False), torch.no_grad():
            network = copy.deepcopy(self.live)
            own = dict(network.named_parameters()) | dict(network.named_buffers())
            for name, stack in (self._parameter_stacks | self._buffer_stacks).items():
                own[name].copy_(stack[index])
        return network

    def _run(self, x: Any) -> Any:
        with self._lock, torch.no_grad():
            if self._leftovers is None:
                self._leftovers = Leftovers(self.live, beside=self.live.state_dict(keep_vars=True).values())
            # A copy of the buffers: forward may write to them.
            state = self._parameter_stacks | {name: stack.clone() for name, stack in self._buffer_stacks.items()}
            try:
                return vmap(lambda own: functional_call(self.live, own, (x,)), randomness="different")(state)
            except Exception as error:
                # What fails for one member alone is not for vmap to be blamed for.
                functional_call(self.live, {name: stack[0].clone() for name, stack in state.items()}, (x,))
                why = " ".join(str(error).split())[:200]
                raise RuntimeError(
                    f'backend="vmap": the forward of {type(self.live).__name__} cannot be run for all members at once '
                    f'({why}); pass backend="loop"'
                ) from error
            finally:
                self._leftovers.clear()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Vmap:
        with self._lock, torch.inference_mode(False), torch.no_grad():
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
            for stacks in (self._parameter_stacks, self._buffer_stacks):
                for name, stack in stacks.items():
                    # One by one: a memory format such as channels_last is for a tensor of so many dimensions.
                    stacks[name] = torch.stack([fn(part) for part in stack])
            self._leftovers = None
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_leftovers")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lock, self._leftovers = threading.RLock(), None


def _size(member: Member) -> int:
    """Bytes that its weights take; sparse ones do not tell, and extra state is of any type."""
    held = [value for value in member.weights.values() if isinstance(value, Tensor)]
    return sum(tensor.nbytes for tensor in held if tensor.layout == torch.strided)


def _cloned(x: Any) -> Any:
    """The same with tensors of its own; what is neither a tensor nor a container of them stays the same object."""
    return tree_map_only(Tensor, torch.clone, x)


def _watched(run: Callable[[Any], Any], x: Any) -> tuple[Any, bool]:
    """Run on a copy of the input, and tell whether that was written to.

    Values would not tell: what one member adds to its input may be 0, and what the next one adds not.
    """
    # A tensor that is made in inference mode does not count what is written to it.
    with torch.inference_mode(False), torch.no_grad():
        given = _cloned(x)
    before, form = tree_flatten(given)
    # Not 0 for all: the copy of what was made in inference mode has been written to.
    versions = [part._version if isinstance(part, Tensor) else 0 for part in before]
    out = run(given)
    after, form_after = tree_flatten(given)
    taken_apart = form != form_after or not all(map(is_, before, after))
    return out, taken_apart or versions != [part._version if isinstance(part, Tensor) else 0 for part in after]


def _build(network: nn.Module) -> object:
    """What a stack can have one of only: the class, what `repr` tells of every layer, and the tensors' kinds."""
    kinds = {name: (value.shape, value.dtype) for name, value in network.state_dict().items()}
    return type(network), repr(network), kinds


def _of(out: Any, index: int) -> Any:
    """One member's part of what all of them returned."""
    if isinstance(out, Tensor):
        return out[index]
    if isinstance(out, Mapping):
        return {key: _of(value, index) for key, value in out.items()}
    return type(out)(_of(value, index) for value in out) if type(out) in (tuple, list) else out
