"""What a range test found: what it refuses, what follows from it, what a user reads, and the file."""

from __future__ import annotations

import json
import math
import pickle
import random
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lightning_lr
from lightning_lr.durable import STAGING
from lightning_lr.range_test.readings import Run, Settings
from lightning_lr.range_test.result import RangeTest
from lightning_lr.range_test.suggestions import RULES, noise, smooth, suggest

PLAIN = Settings(min_lr=1e-5, max_lr=1.0, steps=11, smoothing=0.0)
# Two readings a decade: level, falling from 1e-4, steepest at 1e-3, lowest at 1e-1, diverging.
LOSSES = (2.0, 2.0, 2.0, 1.9, 1.5, 1.0, 0.7, 0.6, 0.5, 1.5, 9.0)
# The same, half a decade earlier, cut short by divergence.
EARLIER = (*LOSSES[1:10], 4.5)
FOUND = RangeTest(PLAIN, (Run(LOSSES, "complete"),))
REPEATED = RangeTest(PLAIN, (Run(LOSSES, "complete"), Run(EARLIER, "diverged")))
NEVER = RangeTest(PLAIN, (Run((2.0, 2.1) * 5, "diverged"),))


def noisy(runs=3, steps=100, seed=0):
    rng = random.Random(seed)

    def loss(lr):
        return 2.3 - 2 / (1 + (0.01 / lr) ** 1.5) + (lr / 0.5) ** 2 + rng.gauss(0.0, 0.05)

    chosen = Settings(steps=steps)
    whole = [[loss(lr) for lr in chosen.lrs] for _ in range(runs)]
    return RangeTest(chosen, [Run(losses[: round(0.9 * steps)], "diverged") for losses in whole])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ((), "runs=(): nothing was measured; pass one run or more"),
        (
            (Run(LOSSES, "complete"), Run(LOSSES[:4], "complete")),
            "runs[1]: 4 readings of 11 in a run that ended 'complete'; pass one reading a step",
        ),
        (
            (Run(LOSSES * 2, "diverged"),),
            "runs[0]: 22 readings of 11 in a run that ended 'diverged'; pass one reading a step",
        ),
    ],
)
def test_a_range_test_refuses(runs, message):
    with pytest.raises(ValueError, match="runs") as refused:
        RangeTest(PLAIN, runs)
    assert str(refused.value) == message


# ---- what follows from them


def test_one_run():
    assert FOUND.lrs == PLAIN.lrs
    assert FOUND.losses == FOUND.smoothed == LOSSES
    assert FOUND.suggestions == pytest.approx(
        {
            "steepest": 1e-3,
            "valley": 1e-2,
            "minimum/10": 1e-2,
            "minimum/4": 0.025,
            "minimum/3": 0.1 / 3,
            "minimum/1.5": 0.1 / 1.5,
            "half of the drop": 10**-2.5,
        }
    )
    assert FOUND.bands == {}
    assert FOUND.max_lr == FOUND.suggestions["minimum/1.5"]
    # The loss has lost a tenth of its drop at 1e-3, below a tenth of max_lr.
    assert FOUND.base_lr == pytest.approx(0.01 / 1.5)
    assert FOUND.fixed_lr == FOUND.suggestions["minimum/3"]
    assert FOUND.reliability == ()
    assert FOUND.ended == "complete"


def test_several_runs_go_as_far_as_the_shortest():
    assert REPEATED.lrs == PLAIN.lrs[:10]
    assert REPEATED.losses == pytest.approx([2.0, 2.0, 1.95, 1.7, 1.25, 0.85, 0.65, 0.55, 1.0, 3.0])
    assert REPEATED.ended == "diverged"
    assert REPEATED.suggestions == suggest(REPEATED.lrs, REPEATED.smoothed)
    assert REPEATED.max_lr == pytest.approx(10**-1.5 / 1.5)


def test_bands_are_those_of_the_whole_runs():
    half = math.sqrt(0.1)
    assert [*REPEATED.bands] == [*RULES]
    for rule, (low, high) in REPEATED.bands.items():
        assert high == pytest.approx(FOUND.suggestions[rule])
        assert low == pytest.approx(FOUND.suggestions[rule] * half)
    assert REPEATED.reliability == (
        "repeats disagree by a factor of 3.2: minimum/1.5 goes from 0.021 to 0.067 with the order of the data; test "
        "with more steps or larger batches",
    )


