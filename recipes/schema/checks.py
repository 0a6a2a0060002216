"""What a composed configuration is asked before anything is loaded."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import get_type_hints

from omegaconf import DictConfig, OmegaConf

from .schedules import AUTO, Rate


def rates(schedule: DictConfig) -> list[str]:
    """Return the arguments of a schedule that are learning rates which a range test can tell."""
    return [name for name, kind in get_type_hints(OmegaConf.get_type(schedule)).items() if kind == Rate]


def check(config: DictConfig) -> None:
    """Refuse what Hydra itself lets pass: keys that no schema has, which ``+key=value`` adds, and words for a rate.

    Raises:
        ValueError: If there is one.
    """
    for prefix, node in [("", config), *((f"{key!s}.", node) for key, node in config.items())]:
        if not isinstance(node, DictConfig):
            continue
        schema = OmegaConf.get_type(node)
        if not is_dataclass(schema):
            continue
        types, known = get_type_hints(schema), [each.name for each in fields(schema)]
        for key in map(str, node):
            if key not in known and getattr(schema, "TAKES_MORE", False):
                # Another's arguments: it refuses what it does not know when it is called.
                continue
            if key not in known:
                options = ", ".join(name for name in known if not name.startswith("_"))
                raise ValueError(f"{prefix}{key}: there is no such option; choose from {options}")
            if types[key] == Rate and isinstance(node[key], str) and node[key] != AUTO:
                raise ValueError(
                    f"{prefix}{key}={node[key]!r}: neither a number nor {AUTO}; "
                    f"pass a number above 0, or {AUTO} for a range test before the fit"
                )


def require_complete(section: DictConfig, group: str, **examples: str) -> None:
    """Refuse a section with a value that has to be given and was not.

    Args:
        section: Of a group.
        group: Its name.
        examples: What to pass, by key.

    Raises:
        ValueError: If there is one.

    Example:
        >>> require_complete(OmegaConf.create({"name": "???"}), "model", name="resnet18")
        Traceback (most recent call last):
        ValueError: model.name: missing; pass model.name=resnet18
    """
    for key in map(str, section):
        if OmegaConf.is_missing(section, key):
            raise ValueError(f"{group}.{key}: missing; pass {group}.{key}={examples.get(key, '...')}")
