"""Names of modules that manuals of earlier versions give: they still work, and warn."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

PACKAGE = "nasbench_robust"
MOVED = {
    "fast": "networks.fast",
    "noise": "statistics",
    "score_settings": "scores",
    "score_tables": "scores",
    "scoring": "scores",
    "search.arnas_networks": "search.arnas",
    "search.arnas_space": "search.arnas",
    "search.bilevel": "search.supernet",
    "search.intervals": "search.bounds",
    "search.jacobians": "search.bounds",
    "search.objectives": "search.supernet",
    "search.search_settings": "search.supernet",
    "training": "engines.torch",
}


class MovedModules:
    """Finds a module under the name that it had; derived from nothing, as ``importlib.abc`` imports half a library."""

    def find_spec(self, fullname: str, *_others: object) -> ModuleSpec | None:
        """Return a spec for a name in `MOVED`, None for any other one."""
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, cast("Any", self)) if package == PACKAGE and name in MOVED else None

    def create_module(self, _: ModuleSpec) -> None:
        """Let Python make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new name in the place of an empty one."""
        name = module.__name__.partition(".")[2]
        warnings.warn(f"{PACKAGE}.{name} is now {PACKAGE}.{MOVED[name]}", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(f"{PACKAGE}.{MOVED[name]}")


def install() -> None:
    """Let imports find the old names; they are asked for last."""
    sys.meta_path.append(MovedModules())
