"""`SnapshotCheckpoint`: the weights at the end of each cycle, in a folder that `SnapshotEnsemble` reads."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.arguments import require_choice, require_int
from lightning_lr.callbacks.cycle_source import Policy, largest_lr, policy_with_cycles, require_cycles
from lightning_lr.callbacks.rank_zero import on_rank_zero
from lightning_lr.schedules.cycles import Cycle
from lightning_lr.snapshots.reader import Snapshots
from lightning_lr.snapshots.weights import as_floating_dtype, check_state_dict
from lightning_lr.snapshots.writer import SnapshotWriter

_SHARDED = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)
_AVERAGING = (WeightAveraging, StochasticWeightAveraging)


class _Run(NamedTuple):
    """What there is from train start to train end: whose cycles, and the folder their ends go to."""

    policy: Policy
    writer: SnapshotWriter


class _Moment(NamedTuple):
    """What a row tells of the time it was taken at, as a checkpoint holds it."""

    cycle: int
    step: int
    epoch: int
    lr: float | None


class SnapshotCheckpoint(Callback):
    """Write a snapshot after the last update of each cycle.

    The cycles are those of the policy in the same trainer (`SGDR`, `OneCycle`, …); the snapshots are the raw weights
    and buffers of the module, one safetensors file a cycle and a manifest. A run that is killed at any instant and
    resumed from any of its checkpoints ends with the same files as one that was not. Beside it, `ModelCheckpoint` does
    as ever.

    Args:
        dirpath: The folder. None is ``snapshots`` in the logger's directory, or in ``default_root_dir`` where there is
            no logger, and where the run's first life wrote when it is resumed; `dirpath` tells it during the fit.
        keep_last: Number of newest snapshots that are kept; None keeps all.
        save_last_partial: Also take one where the run ends inside a cycle; its row has ``complete=False``.
        dtype: What floating tensors are cast to, such as ``"float16"``; None keeps them as they are.
        optimizer: Index of the optimizer whose policy tells the cycles; needed where several policies have cycles.
        on_existing: What a fit does that finds another run's snapshots in the folder: ``"error"`` stops before
            training, ``"overwrite"`` deletes them when training starts.

    Raises:
        TypeError, ValueError: If an argument makes no sense; at fit start, if no policy has cycles or the module holds
            what a snapshot cannot; before the first update, if several policies have cycles.
        FileExistsError: At fit start, if the folder belongs to another run.
        RuntimeError: At fit start, if the strategy shards the weights.
        OSError: In training, if the disk refuses; the fit stops, and what was there before is whole.

    Example:
        >>> SnapshotCheckpoint("snapshots", keep_last=5, dtype="float16").dirpath.name
        'snapshots'
        >>> SnapshotCheckpoint(keep_last=0)
        Traceback (most recent call last):
        ValueError: keep_last=0: out of range; pass an int of at least 1

    Reference:
        Huang et al., "Snapshot Ensembles: Train 1, get M for free", 2017, https://arxiv.org/abs/1704.00109
    """

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        keep_last: int | None = None,
        save_last_partial: bool = False,
        dtype: torch.dtype | str | None = None,
        optimizer: int | None = None,
        on_existing: str = "error",
    ) -> None:
        super().__init__()
        if keep_last is not None:
            require_int("keep_last", keep_last, at_least=1)
        if optimizer is not None:
            require_int("optimizer", optimizer, at_least=0)
        require_choice("save_last_partial", save_last_partial, (False, True))
        require_choice("on_existing", on_existing, ("error", "overwrite"))
        self.keep_last = keep_last
        self.save_last_partial = save_last_partial
        self.dtype = as_floating_dtype(dtype)
        self.optimizer = optimizer
        self.on_existing = on_existing
        self._given = None if dirpath is None else _local(dirpath)
        self._forget()

    def _forget(self) -> None:
        self.dirpath: Path | None = self._given
        self.run_id: str | None = None
        self._restored: dict[str, Any] | None = None
        self._run: _Run | None = None
        # The end of the cycle that ended last: in a checkpoint, it tells a resumed run what it cannot know.
        self._ended: _Moment | None = None
        # The cycle whose snapshot has the module's very weights, as long as it has.
        self._unchanged: int | None = None
        self._metrics_before: dict[str, Tensor] = {}
        self._lr: float | None = None

    @property
    def state_key(self) -> str:
        """What the state is kept under in a checkpoint: one for each optimizer's policy, wherever its folder is."""
        return f"{type(self).__qualname__}[optimizer={self.optimizer or 0}]"

    def state_dict(self) -> dict[str, Any]:
        """Return the folder, the run it belongs to, and the cycle that ended last."""
        if self.run_id is None:
            # Saved before training began, by a callback that saves on an exception: what was restored still holds.
            return self._restored or {}
        ended = None if self._ended is None else self._ended._asdict()
        return {"dirpath": str(self.dirpath), "run_id": self.run_id, "ended": ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the folder and the run. Used by the next fit only: a test also reads checkpoints."""
        self._restored = state_dict

    # Before training

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget the run before; a checkpoint is read after this."""
        if stage != "fit":
            return
        self._forget()
        if isinstance(trainer.strategy, _SHARDED):
            raise RuntimeError(
                f"strategy={type(trainer.strategy).__name__}: no process has all of the weights, and "
                "SnapshotCheckpoint does not gather them yet; use a strategy that does not shard, such as ddp"
            )
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if self.save_last_partial and any(
            isinstance(other, _AVERAGING) for other in callbacks[: callbacks.index(self)]
        ):
            raise ValueError(
                "save_last_partial=True: at the end of training a callback before SnapshotCheckpoint puts averaged "
                "weights in place of the raw ones; put SnapshotCheckpoint before it in Trainer(callbacks=[...])"
            )

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Settle the run and its folder, and refuse all that can be refused before the first batch."""
        require_cycles(trainer)
        check_state_dict(pl_module.state_dict())
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        restored = self._restored or {}
        # Asked on every rank: the logger's directory is broadcast.
        default = os.path.join(trainer.log_dir or trainer.default_root_dir, "snapshots")
        dirpath = self._given or _local(restored.get("dirpath") or default)
        run_id = restored.get("run_id") or uuid.uuid4().hex
        self.dirpath, self.run_id = trainer.strategy.broadcast((dirpath, run_id))
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        others = [other for other in callbacks if isinstance(other, SnapshotCheckpoint) and other is not self]
        if any(other.dirpath == self.dirpath for other in others):
            raise ValueError(
                f"dirpath={str(self.dirpath)!r}: another SnapshotCheckpoint of this trainer writes into it; give "
                "each a folder of its own"
            )
        ended = restored.get("ended")
        self._ended = None if ended is None else _Moment(**ended)
        if self._given is None and self._ended is not None and not self.dirpath.is_dir():
            raise FileNotFoundError(
                f"dirpath=None: the run that is resumed has its snapshots in {self.dirpath}, and there is no such "
                "folder; pass dirpath=, the folder where they are now"
            )
        writer = SnapshotWriter(self.dirpath, self.run_id)
        on_rank_zero(trainer, lambda: writer.check(overwrite=self.on_existing == "overwrite"))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the policy, and take the snapshot that a run killed at a cycle's end has missed."""
        if self.dirpath is None or self.run_id is None:
            return
        run = _Run(policy_with_cycles(trainer, self.optimizer), SnapshotWriter(self.dirpath, self.run_id))
        lost = on_rank_zero(trainer, lambda: self._open(run, trainer, pl_module))
        if lost:
            rank_zero_warn(
                f"SnapshotCheckpoint: {self.dirpath} lacks the snapshots of cycles {', '.join(map(str, lost))}, which "
                "this run has behind it; restore the files from a copy, or resume from an earlier checkpoint"
            )
        self._run = run

    def _open(self, run: _Run, trainer: pl.Trainer, pl_module: pl.LightningModule) -> list[int]:
        """Make the folder ours and complete it; return the finished cycles that cannot be had any more."""
        run.writer.open(overwrite=self.on_existing == "overwrite")
        if self.keep_last is not None:
            run.writer.sweep()
        step = run.policy.step
        finished = [c for c in run.policy.run_cycles if c.end <= step and (c.complete or self.save_last_partial)]
        if not finished:
            return []
        snapshots = Snapshots(run.writer.dirpath)
        bad = snapshots.problems()
        good = {row.cycle: row.step for row in snapshots if row.file not in bad}
        last = finished[-1]
        if last.end == step and good.get(last.index) != step:
            now = self._ended
            if now is None or (now.cycle, now.step) != (last.index, step):
                now = _Moment(last.index, step, trainer.current_epoch, lr=None)
            self._write(run.writer, pl_module, now, complete=last.complete)
            good[last.index] = step
        # A life that died further on has left snapshots of later cycles, and dropped earlier ones for them.
        reached = sorted({cycle.index for cycle in finished} | good.keys())
        kept = reached[-(self.keep_last or len(reached)) :]
        return [cycle.index for cycle in finished if cycle.index in kept and cycle.index not in good]

    # While training

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note that the weights move on: even a batch that leads to no update changes running statistics."""
        self._unchanged = None

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Note the learning rate of the update, which the end of the training may not show any more."""
        if not self.save_last_partial or self._run is None:
            return
        policy = self._run.policy
        if optimizer is trainer.optimizers[policy.optimizer_index or 0]:
            self._lr = largest_lr(trainer, policy)

    def on_cycle_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, policy: Policy, cycle: Cycle) -> None:
        """Take the snapshot. Called by the policy, between a cycle's last update and the restart.

        Args:
            trainer: The trainer; its ``global_step`` has not counted the update yet.
            pl_module: The module whose weights are taken.
            policy: Who calls.
            cycle: The cycle that has ended.
        """
        run = self._run
        if run is None or policy is not run.policy:
            return
        self._ended = now = _Moment(cycle.index, policy.step, trainer.current_epoch, largest_lr(trainer, policy))
        if cycle.complete or self.save_last_partial:
            _while_training(trainer, lambda: self._write(run.writer, pl_module, now, complete=cycle.complete))
            self._unchanged = cycle.index

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the metrics of before, by which those that this validation gives are known."""
        self._metrics_before = {} if self._unchanged is None else dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the metrics into the row of the weights they are of."""
        run, ended, cycle, before = self._run, self._ended, self._unchanged, self._metrics_before
        self._metrics_before = {}
        if run is None or ended is None or cycle is None or run.policy.step != ended.step:
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if trainer.state.fn != TrainerFn.FITTING or any(isinstance(other, _AVERAGING) for other in callbacks):
            return

        def note() -> None:
            # A value that is still the same object is an older one: the training's, or another validation's.
            given = {k: float(v) for k, v in trainer.callback_metrics.items() if v is not before.get(k)}
            if given:
                run.writer.set_metrics(cycle, given)

        # Every process comes here, whatever it has logged itself.
        _while_training(trainer, note)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the snapshot of a cycle that the end of the training cuts short, if that is wanted."""
        run = self._run
        if run is None or not self.save_last_partial:
            return
        step = run.policy.step
        inside = [cycle.index for cycle in run.policy.run_cycles if cycle.start < step < cycle.end]
        if inside:
            now = _Moment(inside[0], step, trainer.current_epoch, self._lr)
            _while_training(trainer, lambda: self._write_partial(run.writer, pl_module, now))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Complete the folder of a run that was resumed with nothing left to train, and so never started."""
        if self._restored is not None and self._run is None:
            self.on_train_start(trainer, pl_module)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let go of the run."""
        self._run = self._unchanged = self._restored = None

    def _write_partial(self, writer: SnapshotWriter, pl_module: pl.LightningModule, now: _Moment) -> None:
        # Where an earlier life of the run finished the cycle, its snapshot is the better one.
        if not any(row.cycle == now.cycle and row.complete for row in writer.rows):
            self._write(writer, pl_module, now, complete=False)

    def _write(self, writer: SnapshotWriter, pl_module: pl.LightningModule, now: _Moment, *, complete: bool) -> None:
        writer.write(pl_module.state_dict(), **now._asdict(), complete=complete, dtype=self.dtype)
        if self.keep_last is not None:
            writer.keep_last(self.keep_last)


def _while_training(trainer: pl.Trainer, work: Callable[[], None]) -> None:
    """Work on rank 0; where its disk refuses, say what that means for the fit."""

    def told() -> None:
        try:
            work()
        except OSError as error:
            what = f"{error.strerror or error}; the training stops here, resume it from its last checkpoint"
            raise OSError(error.errno or 0, what, error.filename) from error

    on_rank_zero(trainer, told)


def _local(dirpath: str | os.PathLike[str]) -> Path:
    if not isinstance(dirpath, str | os.PathLike):
        raise TypeError(f"dirpath={dirpath!r}: not a path; pass a folder, or None for the logger's directory")
    if not os.fspath(dirpath) or "://" in os.fspath(dirpath):
        raise ValueError(f"dirpath={os.fspath(dirpath)!r}: not a folder of this machine; pass a local dirpath")
    return Path(dirpath).expanduser().absolute()
