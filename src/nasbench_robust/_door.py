"""The doors of the rooms: what a package offers is listed once, in its ``__init__.pyi``, and imported when it is used.

The list is a stub, so editors and type checkers read the same lines. Importing a room costs nothing, and what needs
torch, say, asks for it when it is asked for. Files on the way of a first query have NumPy from here, as importing it
takes longer than the whole query.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

# The extra that installs an optional package, by the name under which it is imported.
EXTRAS = {"torch": "train", "PIL": "train", "tqdm": "train", "h5py": "ntk"}
EXTRAS |= {"scipy": "analysis", "sklearn": "analysis", "matplotlib": "plots"}


def door(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package; the last one without its modules.

    Parameters
    ----------
    package, file : str
        ``__name__`` and ``__file__`` of its ``__init__``, beside which the stub lies.

    Raises
    ------
    MissingPackageError
        By ``__getattr__``, where a name needs an optional package that is not installed.
    """
    homes = _homes(file)

    def __getattr__(name: str) -> Any:  # noqa: N807 (PEP 562)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = homes[name]
        value: Any = _import(module, package)
        if attribute:
            value = getattr(value, attribute)
        setattr(sys.modules[package], name, value)
        return value

    names = sorted(homes)
    return __getattr__, lambda: names, [name for name in names if homes[name][1]]


def _homes(file: str) -> dict[str, tuple[str, str]]:
    """Return by name its module, relative to the package, and what it is called there; "" for a module itself."""
    homes = {}
    with open(f"{file}i", encoding="utf-8") as stub:
        for line in stub:  # "from .room import name as name": parsing them as Python takes longer than all that follows
            _, module, _, name, _, _ = line.split()
            homes[name] = (module, name) if module.strip(".") else (module + name, "")
    return homes


def _import(module: str, package: str) -> Any:
    """Import a module; where it needs an optional package, say which extra installs it."""
    try:
        return import_module(module, package)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        from .errors import MissingPackageError

        raise MissingPackageError(
            {"PIL": "pillow", "sklearn": "scikit-learn"}.get(missing, missing), EXTRAS[missing]
        ) from None


def waiting(name: str) -> Any:
    """Return a module that is imported when something of it is first asked for."""

    class Waiting:
        def __getattr__(self, attribute: str) -> Any:
            module = import_module(name)
            self.__dict__ = vars(module)  # from now on it is as fast as the module, and follows its changes
            return getattr(module, attribute)

    return Waiting()


np = waiting("numpy")


def resolve(target: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return what ``"module:name"`` names, the module relative to this package; a callable is returned as it is."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    value: Callable[..., Any] = getattr(_import(f".{module}", __package__), name)
    return value
