"""What makes these files readable from an application of somebody else's: `hydra.searchpath=[pkg://lightning_lr.conf]`.

Each file extends a schema by its name. Hydra imports a package when it looks into it for the first time, and this then
makes the schemas known. The package is `lightning_lr.conf` in a wheel and `conf` in a clone, with `recipes` beside it.
"""

from __future__ import annotations

from importlib import import_module

import_module(f"{__name__.removesuffix('conf')}recipes.schema").register()
