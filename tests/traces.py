"""Fits in which a trial run leaves a trace wherever it can: the modules, data sets and loaders under test.

Each is built anew under fixed seeds, so that two of them are equal until somebody has run one. A `Scene` is what a fit
takes. Those of `KEEPS_STATE` keep something that neither a state dict nor the global generators hold.
"""

from __future__ import annotations

import copy
import functools
import multiprocessing
import random
import threading
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torchmetrics
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

# Files that the scenes have open; whoever builds one closes them.
opened: list[Any] = []

FEATURES, SAMPLES, BATCH = 4, 22, 4  # six batches an epoch, the last of two samples


@dataclass
class Scene:
    """What a fit takes: the module, the data as arguments of `fit`, options and callbacks of the trainer."""

    module: pl.LightningModule
    data: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    callbacks: list[pl.Callback] = field(default_factory=list)
    test: dict[str, Any] = field(default_factory=dict)
    """What the test needs to be told beside the options."""


class Net(pl.LightningModule):
    """A network with BN, dropout, buffers that no state dict holds, and a loss that is not a number's alone."""

    def __init__(self, optimizer: str = "SGD", **options: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 1)
        self.optimizer, self.optimizer_options = optimizer, {"lr": 0.01, **options}

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(inputs))

    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        return (self(inputs) - targets).square().mean()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=BATCH)
        return loss

    def configure_optimizers(self) -> Any:
        return getattr(torch.optim, self.optimizer)(self.parameters(), **self.optimizer_options)


class Validated(Net):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("val/loss", loss)
        return loss


def table(samples: int = SAMPLES) -> TensorDataset:
    inputs = torch.randn(samples, FEATURES, generator=torch.Generator().manual_seed(5))
    return TensorDataset(inputs, inputs.sum(1, keepdim=True) + 1.0)


def loader(dataset: Any = None, **options: Any) -> DataLoader[Any]:
    return DataLoader(table() if dataset is None else dataset, **{"batch_size": BATCH, "shuffle": True, **options})


def scene(module: pl.LightningModule | None = None, dataset: Any = None, **options: Any) -> Scene:
    return Scene(Net() if module is None else module, {"train_dataloaders": loader(dataset, **options)})


class NonPersistentBuffer(Net):
    """Its loss depends on a buffer that is written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def loss(self, batch: Any) -> Tensor:
        self.seen += 1
        return super().loss(batch) * (1 + 0.01 * self.seen)


class ReplacedBuffer(Net):
    """Its loss depends on a buffer that is a new tensor at each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def loss(self, batch: Any) -> Tensor:
        self.seen = self.seen + 1
        return super().loss(batch) * (1 + 0.01 * self.seen)


class Attributes(Net):
    """Python attributes of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.history, self.table = 0, [], {"kinds": Counter(), "last": deque(maxlen=3)}
        self.running, self.array, self.indices = torch.zeros(3), np.zeros(3), set()
        self.rng, self.own, self.source = np.random.default_rng(1), random.Random(2), torch.Generator().manual_seed(3)
        self.lock, self.scale = threading.Lock(), lambda loss: loss

    def loss(self, batch: Any) -> Tensor:
        self.calls += 1
        self.history.append(self.calls)
        self.table["kinds"]["batch"] += 1
        self.table["last"].append(len(batch))
        self.running += 1
        self.array += 1
        self.indices.add(self.calls)
        self.added_in_training = self.calls
        noise = self.rng.random() + self.own.random() + torch.rand((), generator=self.source)
        weight = 1 + 0.01 * (
            noise + self.calls + len(self.history) + float(self.running.sum()) + float(self.array.sum())
        )
        return self.scale(super().loss(batch) * weight)


class Metrics(Net):
    """A metric that gathers over the whole fit, in a list of metrics and by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.error = torchmetrics.MeanSquaredError()
        self.others = torchmetrics.MetricCollection([torchmetrics.MeanAbsoluteError(), torchmetrics.CatMetric()])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = self(batch[0])
        self.error(outputs, batch[1])
        self.others["MeanAbsoluteError"].update(outputs, batch[1])
        self.others["CatMetric"].update(outputs.detach())
        self.log("train/error", self.error.compute() + self.others["CatMetric"].compute().sum())
        self.log("train/logged", self.error, on_epoch=True, on_step=False)
        return super().training_step(batch, batch_idx)


