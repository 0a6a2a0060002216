"""When an optimizer has applied an update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


def after_each_update(optimizer: Optimizer, call: Callable[[], None]) -> Callable[[], None]:
    """Have something called after each update that is applied: not after one that mixed precision skips.

    Args:
        optimizer: Whose updates.
        call: What is called.

    Returns:
        What ends it.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1)
        >>> end = after_each_update(optimizer, lambda: print("one more"))
        >>> optimizer.step()
        one more
        >>> end()
        >>> optimizer.step()
    """
    # Of a class whose `step` calls its base's torch runs the hooks for both, if it has seen both classes.
    several = sum("step" in vars(kind) for kind in type(optimizer).__mro__ if kind is not Optimizer) > 1
    depth = 0

    # Outside of a compiled `optimizer.step`: a Python counter inside makes it compile again at every update.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def begun(*_: object) -> None:
        nonlocal depth
        depth += 1

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def done(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        nonlocal depth
        if several:
            depth -= 1
            if depth:
                return
        # Under a gradient scaler a fused optimizer is called even when its kernel skips the update. The scaler's flag
        # is the one value that is ever read from the device.
        found_inf = optimizer.__dict__.get("found_inf")
        if found_inf is not None and float(found_inf):
            return
        call()

    handles = [optimizer.register_step_post_hook(done)]
    if several:
        handles.append(optimizer.register_step_pre_hook(begun))

    def end() -> None:
        for handle in handles:
            handle.remove()

    return end
