from __future__ import annotations

import inspect
import json
import math
from itertools import product

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from lightning_lr import plots
from lightning_lr.ensemble import SnapshotEnsemble
from lightning_lr.ensemble.pooling import POOLINGS
from lightning_lr.report import EnsembleReport
from lightning_lr.report.advice import advice
from lightning_lr.report.fitting import Fitted

N, D = 60, 4


def nets(count, outputs=3, seed=0):
    torch.manual_seed(seed)
    return [nn.Sequential(nn.Linear(D, outputs), nn.Dropout(0.5)) for _ in range(count)]


def data(task="multiclass", samples=N, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, D, generator=generator)
    y = {
        "multiclass": torch.randint(3, (samples,), generator=generator),
        "binary": torch.randint(2, (samples,), generator=generator),
        "multilabel": torch.randint(2, (samples, 3), generator=generator),
        "regression": x.sum(dim=1, keepdim=True).expand(-1, 3) + torch.randn(samples, 3, generator=generator),
    }[task]
    return TensorDataset(x, y)


class First(nn.Module):
    """A network with one output, (N,)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)[:, 0]


def ensemble_of(task="multiclass", count=4, **settings):
    members = nets(count)
    if task == "binary":
        members = [First(net) for net in members]
    return SnapshotEnsemble(members[0], members, task=task, **settings)


def collected(ensemble, split, batch_size=16, **settings):
    return EnsembleReport.collect(ensemble, DataLoader(split, batch_size=batch_size, **settings))


def scored_by_a_trainer(ensemble, split):
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (logged,) = trainer.test(ensemble, DataLoader(split, batch_size=16), verbose=False)
    return {name.removeprefix("test/"): value for name, value in logged.items()}


def report(readings, target, split="", steps=None, **settings):
    """A report without an ensemble."""
    count, samples = readings.shape[:2]
    return EnsembleReport(
        readings,
        target,
        tuple(f"member {m}" for m in range(count)),
        tuple(steps) if steps else (None,) * count,
        tuple(f"{split}{sample}".encode() for sample in range(samples)),
        **settings,
    )


def splits(task="multiclass", count=4, samples=200, seed=0, **settings):
    """Two splits on which the later members are better."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for split in ("val", "test"):
        if task == "regression":
            target = torch.randn(samples, generator=generator)
            noise = torch.randn(count, samples, generator=generator) * torch.arange(count, 0, -1)[:, None] / 4
            readings = torch.stack((target + noise, torch.full_like(noise, 0.5)), dim=-1)
        else:
            shape, classes = ((samples, 2), 2) if task == "multilabel" else ((samples,), 2 if task == "binary" else 3)
            target = torch.randint(classes, shape, generator=generator)
            logits = 2 * nn.functional.one_hot(target, classes).float()
            noise = torch.randn(count, *shape, classes, generator=generator)
            spread = 2 * torch.arange(count, 0, -1).reshape(count, *([1] * (target.ndim + 1))) / count
            readings = (logits + spread * noise).log_softmax(-1)
        found.append(report(readings, target, split, steps=range(10, 10 * count + 10, 10), task=task, **settings))
    return found


# Collecting.


OF_ALL = [{}, {"member_weights": [1, 0, 2, 1]}, {"last_m": 2}]
OF_CLASSES = [*OF_ALL, {"temperature": 2.0}, {"pooling": "geometric"}]


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        *product(["multiclass", "binary", "multilabel"], OF_CLASSES),
        *product(["regression"], OF_ALL),
    ],
)
def test_scores_are_those_of_a_test_run(task, settings):
    ensemble, split = ensemble_of(task, **settings), data(task)
    found = collected(ensemble, split)
    assert found.score() == pytest.approx(scored_by_a_trainer(ensemble, split), rel=1e-6, abs=1e-6)
    assert len(found) == N


@pytest.mark.parametrize("pooling", POOLINGS)
def test_last_m_is_what_an_ensemble_of_the_last_m_scores(pooling):
    split, curve = data(), collected(ensemble_of(pooling=pooling), data()).last_m()
    for m in range(1, 5):
        assert curve[m - 1] == pytest.approx(
            scored_by_a_trainer(ensemble_of(pooling=pooling, last_m=m), split), rel=1e-6, abs=1e-6
        )
    found = collected(ensemble_of(pooling="mean_prob"), split).poolings()
    assert list(found) == list(POOLINGS)
    assert found[pooling] == pytest.approx(curve[-1], rel=1e-6, abs=1e-6)


