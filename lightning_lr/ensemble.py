"""`SnapshotEnsemble`: the snapshots of one run, averaged as predictors.

G. Huang et al., *Snapshot Ensembles: Train 1, Get M for Free*, ICLR 2017, https://arxiv.org/abs/1704.00109.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DistributedSampler
from torchmetrics import Metric

from lightning_lr.arguments import require_choice, require_int
from lightning_lr.members import Member, members_of
from lightning_lr.scores import entropy, metrics_for, scores
from lightning_lr.snapshots import Snapshots

_AVAILABLE = {
    "pooling": ("mean_prob",),
    "task": ("multiclass",),
    "outputs": ("logits", "log_probs", "probs"),
    "backend": ("loop",),
}

# Rows count as probabilities when their sums are this near to 1: bfloat16 keeps eight bits, so its rows miss by 0.002.
_SUM_TOLERANCE = 5e-3


class SnapshotEnsemble(pl.LightningModule):
    r"""Average the predictions of M snapshots, ``p(y|x) = 1/M Σ_m p_m(y|x)``.

    The module is copied, never written to. `trainer.validate` and `trainer.test` log ``accuracy`` (micro), ``nll``
    (nats), ``brier`` (0 to 2) and ``ece`` (15 equal bins of the top probability, l1) under ``val/`` and ``test/``, each
    sample counted once, also where a distributed sampler repeats some to give every process as many. `trainer.predict`
    returns what `predict_step` does, a dict a batch.

    Args:
        module: The network that was trained; its `forward` is all that is used. Any `torch.nn.Module`.
        snapshots: A snapshot folder, its `Snapshots` reader, or a list of snapshot files, state dicts and modules.
            All of them are read now, none later.
        last_m: Average the last `last_m` only; None is all.
        pooling: How members are pooled: "mean_prob", the mean of their probabilities.
        task: What is predicted: "multiclass", one of C classes.
        outputs: What `forward` returns, of shape (N, C): "logits", "log_probs" or "probs".
        num_classes: C; None takes it from the first output.
        unpack: ``unpack(batch) -> (input, target)``; None takes a batch that is a pair as it is.
        backend: How members are run: "loop", one after the other, with the activations of one at a time in memory.

    Raises:
        ValueError: If an argument is out of range, a member does not fit the module, or there is no member.
        TypeError: If an argument is of another type, or the module cannot be copied.
        FileNotFoundError: If the folder or a file is missing.

    Example:
        >>> net = nn.Linear(2, 3)
        >>> first = {"weight": torch.zeros(3, 2), "bias": torch.tensor([1.0, 1.0, 2.0]).log()}
        >>> second = {"weight": torch.zeros(3, 2), "bias": torch.tensor([1.0, 3.0, 4.0]).log()}
        >>> SnapshotEnsemble(net, [first, second])(torch.ones(1, 2))
        tensor([[0.1875, 0.3125, 0.5000]])
    """

    def __init__(
        self,
        module: nn.Module,
        snapshots: str | Path | Snapshots | Sequence[Member],
        *,
        last_m: int | None = None,
        pooling: str = "mean_prob",
        task: str = "multiclass",
        outputs: str = "logits",
        num_classes: int | None = None,
        unpack: Callable[[Any], tuple[Any, Tensor]] | None = None,
        backend: str = "loop",
    ) -> None:
        super().__init__()
        for argument, value in (("pooling", pooling), ("task", task), ("outputs", outputs), ("backend", backend)):
            require_choice(argument, value, _AVAILABLE[argument])
        if not isinstance(module, nn.Module):
            raise TypeError(f"module={type(module).__name__}: not a torch.nn.Module; pass the network that was trained")
        if num_classes is not None:
            require_int("num_classes", num_classes, at_least=2)
        self.outputs, self.num_classes, self.unpack = outputs, num_classes, unpack
        self.members = nn.ModuleList(members_of(module, snapshots, last_m))
        self._outputs_checked = False
        self._seen: dict[int, int] = {}
        self._metrics: dict[int, dict[str, Metric]] = {}
        self.train(False)

    def train(self, mode: bool = True) -> SnapshotEnsemble:
        """Stay in evaluation mode: dropout and batch statistics belong to training, and there is none here."""
        return super().train(False)

    def forward(self, x: Any) -> Tensor:
        """Pooled probabilities, (N, C), in float32 at least.

        Args:
            x: What the module's own `forward` takes.

        Raises:
            ValueError: If the module's outputs are not what `outputs` and `num_classes` say.
            TypeError: If they are not a floating-point tensor.
        """
        probs, _ = self._pool(x)
        return probs

    def predict_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Pooled probabilities and how sure the ensemble is of them.

        ``entropy`` is H(p), the whole uncertainty in nats; ``mutual_information`` is ``H(p) − 1/M Σ_m H(p_m)``, the
        part of it that the members' disagreement makes up.

        Args:
            batch: The input alone, or what `test_step` takes.
            batch_idx: Not used.
            dataloader_idx: Not used.

        Returns:
            ``probs`` (N, C), ``entropy`` (N,) and ``mutual_information`` (N,).
        """
        probs, members_entropy = self._pool(self._input(batch))
        total = entropy(probs)
        # Rounding takes the difference of two equal entropies a little below 0.
        mutual_information = (total - members_entropy).clamp_min(0.0)
        return {"probs": probs, "entropy": total, "mutual_information": mutual_information}

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start()

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count a batch towards ``val/accuracy``, ``val/nll``, ``val/brier`` and ``val/ece``."""
        self._evaluate("val", batch, dataloader_idx, self.trainer.val_dataloaders)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count a batch towards ``test/accuracy``, ``test/nll``, ``test/brier`` and ``test/ece``."""
        self._evaluate("test", batch, dataloader_idx, self.trainer.test_dataloaders)

    def _pool(self, x: Any) -> tuple[Tensor, Tensor]:
        """Pooled probabilities (N, C) and the mean entropy of the members (N,)."""
        # Sums, not a stack: what one member made is free before the next one runs.
        total, total_entropy = torch.zeros(()), torch.zeros(())
        for index, member in enumerate(self.members):
            probs = self._probabilities(member(x))
            if index == 0:
                total, total_entropy = probs, entropy(probs)
            else:
                total, total_entropy = total + probs, total_entropy + entropy(probs)
        self._outputs_checked |= len(total) > 0
        return total / len(self.members), total_entropy / len(self.members)

    def _probabilities(self, out: Any) -> Tensor:
        if not isinstance(out, Tensor) or not out.is_floating_point():
            what = f"a tensor of {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
            raise TypeError(f"module: its forward returned {what}; return a floating-point tensor of shape (N, C)")
        if out.ndim != 2 or out.shape[1] < 2:
            shape = tuple(out.shape)
            raise ValueError(f"module: its forward returned shape {shape}; return (N, C), C classes of 2 or more")
        if self.num_classes is None:
            self.num_classes = out.shape[1]
        elif out.shape[1] != self.num_classes:
            raise ValueError(
                f"num_classes={self.num_classes}: the module's forward returned {out.shape[1]} columns; "
                "pass that number, or None to infer it"
            )
        # Half precision would lose the tail of the distribution, and with it the NLL.
        rows: Tensor = out.to(torch.promote_types(out.dtype, torch.float32))
        if not self._outputs_checked and len(rows) > 0:
            _check_outputs(rows, self.outputs)
        if self.outputs == "probs":
            return rows / rows.sum(dim=1, keepdim=True)
        # For log-probabilities too: softmax is their exp, with rows that sum to 1 where rounding had them off.
        return rows.softmax(dim=1)

    def _start(self) -> None:
        # Made anew for each pass: a metric reset in inference mode cannot be updated outside of it.
        self._seen, self._metrics = {}, {}

    def _evaluate(self, stage: str, batch: Any, loader: int, loaders: Any) -> None:
        x, target = self._pair(batch)
        probs, _ = self._pool(x)
        _check_target(target, probs)
        source = CombinedLoader(loaders, "sequential").flattened[loader]
        # A loader that does not batch hands out one item of its sampler at a time, whatever the item holds.
        items = len(probs) if getattr(source, "batch_sampler", None) is not None else 1
        seen = self._seen.get(loader, 0)
        self._seen[loader] = seen + items
        fresh = len(probs) * _first_time(items, seen, source) // max(items, 1)
        probs, target = probs[:fresh], target[:fresh]
        if loader not in self._metrics:
            self._metrics[loader] = metrics_for(probs)
        updates = scores(probs, target)
        # Updated and logged with no sample left, too: the other processes wait for this one when they sum.
        for name, metric in self._metrics[loader].items():
            metric.update(*updates[name])
            self.log(
                f"{stage}/{name}", metric, on_step=False, on_epoch=True, batch_size=fresh, metric_attribute="_metrics"
            )

    def _pair(self, batch: Any) -> tuple[Any, Tensor]:
        pair = batch if self.unpack is None else self.unpack(batch)
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            source = "unpack: it returned" if self.unpack is not None else "unpack=None: the batch is"
            raise TypeError(
                f"{source} {_kind(pair)}, not an (input, target) pair; pass unpack=, a function that makes one"
            )
        return pair[0], pair[1]

    def _input(self, batch: Any) -> Any:
        if self.unpack is None and isinstance(batch, Tensor):
            return batch
        if self.unpack is None and isinstance(batch, list | tuple) and len(batch) == 1:
            return batch[0]
        return self._pair(batch)[0]


