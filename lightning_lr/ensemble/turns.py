"""One live module for many members: their weights are put into it in turn, and taken out of memory again."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from lightning_lr.ensemble.leftovers import Leftovers
from lightning_lr.ensemble.members import Member
from lightning_lr.snapshots.mapped import MappedFile

# A buffer of that size is copied for each member; a larger one is kept once, and copied for each turn.
_SMALL = 1 << 16

# So many members' files stay in memory. The pages of any more are let go after each turn and fetched anew for the next,
# which takes a ResNet-18 at batch size 1 a quarter longer.
_RESIDENT = 5

_version = attrgetter("_version")


class Turns:
    """A live module that members take turns in. One runs at a time, though several threads may ask.

    Args:
        live: The module; whose weights it holds does not matter, its dtypes, devices and memory formats do.
        members: Who takes turns.
    """

    def __init__(self, live: nn.Module, members: Sequence[Member]) -> None:
        self.live = live
        self.members = members
        self._lock = threading.RLock()
        # What is made under inference mode could not be written to outside of it.
        with torch.inference_mode(False), torch.no_grad():
            self._slots = Slots(live)
            self._leftovers = Leftovers(live, beside=self._slots.named.values())
        self._turns: dict[int, Turn] = {}

    def run(self, index: int, x: Any) -> Any:
        """Return what a member's forward makes of the input.

        Args:
            index: Of the member.
            x: What forward takes.

        Raises:
            RuntimeError: If it is traced.
        """
        if torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None:
            # A trace holds the places that weights are put into, and not who was in them: the last one, M times.
            raise RuntimeError(
                "SnapshotEnsemble: members take turns in one network, which a trace would hold the last one of alone; "
                "write all of them into one file with ensemble.export(path, example_input)"
            )
        with self._lock:
            turn = self._turns.get(index) or self._turn(index)
            try:
                turn.begin()
                return self._slots.apart(self.live(x))
            finally:
                turn.end()
                self._leftovers.clear()

    def network(self, index: int) -> nn.Module:
        """Return a copy of the live module with a member's weights.

        Args:
            index: Of the member.
        """
        with self._lock, torch.inference_mode(False), torch.no_grad():
            turn = self._turns.get(index) or self._turn(index)
            try:
                turn.begin()
                return copy.deepcopy(self.live)
            finally:
                turn.end()

    def _turn(self, index: int) -> Turn:
        with torch.inference_mode(False), torch.no_grad():
            resident = len(self._turns) < _RESIDENT
            return self._turns.setdefault(index, Turn(self._slots, self.members[index], resident))


class Slots:
    """The parameters and buffers of a live module, which the members' tensors are put into.

    Args:
        live: The module.
    """

    def __init__(self, live: nn.Module) -> None:
        self.live = live
        self.named: dict[str, Tensor] = live.state_dict(keep_vars=True)
        self.on_cpu = any(slot.device.type == "cpu" for slot in self.named.values())
        self._buffers = [slot for slot in self.named.values() if not isinstance(slot, nn.Parameter)]
        self._ids = {id(slot) for slot in self.named.values()}
        self._stores: dict[int, Tensor] = {}
        self._shared: set[int] = set()
        self._writes = sum(map(_version, self._buffers))

    def store(self, slot: Tensor) -> Tensor:
        """Return memory that what cannot be used where it lies is copied to; members share it."""
        if id(slot) not in self._stores:
            self._stores[id(slot)] = store = torch.empty_like(slot, requires_grad=False)
            self._shared.add(store.untyped_storage().data_ptr())
        return self._stores[id(slot)]

    def written(self) -> bool:
        """Whether a forward pass has written to a buffer since the last time."""
        before, self._writes = self._writes, sum(map(_version, self._buffers))
        return bool(before != self._writes)

    def apart(self, out: Any) -> Any:
        """See that the next member's turn does not change an output that is a parameter or a buffer itself."""
        if isinstance(out, Tensor):
            if self._shared and out.layout == torch.strided and out.untyped_storage().data_ptr() in self._shared:
                return out.clone()
            return out.detach() if id(out) in self._ids else out
        return type(out)(map(self.apart, out)) if type(out) in (tuple, list) else out


