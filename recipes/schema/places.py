"""Where this recipe's own classes and commands are: in `recipes` of a clone, in `lightning_lr.recipes` of a wheel."""

from __future__ import annotations

CLONE = "recipes"
WHEEL = "lightning_lr.recipes"
ROOT = __name__.rpartition(".schema.")[0]
"""The package of the recipes, by its full name."""

_INSTALLED = {"train": "lr-train", "find_lr": "lr-find", "ensemble": "lr-ensemble", "compare": "lr-compare"}


def ours(name: str) -> str:
    """Return the full name of something in the recipes.

    Example:
        >>> ours("data.digits.Digits")
        'recipes.data.digits.Digits'
    """
    return f"{ROOT}.{name}"


def here(target: str) -> str:
    """Return what a run's configuration names by the name that it has here: a wheel's run is told by a clone too.

    Args:
        target: A full name, of something in the recipes or not.

    Example:
        >>> here("lightning_lr.recipes.data.digits.Digits")
        'recipes.data.digits.Digits'
        >>> here("torch.optim.SGD")
        'torch.optim.SGD'
    """
    for root in (WHEEL, CLONE):
        if target.startswith(f"{root}."):
            return ours(target[len(root) + 1 :])
    return target


def command(recipe: str) -> list[str]:
    """Return how one of the recipes is started from a shell.

    Args:
        recipe: The name of its module.

    Example:
        >>> command("train")
        ['python', '-m', 'recipes.train']
    """
    return ["python", "-m", ours(recipe)] if ROOT == CLONE else [_INSTALLED[recipe]]
