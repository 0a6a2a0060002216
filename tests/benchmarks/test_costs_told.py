"""What the benchmarks of costs say of their rows, missed aims included; nothing is timed here."""

from __future__ import annotations

import pytest

from benchmarks import (
    callback_cost,
    ensemble_inference,
    ensemble_memory,
    loading,
    range_test_cost,
    snapshot_writes,
    superconvergence,
    training_step,
)
from benchmarks.costs import Said


def ratio(name, median, low, high):
    return {name: median, f"{name}_quartiles": [low, high]}


def test_a_schedule_beside_torchs():
    times = {**ratio("ours_us", 2.25, 2.2, 2.3), **ratio("torch_us", 2.5, 2.4, 2.6)}
    said = callback_cost.tell(
        [
            {"groups": 1, "n": 15, **times, **ratio("ratio", 0.9, 0.88, 0.93)},
            {"groups": 100, "n": 15, **times, **ratio("ratio", 1.2, 1.1, 1.3)},
        ]
    )
    assert said == Said(
        "Shown for 1 param group; missed for 100 param groups.",
        [
            "1 param group: an update of ours takes 2.2 µs, of OneCycleLR 2.5 µs: 0.90 (quartiles 0.88 to 0.93) times "
            "as long, as was to be shown.",
            "100 param groups: an update of ours takes 2.2 µs, of OneCycleLR 2.5 µs: 1.20 (quartiles 1.10 to 1.30) "
            "times as long, which misses the aim.",
        ],
        ["of the optimizer", "ours, µs", "OneCycleLR, µs", "ratio", "pairs"],
        [
            ["1 param group", "2.2 (2.2 to 2.3)", "2.5 (2.4 to 2.6)", "0.90 (0.88 to 0.93)", "15"],
            ["100 param groups", "2.2 (2.2 to 2.3)", "2.5 (2.4 to 2.6)", "1.20 (1.10 to 1.30)", "15"],
        ],
    )


def test_a_range_test_beside_lightnings():
    said = range_test_cost.tell(
        [
            {
                "setting": "digits/mlp",
                "n": 15,
                "ours_s": 0.5,
                "lightning_s": 0.4,
                **ratio("ratio", 1.25, 1.2, 1.3),
                **ratio("ratio_of_processor_seconds", 1.0, 0.9, 1.1),
            }
        ]
    )
    assert said.verdict == "Missed for digits/mlp."
    assert said.found == [
        "digits/mlp: 100 steps and the restore take ours 0.50 s, Lightning's finder 0.40 s: 1.25 (quartiles 1.20 to "
        "1.30) times as long, which misses the aim; of the processor's seconds 1.00 (quartiles 0.90 to 1.10) times as "
        "many."
    ]
    assert said.table == [["digits/mlp", "0.500", "0.400", "1.25 (1.20 to 1.30)", "1.00 (0.90 to 1.10)", "15"]]


def step(network, *wall):
    clock = {"recipe_ms": 13.0, "by_hand_ms": 10.0, "over_us": 3000, **ratio("ratio", *wall)}
    return {"network": network, "batch": 64, "n": 20, "wall": clock, "process": clock}


def test_a_step_of_the_recipe_was_to_be_cheap_at_resnets_size_alone():
    said = training_step.tell([step("resnet18", 1.06, 1.04, 1.08), step("small_cnn", 1.3, 1.2, 1.4)])
    assert said.verdict == "Open for resnet18."
    assert said.found == [
        "resnet18, batch 64: a step of the recipe takes 1.06 (quartiles 1.04 to 1.08) times as long as one by hand by "
        "the clock, with the aim between the quartiles, and 1.06 (quartiles 1.04 to 1.08) times by the process's; that "
        "is +3.0 ms of 10.0 ms.",
        "small_cnn, batch 64: a step of the recipe takes 1.30 (quartiles 1.20 to 1.40) times as long as one by hand by "
        "the clock, of which nothing was to be shown, and 1.30 (quartiles 1.20 to 1.40) times by the process's; that "
        "is +3.0 ms of 10.0 ms.",
    ]
    assert said.table[0] == ["resnet18", "64", "the wall's", "13.0", "10.0", "1.06 (1.04 to 1.08)", "20"]
    assert training_step.tell([step("resnet18", 1.2, 1.1, 1.3)]).verdict == "Missed for resnet18."