def test_a_run_that_diverges_early_does_not_cut_the_bands_of_the_others():
    both = RangeTest(PLAIN, (Run(LOSSES, "complete"), Run(LOSSES[:7], "diverged")))
    assert len(both.lrs) == 7
    assert both.bands["minimum/3"] == pytest.approx((0.01 / 3, 0.1 / 3))
    assert both.bands["minimum/1.5"] == pytest.approx((0.01 / 1.5, 0.1 / 1.5))


def test_a_repeat_in_which_nothing_fell_has_no_part_in_the_bands():
    both = RangeTest(PLAIN, (Run(LOSSES, "complete"), Run((2.0,) * 11, "complete")))
    assert both.bands == {rule: (lr, lr) for rule, lr in FOUND.suggestions.items()}


def test_smoothing_goes_by_the_settings():
    found = noisy()
    assert found.smoothed == tuple(smooth(found.losses, 0.75))
    assert found.suggestions == suggest(found.lrs, found.smoothed)
    finer = noisy(steps=400)
    assert finer.smoothed == tuple(smooth(finer.losses, 0.75**0.25))
    # The curve is lowest where the derivative of its formula is 0.
    lowest = min(PLAIN.lrs, key=lambda lr: -2 / (1 + (0.01 / lr) ** 1.5) + (lr / 0.5) ** 2)
    for test in (found, finer):
        assert 0.5 < test.suggestions["minimum/10"] * 10 / lowest < 2
        # Half of its fall of two is lost at 0.01, the rest of it but a little before the minimum.
        assert 0.5 < test.suggestions["half of the drop"] / 0.01 < 1.5
        assert test.reliability == ()


@pytest.mark.parametrize(
    "losses",
    [(), (2.0,), (2.0, 1.0), (3.0,) * 11, tuple(range(11)), (-1.0,) * 5, (0.0,) * 11, (2.0, 1.9, 2.1, 2.0) * 2],
    ids=len,
)
def test_where_the_loss_never_fell_nothing_can_be_told(losses):
    found = RangeTest(PLAIN, (Run(losses, "diverged"),))
    assert found.suggestions == {}
    assert (found.max_lr, found.base_lr, found.fixed_lr) == (None, None, None)
    (note,) = found.reliability
    assert note.startswith("the loss never fell: ")
    assert "\n" not in note
    assert "cannot be told" in str(found)


def test_a_fall_within_the_noise_is_none():
    rng = random.Random(0)
    readings = [2.0 + rng.gauss(0.0, 0.2) for _ in range(100)]
    never = RangeTest(Settings(), (Run(readings, "complete"),))
    assert 0 < never.smoothed[0] - min(never.smoothed) < noise(readings, 0.75)
    assert never.suggestions == {}
    assert never.max_lr is None


def test_losses_near_the_largest_float_are_averaged():
    found = RangeTest(PLAIN, [Run((*LOSSES[:10], 1.7e308), "complete")] * 3)
    assert found.losses[-1] == pytest.approx(1.7e308)
    assert all(map(math.isfinite, found.smoothed))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.floats(-1e300, 1e300), max_size=12), st.sampled_from(["diverged", "stopped"])),
        min_size=1,
        max_size=4,
    ),
    st.floats(0.0, 1.0, exclude_max=True),
    st.sampled_from(["exponential", "linear"]),
)
def test_whatever_was_measured_there_is_an_answer(runs, smoothing, mode):
    chosen = Settings(steps=12, smoothing=smoothing, mode=mode)
    found = RangeTest(chosen, [Run(losses, ended) for losses, ended in runs])
    assert len(found.lrs) == len(found.losses) == len(found.smoothed) == min(len(losses) for losses, _ in runs)
    assert all(map(math.isfinite, found.smoothed))
    bounds = (found.max_lr, found.base_lr, found.fixed_lr)
    if found.suggestions:
        assert set(found.suggestions) == set(RULES)
        assert all(0 < bound <= 10.0 for bound in bounds)
        assert 0.0999 < found.base_lr / found.max_lr < 0.3334
        assert found.base_lr < found.fixed_lr < found.max_lr
    else:
        assert bounds == (None, None, None)
        assert found.reliability
    assert all("\n" not in note for note in found.reliability)
    assert "nan" not in str(found)


