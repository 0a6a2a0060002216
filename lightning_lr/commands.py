"""What `lr-train`, `lr-find`, `lr-ensemble` and `lr-compare` start: the recipes, wherever this package finds them.

A wheel has them in it, as `lightning_lr.recipes`; a clone has them beside it, as `recipes`. Nothing of them is imported
before a command is called, and this module is the only one of the package that knows of them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent

# What the extra brings, by the names that are imported. Looked for before a command starts: the other way to learn of
# it is a run that trains for an hour, and then misses what draws its pictures.
EXTRA = ("hydra", "matplotlib", "rich", "scipy", "sklearn", "torchvision")


def train() -> object:
    """Train, snapshot, and report what the ensemble is worth."""
    return _run("train")


def find_lr() -> object:
    """Find the learning rate to train with."""
    return _run("find_lr")


def ensemble() -> object:
    """Tell what the snapshots of a run are worth together."""
    return _run("ensemble")


def compare() -> object:
    """Compare runs."""
    return _run("compare")


def _run(recipe: str) -> object:
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        return f'{", ".join(missing)}: not installed; the commands need an extra: pip install "lightning_lr[recipes]"'
    try:
        package = _package()
    except ModuleNotFoundError as error:
        return str(error)
    return import_module(f"{package}.{recipe}").main()


def _package() -> str:
    if (HERE / "recipes").is_dir():
        return "lightning_lr.recipes"
    # Beside this package, and no other project's of the same name.
    spec = find_spec("recipes")
    if spec is None or spec.origin is None or Path(spec.origin).resolve().parent != HERE.parent / "recipes":
        raise ModuleNotFoundError(
            f"recipes: not found beside {HERE}; install the wheel, or the clone with pip install -e"
        )
    return "recipes"
