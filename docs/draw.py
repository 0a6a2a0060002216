"""Draws the pictures of the README: `make docs`. Each is what a policy's own `plot` gives."""

from __future__ import annotations

from pathlib import Path

from lightning_lr import SGDR, OneCycle

PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    run = {"total_steps": 1000, "steps_per_epoch": 20}
    SGDR(max_lr=0.1, cycles=5).plot(PICTURES / "sgdr.png", **run)
    OneCycle(max_lr=0.1).plot(PICTURES / "one_cycle.png", **run)


if __name__ == "__main__":
    main()