def test_members_are_what_each_scores_alone():
    split, members = data(), nets(3)
    found = collected(SnapshotEnsemble(members[0], members, pooling="vote"), split)
    for net, scores in zip(members, found.members(), strict=True):
        with torch.inference_mode():
            logits = net.eval()(split.tensors[0])
        assert scores["nll"] == pytest.approx(float(nn.functional.cross_entropy(logits, split.tensors[1])), abs=1e-6)
        accuracy = multiclass_accuracy(logits, split.tensors[1], 3, average="micro")
        assert scores["accuracy"] == pytest.approx(float(accuracy))
        assert scores["ece"] == pytest.approx(
            float(multiclass_calibration_error(logits, split.tensors[1], 3)), abs=1e-6
        )


def test_dropout_is_off_and_no_gradient_is_kept():
    found, again = (collected(ensemble_of(), data()) for _ in range(2))
    assert torch.equal(found.readings, again.readings)
    assert not found.readings.requires_grad
    assert not found.readings.is_inference()
    assert found.readings.shape == (4, N, 3)
    assert found.readings.dtype == torch.float32


def test_batches_and_their_order_do_not_matter():
    ensemble, split = ensemble_of(), data()
    one = collected(ensemble, split, batch_size=N)
    torch.manual_seed(0)
    other = collected(ensemble, split, batch_size=7, shuffle=True)
    assert one.samples != other.samples
    assert set(one.samples) == set(other.samples)
    order = [other.samples.index(sample) for sample in one.samples]
    assert torch.allclose(other.readings[:, order], one.readings, atol=1e-6)
    assert torch.equal(other.target[order], one.target)


def test_every_batch_runs_each_member_once():
    calls = []

    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(D, 3)

        def forward(self, x):
            calls.append(len(x))
            return self.net(x)

    members = [Counted() for _ in range(3)]
    collected(SnapshotEnsemble(members[0], members), data(), batch_size=25)
    assert calls == [25, 25, 25, 25, 25, 25, 10, 10, 10]


def test_cost_is_measured_in_the_pass():
    ensemble = ensemble_of(member_weights=[0, 1, 0, 3])
    found = collected(ensemble, data(), batch_size=25)
    cost = found.cost()
    assert (cost.passes, cost.batch_size, cost.device) == (2, 25, "cpu")
    assert cost.seconds == 2 * cost.seconds_of_one > 0
    assert found.cost(Fitted((0.25,) * 4, None, "mean_prob", "", found.names, frozenset())).passes == 4


class Nested(Dataset):
    def __init__(self, split):
        self.split = split

    def __len__(self):
        return len(self.split)

    def __getitem__(self, index):
        x, y = self.split[index]
        return {"input": {"x": x, "text": f"{x[0]:.6f}"}, "label": y}


def test_nested_inputs_by_unpack():
    class Net(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, batch):
            return self.net(batch["x"])

    members = [Net(net) for net in nets(2)]
    ensemble = SnapshotEnsemble(members[0], members, unpack=lambda batch: (batch["input"], batch["label"]))
    fit, same = collected(ensemble, Nested(data())), collected(ensemble, Nested(data()), batch_size=9, shuffle=True)
    told = collected(ensemble, Nested(data(seed=2)))
    assert told.score(fit.fit_weights())
    with pytest.raises(ValueError, match="have 100% of their samples in common"):
        same.score(fit.fit_weights())


def test_samples_by_a_name_of_ones_own():
    class Padded(Dataset):
        """The same samples under another noise each time, as augmentation makes it."""

        def __len__(self):
            return 20

        def __getitem__(self, index):
            return torch.randn(D), index % 3, f"file {index}"

    ensemble = ensemble_of(unpack=lambda batch: batch[:2])
    one, other = (
        EnsembleReport.collect(ensemble, DataLoader(Padded(), batch_size=6), identify=lambda batch: batch[2])
        for _ in range(2)
    )
    with pytest.raises(ValueError, match="have 100% of their samples in common"):
        other.score(one.select_last_m())
    with pytest.raises(TypeError, match=r"^identify=\w+: not one value for each of 6 samples"):
        EnsembleReport.collect(ensemble, DataLoader(Padded(), batch_size=6), identify=lambda batch: "all of them")