def loader(way, rate, faster, computed):
    rates = ratio("samples_a_second", rate, rate - 10, rate + 10)
    return {"way": way, "n": 5, **rates, **ratio("in_memory_is_faster_by", *faster), "cpu_us_a_sample": computed}


def test_a_loader_that_is_slower_in_memory_is_said_to_be():
    said = loading.tell(
        [
            loader("in_memory", 12000, (1.0, 1.0, 1.0), 15.9),
            loader("torchvision_0_workers", 400, (30.0, 29.0, 31.0), 525.3),
            loader("torchvision_2_workers", 15000, (0.8, 0.7, 0.9), None),
        ]
    )
    assert said.verdict == "Shown for torchvision with no workers; missed for torchvision with 2 workers."
    assert said.found == [
        "The in-memory loader hands out 12,000 samples a second, torchvision with no workers 400: 30.0 (quartiles 29.0 "
        "to 31.0) times as many, as was to be shown.",
        "The in-memory loader hands out 12,000 samples a second, torchvision with 2 workers 15,000: 0.8 (quartiles 0.7 "
        "to 0.9) times as many, which misses the aim.",
    ]
    assert said.table == [
        ["in memory", "12,000 (11,990 to 12,010)", "1", "15.9", "5"],
        ["torchvision with no workers", "400 (390 to 410)", "30.0 (29.0 to 31.0)", "525.3", "5"],
        ["torchvision with 2 workers", "15,000 (14,990 to 15,010)", "0.8 (0.7 to 0.9)", "", "5"],
    ]


def case(batch, loop, vmap, **others):
    of = {"plain": (1.0, 1.0, 1.0), "loop": loop, "vmap": vmap, **others}
    ways = {name: {"ms": 2.5, **ratio("of_plain", *share)} for name, share in of.items()}
    return {"network": "tiny MLP", "members": 5, "batch": batch, **ways}


CASES = [
    case(1, (1.3, 1.2, 1.4), (0.6, 0.5, 0.7)),
    case(32, (1.0, 0.9, 1.1), (2.0, 1.9, 2.1)),
    case(256, (0.9, 0.8, 1.0), (3.1, 3.0, 3.2)),
]


def test_an_ensemble_beside_a_plain_loop():
    said = ensemble_inference.tell(CASES)
    assert said.verdict == "Shown in 1 of 3 cases, missed in 1, open in 1, with the aim between the quartiles."
    assert said.found == [
        "The loop over the members takes longer than a plain one with tiny MLP, 5 members, batch 1, 1.30 (quartiles "
        "1.20 to 1.40) times.",
        "vmap is faster than the plain loop in 1 of 3 cases (tiny MLP, 5 members, batch 1, 0.60 times); at the worst "
        "it takes 3.1 times as long.",
        'torch-uncertainty was not installed, so it is not compared; `pip install -e ".[peers]"` brings it.',
    ]
    assert said.table[0] == ["tiny MLP", "5", "1", "2.50", "1.30 (1.20 to 1.40)", "0.60 (0.50 to 0.70)", ""]


def test_an_ensemble_beside_another_packages():
    said = ensemble_inference.tell([case(32, (0.9, 0.8, 1.0), (2.0, 1.9, 2.1), torch_uncertainty=(0.95, 0.94, 0.96))])
    assert said.verdict == "Shown in 1 of 1 cases, missed in 0."
    assert said.found == [
        "vmap is faster than the plain loop in 0 of 1 cases; at the worst it takes 2.0 times as long.",
        "torch-uncertainty's wrapper takes 0.95 to 0.95 of the plain loop's time.",
    ]
    assert said.table[0][-1] == "0.95 (0.94 to 0.96)"


