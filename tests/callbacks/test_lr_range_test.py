"""What a range test reads, against the same sweep in plain torch: by the function, and by `LRRangeTest` in a fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import SGDR, LRRangeTest, lr_range_test
from tests.fits import Stream, trainer, two_groups

SWEEP: dict[str, Any] = {"min_lr": 1e-3, "max_lr": 0.3, "steps": 13, "early_stop_threshold": None}
QUIET: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
# What the optimizer held at each update, and what each batch was. A test puts back all that hangs on an object: so
# this hangs on none.
seen: list[Any] = []


@pytest.fixture(autouse=True)
def _forget():
    seen.clear()


class Line(pl.LightningModule):
    """A linear model; its loss is made of its batch alone."""

    def __init__(self, build: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2, 1)
        self.build = build or (lambda module: torch.optim.SGD(module.parameters(), lr=0.1))

    def loss(self, batch: Any) -> Tensor:
        return (self.layer(batch[0]) - batch[1]).square().mean()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        seen.append(
            [(float(group["lr"]), group.get("momentum"), group.get("betas")) for group in optimizer.param_groups]
        )

    def configure_optimizers(self) -> Any:
        return self.build(self)


class Validated(Line):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)


def samples(count: int = 18, dtype: Any = torch.float32) -> TensorDataset:
    inputs = torch.randn(count, 2, generator=torch.Generator().manual_seed(3)).to(dtype)
    return TensorDataset(inputs, inputs.sum(1, keepdim=True) + 1.0)


def loader(count: int = 18, dtype: Any = torch.float32, **options: Any) -> DataLoader[Any]:
    return DataLoader(samples(count, dtype), batch_size=4, **options)  # five batches, the last of two samples


def by_hand(
    lrs: Any,
    build: Callable[[Any], Any] | None = None,
    accumulated: int = 1,
    batches: Any = None,
    validation: Any = None,
    dtype: Any = torch.float32,
) -> list[float]:
    """The sweep without Lightning: the loss of each update's batches, or after it that of the validation data."""
    module = Line(build).to(dtype)
    optimizer = module.configure_optimizers()
    largest = max(group["lr"] for group in optimizer.param_groups)
    ratios = [group["lr"] / largest for group in optimizer.param_groups]
    batches = [*loader(dtype=dtype)] if batches is None else batches
    # An epoch's last update has what batches are left.
    windows = itertools.cycle(batches[start : start + accumulated] for start in range(0, len(batches), accumulated))
    losses = []
    for lr in lrs:
        for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
            group["lr"] = lr * ratio
        optimizer.zero_grad()
        found = [module.loss(batch) for batch in next(windows)]
        for loss in found:
            (loss / accumulated).backward()
        optimizer.step()
        if validation is not None:
            with torch.no_grad():
                found = [module.loss(batch) for batch in validation]
        losses.append(torch.stack(found).mean().item())
    return losses


def by_function(module: pl.LightningModule, train: Any, sweep: dict[str, Any], **options: Any) -> Any:
    return lr_range_test(module, train, **sweep, **QUIET, **options)


def by_callback(module: pl.LightningModule, train: Any, sweep: dict[str, Any], **options: Any) -> Any:
    test = LRRangeTest(**sweep)
    with_own_end = {} if {"max_steps", "max_epochs"} & options.keys() else {"max_epochs": 1}
    # Only what the test has seen.
    trainer(test, Stop(), **with_own_end, **options).fit(module, train)
    return test.result


