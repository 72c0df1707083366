"""What the site is made of: the reference has every public name, notebooks are kept without outputs and lead somewhere.

``make docs`` builds it, runs the notebooks, and fails at every warning.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import nasbench_robust

tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")

ROOT = Path(__file__).parents[1]
PACKAGE = Path(nasbench_robust.__file__).parent
STUBS = sorted(PACKAGE.rglob("__init__.pyi"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture(scope="module")
def api() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_api", ROOT / "docs" / "site" / "api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference(api: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages of the reference by the name of their room or module."""
    folder = tmp_path_factory.mktemp("reference") / "api"
    api.write_pages(folder)
    return {path.stem: path.read_text() for path in folder.glob("*.rst")}


def described(page: str) -> set[str]:
    """Return the short names that a page has an entry for."""
    return {name.rpartition(".")[2] for name in re.findall(r"^\.\. (?:auto|py:)\w+:: (\S+)$", page, flags=re.MULTILINE)}


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_the_reference_has_what_a_door_lists(stub: Path, reference: dict[str, str]) -> None:
    room = ".".join(["nasbench_robust", *stub.parent.relative_to(PACKAGE).parts])
    for line in stub.read_text().splitlines():
        module, name = re.fullmatch(r"from (\S+) import (\S+) as \2", line).groups()
        if module.strip("."):
            assert name in described(reference[room])
        else:
            assert f"{room}.{name}" in reference
            assert f"   {room}.{name}\n" in reference["index"]


def test_modules_without_a_door_show_all_that_they_define(reference: dict[str, str]) -> None:
    assert {"UnknownNameError", "InvalidValueError"} <= described(reference["nasbench_robust.errors"])
    assert {"pgd", "Attack", "ATTACKS"} <= described(reference["nasbench_robust.metrics"])
    assert not any(name.startswith("_") for page in reference.values() for name in described(page) - {"__version__"})


def test_a_name_of_two_doors_is_described_at_the_inner_one(reference: dict[str, str]) -> None:
    assert ".. autoclass:: nasbench_robust.table.Benchmark\n" in reference["nasbench_robust.table"]
    same = ".. py:class:: Benchmark\n\n   The same as :py:obj:`nasbench_robust.table.Benchmark`.\n"
    assert same in reference["nasbench_robust"]


def test_constants_are_described_by_the_comment_beside_them(api: ModuleType) -> None:
    assert api.comment_of("nasbench_robust.runs.EXIT_REQUEUE") == ["EX_TEMPFAIL: not done, try again"]
    [above] = api.comment_of("nasbench_robust.table.CURVE_COLUMNS")
    assert above == "Numbers of an epoch, in the order in which files of runs hold them."


def cells(notebook: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == kind]


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(notebook: Path) -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(notebook, "code"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_notebooks_lead_somewhere(notebook: Path) -> None:
    text = "".join("".join(cell["source"]) for cell in cells(notebook, "markdown"))
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (notebook.parent / target).exists(), target


def test_the_readme_names_every_extra_that_a_row_needs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted(set(extras) - {"dev"})


def test_the_data_are_read_without_this_package() -> None:
    code = ["".join(cell["source"]) for cell in cells(ROOT / "examples" / "without_this_package.ipynb", "code")]
    assert not re.search(r"(import|from) nasbench_robust", "\n".join(code))