def test_it_is_a_value():
    assert noisy() == noisy()
    assert hash(noisy()) == hash(noisy())
    assert noisy() != noisy(seed=1)
    assert FOUND.max_lr is not None  # derived values are no part of it
    assert pickle.loads(pickle.dumps(FOUND)) == FOUND == RangeTest(PLAIN, [Run(LOSSES, "complete")])
    with pytest.raises(FrozenInstanceError):
        FOUND.settings = Settings()
    assert replace(FOUND, settings=replace(PLAIN, max_lr=2.0)).lrs[-1] == 2.0


# ---- in words


def test_in_words():
    assert (
        str(FOUND)
        == """\
LR range test, 1e-05 to 1 (exponential)
11 of 11 readings of the training loss; complete

max_lr            0.067     top of a cycle (minimum/1.5)
base_lr           0.0067    bottom of a cycle (where the loss begins to fall)
fixed_lr          0.033     without a cycle (minimum/3)

steepest          0.001
valley            0.01
minimum/10        0.01
minimum/4         0.025
minimum/3         0.033
minimum/1.5       0.067
half of the drop  0.0032"""
    )


def test_several_runs_in_words():
    chosen = replace(PLAIN, momentum=0.9, validation=True, mode="linear", min_lr=1e-3)
    assert str(RangeTest(chosen, REPEATED.runs)).splitlines()[:2] == [
        "LR range test, 0.001 to 1 (linear, momentum 0.9)",
        "10 of 11 readings of the validation loss, mean of 2 runs; diverged",
    ]
    assert str(REPEATED).splitlines()[7:] == [
        "steepest          0.001     (0.00032 to 0.001)",
        "valley            0.0032    (0.0032 to 0.01)",
        "minimum/10        0.0032    (0.0032 to 0.01)",
        "minimum/4         0.0079    (0.0079 to 0.025)",
        "minimum/3         0.011     (0.011 to 0.033)",
        "minimum/1.5       0.021     (0.021 to 0.067)",
        "half of the drop  0.001     (0.001 to 0.0032)",
        "",
        *(f"! {note}" for note in REPEATED.reliability),
    ]


def test_nothing_to_tell_in_words():
    assert (
        str(NEVER)
        == f"""\
LR range test, 1e-05 to 1 (exponential)
10 of 11 readings of the training loss; diverged

max_lr            cannot be told
base_lr           cannot be told
fixed_lr          cannot be told

! {NEVER.reliability[0]}"""
    )


# ---- the file


@pytest.mark.parametrize("found", [FOUND, REPEATED, NEVER, noisy()], ids=["one", "two", "never", "noisy"])
def test_what_was_saved_is_read_back(found, tmp_path):
    path = found.save(tmp_path / "found.json")
    assert path == tmp_path / "found.json"
    read = RangeTest.load(path)
    assert read == found
    assert str(read) == str(found)
    assert read.suggestions == found.suggestions
    assert [file.name for file in tmp_path.iterdir()] == ["found.json"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(st.lists(st.floats(-1e300, 1e300), max_size=9), min_size=1, max_size=3),
    st.builds(
        Settings,
        min_lr=st.floats(1e-9, 1e-3),
        max_lr=st.floats(0.01, 100.0),
        steps=st.integers(9, 10**4),
        mode=st.sampled_from(["exponential", "linear"]),
        smoothing=st.floats(0.0, 1.0, exclude_max=True),
        early_stop_threshold=st.none() | st.floats(1.001, 1e9),
        momentum=st.none() | st.floats(0.0, 1.0, exclude_max=True),
        optimizer=st.none() | st.integers(0, 5),
        validation=st.booleans(),
    ),
)
def test_whatever_was_saved_is_read_back_to_the_last_bit(tmp_path, runs, chosen):
    found = RangeTest(chosen, [Run(losses, "stopped") for losses in runs])
    assert RangeTest.load(found.save(tmp_path / "found.json")) == found