class Turn:
    """What one member's turn in a live module begins and ends with; made once, and used for every batch.

    Args:
        slots: Of the live module.
        member: Whose weights are put in.
        resident: Whether the pages of its file stay in memory between turns.
    """

    def __init__(self, slots: Slots, member: Member, resident: bool) -> None:
        self._slots = slots
        self._resident = resident
        self._swaps: list[tuple[Tensor, Tensor]] = []
        self._copies: tuple[list[Tensor], list[Tensor]] = [], []
        self._buffers: tuple[list[Tensor], list[Tensor]] = [], []
        self._file = member.source if isinstance(member.source, MappedFile) else None
        if self._file is not None:
            self._file.check()
        for name, tensor in member.weights.items():
            self._add(slots.named[name], tensor)
        if not slots.on_cpu:
            self._settle()

    def begin(self) -> None:
        """Put the weights in.

        Raises:
            RuntimeError: If somebody has written into the file that they lie in.
        """
        if self._file is not None:
            self._file.check()
        for slot, tensor in self._swaps:
            slot.data = tensor
        if self._copies[0]:
            torch._foreach_copy_(*self._copies)

    def end(self) -> None:
        """Undo what was written to buffers, and let go of the memory that a file's pages took."""
        if self._slots.written():
            torch._foreach_copy_(*self._buffers)
        if self._file is not None and not self._resident:
            self._file.release()

    def _add(self, slot: Tensor, tensor: Tensor) -> None:
        if isinstance(slot, nn.Parameter):
            if slot.device.type != "cpu":
                # Copied for every batch it would cost more than the network.
                tensor = torch.empty_like(slot, requires_grad=False).copy_(tensor)
            if tensor.dtype == slot.dtype and tensor.device == slot.device and tensor.stride() == slot.stride():
                self._swaps.append((slot, tensor))
                return
        else:
            tensor = tensor.to(slot.device)
            if tensor.nbytes <= _SMALL:
                # Forward may write to a buffer: it is given a copy.
                own = torch.empty_like(slot).copy_(tensor)
                self._swaps.append((slot, own))
                self._buffers[0].append(own)
                self._buffers[1].append(tensor)
                return
        store = self._slots.store(slot)
        self._swaps.append((slot, store))
        self._copies[0].append(store)
        self._copies[1].append(tensor)

    def _settle(self) -> None:
        """On an accelerator: nothing in the file is needed any more, and recurrent weights lie in one piece."""
        self.begin()
        for part in self._slots.live.modules():
            if isinstance(part, nn.RNNBase):
                part.flatten_parameters()
        self._swaps = [(slot, slot.data) for slot, _ in self._swaps]
        if self._file is not None:
            self._file.release()
            self._file = None


def takes_turns(live: nn.Module) -> bool:
    """Whether putting tensors in the places of a module's own does what its `load_state_dict` would do."""
    plain = (Tensor, nn.Parameter)
    state = live.state_dict(keep_vars=True)
    own: dict[str, Tensor] = dict(live.named_parameters(remove_duplicate=False))
    own.update(live.named_buffers(remove_duplicate=False))
    if type(live).load_state_dict is not nn.Module.load_state_dict or not state.keys() <= own.keys():
        return False
    if not all(type(v) in plain and v.layout == torch.strided and own[k] is v for k, v in state.items()):
        return False
    return all(_loads_plainly(part) for part in live.modules())


def _loads_plainly(part: nn.Module) -> bool:
    hooks = [*part._load_state_dict_pre_hooks.values(), *part._load_state_dict_post_hooks.values()]
    ways = [getattr(hook, "hook", hook) for hook in [*hooks, *part._state_dict_hooks.values()]]
    if part._parameters or set(part._buffers) - part._non_persistent_buffers_set:
        ways.append(type(part)._load_from_state_dict)
    # torch's own (of batch norm, of lazy layers) differ for state dicts of old versions only.
    return all((getattr(way, "__module__", None) or "").startswith("torch.nn.") for way in ways)
