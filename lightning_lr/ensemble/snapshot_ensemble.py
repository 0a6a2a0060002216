"""`SnapshotEnsemble`: the snapshots of one run, averaged as predictors.

G. Huang et al., *Snapshot Ensembles: Train 1, Get M for Free*, ICLR 2017, https://arxiv.org/abs/1704.00109.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_lr.arguments import require_choice, require_number
from lightning_lr.ensemble.backends import Loop, Vmap
from lightning_lr.ensemble.batches import Unpack, input_of, pair_of
from lightning_lr.ensemble.export import export_program
from lightning_lr.ensemble.members import Source, members_of
from lightning_lr.ensemble.pooling import Pool
from lightning_lr.ensemble.repeats import FirstTimes
from lightning_lr.ensemble.tasks import task_named
from lightning_lr.snapshots.reader import Snapshots

_BACKENDS: dict[str, type[Loop] | type[Vmap]] = {"loop": Loop, "vmap": Vmap}


class SnapshotEnsemble(pl.LightningModule):
    r"""Average the predictions of M snapshots, ``p(y|x) = Σ_m w_m p_m(y|x)``.

    The module is copied, never written to, and needs no change: its `forward` is all that is used. `trainer.validate`
    and `trainer.test` log ``accuracy`` (micro), ``nll`` (nats), ``brier`` and ``ece`` (15 equal bins, l1), of a
    regression ``mse``, ``mae`` and ``nll``, under ``val/`` and ``test/``, each sample counted once, also where a
    distributed sampler repeats some to give every process as many. `trainer.predict` returns what `predict_step` does,
    a dict a batch. There is nothing to train: `trainer.fit` is refused, dropout and batch statistics stay as in
    evaluation, and no gradient goes through, not even to the input.

    One network lives in memory, and takes the weights of each member in turn; `.to`, `.half` and ``channels_last``
    reach it. No parameter of it is the ensemble's own, so ``parameters()`` and ``state_dict()`` are empty: a network
    that holds an ensemble, as its teacher say, neither trains nor saves it. The snapshots are what keeps it, `export`
    what ships it, and ``members[i].state_dict()`` the weights of one.

    Args:
        module: The network that was trained. Any `torch.nn.Module`.
        snapshots: A snapshot folder, its `Snapshots` reader, or a list of snapshot files, Lightning checkpoints, state
            dicts and modules. All of them are read and checked now, none later.
        last_m: Take the last `last_m` only; None is all.
        pooling: How members are pooled: "mean_prob", the mean of their probabilities; "mean_logit" or "geometric",
            their geometric mean, which is the softmax of the mean of logits; "vote", the share of members for which a
            class is the likeliest.
        member_weights: How much each member counts, M numbers of at least 0, the oldest first; they are divided by
            their sum. A member of weight 0 is not run. None: all count the same.
        temperature: T of ``p^(1/T)``, after pooling; above 1 flattens. None is 1.
        task: What is predicted: "multiclass", one of C classes; "binary", yes or no; "multilabel", yes or no for each
            of L labels; "regression", numbers.
        outputs: What `forward` returns: "logits", "log_probs" or "probs", of shape (N, C), (N,) or (N, 1), (N, L). For
            a regression the mean, (N,) or (N, D), or the pair of it and a variance.
        num_classes: C, or L; None takes it from the first output.
        unpack: ``unpack(batch) -> (input, target)``; None takes a batch that is a pair as it is.
        backend: How members are run: "loop", one after the other, with memory for one; "vmap", all at once, with
            memory for all, which pays for many tiny networks.
        ckpt_weights: Which weights of a Lightning checkpoint that holds both: "raw" or "averaged".

    Attributes:
        members: The members, the oldest first: each has a ``name``, a ``step`` and a ``state_dict()``.
        member_weights: Their shares, which sum to 1; None if all count the same.
        task: What outputs mean, a `lightning_lr.ensemble.tasks.Task`.

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

    _backend: Loop | Vmap
    _idle: Loop

    def __init__(
        self,
        module: nn.Module,
        snapshots: str | Path | Snapshots | Sequence[Source],
        *,
        last_m: int | None = None,
        pooling: str = "mean_prob",
        member_weights: Sequence[float] | None = None,
        temperature: float | None = None,
        task: str = "multiclass",
        outputs: str = "logits",
        num_classes: int | None = None,
        unpack: Unpack | None = None,
        backend: str = "loop",
        ckpt_weights: str | None = None,
    ) -> None:
        super().__init__()
        self.task = task_named(task, outputs=outputs, num_classes=num_classes, pooling=pooling, temperature=temperature)
        require_choice("backend", backend, tuple(_BACKENDS))
        if unpack is not None and not callable(unpack):
            raise TypeError(f"unpack={unpack!r}: not a function; pass unpack(batch) -> (input, target)")
        if not isinstance(module, nn.Module):
            raise TypeError(f"module={type(module).__name__}: not a torch.nn.Module; pass the network that was trained")
        self.unpack = unpack
        self.members = members_of(module, snapshots, last_m, ckpt_weights)
        self.member_weights = _shares(member_weights, len(self.members))
        # Equal weights are ones, which cost the pool no multiplication.
        weights = self.member_weights or (1.0,) * len(self.members)
        self._counting = {index: weight for index, weight in enumerate(weights) if weight > 0}
        self._metrics: dict[int, dict[str, Metric]] = {}
        self._first_times: dict[int, FirstTimes] = {}
        # Not by attribute, which would make them parts: trained, saved and broadcast with whatever holds the ensemble.
        vars(self)["_backend"] = _BACKENDS[backend](module, [self.members[i] for i in self._counting])
        # The members of weight 0, which only `readings` asks.
        vars(self)["_idle"] = Loop(module, [m for i, m in enumerate(self.members) if i not in self._counting])
        held = [tensor for tensor in chain(module.parameters(), module.buffers()) if tensor.is_floating_point()]
        if held:
            self._device, self._dtype = held[0].device, held[0].dtype
        self.train(False)

    def train(self, mode: bool = True) -> SnapshotEnsemble:
        """Stay in evaluation mode: dropout and batch statistics belong to training, and there is none here."""
        return super().train(False)

    def forward(self, x: Any) -> Tensor:
        """Pooled predictions in float32 at least, in the shape that the module's own `forward` returns.

        Args:
            x: What the module's own `forward` takes.

        Returns:
            "multiclass": probabilities (N, C); "binary" and "multilabel": of yes; "regression": the mean.

        Raises:
            ValueError: If the module's outputs are not what `task`, `outputs` and `num_classes` say.
            TypeError: If they are no floating-point tensor.
        """
        return self.task.show(self._pool(x).pooled())

    def readings(self, x: Any) -> Iterator[Tensor]:
        """What each member says, the oldest first, those of weight 0 too; one is run when one is asked for.

        Args:
            x: What the module's own `forward` takes.

        Returns:
            M tensors: log-probabilities (N, C), or of no and yes (N, …, 2); mean and variance (N, …, 2).
        """
        running, idle = self._backend.outputs(x), self._idle.outputs(x)
        for index in range(len(self.members)):
            yield self.task.read(next(running if index in self._counting else idle), index)

    def split(self, batch: Any) -> tuple[Any, Any]:
        """Input and target of a batch, as `unpack` tells them apart."""
        return pair_of(batch, self.unpack)

    def export(self, path: str | Path, example_input: Any) -> Path:
        """Write one program that computes what `forward` does, and needs torch alone: `torch.export.load(path)`.

        Members, their weights, the pooling and the temperature are inside, and the batch may have any size. The program
        has the ensemble's precision and device: move it before, say ``ensemble.cpu().export(...)``.

        Args:
            path: A new file, ending in ``.pt2``.
            example_input: What `forward` takes: a tensor, or a tuple, list or dict of tensors, (N, …). One sample is
                enough.

        Returns:
            The path written.

        Raises:
            ValueError: If the path ends otherwise, the example has no batch, or torch.export cannot trace the module.
            TypeError: If the example holds something else than tensors.
            FileNotFoundError: If the path's folder is missing.
            FileExistsError: If there is such a file.
            OSError: If the disk refuses.
        """
        weights = list(self._counting.values())
        networks = [self._backend.network(index) for index in range(len(weights))]
        return export_program(networks, weights, copy.deepcopy(self.task), path, example_input)

    def predict_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Pooled predictions, and how sure the ensemble is of them.

        ``entropy`` is H(p), the whole uncertainty in nats; ``mutual_information`` is
        ``H(Σ_m w_m p_m) − Σ_m w_m H(p_m)``, the part of it that the members' disagreement makes up. The variance of a
        regression is that of the mixture: what the members say of the noise, and how far they are from each other.

        Args:
            batch: The input alone, or what `test_step` takes.
            batch_idx: Not used.
            dataloader_idx: Not used.

        Returns:
            ``probs``, as `forward` returns them, ``entropy`` (N,) and ``mutual_information`` (N,); of a regression
            ``mean`` and ``variance``, in the shape of the mean that the module returns.
        """
        pool = self._pool(input_of(batch, self.unpack), uncertainty=True)
        if self.task.name == "regression":
            return pool.uncertainty()
        return {"probs": self.task.show(pool.pooled()), **pool.uncertainty()}

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

    def configure_callbacks(self) -> list[pl.Callback]:
        """Refuse a fit: of all that Lightning calls, this comes first.

        Raises:
            RuntimeError: If it is one.
        """
        if self.trainer.state.fn == TrainerFn.FITTING:
            raise RuntimeError(
                "trainer.fit(model=SnapshotEnsemble): there is nothing to train in it; fit the module itself, and pass "
                "the ensemble to trainer.validate, trainer.test or trainer.predict"
            )
        return []

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint: the members were read when the ensemble was made.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            f"ckpt_path={str(self.trainer.ckpt_path)!r}: an ensemble has no weights to restore; leave it out, and pass "
            "checkpoints as SnapshotEnsemble(module, [path, …])"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint: there would be no weights in it.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            "trainer.save_checkpoint(SnapshotEnsemble): there would be no weights in it; keep the snapshots, or write "
            "all of it into one file with ensemble.export(path, example_input)"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SnapshotEnsemble:
        # What `.to`, `.half`, `.cuda` and the like come down to.
        for backend in (self._backend, self._idle):
            backend._apply(fn, recurse)
            for part in backend.modules():
                if isinstance(part, pl.LightningModule):
                    # A forward that asks `self.device` asks where it runs.
                    part._device, part._dtype = self._device, self._dtype
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _pool(self, x: Any, uncertainty: bool = False) -> Pool:
        if torch.is_grad_enabled():
            with torch.no_grad():
                return self._pool(x, uncertainty)
        pool, read = self.task.pool(uncertainty=uncertainty), self.task.read
        for out, (index, weight) in zip(self._backend.outputs(x), self._counting.items(), strict=True):
            pool.add(read(out, index), weight)
        return pool

    def _start(self) -> None:
        # Made anew for each pass: a metric reset in inference mode cannot be updated outside of it.
        self._metrics, self._first_times = {}, {}

    def _evaluate(self, stage: str, batch: Any, loader: int, loaders: Any) -> None:
        x, target = self.split(batch)
        pooled = self._pool(x).pooled()
        target = self.task.target(target, pooled)
        if loader not in self._metrics:
            self._metrics[loader] = self.task.metrics(pooled)
            self._first_times[loader] = FirstTimes(CombinedLoader(loaders, "sequential").flattened[loader])
        fresh = self._first_times[loader].of(len(pooled))
        updates = self.task.scores(pooled[:fresh], target[:fresh])
        # Updated and logged with no sample left, too: the other processes wait for this one when they sum.
        for name, metric in self._metrics[loader].items():
            metric.update(*updates[name])
            self.log(
                f"{stage}/{name}", metric, on_step=False, on_epoch=True, batch_size=fresh, metric_attribute="_metrics"
            )


def _shares(weights: Sequence[float] | None, members: int) -> tuple[float, ...] | None:
    """Weights that sum to 1; None where all of them are the same."""
    if weights is None:
        return None
    values = weights.tolist() if hasattr(weights, "tolist") else weights
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise TypeError(f"member_weights={weights!r}: not a sequence; pass one number a member, the oldest first")
    if len(values) != members:
        raise ValueError(
            f"member_weights={list(values)!r}: {len(values)} for {members} members; pass one a member, the oldest first"
        )
    numbers = [require_number(f"member_weights[{i}]", value, at_least=0.0) for i, value in enumerate(values)]
    # By the largest first: a sum of the largest floats would overflow.
    numbers = [number / (max(numbers) or 1.0) for number in numbers]
    total = math.fsum(numbers)
    if total == 0:
        raise ValueError(f"member_weights={list(values)!r}: their sum is 0; pass one above 0 at least")
    return None if len(set(numbers)) == 1 else tuple(number / total for number in numbers)
