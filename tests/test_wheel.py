"""The wheel: built from the source distribution without a compiler, installed without torch, asked offline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

import nasbench_robust

ROOT = Path(__file__).parents[1]
NOTHING = "http://127.0.0.1:9"  # nobody answers there


def bare_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a machine without compilers, settings and network."""
    (folder / "empty").mkdir(exist_ok=True)
    proxies = {name: NOTHING for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())}
    compilers = {name: str(folder / "no-compiler") for name in ("CC", "CXX")}
    own = {"PATH": str(folder / "empty"), "HOME": str(folder / "home"), "NASBENCH_ROBUST_OFFLINE": "1"}
    return {**proxies, **compilers, **own, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(*command: object, folder: Path) -> str:
    """Run a program in the bare environment and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=bare_environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheel")


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """The wheel, built from the source distribution, built from a copy of what the project keeps for it."""
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source, folder=folder)
    [wheel] = (folder / "dist").glob("*.whl")
    return wheel


def needs(distribution: metadata.Distribution, found: dict[str, metadata.Distribution]) -> None:
    """Find the distributions here that one needs, extras apart, and what they need in turn."""
    for requirement in distribution.requires or ():
        name = re.match(r"[\w.-]+", requirement)[0]
        if "extra ==" in requirement or name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another system or Python; pip check knows better
        needs(found[name], found)


def link(distributions: Iterable[metadata.Distribution], site: Path) -> None:
    """Lend installed distributions to another environment, file by file as they say themselves."""
    for distribution in distributions:
        for top in {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())


@pytest.fixture(scope="module")
def python(folder: Path, wheel: Path) -> Path:
    """The interpreter of a new environment that holds the wheel, what it requires, and nothing else."""
    venv.create(folder / "venv", with_pip=False, symlinks=os.name != "nt")
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", wheel, folder=folder)
    [installed] = metadata.distributions(name="nasbench-robust", path=[str(site)])
    required: dict[str, metadata.Distribution] = {}
    needs(installed, required)
    link(required.values(), site)
    run(*pip, "check", folder=folder)
    return python


def test_the_wheel_answers_right_after_its_installation(python: Path, folder: Path) -> None:
    expected = nasbench_robust.load().query(9930, metric="pgd_acc")
    program = python.with_name("nasbench-robust" + python.suffix)
    assert run(program, "query", "9930", "--metric", "pgd_acc", folder=folder) == f"{expected!r}\n"
    asked = "import nasbench_robust as nbr; print(nbr.load().query(9930, metric='pgd_acc'))"
    assert run(python, "-c", asked, folder=folder) == f"{expected!r}\n"
    assert not (folder / "home").exists()


def test_the_wheel_holds_the_tables_of_the_source(python: Path, folder: Path) -> None:
    located = Path(
        run(python, "-c", "from nasbench_robust.releases.loading import locate; print(locate())", folder=folder)[:-1]
    )
    assert located.is_relative_to(folder / "venv")
    source = Path(nasbench_robust.__file__).parent / "data" / "digits"
    assert sorted(path.name for path in located.parent.iterdir()) == sorted(path.name for path in source.iterdir())
    assert all(path.read_bytes() == (source / path.name).read_bytes() for path in located.parent.iterdir())


def test_that_environment_has_no_torch(python: Path, folder: Path) -> None:
    names = ("torch", "sklearn", "nasbench_robust", "pyarrow")
    asked = f"import json, importlib.util as u; print(json.dumps([u.find_spec(n) is not None for n in {names}]))"
    assert json.loads(run(python, "-c", asked, folder=folder)) == [False, False, True, True]