class ReplacedPart(Net):
    """Takes another head in mid-training, whose weights are a new param group, and drops an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.at_start = "there"

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.trainer.global_step == 3 and hasattr(self, "at_start"):
            del self.at_start
            self.head = copy.deepcopy(self.head)
            self.extra = nn.Linear(1, 1)
            self.optimizers().add_param_group({"params": [*self.head.parameters()], "lr": 0.02})


class Frozen(Net):
    """Trains its body from the second epoch on only, and evaluates its BN until then."""

    def __init__(self) -> None:
        super().__init__()
        self.body.requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        self.body.train(self.current_epoch > 0)
        if self.current_epoch == 1:
            self.body.requires_grad_(True)


class BuiltAtSetup(Net):
    """Gets a part in `setup`, drawn from the global generator, and loses it in `teardown`."""

    def setup(self, stage: str) -> None:
        self.adapter = nn.Linear(FEATURES, FEATURES)
        self.stages = [*getattr(self, "stages", []), stage]

    def teardown(self, stage: str) -> None:
        del self.adapter

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(self.adapter(inputs))


class Shadow(Net):
    """Keeps an average of its weights where neither `parameters` nor `state_dict` finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.shadow = [copy.deepcopy(self.head)]

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            for mean, value in zip(self.shadow[0].parameters(), self.head.parameters(), strict=True):
                mean.lerp_(value, 0.1)

    def loss(self, batch: Any) -> Tensor:
        return super().loss(batch) + 0.1 * self.shadow[0].weight.square().sum()


class SpectralNorm(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = spectral_norm(nn.Linear(8, 1))


class TiedAndHooked(Net):
    """Two names for one weight, and hooks of the user's own, one of which counts."""

    def __init__(self) -> None:
        super().__init__()
        self.tied = nn.Linear(FEATURES, 8, bias=False)
        self.tied.weight = self.body[0].weight
        counted = self.counted = {"forward": 0, "gradients": []}

        def count(module: Any, args: Any, output: Tensor) -> Tensor:
            counted["forward"] += 1
            return output * (1 + 0.01 * counted["forward"])

        self.head.register_forward_hook(count)
        self.head.weight.register_hook(lambda gradient: counted["gradients"].append(float(gradient.sum())))


class FreshHook(Net):
    """Registers a hook at each fit's start and never removes it."""

    def on_fit_start(self) -> None:
        self.head.register_forward_hook(lambda module, args, output: output * 1.1)


class LastLoss(Net):
    """Keeps its last loss, with the graph that it came from."""

    def loss(self, batch: Any) -> Tensor:
        last = getattr(self, "last", torch.zeros(()))
        self.last = super().loss(batch) + 0.01 * last.detach()
        return self.last


class Lazy(Net):
    """A layer that learns its shape in `setup`."""

    def __init__(self) -> None:
        super().__init__()
        self.lazy = nn.LazyLinear(FEATURES)

    def setup(self, stage: str) -> None:
        self.lazy(torch.zeros(2, FEATURES))

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(self.lazy(inputs))


class ReadsItsScheduler(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("lr", self.lr_schedulers().get_last_lr()[0], batch_size=BATCH)
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


class WritesBesideItsLog(Net):
    """Writes a file of its own into the folder of its logger."""

    def on_train_epoch_end(self) -> None:
        folder = Path(self.trainer.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "epochs.txt").open("a") as file:
            file.write(f"{self.current_epoch}\n")


class OwnCallbacks(Net):
    """Brings a checkpoint and an early stop along."""

    def configure_callbacks(self) -> list[pl.Callback]:
        return [
            ModelCheckpoint("own", monitor="train/loss", save_top_k=2, filename="{epoch}-{step}"),
            EarlyStopping("train/loss_epoch", patience=5, check_on_train_epoch_end=True),
        ]


class Scheduled(Validated):
    """Returns a scheduler of its own."""

    def __init__(self, kind: str) -> None:
        super().__init__(momentum=0.9)
        self.kind = kind

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        if self.kind == "epoch":
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]
        if self.kind == "step":
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, self.trainer.estimated_stepping_batches)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss"}}