def test_nothing_collected():
    with pytest.raises(ValueError, match=r"^dataloader: it gave no sample; pass one over a split that holds some$"):
        EnsembleReport.collect(ensemble_of(), [])


def test_what_is_no_ensemble_and_no_loader():
    with pytest.raises(
        TypeError, match=r"^ensemble=Linear: not a SnapshotEnsemble; make one, of \[module\] if it is a"
    ):
        EnsembleReport.collect(nn.Linear(2, 2), [])
    with pytest.raises(TypeError, match=r"^dataloader=NoneType: not a loader; pass a DataLoader, or a list of batches"):
        EnsembleReport.collect(ensemble_of(), None)
    with pytest.raises(TypeError, match=r"^identify=3: not a function; pass identify\(batch\) -> one value a sample"):
        EnsembleReport.collect(ensemble_of(), [], identify=3)


def test_a_target_that_does_not_fit():
    with pytest.raises(ValueError, match=r"^target="):
        EnsembleReport.collect(ensemble_of(), [(torch.randn(4, D), torch.tensor([0, 1, 2, 3]))])


def test_a_batch_that_is_no_pair():
    with pytest.raises(TypeError, match=r"unpack"):
        EnsembleReport.collect(ensemble_of(), [torch.randn(4, D)])


def test_an_empty_batch_is_passed_over():
    split = data()
    whole = (split.tensors[0], split.tensors[1])
    nothing = (torch.zeros(0, D), torch.zeros(0, dtype=torch.long))
    found = EnsembleReport.collect(ensemble_of(), [nothing, whole, nothing])
    assert found.score() == collected(ensemble_of(), split, batch_size=N).score()


def test_lengths_that_do_not_belong_together():
    readings, target = torch.zeros(2, 3, 2), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"^names: 1 for 2 members; give one for each member$"):
        EnsembleReport(readings, target, ("one",), (1, 2), (b"a", b"b", b"c"))
    with pytest.raises(ValueError, match=r"^samples: 1 for 3 samples; give one for each sample$"):
        EnsembleReport(readings, target, ("one", "two"), (1, 2), (b"a",))
    with pytest.raises(ValueError, match=r"^readings of 0 members and 3 samples: nothing to report"):
        EnsembleReport(readings[:0], target, (), (), (b"a", b"b", b"c"))


# Fitted on one split, told on another.


def every_fit(fit):
    return [fit.select_last_m(), fit.select_greedily(), fit.fit_weights(), *fit.fits()]


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel", "regression"])
def test_what_is_fitted_is_told_on_another_split(task):
    fit, told = splits(task)
    for fitted in every_fit(fit):
        assert sum(fitted.member_weights) == pytest.approx(1.0)
        assert all(math.isfinite(value) for value in told.score(fitted).values())


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_it_is_not_told_where_it_was_fitted(task):
    fit, told = splits(task)
    for fitted in every_fit(fit):
        for tell in (fit.score, fit.calibration if task == "multiclass" else fit.pooled):
            with pytest.raises(
                ValueError, match=r"^fitted='.*': what it was fitted on and what it is to be told on have"
            ):
                tell(fitted)
        with pytest.raises(ValueError, match="have 100% of their samples in common"):
            fit.table([fitted])
        with pytest.raises(ValueError, match="have 100% of their samples in common"):
            fit.as_dict([fitted])
    with pytest.raises(ValueError, match="have 100% of their samples in common"):
        advice(fit, fit)
    assert advice(fit, told)