def memory(members, loop, plain):
    sds = {f"{way}_mb_sd": 1.2 for way in ("loop", "vmap", "plain")}
    mb = {"loop_mb": loop, "vmap_mb": 2 * plain, "plain_mb": plain}
    return {"members": members, "stored_as": "float32", "n": 3, **mb, **sds}


def test_memory_that_grows_with_the_members_is_said_to():
    said = ensemble_memory.tell([memory(1, 900, 900), memory(5, 1000, 1100), memory(20, 1030, 1700)])
    assert said.verdict == "Missed for snapshots of float32."
    assert said.found == [
        "float32: from 5 to 20 members each one more takes 2.0 MB with ours, loop, 5% of the 40.0 MB with a list of "
        "modules, which misses the aim; with vmap 80.0 MB."
    ]
    assert said.table[2] == ["float32", "20", "1030 ± 1", "3400 ± 1", "1700 ± 1", "3"]
    still = ensemble_memory.tell([memory(5, 1000, 1100), memory(20, 1000, 1700)])
    assert still.verdict == "Shown for snapshots of float32."


def written(size_ratio, *time_ratio):
    of = {"snapshot": 80.0, "checkpoint": 200.0, "torch_save": 50.0}
    sizes = {"snapshot": 40.0, "checkpoint": 80.0, "torch_save": 40.0}
    return {
        "optimizer": "AdamW",
        "dtype": None,
        "n": 31,
        "ms": of,
        "size_mib": sizes,
        "extra_memory_mib": sizes,
        "size_ratio": size_ratio,
        **ratio("time_ratio", *time_ratio),
    }


def test_a_snapshot_beside_a_checkpoint():
    said = snapshot_writes.tell([written(0.5, 0.4, 0.39, 0.41)])
    assert said.verdict == "Shown for AdamW in float32."
    assert said.found == [
        "AdamW in float32: a snapshot takes 0.50 of a checkpoint's disk, as was to be shown, and 0.40 (quartiles 0.39 "
        "to 0.41) of its time, as was to be shown; it takes 1.6 times as long as a bare torch.save, which a kill may "
        "cut short."
    ]
    assert said.table == [
        ["AdamW in float32", "80", "200", "50", "0.40 (0.39 to 0.41)", "40.0", "80.0", "0.50", "40.0", "80.0", "31"]
    ]
    assert len(said.columns) == len(said.table[0])


@pytest.mark.parametrize(
    ("size_ratio", "time_ratio", "said"),
    [
        (0.6, (0.4, 0.3, 0.45), "Missed for AdamW in float32."),
        (0.5, (0.6, 0.55, 0.65), "Missed for AdamW in float32."),
        (0.5, (0.5, 0.45, 0.55), "Open for AdamW in float32."),
    ],
)
def test_half_of_the_disk_alone_is_not_what_was_claimed(size_ratio, time_ratio, said):
    assert snapshot_writes.tell([written(size_ratio, *time_ratio)]).verdict == said


def test_without_a_device_nothing_was_measured():
    said = superconvergence.tell([])
    assert said.verdict == "Not measured: there was no CUDA device."
    assert "`python benchmarks/superconvergence.py --data data --airbench ../cifar10-airbench`" in said.found[0]
    assert said.table == []


@pytest.mark.parametrize(
    ("accuracy", "seconds", "said"),
    [
        (94.1, 6.0, "1.50 times its time: shown."),
        (94.1, 8.0, "2.00 times its time: missed."),
        (93.5, 4.0, "1.00 times its time: nothing is shown, for not both are at 94 %: ours, 93.50 %."),
    ],
)
def test_a_ratio_counts_where_both_are_at_the_target(accuracy, seconds, said):
    told = superconvergence.tell(
        [
            {
                "who": "ours",
                "accuracy": {"mean": accuracy, "sd": 0.1},
                "seconds": {"mean": seconds, "sd": 0.2, "n": 10},
            },
            {"who": "airbench94", "accuracy": {"mean": 94.0, "sd": 0.1}, "seconds": {"mean": 4.0, "sd": 0.1, "n": 10}},
        ]
    )
    assert told.verdict == said
    assert told.table[1] == ["airbench94", "94.00 ± 0.10", "4.00 ± 0.10", "10"]
