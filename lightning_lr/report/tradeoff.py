"""What good predictions take: forward passes for each of them, and training before the first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Restart:
    """What one cyclic run is worth where a snapshot is taken: by it alone, and with all before it.

    Args:
        step: Optimizer updates by then; None where that is not known.
        alone: Scores of this member.
        together: Scores of all members up to this one, equally weighted.
    """

    step: int | None
    alone: dict[str, float]
    together: dict[str, float]


@dataclass(frozen=True)
class Cost:
    """What a prediction costs.

    Args:
        passes: Forward passes a sample; one model takes 1.
        seconds: Time of them a sample.
        seconds_of_one: Time of one of them a sample, as measured when the report was collected: mean of the members,
            median of the batches, with the transfer of outputs to the CPU and without the loading of inputs.
        batch_size: Samples in the largest of those batches.
        device: Where they ran.
    """

    passes: int
    seconds: float
    seconds_of_one: float
    batch_size: int
    device: str
