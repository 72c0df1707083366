"""The doors of the rooms: what a package offers is listed once, in its ``__init__.pyi``, and imported when it is used.

The list is a stub, so editors and type checkers read the same lines. Importing a room costs nothing, and what needs
torch, say, asks for it when it is asked for.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def door(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package; the last one without its modules.

    Parameters
    ----------
    package, file : str
        ``__name__`` and ``__file__`` of its ``__init__``, beside which the stub lies.
    """
    homes = _homes(file)

    def __getattr__(name: str) -> Any:  # noqa: N807 (PEP 562)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        value = import_module(f"{package}.{home or name}")
        if home:
            value = getattr(value, name)
        setattr(sys.modules[package], name, value)
        return value

    names = sorted(homes)
    return __getattr__, lambda: names, [name for name in names if homes[name]]


def _homes(file: str) -> dict[str, str]:
    """Return the module of every name that the stub lists; "" for a name that is a module itself."""
    with open(f"{file}i", encoding="utf-8") as stub:
        tree = ast.parse(stub.read())
    return {
        alias.name: node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def resolve(target: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return what ``"module:name"`` names; a callable is returned as it is."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    value: Callable[..., Any] = getattr(import_module(module), name)
    return value