class Stop(Callback):
    """Ends a fit before its first batch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        trainer.should_stop = True
        seen.append("the fit")
        trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = True
        raise StopIteration


@pytest.fixture(params=[by_function, by_callback], ids=["function", "callback"])
def measure(request):
    return request.param


def sgd(**options: Any) -> Callable[[Any], Any]:
    return lambda module: torch.optim.SGD(module.parameters(), lr=0.1, **options)


def adam(module: Any) -> Any:
    return torch.optim.Adam(module.parameters(), lr=0.1)


OPTIMIZERS = {
    "SGD": sgd(),
    "momentum": sgd(momentum=0.9, weight_decay=0.1, nesterov=True),
    "Adam": adam,
    "two groups": two_groups(),
}


@pytest.mark.parametrize("mode", ["exponential", "linear"])
@pytest.mark.parametrize("build", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_each_reading_is_the_loss_of_its_update(measure, build, mode):
    found = measure(Line(build), loader(), {**SWEEP, "mode": mode})
    # Thirteen updates are two epochs of five, and three.
    assert found.runs[0].ended == "complete"
    assert list(found.losses) == by_hand(found.lrs, build)
    ratio, difference = found.lrs[1] / found.lrs[0], found.lrs[1] - found.lrs[0]
    expected = [1e-3 * ratio**i if mode == "exponential" else 1e-3 + difference * i for i in range(13)]
    assert found.lrs == pytest.approx(expected)
    assert (found.lrs[0], found.lrs[-1]) == (1e-3, 0.3)


@pytest.mark.parametrize("accumulated", [2, 3, 5, 7])
def test_an_updates_reading_is_the_mean_over_its_batches(measure, accumulated):
    found = measure(Line(), loader(), SWEEP, accumulate_grad_batches=accumulated)
    assert list(found.losses) == pytest.approx(by_hand(found.lrs, accumulated=accumulated), rel=1e-6)


def test_accumulation_by_the_callback_of_lightning():
    test = LRRangeTest(**SWEEP)
    trainer(test, GradientAccumulationScheduler({0: 3}), max_epochs=1).fit(Line(), loader())
    assert list(test.result.losses) == pytest.approx(by_hand(test.result.lrs, accumulated=3), rel=1e-6)


@pytest.mark.parametrize(
    "options", [{"max_epochs": 1}, {"max_steps": 3}, {"max_steps": 0}, {"max_epochs": 0}, {"max_time": "00:00:01:00"}]
)
def test_the_length_of_the_fit_is_no_matter(options):
    found = by_callback(Line(), loader(), SWEEP, **options)
    assert list(found.losses) == by_hand(found.lrs)


def test_few_batches_are_gone_through_again(measure):
    found = measure(Line(), loader(), SWEEP, limit_train_batches=2)
    assert list(found.losses) == by_hand(found.lrs, batches=[*loader()][:2])


def test_data_of_no_length(measure):
    found = measure(Batches(), DataLoader(Stream(6), batch_size=2), SWEEP)
    assert found.losses == (0.5,) * 13


class Batches(Line):
    def training_step(self, batch, batch_idx):
        seen.append(len(batch))
        return (0.0 * self.layer.weight).sum() + 0.5


def test_gradients_are_clipped_as_they_will_be(measure):
    wild = SWEEP | {"min_lr": 0.1, "max_lr": 10.0}
    found = measure(Line(), loader(), wild, gradient_clip_val=1e-3)
    assert max(found.losses) < 100 < max(by_hand(found.lrs))


def test_in_double_precision_the_readings_are_too(measure):
    found = measure(Line(), loader(dtype=torch.float64), SWEEP, precision="64-true")
    assert list(found.losses) == by_hand(found.lrs, dtype=torch.float64)


def test_the_validation_loss_is_that_after_the_update():
    validation = DataLoader(samples(10), batch_size=4)
    found = lr_range_test(Validated(), loader(), validation, **SWEEP, **QUIET)
    assert list(found.losses) == by_hand(found.lrs, validation=[*validation])
    assert found.settings.validation


def test_the_validation_loss_of_accumulated_updates():
    validation = DataLoader(samples(10), batch_size=4)
    found = lr_range_test(Validated(), loader(), validation, **SWEEP, **QUIET, accumulate_grad_batches=3)
    assert list(found.losses) == pytest.approx(by_hand(found.lrs, accumulated=3, validation=[*validation]), rel=1e-6)


def test_validation_is_in_evaluation_mode_and_training_is_not():
    class Modes(Validated):
        def training_step(self, batch, batch_idx):
            seen.append(("train", self.layer.training, torch.is_grad_enabled()))
            return self.loss(batch)

        def validation_step(self, batch, batch_idx):
            seen.append(("val", self.layer.training, torch.is_grad_enabled()))
            return self.loss(batch)

    lr_range_test(Modes(), loader(), loader(4), **SWEEP | {"steps": 3}, **QUIET)
    modes = [each for each in seen if isinstance(each, tuple)]
    assert modes == [("train", True, True), ("val", False, False)] * 3


@pytest.mark.parametrize("result", ["dict", "with extras"])
def test_a_loss_in_a_dict(measure, result):
    class Dict(Line):
        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            return {"loss": loss} if result == "dict" else {"outputs": batch, "loss": loss, "name": "x"}

    assert list(measure(Dict(), loader(), SWEEP).losses) == by_hand(measure(Line(), loader(), SWEEP).lrs)


@pytest.mark.filterwarnings("ignore:.*returned `None`")
def test_batches_without_a_loss_are_passed_over(measure):
    class Sometimes(Line):
        def training_step(self, batch, batch_idx):
            return None if batch_idx in (0, 3) else self.loss(batch)

    found = measure(Sometimes(), loader(), SWEEP)
    assert list(found.losses) == by_hand(
        found.lrs, batches=[each for i, each in enumerate(loader()) if i not in (0, 3)]
    )


# What the optimizer holds


def test_each_update_has_its_rate_and_the_groups_keep_their_ratios(measure):
    found = measure(Line(two_groups()), loader(), SWEEP)
    updates = [each for each in seen if each != "the fit"]
    assert [[lr for lr, *_ in groups] for groups in updates] == [pytest.approx([lr, lr / 10]) for lr in found.lrs]


@pytest.mark.parametrize("build", [sgd(momentum=0.9), adam], ids=["SGD", "Adam"])
def test_each_update_has_the_momentum_that_is_asked_for(measure, build):
    found = measure(Line(build), loader(), SWEEP | {"momentum": 0.7})
    updates = [each for each in seen if each != "the fit"]
    assert len(updates) == 13
    for ((_, momentum, betas),) in updates:
        assert (momentum if betas is None else betas) == (0.7 if betas is None else (0.7, 0.999))
    expected = (
        sgd(momentum=0.7) if build is not adam else lambda m: torch.optim.Adam(m.parameters(), betas=(0.7, 0.999))
    )
    assert list(found.losses) == by_hand(found.lrs, expected)


def test_whoever_sets_the_rate_in_training_does_not_in_the_test(measure):
    class WarmUp(Line):
        def optimizer_step(self, epoch, batch_idx, optimizer, closure):
            for group in optimizer.param_groups:
                group["lr"] = 1e-9 * (1 + self.trainer.global_step)
            optimizer.step(closure=closure)

    found = measure(WarmUp(), loader(), SWEEP)
    assert list(found.losses) == by_hand(found.lrs)


def scheduled(module: Any) -> Any:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, module.trainer.estimated_stepping_batches)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def scheduled_by_epochs(module: Any) -> Any:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, epochs=module.trainer.max_epochs, steps_per_epoch=5)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.mark.parametrize("build", [scheduled, scheduled_by_epochs], ids=["by steps", "by epochs"])
def test_a_scheduler_that_asks_for_the_length_of_the_training(measure, build):
    found = measure(Line(build), loader(), SWEEP)
    assert [lr for ((lr, *_),) in seen[:13]] == pytest.approx(list(found.lrs))


class TwoOptimizers(Line):
    """Each of two layers has its own, stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.other = nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        losses = self.loss(batch), (self.other(batch[0]) - batch[1]).square().mean()
        for optimizer, loss in zip(self.optimizers(), losses, strict=True):
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return {"loss": losses[0] + losses[1]}

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(layer.parameters(), lr=0.05) for layer in (self.layer, self.other)]


