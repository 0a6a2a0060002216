"""Where this recipe's own classes are: in `recipes` of a clone, in `lightning_lr.recipes` of an installed wheel."""

from __future__ import annotations

ROOT = __name__.rpartition(".schema.")[0]
"""The package of the recipes, by its full name."""


def ours(name: str) -> str:
    """Return the full name of something in the recipes.

    Example:
        >>> ours("data.digits.Digits")
        'recipes.data.digits.Digits'
    """
    return f"{ROOT}.{name}"