@pytest.mark.parametrize(
    ("first", "second", "percent"),
    [
        (range(60), range(60), "100%"),
        (range(60), range(10, 20), "100%"),  # told on a part of it
        (range(10, 20), range(60), "100%"),  # fitted on a part of it
        (range(30), range(28, 60), "7%"),
    ],
)
def test_splits_that_share_samples_are_refused(first, second, percent):
    ensemble, everything = ensemble_of(), data()
    fit = collected(ensemble, Subset(everything, first), batch_size=8, shuffle=True)
    told = collected(ensemble, Subset(everything, second), batch_size=3, shuffle=True)
    with pytest.raises(ValueError, match=f"have {percent} of their samples in common"):
        told.score(fit.fit_weights())


def test_a_few_duplicates_of_a_data_set_are_none_of_its_splits_fault():
    ensemble, everything = ensemble_of(), data()
    fit = collected(ensemble, Subset(everything, range(31)))
    assert collected(ensemble, Subset(everything, range(30, 60))).score(fit.fit_weights())


def test_what_was_fitted_on_two_splits_is_told_on_neither():
    (one, two), (three, _) = splits(), splits(seed=5)
    three = report(three.readings, three.target, "third")
    both = two.fit_temperature(one.fit_weights())
    for seen in (one, two):
        with pytest.raises(ValueError, match="of their samples in common"):
            seen.score(both)
    assert three.score(both)


def test_what_is_fitted_is_for_these_members():
    fit, _ = splits(count=3)
    _, told = splits(count=4)
    with pytest.raises(
        ValueError, match=r"^fitted='fitted weights': it is for the 3 members 'member 0' to 'member 2', and"
    ):
        told.score(fit.fit_weights())
    with pytest.raises(ValueError, match=r"^fitted='fitted weights': it is for the 3 members"):
        told.fit_temperature(fit.fit_weights())


def test_fitted_is_what_an_ensemble_takes():
    ensemble = ensemble_of()
    fit, split = collected(ensemble, data(seed=3)), data()
    told = collected(ensemble, split)
    for fitted in fit.fits():
        made = ensemble_of(member_weights=fitted.member_weights, temperature=fitted.temperature, pooling=fitted.pooling)
        assert scored_by_a_trainer(made, split) == pytest.approx(told.score(fitted), abs=1e-5)


def test_in_words():
    fit, _ = splits()
    words = [fitted.how for fitted in fit.fits()]
    assert words[1:3] == ["greedy selection", "fitted weights"]
    assert words[0].startswith("last ")
    assert words[0].endswith(" of 4")
    assert words[3].startswith("temperature ")
    assert words[4].startswith("fitted weights, temperature ")
    assert fit.fit_weights("vote").how == "fitted weights (vote)"
    assert fit.fit_temperature(fit.fit_weights("vote")).pooling == "vote"


def test_the_ensembles_own_weights_are_what_a_temperature_is_fitted_for():
    fit, _ = splits(member_weights=(0.0, 0.0, 0.0, 1.0))
    alone = report(fit.readings[3:], fit.target)
    assert fit.fit_temperature().temperature == pytest.approx(alone.fit_temperature().temperature)
    assert fit.fit_temperature().member_weights == (0.0, 0.0, 0.0, 1.0)


def test_no_temperature_where_all_is_right():
    target = torch.tensor([0, 1, 0])
    fit = report((4.0 * nn.functional.one_hot(target)).log_softmax(-1).expand(2, 3, 2), target)
    with pytest.raises(
        ValueError, match=r"^temperature: none is best on these 3 samples, where all are right or chance"
    ):
        fit.fit_temperature()
    assert [fitted.how for fitted in fit.fits()] == ["last 1 of 2", "greedy selection", "fitted weights"]


def test_no_temperature_and_no_diagram_of_a_regression():
    fit, told = splits("regression")
    with pytest.raises(ValueError, match=r'^task="regression": a mean has no temperature'):
        fit.fit_temperature()
    with pytest.raises(ValueError, match=r'^task="regression": a mean is no probability'):
        told.calibration()
    with pytest.raises(ValueError, match=r"^pooling='vote': means nothing for task=\"regression\""):
        fit.fit_weights("vote")
    assert list(told.poolings()) == ["mean"]
    assert list(told.score()) == ["mse", "mae", "nll"]


# Curves.