@pytest.mark.parametrize("optimizer", [0, 1])
def test_of_several_optimizers_one_is_swept(measure, optimizer):
    class Noting(TwoOptimizers):
        def configure_optimizers(self):
            built = super().configure_optimizers()
            for each in built:
                each.register_step_pre_hook(lambda found, *_: seen.append(found.param_groups[0]["lr"]))
            return built

    found = measure(Noting(), loader(), SWEEP | {"optimizer": optimizer})
    updates = [each for each in seen if isinstance(each, float)]
    assert updates[optimizer::2] == list(found.lrs)
    assert updates[1 - optimizer :: 2] == [0.05] * 13


# How it ends


def test_it_ends_where_the_loss_diverges(measure):
    found = measure(Line(), loader(), SWEEP | {"max_lr": 1e4, "steps": 60, "early_stop_threshold": 4.0})
    run = found.runs[0]
    assert run.ended == "diverged"
    assert 20 < len(run.losses) < 60
    assert run.losses[-1] > 4 * min(run.losses)
    assert len(found.lrs) == len(run.losses)
    assert list(run.losses) == by_hand(found.settings.lrs[: len(run.losses)])


def test_it_ends_at_the_first_loss_that_is_no_number(measure):
    class Breaks(Line):
        def training_step(self, batch, batch_idx):
            return self.loss(batch) * (float("nan") if self.trainer.global_step == 5 else 1.0)

    found = measure(Breaks(), loader(), SWEEP)
    assert found.runs[0].ended == "diverged"
    assert list(found.losses) == by_hand(found.settings.lrs[:5])