def _check_outputs(out: Tensor, outputs: str) -> None:
    """Refuse rows that are not what `outputs` says: averaged all the same, they would look like an ensemble."""
    totals = out.exp().sum(dim=1) if outputs == "log_probs" else out.sum(dim=1)
    in_range = outputs == "log_probs" or bool((out >= 0).all())
    distributions = in_range and bool(((totals - 1).abs() < _SUM_TOLERANCE).all())
    if outputs == "logits" and distributions:
        raise ValueError(
            'outputs="logits": the rows that the module returned are non-negative and sum to 1, which makes them '
            'probabilities; pass outputs="probs", or return logits from forward'
        )
    if outputs != "logits" and not distributions:
        raise ValueError(
            f'outputs="{outputs}": the rows that the module returned do not sum to 1 as probabilities; '
            'pass outputs="logits" if they are scores before softmax'
        )


def _check_target(target: Any, probs: Tensor) -> None:
    samples, classes = probs.shape
    if not isinstance(target, Tensor) or target.is_floating_point() or target.shape != (samples,):
        raise ValueError(
            f"target={_kind(target)}: not one class index a sample; give an integer tensor of shape ({samples},), "
            "by unpack= if need be"
        )
    if samples > 0 and not 0 <= int(target.min()) <= int(target.max()) < classes:
        raise ValueError(
            f"target={int(target.min())}..{int(target.max())}: outside of the module's {classes} classes; "
            f"give class indices from 0 to {classes - 1}"
        )


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple) else "")


def _first_time(items: int, seen: int, loader: Any) -> int:
    """How many of a process's next `items` are no repeats.

    torch's distributed sampler gives process r of W the positions r, r + W, r + 2W, … of the data set, and goes on past
    its end, with samples from the front, until every process has as many.
    """
    sampler = getattr(getattr(loader, "batch_sampler", None), "sampler", getattr(loader, "sampler", None))
    # Another way of dealing out, in a subclass, is not ours to guess. (Lightning's for `predict` repeats nothing.)
    if not isinstance(sampler, DistributedSampler) or type(sampler).__iter__ not in _DEALS_ROUND_ROBIN:
        return items
    own = math.ceil((len(sampler.dataset) - sampler.rank) / sampler.num_replicas)  # type: ignore[arg-type]
    return min(items, max(own - seen, 0))


_DEALS_ROUND_ROBIN = (DistributedSampler.__iter__, DistributedSamplerWrapper.__iter__)
