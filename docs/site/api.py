"""The pages of the API reference: one per room, with every name that its door lists, and one per public module."""

from __future__ import annotations

import ast
import inspect
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import nasbench_robust

PACKAGE = Path(nasbench_robust.__file__).parent
ROOT = "nasbench_robust"


def doors() -> dict[str, list[tuple[str, str | None]]]:
    """Return by room its public names, and the module that each is found in; None for what is a module itself."""
    found = {}
    for stub in sorted(PACKAGE.rglob("__init__.pyi")):
        room = ".".join([ROOT, *stub.parent.relative_to(PACKAGE).parts])
        names = []
        for node in ast.parse(stub.read_text()).body:
            assert isinstance(node, ast.ImportFrom)
            base = room.rsplit(".", node.level - 1)[0]
            names += [(alias.name, f"{base}.{node.module}" if node.module else None) for alias in node.names]
        found[room] = names
    return found


DOORS = doors()


def modules() -> list[str]:
    """Return the public modules that are no rooms, so that all in them is public."""
    named = [f"{room}.{name}" for room, names in DOORS.items() for name, module in names if module is None]
    return sorted(name for name in named if name not in DOORS)


def defined_in(module: str) -> list[str]:
    """Return what a module defines and does not hide."""
    names = []
    for node in ast.parse(source_of(module).read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        names += assigned(node)
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def assigned(node: ast.stmt) -> list[str]:
    """Return the names to which a statement gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def source_of(module: str) -> Path:
    """Return the file of a module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def contents(page: str) -> list[str]:
    """Return the public names of a room or module, those that are modules apart."""
    if page not in DOORS:
        return defined_in(page)
    return [name for name, module in DOORS[page] if module is not None]


def public_names() -> Iterator[str]:
    """Yield every public name in full, also where two doors have the same."""
    for page in [*DOORS, *modules()]:
        yield from (f"{page}.{name}" for name in contents(page))


def origin(name: str) -> str:
    """Return where a public name is defined, behind all doors."""
    page, _, short = name.rpartition(".")
    module = dict(DOORS.get(page, [])).get(short)
    return origin(f"{module}.{short}") if module else name


def homes() -> dict[str, str]:
    """Return by public name the one under which it is described: that of the innermost room which has it."""
    found: dict[str, str] = {}
    for name in sorted(public_names(), key=len):
        found[origin(name)] = name
    return {name: found[origin(name)] for name in public_names()}


HOMES = homes()


def short_names() -> dict[str, str]:
    """Return the full name by the short one, of those that mean one thing."""
    full: dict[str, set[str]] = {}
    for name in HOMES.values():
        full.setdefault(name.rpartition(".")[2], set()).add(name)
    return {short: names.pop() for short, names in full.items() if len(names) == 1}


def comment_of(name: str) -> list[str]:
    """Return the lines of comment above a constant, or the one behind it, where it is defined."""
    module, _, short = origin(name).rpartition(".")
    lines = source_of(module).read_text().splitlines()
    tree = ast.parse("\n".join(lines)).body
    at = next(node for node in tree if short in assigned(node))
    above: list[str] = []
    for line in reversed(lines[: at.lineno - 1]):
        if not line.startswith("#"):
            break
        above.insert(0, line.removeprefix("#").strip())
    return above or [lines[(at.end_lineno or 1) - 1][at.end_col_offset :].partition("#")[2].strip()]


def entry(page: str, name: str) -> str:
    """Return the directive of one name."""
    full = f"{page}.{name}"
    value = getattr(import_module(page), name)
    kind = "class" if isinstance(value, type) else "function" if inspect.isroutine(value) else "data"
    if HOMES[full] != full:
        return f".. py:{kind}:: {name}\n\n   The same as :py:obj:`{HOMES[full]}`.\n"
    if kind == "data":
        return f".. py:data:: {name}\n\n" + "".join(f"   {line}\n" for line in comment_of(full))
    members = "   :members:\n   :inherited-members: Exception, Module, dict, tuple\n"
    return f".. auto{kind}:: {full}\n" + (members if kind == "class" else "")


def text_of(page: str) -> str:
    """Return a page of the reference."""
    title = f"{page}\n{'=' * len(page)}"
    entries = [entry(page, name) for name in contents(page)]
    return "\n".join([title, "", f".. automodule:: {page}\n   :no-index:", "", f".. module:: {page}", "", *entries])


def write_pages(folder: Path) -> None:
    """Write the reference anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = [*DOORS, *modules()]
    for page in names:
        (folder / f"{page}.rst").write_text(text_of(page))
    listed = "\n".join(f"   {page}" for page in names)
    title = "API reference\n============="
    said = "Every public name, by the door through which it is imported."
    (folder / "index.rst").write_text(f"{title}\n\n{said}\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n")