def test_the_file_has_what_other_readers_need(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    text = REPEATED.save(str(tmp_path / "found.json")).read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert [*content] == [
        *("format", "lightning_lr", "settings", "runs", "lrs", "losses", "smoothed", "suggestions", "bands"),
        *("max_lr", "base_lr", "fixed_lr", "reliability"),
    ]
    assert content["format"] == 1
    assert content["lightning_lr"] == lightning_lr.__version__
    assert content["settings"] == {
        "min_lr": 1e-5,
        "max_lr": 1.0,
        "steps": 11,
        "mode": "exponential",
        "smoothing": 0.0,
        "early_stop_threshold": 4.0,
        "momentum": None,
        "optimizer": None,
        "validation": False,
    }
    assert content["runs"][1] == {"losses": [*EARLIER], "ended": "diverged"}
    assert content["lrs"] == [*REPEATED.lrs]
    assert content["suggestions"] == REPEATED.suggestions
    assert content["bands"] == {rule: [*band] for rule, band in REPEATED.bands.items()}
    assert content["base_lr"] == REPEATED.base_lr
    assert content["reliability"] == [*REPEATED.reliability]
    assert json.loads(NEVER.save(tmp_path / "never.json").read_text(encoding="utf-8"))["max_lr"] is None


def test_an_older_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = FOUND.save(tmp_path / "found.json")
    NEVER.save(path)
    assert RangeTest.load(path) == NEVER

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightning_lr.durable.os.replace", full)
    with pytest.raises(OSError, match="No space left on device") as refused:
        FOUND.save(path)
    assert str(path) in str(refused.value)
    assert RangeTest.load(path) == NEVER
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(STAGING)]


def test_where_nothing_can_be_saved(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError) as refused:
        FOUND.save(missing / "found.json")
    assert str(refused.value) == (
        f"path={str(missing / 'found.json')!r}: there is no folder {str(missing)!r}; make it first"
    )
    with pytest.raises(IsADirectoryError) as refused:
        FOUND.save(tmp_path)
    assert str(refused.value) == f"path={str(tmp_path)!r}: a folder; give the name of a file in it"


AGAIN = "restore it from a copy, or run the test again"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: [], f"not a range test, it names no format; {AGAIN}"),
        (lambda content: content | {"format": "1"}, f"not a range test, it names no format; {AGAIN}"),
        (lambda content: content | {"format": 0}, f"not a range test, it names no format; {AGAIN}"),
        (
            lambda content: content | {"format": 2},
            "format=2, and this version reads up to 1; install a newer lightning_lr",
        ),
        (lambda content: content | {"runs": None}, f"damaged (runs is missing or no list); {AGAIN}"),
        (lambda content: content | {"runs": [7]}, f"damaged (run is missing or no dict); {AGAIN}"),
        (lambda content: content | {"settings": []}, f"damaged (settings is missing or no dict); {AGAIN}"),
        (
            lambda content: content | {"runs": []},
            f"damaged (runs=(): nothing was measured; pass one run or more); {AGAIN}",
        ),
        (
            lambda content: content | {"runs": [{"losses": [1.0]}]},
            f"damaged (run has ['losses'] and not ['ended', 'losses']); {AGAIN}",
        ),
        (
            lambda content: content | {"runs": [{"losses": [None], "ended": "stopped"}]},
            f"damaged (losses[0]=None: not a number; pass a finite number); {AGAIN}",
        ),
        (
            lambda content: content | {"settings": content["settings"] | {"steps": 1}},
            f"damaged (steps=1: out of range; pass an int of at least 3); {AGAIN}",
        ),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_named(damage, message, tmp_path):
    path = FOUND.save(tmp_path / "found.json")
    path.write_text(json.dumps(damage(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(ValueError, match=r"found\.json") as refused:
        RangeTest.load(path)
    assert str(refused.value) == f"{path}: {message}"


@pytest.mark.parametrize("content", [b"", b"\x80\x81", b'{"format": 1, "lightning_lr"'])
def test_a_file_that_is_cut_is_named(content, tmp_path):
    path = tmp_path / "found.json"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"found\.json: not JSON \(.*\); restore it from a copy, or run the test again$"
    ):
        RangeTest.load(path)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as refused:
        RangeTest.load(tmp_path / "found.json")
    assert str(refused.value) == (
        f"path={str(tmp_path / 'found.json')!r}: no such file; pass the one that RangeTest.save wrote"
    )


def test_plot_draws_it(tmp_path):
    path = FOUND.plot(tmp_path / "found.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_repeats_that_tell_nothing_by_themselves_are_counted():
    falling, flat = (2.0, 2.0, 1.5, 1.0, 1.5, 2.0), (2.0,) * 6
    settings = Settings(1e-5, 1.0, steps=6, smoothing=0.0)
    together = RangeTest(settings, (Run(falling, "complete"), Run(flat, "complete"), Run(flat, "complete")))
    assert together.suggestions["minimum/10"] == pytest.approx(1e-3)
    assert together.reliability[-1] == (
        "2 of 3 repeats tell nothing by themselves, their fall is no more than noise; test with more steps or larger "
        "batches"
    )
    assert not any("by themselves" in note for note in RangeTest(settings, (Run(falling, "complete"),) * 3).reliability)
