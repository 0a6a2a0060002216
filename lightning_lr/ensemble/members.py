"""The members of an ensemble: found, read, and checked against the module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lightning_lr.arguments import require_choice, require_int
from lightning_lr.ensemble.checkpoints import CHOICES, is_checkpoint, read_checkpoint, weights_of
from lightning_lr.ensemble.clone import clone_of
from lightning_lr.snapshots.manifest import MANIFEST, Snapshot
from lightning_lr.snapshots.mapped import MappedFile
from lightning_lr.snapshots.reader import Snapshots
from lightning_lr.snapshots.weights import uncompiled

Source: TypeAlias = str | Path | Mapping[str, Tensor] | nn.Module
"""What one member is made of: a snapshot file, a checkpoint, a state dict, or a module."""


@dataclass(frozen=True, eq=False)
class Member:
    """One member of an ensemble: where it came from, and its weights.

    Args:
        name: What a message calls it, ``snapshots[2] (snapshot-002.safetensors)``.
        step: Optimizer updates applied when it was taken; None where nobody knows.
        cycle: Index of the cycle whose end it is, from 0; None where nobody knows.
        source: A mapped file, tensors by name, or a module of its own.
        names: The names of its weights in `source`, by those that the module has for them.
    """

    name: str
    step: int | None
    cycle: int | None
    source: MappedFile | Mapping[str, Any] | nn.Module = field(repr=False)
    names: Mapping[str, str] = field(repr=False)

    @property
    def weights(self) -> dict[str, Any]:
        """Its weights by the module's names, as they lie in memory or in the file: to be read, not written to."""
        if isinstance(self.source, nn.Module):
            held = self.source.state_dict()
        else:
            held = self.source.tensors if isinstance(self.source, MappedFile) else dict(self.source)
        return {own: held[theirs] for own, theirs in self.names.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Its weights by the module's names, as tensors of their own."""
        with torch.inference_mode(False), torch.no_grad():
            state = {k: v.clone() if isinstance(v, Tensor) else v for k, v in self.weights.items()}
        if isinstance(self.source, MappedFile):
            self.source.release()
        return state

    def network(self, module: nn.Module) -> nn.Module:
        """Return a copy of a module with this member's weights, in evaluation mode; a module of its own is copied.

        Args:
            module: The network that was trained.

        Raises:
            TypeError: If the module cannot be copied.
        """
        if isinstance(self.source, nn.Module):
            return clone_of(self.source, self.name)
        network = clone_of(module)
        with torch.inference_mode(False):
            # Copies into what is there, so a snapshot kept in half precision runs in the module's own.
            network.load_state_dict(self.weights)
        if isinstance(self.source, MappedFile):
            self.source.release()
        return network


def members_of(
    module: nn.Module,
    snapshots: str | Path | Snapshots | Sequence[Source],
    last_m: int | None = None,
    ckpt_weights: str | None = None,
) -> tuple[Member, ...]:
    """Find the members, read them, and see that they fit the module; the oldest comes first.

    Args:
        module: The network that was trained; it is not written to.
        snapshots: A snapshot folder, its reader, or a list of snapshot files, Lightning checkpoints, state dicts (also
            such that `torch.save` wrote) and modules. State dicts and modules are copied.
        last_m: Take the last ``last_m`` only; None is all.
        ckpt_weights: Which weights of a checkpoint that holds two sets, "raw" or "averaged".

    Raises:
        ValueError: If there is no snapshot, not so many, one that does not fit the module or that is damaged.
        TypeError: If something is no snapshot, or cannot be copied.
        FileNotFoundError: If the folder or a file is missing.

    Example:
        >>> net = nn.Linear(2, 3)
        >>> [member.name for member in members_of(net, [net.state_dict(), net])]
        ['snapshots[0]', 'snapshots[1]']
    """
    require_choice("ckpt_weights", ckpt_weights, CHOICES)
    read = _Reader(module, ckpt_weights)
    if isinstance(snapshots, str | Path):
        if Path(snapshots).expanduser().is_file():
            raise ValueError(f"snapshots={str(snapshots)!r}: is a file, not a folder; pass files in a list")
        snapshots = Snapshots(snapshots)
    if not isinstance(snapshots, Snapshots | Sequence):
        what = type(snapshots).__name__
        raise TypeError(f"snapshots={what}: not a folder, not a list; pass a list of files, state dicts or modules")
    count = len(snapshots)
    if count == 0:
        where = repr(str(snapshots.dirpath)) if isinstance(snapshots, Snapshots) else "[]"
        raise ValueError(f"snapshots={where}: there is no snapshot in it; train with SnapshotCheckpoint first")
    if last_m is not None and require_int("last_m", last_m, at_least=1) > count:
        raise ValueError(f"last_m={last_m!r}: there are only {count} snapshots; pass at most that, or None for all")
    chosen = range(count - (last_m or count), count)
    if isinstance(snapshots, Snapshots):
        return tuple(read.row(snapshots.dirpath, snapshots[i], f"snapshots[{i}]") for i in chosen)
    return tuple(read.source(snapshots[i], f"snapshots[{i}]") for i in chosen)


class _Reader:
    """Makes members for one module."""

    def __init__(self, module: nn.Module, ckpt_weights: str | None) -> None:
        self.module: nn.Module = getattr(module, "_orig_mod", module)
        self.ckpt_weights = ckpt_weights
        self.own = {uncompiled(key): value for key, value in module.state_dict().items()}
        if meta := [key for key, value in self.own.items() if isinstance(value, Tensor) and value.is_meta]:
            raise ValueError(
                f"module: {meta[0]} is on the meta device, where nothing can be computed; build it on the CPU"
            )

    def row(self, folder: Path, row: Snapshot, name: str) -> Member:
        """Read a snapshot that a manifest knows."""
        self._one_set(name)
        file = MappedFile(folder / row.file, row.sha256)
        return self._member(file, f"{name} ({row.file})", row.step, row.cycle)

    def source(self, source: object, name: str) -> Member:
        """Read what stands in a list."""
        if isinstance(source, str | Path):
            return self._file(Path(source).expanduser(), name)
        if isinstance(source, nn.Module):
            self._one_set(name)
            module = clone_of(source, name)
            return Member(name, None, None, module, {key: key for key in module.state_dict()})
        if isinstance(source, Mapping):
            self._one_set(name)
            with torch.inference_mode(False):
                # To the CPU, and a copy: its owner may go on training. On an accelerator it is kept where it is used.
                state = {key: _copied(value) for key, value in source.items()}
            return self._member(state, name, None, None)
        raise TypeError(
            f"{name}={type(source).__name__}: not a member; pass a snapshot file, a checkpoint, a state dict or a "
            "module"
        )

    def _file(self, path: Path, name: str) -> Member:
        if path.is_dir():
            raise ValueError(f"{name}={str(path)!r}: a folder, in a list of files; pass a folder alone, or its files")
        if (path.parent / MANIFEST).is_file():
            folder = Snapshots(path.parent)
            for row in folder:
                if row.file == path.name:
                    # The manifest beside it knows its hash.
                    return self.row(path.parent, row, name)
        named = f"{name} ({path.name})"
        if is_checkpoint(path):
            checkpoint = read_checkpoint(path)
            weights = weights_of(checkpoint, self.ckpt_weights, self.module, named)
            return self._member(weights, named, checkpoint.step, None)
        self._one_set(named)
        return self._member(MappedFile(path), named, None, None)

    def _member(self, source: MappedFile | Mapping[str, Any], name: str, step: int | None, cycle: int | None) -> Member:
        state = source.tensors if isinstance(source, MappedFile) else source
        keys: list[object] = list(state)
        if strange := [key for key in keys if not isinstance(key, str)]:
            raise ValueError(
                f"{name}: no state dict, for {strange[0]!r} is not the name of a tensor; pass what state_dict() returns"
            )
        names = {uncompiled(key): key for key in state}
        if names.keys() != self.own.keys() and names.keys() == {f"module.{key}" for key in self.own}:
            # What DistributedDataParallel puts before every name; all of them fit without it.
            names = {key.removeprefix("module."): theirs for key, theirs in names.items()}
        self._check_fits({key: state[theirs] for key, theirs in names.items()}, name)
        return Member(name, step, cycle, source, {key: names[key] for key in self.own})

    def _check_fits(self, state: Mapping[str, Any], name: str) -> None:
        empty = [key for key, value in state.items() if isinstance(value, Tensor) and (is_lazy(value) or value.is_meta)]
        # What a module says of itself in `get_extra_state` is for it to judge.
        judged = [key for key in self.own if key.rpartition(".")[2] != "_extra_state"]
        shared = [key for key in judged if key in state and key not in empty and not is_lazy(self.own[key])]
        for problem, keys in (
            ("lacks", [key for key in self.own if key not in state]),
            ("has, and the module has not,", [key for key in state if key not in self.own]),
            ("has no values for", empty),
            ("has in another shape", [k for k in shared if _shape(state[k]) != _shape(self.own[k])]),
            ("has in another kind (complex, sparse)", [k for k in shared if _kind(state[k]) != _kind(self.own[k])]),
        ):
            if keys:
                more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
                raise ValueError(
                    f"{name}: does not fit the module: it {problem} {', '.join(keys[:3])}{more}; "
                    f"pass the {type(self.module).__name__} that it was taken of, built with the same arguments"
                )
        # Of a lazy module the first member says the shapes, and the others must have them too.
        self.own.update({key: state[key] for key in self.own if is_lazy(self.own[key])})

    def _one_set(self, name: str) -> None:
        if self.ckpt_weights == "averaged":
            raise ValueError(
                f'ckpt_weights="averaged": {name} holds one set of weights, and no averaged ones; pass "raw" or None'
            )


def _shape(value: object) -> object:
    return value.shape if isinstance(value, Tensor) else None


def _kind(value: object) -> object:
    # Of a complex number, a real one would be given the one half, with a warning.
    return (value.layout, value.is_complex()) if isinstance(value, Tensor) else None


def _copied(value: Any) -> Any:
    if not isinstance(value, Tensor) or is_lazy(value) or value.is_meta:
        return value
    return value.detach().resolve_conj().resolve_neg().to("cpu", copy=True)
