"""The members of an ensemble: found, checked against the module, and copied into one network each."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lightning_lr.arguments import require_int
from lightning_lr.manifest import MANIFEST
from lightning_lr.snapshots import Snapshots, load_weights
from lightning_lr.weights import uncompiled

Member: TypeAlias = str | Path | Mapping[str, Tensor] | nn.Module
"""One member of an ensemble: a snapshot file, a state dict, or a module whose weights are taken."""


def members_of(
    module: nn.Module, snapshots: str | Path | Snapshots | Sequence[Member], last_m: int | None = None
) -> list[nn.Module]:
    """Copy the module once for each snapshot, with that snapshot's weights, in evaluation mode and without gradients.

    Args:
        module: The network that was trained; it is not written to.
        snapshots: A snapshot folder, its reader, or a list of snapshot files, state dicts and modules.
        last_m: Take the last ``last_m`` only; None is all.

    Raises:
        ValueError: If there is no snapshot, not so many, or one that does not fit the module.
        TypeError: If something is no snapshot, or the module cannot be copied.
        FileNotFoundError: If the folder or a file is missing.
    """
    return [_member(module, source, name) for name, source in _sources(snapshots, last_m)]


def _sources(
    snapshots: str | Path | Snapshots | Sequence[Member], last_m: int | None
) -> list[tuple[str, Mapping[str, Tensor] | nn.Module]]:
    """Name and weights of each member, the oldest first."""
    if isinstance(snapshots, str | Path):
        if Path(snapshots).is_file():
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
        return [(f"snapshots[{i}] ({snapshots[i].file})", snapshots.load(i)) for i in chosen]
    return [_source(snapshots[i], f"snapshots[{i}]") for i in chosen]


def _source(member: object, name: str) -> tuple[str, Mapping[str, Tensor] | nn.Module]:
    if isinstance(member, str | Path):
        return f"{name} ({Path(member).name})", _read(Path(member))
    if isinstance(member, Mapping | nn.Module):
        return name, member
    raise TypeError(f"{name}={type(member).__name__}: not a member; pass a snapshot file, a state dict or a module")


def _read(path: Path) -> Mapping[str, Tensor]:
    if (path.parent / MANIFEST).is_file():
        folder = Snapshots(path.parent)
        for index, row in enumerate(folder):
            if row.file == path.name:
                # The manifest beside it knows its hash.
                return folder.load(index)
    return load_weights(path)


def _member(module: nn.Module, source: Mapping[str, Tensor] | nn.Module, name: str) -> nn.Module:
    """A copy of the module with a member's weights, in evaluation mode and without gradients."""
    if isinstance(source, nn.Module):
        member = _copy(source, name)
    else:
        member = _copy(module, "module")
        _load(member, {uncompiled(key): value for key, value in source.items()}, name)
    return member.requires_grad_(False).eval()


def _load(member: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    own = member.state_dict()
    shared = [key for key in own if key in state and not is_lazy(own[key])]
    for problem, keys in (
        ("lacks", [key for key in own if key not in state]),
        ("has, and the module has not,", [key for key in state if key not in own]),
        ("has in another shape", [k for k in shared if getattr(state[k], "shape", 0) != getattr(own[k], "shape", 0)]),
    ):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ValueError(
                f"{name}: does not fit the module: it {problem} {', '.join(keys[:3])}{more}; "
                f"pass the {type(member).__name__} that it was taken of, built with the same arguments"
            )
    # Copies into what is there, so a snapshot kept in half precision runs in the module's own.
    member.load_state_dict(state)


def _copy(module: nn.Module, name: str) -> nn.Module:
    """A deep copy that runs by itself: no Trainer behind it, nothing compiled, which would still run the original."""
    module = getattr(module, "_orig_mod", module)
    compiled: dict[str, Any] = getattr(module, "_compiler_ctx", None) or {}
    memo: dict[int, Any] = {id(compiled): None}
    # From the inside out, so that a compiled part within a compiled part is found in the memo.
    for part in reversed(list(module.modules())):
        for attribute, value in vars(part).items():
            if attribute in ("_trainer", "_fabric"):
                memo[id(value)] = None
            elif isinstance(value, Tensor) and not value.is_leaf:
                # A loss that was kept, say: it holds its graph, and torch refuses to copy it.
                memo[id(value)] = value.detach().clone()
    try:
        for part in reversed(list(module.modules())):
            if "_orig_mod" in part._modules:
                memo[id(part)] = copy.deepcopy(part._modules["_orig_mod"], memo)
        clone: nn.Module = copy.deepcopy(module, memo)
    except Exception as error:
        what = f"{name}={type(module).__name__}"
        reason = " ".join(str(error).split())
        raise TypeError(f"{what}: cannot be copied ({reason}); remove the attribute that stands in the way") from error
    for method in compiled:
        clone.__dict__.pop(method.removeprefix("original_"), None)
    for part in clone.modules():
        part.__dict__.pop("_compiled_call_impl", None)
    return clone