def test_it_ends_where_the_module_stops_it(measure):
    class Stops(Line):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.trainer.global_step == 6:
                self.trainer.should_stop = True

    found = measure(Stops(), loader(), SWEEP)
    assert found.runs[0].ended == "stopped"
    assert 5 <= len(found.losses) < 13
    assert list(found.losses) == by_hand(found.lrs)


def test_repeats_see_other_orders_and_the_first_is_that_of_one_run(measure):
    def shuffled():
        return loader(shuffle=True, generator=torch.Generator().manual_seed(7))

    runs = measure(Line(), shuffled(), SWEEP | {"repeats": 3}).runs
    assert len({run.losses for run in runs}) == 3
    assert runs[0] == measure(Line(), shuffled(), SWEEP).runs[0]


# What it refuses


@pytest.mark.parametrize(
    ("module", "sweep", "error", "match"),
    [
        (TwoOptimizers, {}, ValueError, r"optimizer=None: .*which of 2 optimizers"),
        (Line, {"optimizer": 1}, ValueError, r"optimizer=1: .*no such optimizer"),
        (Line, {"momentum": 0.9}, ValueError, r"momentum=.*SGD has no momentum in param group 0; (?!.*cycle_momentum)"),
        (lambda: Line(sgd(momentum=0.9)), {"momentum": 1.5}, ValueError, r"momentum=1\.5"),
        (lambda: Line(lambda module: None), {}, ValueError, r"configure_optimizers returns none"),
        (Line, {"repeats": 0}, ValueError, r"repeats=0"),
        (Line, {"steps": 1}, ValueError, r"steps=1"),
        (Line, {"min_lr": 1.0, "max_lr": 0.1}, ValueError, r"m(in|ax)_lr="),
    ],
)
@pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`")
def test_what_makes_no_sense_is_refused_in_one_line(measure, module, sweep, error, match):
    with pytest.raises(error, match=match) as caught:
        measure(module(), loader(), SWEEP | sweep)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*returned `None`")
def test_a_module_that_never_has_a_loss_is_refused(measure):
    class Silent(Line):
        def training_step(self, batch, batch_idx):
            return None

    with pytest.raises(ValueError, match=r"training_step=None: .*return the loss"):
        measure(Silent(), loader(), SWEEP)


def test_a_loss_that_is_no_number_at_first_is_refused(measure):
    class Broken(Line):
        def training_step(self, batch, batch_idx):
            return self.loss(batch) * float("nan")

    with pytest.raises(ValueError, match="not finite at the first update"):
        measure(Broken(), loader(), SWEEP)


def test_a_validation_step_without_a_loss_is_refused():
    class Silent(Line):
        def validation_step(self, batch, batch_idx):
            return None

    with pytest.raises(ValueError, match=r"validation_step=None: .*return the loss"):
        lr_range_test(Silent(), loader(), loader(), **SWEEP, **QUIET)


@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader` but have no `validation_step`")
def test_a_module_without_validation_step_is_refused_with_validation_data():
    with pytest.raises(ValueError, match="validation_step"):
        lr_range_test(Line(), loader(), loader(), **SWEEP, **QUIET)


class Patient(Line):
    """Gives up after a while: a test that never ends fails."""

    def on_train_start(self) -> None:
        self.epochs = 0

    def on_train_epoch_start(self) -> None:
        self.epochs += 1
        assert self.epochs < 100, "endless"


class PatientlyValidated(Patient, Validated):
    pass


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_validation_data_without_a_batch_is_refused():
    with pytest.raises(ValueError, match="val_dataloaders"):
        lr_range_test(PatientlyValidated(), loader(), [], **SWEEP, **QUIET)


def test_data_that_is_used_up_ends_the_test(measure):
    class Once(torch.utils.data.IterableDataset):
        def __init__(self):
            self.left = 6

        def __iter__(self):
            while self.left:
                self.left -= 1
                yield samples()[self.left]

    found = measure(Patient(), DataLoader(Once(), batch_size=1), SWEEP)
    assert found.runs[0].ended == "stopped"
    assert len(found.losses) == 6


def test_an_optimizer_that_steps_by_the_class_it_is_made_of(measure):
    # torch wraps the step of both, and runs the hooks of an optimizer in each.
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    sgd()(Line())
    found = measure(Line(lambda module: Own(module.parameters(), lr=0.1)), loader(), SWEEP, accumulate_grad_batches=3)
    assert list(found.losses) == pytest.approx(by_hand(found.lrs, accumulated=3), rel=1e-6)


# Where no look at a module finds it.
kept: list[Any] = []