class CachedOptimizer(Net):
    """Builds its optimizer once, and returns the same one to every fit."""

    def __init__(self) -> None:
        super().__init__()
        self.cached = torch.optim.AdamW(self.parameters(), lr=0.01, amsgrad=True)

    def configure_optimizers(self) -> Any:
        return self.cached


class CachedOutside(Net):
    """The same, with its optimizer where a look at the attributes does not find it."""

    built: Callable[[], Any]

    def __init__(self) -> None:
        super().__init__()
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        self.built = lambda: optimizer

    def configure_optimizers(self) -> Any:
        return self.built()


# Optimizers by module: where no look at a module finds them.
outside: dict[int, Any] = {}


class GlobalOptimizer(Net):
    def __init__(self) -> None:
        super().__init__()
        outside.clear()
        outside[0] = torch.optim.Adam(self.parameters(), lr=0.01)

    def configure_optimizers(self) -> Any:
        return outside[0]


class CachedWithScheduler(CachedOptimizer):
    """A new scheduler for it in every fit, which writes into it at once."""

    def configure_optimizers(self) -> Any:
        return [self.cached], [torch.optim.lr_scheduler.StepLR(self.cached, 1, 0.5)]


class Gan(Net):
    """Two optimizers, stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.critic = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        generator, critic = self.optimizers()
        loss = self.loss(batch) + 0.1 * self.critic(self(batch[0])).mean()
        generator.zero_grad()
        self.manual_backward(loss)
        generator.step()
        told = self.critic(self(batch[0]).detach()).square().mean()
        critic.zero_grad()
        self.manual_backward(told)
        critic.step()
        self.log_dict({"generator": loss, "critic": told})
        return {"loss": loss}

    def configure_optimizers(self) -> Any:
        generator = torch.optim.Adam([*self.body.parameters(), *self.head.parameters()], lr=0.01)
        return generator, torch.optim.SGD(self.critic.parameters(), lr=0.01, momentum=0.5)


class HyperParameters(Net):
    def __init__(self, width: int = 3, lr: float = 0.05, names: Any = ("a", "b")) -> None:
        super().__init__()
        self.save_hyperparameters()

    def on_train_start(self) -> None:
        self.hparams["seen"] = [*self.hparams.get("seen", []), self.hparams.width]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr * self.hparams.width)


class TalksToItsLogger(Net):
    """Writes to its logger by itself, and to its progress bar."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.logger.log_metrics({"own": loss.item()}, step=self.global_step)
        self.log("shown", loss, prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        self.last = float(self.trainer.callback_metrics["train/loss_epoch"])


class Parts:
    """State in slots alone."""

    __slots__ = ("counts", "rng")

    def __init__(self) -> None:
        self.counts, self.rng = [0], random.Random(8)


class Drawing(Dataset[Any]):
    """Draws from every generator there is, and keeps count in every way there is."""

    def __init__(self) -> None:
        self.samples = table()
        self.rng, self.state, self.own = np.random.default_rng(1), np.random.RandomState(4), random.Random(2)
        self.calls, self.cache, self.last, self.parts = 0, {}, None, Parts()
        self.weights = np.ones(len(self.samples))
        self.order = self.alias = [*range(len(self.samples))]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        self.calls += 1
        self.cache.setdefault(index, self.calls)
        self.last = index
        self.parts.counts[0] += 1
        self.weights[index] *= 1.01
        self.order.append(self.order.pop(0))
        noise = self.rng.random() + self.state.rand() + self.own.random() + self.parts.rng.random()
        noise += np.random.rand() + random.random() + float(torch.rand(()))
        inputs, target = self.samples[self.alias[index]]
        return inputs + 0.01 * (noise + self.calls % 7 + self.cache[index] % 5), target * float(self.weights[index])


class FromAFile(Dataset[Any]):
    """Reads the next line of an open file, whatever it is asked for."""

    def __init__(self) -> None:
        path = Path("samples.txt")
        path.write_text("".join(f"{number / 100}\n" for number in range(400)))
        self.file = path.open("rb")
        opened.append(self.file)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        value = float(self.file.readline())
        return torch.full((FEATURES,), value), torch.tensor([value])


class Endless(IterableDataset[Any]):
    """A stream that knows where it is."""

    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> Iterator[Any]:
        for _ in range(SAMPLES):
            self.position += 1
            inputs = torch.randn(FEATURES, generator=torch.Generator().manual_seed(self.position))
            yield inputs, inputs.sum().reshape(1)


class Used(IterableDataset[Any]):
    """A stream that is gone once it is read: nothing brings it back."""

    def __init__(self) -> None:
        self.stream = ((torch.full((FEATURES,), number / 500), torch.ones(1)) for number in range(500))

    def __iter__(self) -> Iterator[Any]:
        for _ in range(SAMPLES):
            yield next(self.stream)


class InTurn(Sampler[int]):
    """Goes on where the last epoch stopped, in an order that its epoch decides."""

    def __init__(self) -> None:
        self.start, self.epoch, self.asked = 0, 0, []

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.asked.append(epoch)

    def __len__(self) -> int:
        return SAMPLES

    def __iter__(self) -> Iterator[int]:
        for _ in range(SAMPLES):
            self.start += 3
            yield (self.start + self.epoch) % SAMPLES


class InTurnBatches(Sampler[list[int]]):
    """The same by the batch."""

    def __init__(self) -> None:
        self.start = 0

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(5):
            self.start += 1
            yield [(self.start * 5 + offset) % SAMPLES for offset in range(3)]


class Counting(Dataset[Any]):
    """Keeps count in a way of its own, on which the samples depend."""

    def __init__(self) -> None:
        self.samples = table()

    def __len__(self) -> int:
        return SAMPLES

    def count(self, index: int) -> float:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Any:
        inputs, target = self.samples[index]
        return inputs * (1 + 0.001 * self.count(index)), target


class InItsClass(Counting):
    seen: list[int] = []  # noqa: RUF012 - that is the point
    total = 0

    def __init__(self) -> None:
        super().__init__()
        # Each scene begins as the first one did.
        InItsClass.seen, InItsClass.total = [], 0

    def count(self, index: int) -> float:
        InItsClass.total += 1
        self.seen.append(index)
        return self.total + len(self.seen)


class InSharedMemory(Counting):
    """As one does for workers to see it."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.each = multiprocessing.Value("i", 0), multiprocessing.Array("i", SAMPLES)

    def count(self, index: int) -> float:
        with self.shared.get_lock():
            self.shared.value += 1
        self.each[index] += 1
        return self.shared.value + self.each[index]


class InAnArray(Counting):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = array("d", [0.0])

    def count(self, index: int) -> float:
        self.numbers[0] += 1
        return self.numbers[0]


class InACache(Counting):
    """Draws once for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.draw = functools.lru_cache(maxsize=None)(self.draw_anew)

    def draw_anew(self, index: int) -> float:
        return random.random()

    def count(self, index: int) -> float:
        return 1000 * self.draw(index)


class InAThreadLocal(Counting):
    def __init__(self) -> None:
        super().__init__()
        self.local = threading.local()
        self.local.count = 0

    def count(self, index: int) -> float:
        self.local.count += 1
        return self.local.count


class InItsGenerators(Counting):
    """Spawns a generator for each sample, and draws bits by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.rng, self.bits = np.random.default_rng(1), np.random.PCG64(2)
        self.system = random.SystemRandom()

    def count(self, index: int) -> float:
        return 100 * self.rng.spawn(1)[0].random() + self.bits.random_raw() / 2**58


class Splits(pl.LightningDataModule):
    """Splits by the global generator, keeps what it makes, and builds its loaders anew at each call."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options, self.asked, self.prepared = options, 0, 0
        self.save_hyperparameters({"batch": BATCH})

    def prepare_data(self) -> None:
        self.prepared += 1

    def setup(self, stage: str) -> None:
        self.training, self.validating = random_split(Drawing(), [SAMPLES - 6, 6])
        self.offset = float(np.random.rand()) + random.random()
        self.asked += 1

    def train_dataloader(self) -> Any:
        self.asked += 1
        return loader(self.training, **self.options)

    def val_dataloader(self) -> Any:
        return loader(self.validating, shuffle=False)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.batches = getattr(self, "batches", 0) + 1
        return batch[0] + self.offset + 0.01 * self.batches, batch[1]

    def teardown(self, stage: str) -> None:
        del self.training


class OwnLoaders(Validated):
    """A module that is its own data module, with one data set for all its loaders."""

    def __init__(self) -> None:
        super().__init__()
        self.samples = Drawing()

    def train_dataloader(self) -> Any:
        return loader(self.samples)

    def val_dataloader(self) -> Any:
        return loader(self.samples, shuffle=False)


class Several(Net):
    """Takes the batches of several loaders at once."""

    def loss(self, batch: Any) -> Tensor:
        parts = batch.values() if isinstance(batch, dict) else batch
        return torch.stack([super(Several, self).loss(part) for part in parts if part is not None]).sum()


def seed_worker(worker: int) -> None:
    np.random.seed(torch.initial_seed() % 2**32)
    random.seed(torch.initial_seed())


def with_validation(module: pl.LightningModule | None = None) -> Scene:
    return Scene(
        Validated() if module is None else module,
        {"train_dataloaders": loader(), "val_dataloaders": loader(table(9), shuffle=False)},
    )


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def shared_alias() -> Scene:
    module, dataset = Attributes(), Drawing()
    module.history = dataset.alias
    dataset.module_counts = module.table
    return scene(module, dataset)


def two_loaders(kind: str) -> Scene:
    first, second = loader(Drawing()), loader(table(14), generator=generator())
    both: Any = {"a": first, "b": second} if kind == "dict" else [first, second]
    if kind == "combined":
        both = CombinedLoader({"a": first, "b": second}, "max_size")
    return Scene(Several(), {"train_dataloaders": both})


def weighted() -> Scene:
    sampler = WeightedRandomSampler([1.0, 2.0] * (SAMPLES // 2), SAMPLES, generator=generator())
    return scene(shuffle=False, sampler=sampler)


class Everything(Attributes, TiedAndHooked, ReplacedBuffer, Validated):
    """All that one module can keep at once."""


class EverythingOfData(Splits):
    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.generator = getattr(self, "generator", generator())

    def train_dataloader(self) -> Any:
        sampler = RandomSampler(self.training, generator=self.generator)
        return loader(self.training, shuffle=False, sampler=sampler, generator=self.generator)


def everything() -> Scene:
    data = {"train_dataloaders": loader(Drawing(), shuffle=False, sampler=InTurn(), generator=generator())}
    return Scene(Everything(), {**data, "val_dataloaders": loader(Drawing(), shuffle=False)})


def told_by_callbacks() -> Scene:
    found = with_validation()
    found.callbacks = [
        ModelCheckpoint("best", monitor="val/loss", save_top_k=2, save_last=True),
        EarlyStopping("val/loss", patience=5),
    ]
    return found


# What the state dict and the global generators do not hold: to put back those alone leaves a trace in each.
KEEPS_STATE: dict[str, Callable[[], Scene]] = {
    "non-persistent buffer": lambda: scene(NonPersistentBuffer()),
    "replaced buffer": lambda: scene(ReplacedBuffer()),
    "attributes": lambda: scene(Attributes()),
    "metrics": lambda: scene(Metrics()),
    "replaced part": lambda: scene(ReplacedPart()),
    "built at setup": lambda: scene(BuiltAtSetup()),
    "shadow weights": lambda: scene(Shadow()),
    "tied and hooked": lambda: scene(TiedAndHooked()),
    "fresh hook": lambda: scene(FreshHook()),
    "cached optimizer": lambda: scene(CachedOptimizer()),
    "cached optimizer, outside": lambda: scene(CachedOutside()),
    "cached optimizer, scheduled": lambda: scene(CachedWithScheduler()),
    "optimizer in a global": lambda: scene(GlobalOptimizer()),
    "last loss": lambda: scene(LastLoss()),
    "lazy layer": lambda: scene(Lazy()),
    "hyper-parameters": lambda: scene(HyperParameters()),
    "generator of the loader": lambda: scene(generator=generator()),
    "generator of the sampler": lambda: scene(shuffle=False, sampler=RandomSampler(table(), generator=generator())),
    "weighted sampler": weighted,
    "sampler with a state": lambda: scene(shuffle=False, sampler=InTurn()),
    "batch sampler with a state": lambda: scene(shuffle=False, batch_size=1, batch_sampler=InTurnBatches()),
    "data set that draws": lambda: scene(dataset=Drawing()),
    "open file": lambda: scene(dataset=FromAFile()),
    "stream with a position": lambda: scene(dataset=Endless(), shuffle=False),
    "counts in its class": lambda: scene(dataset=InItsClass()),
    "counts in shared memory": lambda: scene(dataset=InSharedMemory()),
    "counts in an array": lambda: scene(dataset=InAnArray()),
    "counts in a cache": lambda: scene(dataset=InACache()),
    "counts in a thread local": lambda: scene(dataset=InAThreadLocal()),
    "counts in its generators": lambda: scene(dataset=InItsGenerators()),
    "shared alias": shared_alias,
    "own loaders": lambda: Scene(OwnLoaders(), {}),
    "data module": lambda: Scene(Validated(), {"datamodule": Splits()}),
    "dict of loaders": lambda: two_loaders("dict"),
    "list of loaders": lambda: two_loaders("list"),
    "combined loader": lambda: two_loaders("combined"),
}
# Ways to train: what else a test might disturb.
TRAINS: dict[str, Callable[[], Scene]] = {
    "plain": scene,
    "momentum": lambda: scene(Net(momentum=0.9, weight_decay=0.01)),
    "adam": lambda: scene(Net("AdamW")),
    "validation": with_validation,
    "talks to its logger": lambda: scene(TalksToItsLogger()),
    "reads its scheduler": lambda: scene(ReadsItsScheduler()),
    "writes beside its log": lambda: scene(WritesBesideItsLog()),
    "own callbacks": lambda: scene(OwnCallbacks()),
    "told by callbacks": told_by_callbacks,
    "frozen": lambda: scene(Frozen()),
    "spectral norm": lambda: scene(SpectralNorm()),
    "scheduler by the epoch": lambda: with_validation(Scheduled("epoch")),
    "scheduler by the step": lambda: with_validation(Scheduled("step")),
    "scheduler on a plateau": lambda: with_validation(Scheduled("plateau")),
    "two optimizers by hand": lambda: Scene(Gan(), {"train_dataloaders": loader()}, test={"optimizer": 0}),
    "second optimizer": lambda: Scene(Gan(), {"train_dataloaders": loader()}, test={"optimizer": 1}),
    "LBFGS": lambda: scene(Net("LBFGS", max_iter=3)),
    "accumulation": lambda: Scene(Net(), {"train_dataloaders": loader()}, {"accumulate_grad_batches": 4}),
    "clipped": lambda: Scene(Net(), {"train_dataloaders": loader()}, {"gradient_clip_val": 0.1}),
    "bf16": lambda: Scene(Net(), {"train_dataloaders": loader()}, {"precision": "bf16-mixed"}),
    "bf16 throughout": lambda: Scene(Net(), {"train_dataloaders": loader()}, {"precision": "bf16-true"}),
    "double": lambda: Scene(Net(), {"train_dataloaders": loader()}, {"precision": "64-true"}),
    "deterministic": lambda: Scene(Net(), {"train_dataloaders": loader()}, {"deterministic": True}),
    "few batches": lambda: Scene(Net(), {"train_dataloaders": loader(Drawing())}, {"limit_train_batches": 2}),
}
# Loaders whose workers are processes.
WORKS_APART: dict[str, Callable[[], Scene]] = {
    "workers": lambda: scene(dataset=Drawing(), num_workers=2, worker_init_fn=seed_worker, generator=generator()),
    "persistent workers": lambda: scene(
        dataset=Drawing(), num_workers=2, worker_init_fn=seed_worker, persistent_workers=True
    ),
    "data module, workers": lambda: Scene(Validated(), {"datamodule": Splits(num_workers=1, persistent_workers=True)}),
}
EVERYTHING: dict[str, Callable[[], Scene]] = {
    "everything": everything,
    "data module, everything": lambda: Scene(Everything(), {"datamodule": EverythingOfData()}),
}
SCENES = {**KEEPS_STATE, **TRAINS, **WORKS_APART, **EVERYTHING}


def build(name: str) -> Scene:
    """Build a scene under fixed seeds: the same, each time."""
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)
    return SCENES[name]()
