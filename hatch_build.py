"""What the wheel has beyond the package: the recipes and their configuration, inside it."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Inside(BuildHookInterface[Any]):
    """Puts `recipes` and `conf` under `lightning_lr`: two names at the top level would be in everybody's way."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them, but not to an editable install: it would be given copies that no edit reaches."""
        if version != "editable":
            build_data["force_include"] |= {"recipes": "lightning_lr/recipes", "conf": "lightning_lr/conf"}