def test_so_far_is_what_the_first_k_score():
    _, told = splits(count=3)
    for k, restart in enumerate(told.so_far(), start=1):
        first = report(told.readings[:k], told.target)
        assert restart.step == 10 * k
        assert restart.alone == told.members()[k - 1]
        assert restart.together == pytest.approx(first.score())


def test_calibration_holds_every_sample():
    for task in ("multiclass", "binary", "multilabel"):
        fit, told = splits(task)
        for fitted in (None, *fit.fits()):
            bars, scores = told.calibration(fitted), told.score(fitted)
            count = sum(bar.count for bar in bars)
            assert count == told.target.numel()
            ece = sum(bar.count * abs(bar.share - bar.confidence) for bar in bars) / count
            assert ece == pytest.approx(scores["ece"], abs=1e-5)


# A broken member.


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel", "regression"])
def test_a_broken_member_shows_and_is_named(task):
    fit, told = splits(task)
    for each in (fit, told):
        each.readings[1, 7] = math.nan
    assert told.broken == ("member 1",)
    assert [all(math.isnan(v) for v in scores.values()) for scores in told.members()] == [False, True, False, False]
    assert [any(math.isnan(v) for v in scores.values()) for scores in told.last_m()] == [False, False, True, True]
    assert all(math.isnan(value) for value in told.score().values())
    assert "! member 1: a prediction of it is not a number; leave it out" in str(told)
    for refused in (fit.select_last_m, fit.select_greedily, fit.fit_weights, fit.fits, lambda: advice(fit, told)):
        with pytest.raises(
            ValueError, match=r"^member 1: its predictions are not all numbers; make the ensemble without"
        ):
            refused()


def test_what_is_fitted_without_a_member_does_not_mind_it():
    fit, told = splits()
    told.readings[0] = math.nan
    alone = Fitted((0.0, 0.0, 0.5, 0.5), None, "mean_prob", "two", told.names, frozenset(fit.samples))
    assert all(math.isfinite(value) for value in told.score(alone).values())


def test_an_infinite_mean_is_not_made_finite():
    _, told = splits("regression")
    told.readings[2, 0, 0] = math.inf
    assert told.broken == ("member 2",)
    assert math.isinf(told.members()[2]["mse"])
    assert not math.isfinite(told.score()["mse"])


def test_an_impossible_class_is_no_broken_member():
    readings = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]]).log()
    assert report(readings, torch.tensor([0])).broken == ()
    assert report(torch.tensor([[[math.inf, 0.0]]]), torch.tensor([0.5]), task="regression").broken == ("member 0",)


# On paper.


def test_the_table_says_what_the_methods_say():
    fit, told = splits()
    text = told.table(fit.fits())
    lines = {line.strip().split("  ")[0]: line.split() for line in text.splitlines() if line.startswith("  ")}
    for name, scores in [
        *zip(told.names, told.members(), strict=True),
        *((f"last {m} of 4", scores) for m, scores in enumerate(told.last_m(), start=1)),
        *((fitted.how, told.score(fitted)) for fitted in fit.fits()[1:]),
    ]:
        assert lines[name][-4] == f"{100 * scores['accuracy']:.2f}"
        assert lines[name][-3] == f"{scores['nll']:.4g}"
    assert text.startswith("multiclass, 4 members, 200 samples")
    assert str(told) == told.table()
    assert "cost: 4 times that of one model" in text


def no_such_constant(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel", "regression"])
def test_json_holds_everything(task, tmp_path):
    fit, told = splits(task)
    found = advice(fit, told)
    path = told.to_json(tmp_path / "report.json", fit.fits(), found)
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_such_constant)
    assert content == told.as_dict(fit.fits(), found)
    assert content["format"] == 1
    assert content["samples"] == 200
    assert [member["step"] for member in content["members"]] == [10, 20, 30, 40]
    assert content["last_m"] == told.last_m()
    assert content["poolings"] == told.poolings()
    assert content["so_far"][2]["together"] == told.so_far()[2].together
    assert [fitted["scores"] for fitted in content["fitted"]] == [told.score(fitted) for fitted in fit.fits()]
    assert content["cost"]["passes"] == 4
    assert content["advice"]["sentence"] == found.sentence
    assert (content["calibration"] is None) == (task == "regression")
    assert len(content["correlation"]) == len(content["disagreement"]) == 4