def test_no_hook_of_the_test_stays_on_an_optimizer():
    class Global(Line):
        def configure_optimizers(self):
            return kept[0]

    module = Global()
    kept[:] = [torch.optim.SGD(module.parameters(), lr=0.1)]
    lr_range_test(module, loader(), **SWEEP, **QUIET)
    seen.clear()
    trainer(max_epochs=1).fit(module, loader())
    assert [lr for ((lr, *_),) in seen] == [0.1] * 5


def test_an_optimizer_that_never_steps_is_refused(measure):
    class Idle(TwoOptimizers):
        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            self.optimizers()[0].zero_grad()
            self.manual_backward(loss)
            self.optimizers()[0].step()
            return loss

    with pytest.raises(ValueError, match=r"optimizer=1: .*no update"):
        measure(Idle(), loader(), SWEEP | {"optimizer": 1})


@pytest.mark.parametrize("option", ["logger", "num_sanity_val_steps", "fast_dev_run"])
def test_options_that_are_the_tests_own_are_refused(option):
    with pytest.raises(TypeError, match=f"^{option}="):
        lr_range_test(Line(), loader(), **SWEEP, **QUIET, **{option: 1})


def test_no_data_is_refused():
    with pytest.raises(Exception, match="train_dataloader"):
        lr_range_test(Line(), **SWEEP, **QUIET)


# The callback


def test_there_is_no_result_before_a_fit():
    test = LRRangeTest()
    assert test.result is None
    assert test.results == {}


def test_a_later_epochs_test_begins_with_the_weights_of_the_moment():
    test = LRRangeTest(**SWEEP, at_epochs=(0, 2))
    trainer(test, max_epochs=3).fit(Line(), loader())
    assert list(test.results) == [0, 2]
    assert test.result is test.results[2]

    trained = Line()
    trainer(max_epochs=2).fit(trained, loader())
    first = next(iter(loader()))
    assert test.results[2].losses[0] == trained.loss(first).item()
    assert test.results[0].losses[0] == Line().loss(first).item()


def test_another_fit_forgets_the_one_before():
    test = LRRangeTest(**SWEEP)
    run = trainer(test, max_epochs=1)
    run.fit(Line(), loader())
    first = test.result
    run = trainer(test, max_epochs=1)
    run.fit(Line(adam), loader())
    assert test.result.losses != first.losses


def test_to_measure_again_is_to_be_told_again():
    class Asks(Callback):
        def on_fit_start(self, trainer, pl_module):
            seen.append(test.measure(trainer, pl_module))
            seen.append(test.measure(trainer, pl_module))

    test = LRRangeTest(**SWEEP)
    trainer(Asks(), test, Stop(), max_epochs=1).fit(Line(), loader())
    results = [each for each in seen if each is test.result]
    assert len(results) == 2
    assert len([each for each in seen if isinstance(each, list)]) == 13


@pytest.mark.parametrize("at_epochs", [(0,), (0, 1), (1,)])
def test_a_resumed_fit_has_the_results_and_does_not_test_again(at_epochs):
    test = LRRangeTest(**SWEEP, at_epochs=at_epochs)
    run = trainer(test, max_epochs=2)
    run.fit(Line(), loader())
    run.save_checkpoint("two.ckpt")
    torch.load("two.ckpt", weights_only=True)
    seen.clear()

    again = LRRangeTest(**SWEEP, at_epochs=at_epochs)
    trainer(again, max_epochs=3).fit(Line(), loader(), ckpt_path="two.ckpt")
    assert len(seen) == 5
    assert again.results == test.results
    assert again.result == test.result


def test_a_dev_run_and_an_evaluation_do_not_test():
    test = LRRangeTest(**SWEEP)
    trainer(test, fast_dev_run=True).fit(Line(), loader())
    trainer(test).validate(Validated(), loader(), verbose=False)
    assert test.result is None
    assert len(seen) == 1


def test_two_tests_for_two_optimizers_in_one_fit():
    tests = [LRRangeTest(**SWEEP, optimizer=index) for index in (0, 1)]
    trainer(*tests, max_epochs=1).fit(TwoOptimizers(), loader())
    assert [len(test.result.losses) for test in tests] == [13, 13]
    assert tests[0].result != tests[1].result


def test_beside_a_policy():
    test, policy = LRRangeTest(**SWEEP), SGDR(0.2, cycles=1)
    trainer(test, policy, max_epochs=1).fit(Line(), loader())
    assert list(test.result.losses) == by_hand(test.result.lrs)
    assert [lr for ((lr, *_),) in seen[13:]] == pytest.approx(SGDR(0.2, cycles=1).preview(5)["lr"])
