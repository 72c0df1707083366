"""The order of the house, read from its imports, lazy ones too: docs/house.md says what it is and why."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import nasbench_robust

ROOT = Path(__file__).parents[1]
PACKAGE = Path(nasbench_robust.__file__).parent
# From the ground up: a room imports from floors below its own, or from its own floor where that closes no circle.
FLOORS = (
    ("version", "errors", "registry", "arrays", "checks", "_door", "_moved"),
    ("metrics", "datasets", "files"),
    ("images", "attacks", "skeletons"),
    ("settings", "cells"),
    ("native", "networks", "table", "statistics"),
    ("ntk", "proxies", "engines", "releases"),
    ("runs", "predict"),
    ("scores", "search", "plots", "explorer"),
    ("cli",),
    ("__main__", "__init__"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES_AT_THE_TOP = 14
LONGEST, LONGEST_ELSEWHERE = 400, 500


def dotted(path: Path) -> tuple[str, ...]:
    """Return the name of a file of the package, from its room on."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def doors() -> dict[tuple[tuple[str, ...], str], tuple[str, ...]]:
    """Return by room and name the file in which a door finds it."""
    homes = {}
    for stub in PACKAGE.rglob("__init__.pyi"):
        room = stub.parent.relative_to(PACKAGE).parts
        for node in ast.parse(stub.read_text()).body:
            assert isinstance(node, ast.ImportFrom), f"{stub} holds more than a list of names"
            above = room[: len(room) - (node.level - 1)]
            for alias in node.names:
                homes[room, alias.name] = (*above, *(node.module or alias.name).split("."))
    return homes


DOORS = doors()


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield what a file imports of the package: the file itself, found through doors."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = parts[: len(parts) - node.level]
            for alias in node.names:
                module = (*above, *(node.module.split(".") if node.module else ()))
                itself = module if node.module else (*module, alias.name)
                yield DOORS.get((module, alias.name), itself)


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def find_circle(arrows: dict[object, set[object]]) -> list[object]:
    """Return the stations of a circle in a graph, or nothing."""
    done: set[object] = set()

    def walk(node: object, way: list[object]) -> list[object]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        for target in sorted(arrows.get(node, ()), key=str):
            if circle := walk(target, [*way, node]):
                return circle
        done.add(node)
        return []

    return next((circle for node in sorted(arrows, key=str) if (circle := walk(node, []))), [])


# ------------------------------------------------------------------ floors and circles


def test_every_room_has_a_floor() -> None:
    rooms = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(FLOOR)


@pytest.mark.parametrize("path", files(), ids=lambda path: "/".join(dotted(path)))
def test_imports_lead_down(path: Path) -> None:
    here = dotted(path)[0]
    for target in imports(path):
        assert FLOOR[target[0]] <= FLOOR[here], f"{here} imports from {'.'.join(target)}, which stands above it"


def test_there_is_no_circle() -> None:
    by_file: dict[object, set[object]] = {}
    by_room: dict[object, set[object]] = {}
    for path in files():
        here = dotted(path)
        for target in imports(path):
            by_file.setdefault(here, set()).add(target)
            if target[0] != here[0]:
                by_room.setdefault(here[0], set()).add(target[0])
    assert find_circle(by_file) == []
    assert find_circle(by_room) == []


def test_a_circle_would_be_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c", "d"}, "d": {"a"}}) == ["a", "b", "d", "a"]


def test_rooms_are_entered_by_their_doors() -> None:
    """A file behind a door may move, so nobody outside the room knows it."""
    subrooms = {stub.parent.relative_to(PACKAGE).parts for stub in PACKAGE.rglob("__init__.pyi")}
    for path in files():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                target = (*parts[: len(parts) - node.level], *node.module.split("."))
                outside = target[0] != parts[0]
                assert not outside or target in subrooms or len(target) == 1, f"{path} imports {'.'.join(target)}"


# ------------------------------------------------------------------ doors


def rooms() -> Iterator[str]:
    for stub in sorted(PACKAGE.rglob("__init__.pyi")):
        yield ".".join(("nasbench_robust", *stub.parent.relative_to(PACKAGE).parts))


@pytest.mark.parametrize("room", list(rooms()))
def test_a_door_opens_to_all_that_it_lists(room: str) -> None:
    package = import_module(room)
    listed = {name for key, name in DOORS if ".".join(("nasbench_robust", *key)) == room}
    assert set(dir(package)) == listed
    modules = {name for name in listed if isinstance(getattr(package, name), ModuleType)}
    assert set(package.__all__) == listed - modules
    for path in sorted(Path(package.__file__).parent.glob("*.py")):  # a file hides no name of the same spelling
        import_module(f"{room}.{path.stem}" if path.stem != "__init__" else room)
    assert {name for name in listed if isinstance(getattr(package, name), ModuleType)} == modules


def test_tab_shows_what_a_user_may_use_and_nothing_else() -> None:
    shown = set(dir(nasbench_robust))
    assert {"load", "Cell", "Benchmark", "statistics", "search", "ntk", "attacks", "proxies"} <= shown
    assert not any(name.startswith("_") for name in shown - {"__version__"})
    assert not shown & {"Any", "door", "install", "annotations", "import_module", "TYPE_CHECKING"}


def test_names_of_earlier_manuals_still_work() -> None:
    from nasbench_robust._moved import MOVED

    for old, new in MOVED.items():
        with pytest.warns(DeprecationWarning, match=re.escape(f"nasbench_robust.{old} is now nasbench_robust.{new}")):
            module = import_module(f"nasbench_robust.{old}")
        assert module is import_module(f"nasbench_robust.{new}")


# ------------------------------------------------------------------ sizes, and the page about them


def test_there_are_few_modules_at_the_top() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MODULES_AT_THE_TOP


@pytest.mark.parametrize("folder", ["src", "tests", "analysis", "benchmarks", "generation", "examples"])
def test_no_file_is_long_without_a_reason(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text()
        limit = LONGEST if folder == "src" else LONGEST_ELSEWHERE
        if text.count("\n") > limit:
            assert "long because" in (ast.get_docstring(ast.parse(text)) or ""), f"{path} has more than {limit} lines"


def test_the_page_of_the_house_names_every_room() -> None:
    page = (ROOT / "docs" / "house.md").read_text()
    for room in FLOOR:
        assert f"`{room}`" in page or f"`{room}/`" in page or f"`{room}.py`" in page, room
    order = re.search(r"```text\n(.*?)```", page, flags=re.DOTALL)[1]
    floors = [set(line.replace(",", " ").split()) for line in order.strip().splitlines()]
    assert floors == [set(rooms) for rooms in reversed(FLOORS)]
