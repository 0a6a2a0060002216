"""Learning rate and momentum per optimizer step, snapshots at each restart, and their ensemble."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lightning_lr.public import *  # noqa: F403  # one by one they stand there
else:
    # Not imported before one is asked for: torch and lightning take seconds, and the installed commands, which are in
    # this package, answer `--help`, `--cfg job` and completion without them.
    def __getattr__(name):
        """Return a public name; the first time, all of them are imported."""
        if name != "__all__" and name.startswith("__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module
        from importlib.util import find_spec

        # A module of ours that another one asks for: to import all for it would come back to the one that asks.
        if find_spec(f"{__name__}.{name}") is not None:
            return import_module(f"{__name__}.{name}")
        public = import_module("lightning_lr.public")
        names = {each: value for each, value in vars(public).items() if not each.startswith("_")}
        globals().update(names, __all__=sorted(names))
        try:
            return globals()[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def __dir__():
        """Return what there is to ask for."""
        return sorted({*globals(), *__getattr__("__all__")})