def test_json_has_no_word_for_nan(tmp_path):
    _, told = splits()
    told.readings[0, 0] = math.nan
    content = json.loads(told.to_json(tmp_path / "r.json").read_text("utf-8"), parse_constant=no_such_constant)
    assert content["members"][0] == {
        "name": "member 0",
        "step": 10,
        "broken": True,
        "scores": {"accuracy": None, "nll": None, "brier": None, "ece": None},
    }
    assert content["cost"]["seconds"] is None  # it was not measured here


def test_json_is_complete_or_not_there(tmp_path):
    fit, told = splits()
    path = tmp_path / "report.json"
    told.to_json(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="of their samples in common"):
        fit.to_json(path, fit.fits())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(IsADirectoryError, match=r"^path=.*: a folder; give the name of a file in it$"):
        told.to_json(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^path=.*: there is no folder .*; make it first$"):
        told.to_json(tmp_path / "none" / "report.json")


def test_pictures(tmp_path):
    fit, told = splits()
    told.readings[0, 0] = math.nan  # a broken member leaves something to draw
    written = told.plot(tmp_path / "pictures", fit.fits())
    names = ["last_m.png", "training_spent.png", "poolings.png", "calibration.png", "diversity.png"]
    assert [path.name for path in written] == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn: the arguments of each picture, by its name."""
    calls = {}

    def fake(name):
        # Called as the real one may be called.
        signature = inspect.signature(getattr(plots, name))

        def draw(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            calls[name] = bound.arguments
            return bound.arguments["path"]

        return draw

    for name in ("plot_last_m", "plot_training_spent", "plot_poolings", "plot_calibration", "plot_diversity"):
        monkeypatch.setattr(plots, name, fake(name))
    return calls


def test_what_is_drawn(drawn, tmp_path):
    fit, told = splits()
    fits = fit.fits()
    written = told.plot(tmp_path / "a" / "folder", fits)
    assert [path.parent for path in written] == [tmp_path / "a" / "folder"] * 5
    m = sum(weight > 0 for weight in fits[0].member_weights)
    assert drawn["plot_last_m"]["chosen"] == m
    assert drawn["plot_last_m"]["ensembles"] == told.last_m()
    assert drawn["plot_training_spent"]["steps"] == [10, 20, 30, 40]
    assert drawn["plot_training_spent"]["together"][-1] == told.poolings()["mean_prob"]
    assert list(drawn["plot_poolings"]["scores"]) == [
        "mean_prob",
        "mean_logit, geometric",
        "vote",
        *(fitted.how for fitted in fits),
    ]
    assert list(drawn["plot_calibration"]["diagrams"]) == ["mean_prob", *(fitted.how for fitted in fits[3:])]
    assert drawn["plot_diversity"]["disagreement"] == told.disagreement()
    assert drawn["plot_diversity"]["shares"]


def test_what_is_drawn_of_a_regression(drawn, tmp_path):
    fit, told = splits("regression")
    told.plot(tmp_path, fit.fits())
    assert list(drawn) == ["plot_last_m", "plot_training_spent", "plot_poolings", "plot_diversity"]
    assert not drawn["plot_diversity"]["shares"]


def test_what_is_not_drawn(drawn, tmp_path):
    _, told = splits()
    told.plot(tmp_path)
    assert drawn["plot_last_m"].get("chosen") is None
    for steps in (None, [10, 20, 20, 30]):
        drawn.clear()
        report(told.readings, told.target, steps=steps).plot(tmp_path)
        assert list(drawn) == ["plot_last_m", "plot_poolings", "plot_calibration", "plot_diversity"]
    drawn.clear()
    report(told.readings[:1], told.target, steps=[10]).plot(tmp_path)
    assert list(drawn) == ["plot_last_m", "plot_training_spent", "plot_calibration"]


def test_nothing_is_drawn_where_it_was_fitted(tmp_path):
    fit, _ = splits()
    with pytest.raises(ValueError, match="of their samples in common"):
        fit.plot(tmp_path / "pictures", fit.fits())
    assert not (tmp_path / "pictures").exists()
