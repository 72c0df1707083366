"""Adversarially trained NAS-Bench-201 cells, measured, and one call away.

>>> import nasbench_robust as nbr
>>> bench = nbr.load()  # the digits table, which is part of the package
>>> bench.query(9930, metric="pgd_acc")  # doctest: +SKIP

Importing this package imports nothing but the standard library: names are resolved when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .cells import Cell as Cell
    from .releases import load as load
    from .table import Benchmark as Benchmark
    from .table import NATSAdapter as NATSAdapter
    from .table import Result as Result
    from .table import validate as validate

_HOME_OF = {
    "Benchmark": "benchmark",
    "Cell": "cells",
    "NATSAdapter": "nats",
    "Result": "benchmark",
    "load": "releases",
    "validate": "validation",
}
__all__ = ["Benchmark", "Cell", "NATSAdapter", "Result", "__version__", "load", "validate"]
_MODULES = ("cells", "errors", "metrics", "settings", "skeletons")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _HOME_OF:
        value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
