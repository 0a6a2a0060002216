"""One program of all members and their pool, which runs without this package."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_lr.durable import staged
from lightning_lr.ensemble.batches import described
from lightning_lr.ensemble.tasks import Task

_ENDING = ".pt2"


def export_program(
    networks: Sequence[nn.Module], weights: Sequence[float], task: Task, path: str | Path, example_input: Any
) -> Path:
    """Write what the ensemble computes into one file, with every weight in it and the batch left open.

    Args:
        networks: One for each member, in evaluation mode; they are used up.
        weights: How much each of them counts.
        task: What their outputs mean, and how they are pooled.
        path: The file, ending in ``.pt2``.
        example_input: What the networks take, and the program will: a tensor, or a tuple, list or dict of tensors.

    Returns:
        The path written.

    Raises:
        ValueError: If the path ends otherwise, the example has no batch, or a network cannot be traced.
        TypeError: If the example holds something else than tensors.
        FileNotFoundError: If the path's folder is missing.
        FileExistsError: If there is such a file.
        OSError: If the disk refuses.
    """
    target = new_file(path)
    batch = _batch(example_input)
    # An example of one sample would make a program for one sample.
    with torch.inference_mode(False):
        example = _each(example_input, lambda part: _two_of(part, batch))
    batch = max(batch, 2)
    size = torch.export.Dim("batch")
    shapes = _each(example, lambda part: {0: size} if _is_batched(part, batch) else None)
    with torch.inference_mode(False), torch.no_grad():
        copies = _write_input(networks, task, example, batch)
        program = _Program([_settle(network) for network in networks], weights, task, copies)
        try:
            with warnings.catch_warnings():
                # These networks are thrown away, and what a pass leaves in them with them.
                warnings.filterwarnings("ignore", message=r"The tensor attributes? .* assigned during export")
                traced = torch.export.export(program, (example,), dynamic_shapes=(shapes,), strict=False)
        except Exception as error:
            raise ValueError(
                f"module={type(networks[0]).__name__}: torch.export cannot trace its forward ({_reason(error)}); no "
                "Python in it may depend on values, nor on the size of the batch (x.shape[0] is traced, len(x) is not)"
            ) from error
    content = io.BytesIO()
    torch.export.save(traced, content)
    with staged(target, content.getvalue()) as publish:
        publish()
    return target


class _Program(nn.Module):
    """What the ensemble's `forward` does, of ordinary modules: no weights that change place, no mapped files."""

    def __init__(self, networks: Sequence[nn.Module], weights: Sequence[float], task: Task, copies: bool) -> None:
        super().__init__()
        self.networks, self.weights, self.task, self.copies = nn.ModuleList(networks), weights, task, copies
        self.eval()

    def forward(self, x: Any) -> Tensor:
        pool = self.task.pool()
        for index, (network, weight) in enumerate(zip(self.networks, self.weights, strict=True)):
            out = network(_each(x, torch.clone) if self.copies else x)
            pool.add(self.task.read(out, index), weight)
        return self.task.show(pool.pooled())


def _write_input(networks: Sequence[nn.Module], task: Task, example: Any, batch: int) -> bool:
    """Run each network; tell whether one of them writes to its input, of which the next one must not see anything.

    What they return is checked on the way, since there are no values in a trace; of one sample, too, since nobody would
    notice a squeeze that takes the batch away.
    """
    versions: list[int] = []
    one = _each(example, lambda part: part[:1] if _is_batched(part, batch) else part)
    for index, network in enumerate(networks):
        given = _each(example, torch.clone)
        # A copy of it, for a pass may leave something behind, which the trace would find.
        task.read(copy.deepcopy(network)(given), index)
        _each(given, lambda part: versions.append(part._version))
        try:
            task.read(copy.deepcopy(network)(_each(one, torch.clone)), index)
        except Exception as error:
            raise ValueError(
                f"module={type(network).__name__}: its forward takes the example, and not one sample of it "
                f"({_reason(error)}); make it take a batch of any size"
            ) from error
    return any(version > 0 for version in versions)


def _settle(network: nn.Module) -> nn.Module:
    """Give every tensor contiguous memory of its own: what lies in one block is not stored well by every torch."""
    for tensor in (*network.parameters(), *network.buffers()):
        if not tensor.is_contiguous() or tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size():
            tensor.data = tensor.detach().clone(memory_format=torch.contiguous_format)
    return network


def new_file(path: str | Path) -> Path:
    """Return the path, if a program can be written there.

    Raises:
        ValueError: If it does not end in ``.pt2``.
        FileExistsError: If there is such a file.
        FileNotFoundError: If its folder is missing.
    """
    target = Path(path)
    if target.suffix != _ENDING:
        raise ValueError(f"path={str(path)!r}: not the name of a {_ENDING} file; end it in {_ENDING}")
    if target.exists():
        raise FileExistsError(f"path={str(path)!r}: there is one already; remove it, or give another name")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; make it first")
    return target


def _batch(example: Any) -> int:
    """How many samples an example has: the length of its first tensor that has one."""
    lengths: list[int] = []
    _each(example, lambda part: lengths.append(len(part)) if part.ndim > 0 else None)
    if not lengths or lengths[0] == 0:
        raise ValueError(
            f"example_input={described(example)}: no sample in it; give a batch of at least one, (N, …), as forward "
            "takes it"
        )
    return lengths[0]


def _is_batched(part: Tensor, batch: int) -> bool:
    return part.ndim > 0 and len(part) == batch


def _two_of(part: Tensor, batch: int) -> Tensor:
    part = part.detach().clone()
    return torch.cat((part, part)) if batch == 1 and _is_batched(part, 1) else part


def _each(example: Any, change: Callable[[Tensor], Any]) -> Any:
    # Containers of other classes would have to be importable where the program is loaded.
    if isinstance(example, Tensor):
        return change(example)
    if type(example) is dict:
        return {key: _each(part, change) for key, part in example.items()}
    if type(example) in (list, tuple):
        return type(example)(_each(part, change) for part in example)
    raise TypeError(
        f"example_input={described(example)}: not a tensor; give a tensor, or a tuple, list or dict of tensors"
    )


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:300]}{'…' if len(words) > 300 else ''}"
