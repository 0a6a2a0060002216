"""Progressive resizing: which size images have in which epoch."""

from __future__ import annotations

from collections.abc import Mapping


class Sizes:
    """Sizes of images by the epoch that each begins with.

    Args:
        plan: From where on (an epoch, or a share of all epochs such as "60%") to pixels; one begins at 0.

    Raises:
        ValueError: If something in it is out of range, or nothing begins at 0.

    Example:
        >>> sizes = Sizes({0: 128, "50%": 224})
        >>> sizes.at(epoch=8, epochs=18), sizes.at(epoch=9, epochs=18)
        (128, 224)
    """

    def __init__(self, plan: Mapping[int | str, int]) -> None:
        self._plan = {}
        for begin, size in plan.items():
            if type(size) is not int or size < 1:
                raise ValueError(f"sizes={dict(plan)!r}: {size!r} is no size of an image; pass pixels, at least 1")
            self._plan[_begin(begin, plan)] = size
        if not any(begin == 0 for begin, _ in self._plan):
            raise ValueError(f"sizes={dict(plan)!r}: says nothing of the first epoch; add one that begins at 0")

    def at(self, epoch: int, epochs: int | None) -> int:
        """Return the size in an epoch.

        Args:
            epoch: Counted from 0.
            epochs: How many there are; needed where shares are given.

        Raises:
            ValueError: If shares are given, and nobody knows of what.
        """
        if (epochs is None or epochs < 1) and any(share for begin, share in self._plan if begin):
            raise ValueError("sizes: a share of epochs that nobody knows; pass trainer.max_epochs, or epochs")
        begins = {
            (int(begin / 100 * (epochs or 0) + 0.5) if share else int(begin)): size
            for (begin, share), size in self._plan.items()
        }
        return begins[max(begin for begin in begins if begin <= epoch)]


def _begin(begin: int | str, plan: Mapping[int | str, int]) -> tuple[float, bool]:
    """A number, and whether it is per cent."""
    share = isinstance(begin, str) and begin.endswith("%")
    try:
        number = float(begin.removesuffix("%")) if isinstance(begin, str) else begin
    except ValueError:
        number = -1
    if isinstance(begin, bool) or number < 0 or (share and number >= 100) or (not share and number != int(number)):
        raise ValueError(f"sizes={dict(plan)!r}: {begin!r} is no epoch; pass whole epochs, or shares such as '60%'")
    return number, share
