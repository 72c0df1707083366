"""The wheel: built from the source distribution without a compiler, installed without torch, asked offline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

import nasbench_robust
from nasbench_robust._door import EXTRAS
from nasbench_robust.native import is_available

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
NOTHING = "http://127.0.0.1:9"  # nobody answers there


def bare_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a machine without compilers, settings and network."""
    (folder / "empty").mkdir(exist_ok=True)
    proxies = {name: NOTHING for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())}
    compilers = {name: str(folder / "no-compiler") for name in ("CC", "CXX")}
    own = {"PATH": str(folder / "empty"), "HOME": str(folder / "home"), "NASBENCH_ROBUST_OFFLINE": "1"}
    return {**proxies, **compilers, **own, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(*command: object, folder: Path, warnings: bool = False) -> str:
    """Run a program in the bare environment and return what it prints, on both streams if its warnings are wanted."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=bare_environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr if warnings else done.stdout


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
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source)
    said = run(*build, folder=folder, warnings=True)
    assert "installed WITHOUT its native engine" in said
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


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone says which files there are")
def test_the_source_distribution_holds_every_file(folder: Path) -> None:
    git = ("git", "-C", ROOT, "ls-files", "-z")
    names = subprocess.run(git, check=True, capture_output=True, text=True).stdout.rstrip("\0").split("\0")
    for name in names:
        copy = folder / "clone" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", folder / "clone", folder=folder)
    [archive] = (folder / "clone" / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as files:
        held = {name.partition("/")[2] for name in files.getnames()}
    assert set(names) - held == set()


def test_the_wheel_holds_the_tables_of_the_source(python: Path, folder: Path) -> None:
    located = Path(
        run(python, "-c", "from nasbench_robust.releases.loading import locate; print(locate())", folder=folder)[:-1]
    )
    assert located.is_relative_to(folder / "venv")
    source = Path(nasbench_robust.__file__).parent / "data" / "digits"
    assert sorted(path.name for path in located.parent.iterdir()) == sorted(path.name for path in source.iterdir())
    assert all(path.read_bytes() == (source / path.name).read_bytes() for path in located.parent.iterdir())


def test_the_wheel_holds_the_page_of_the_explorer(python: Path, folder: Path) -> None:
    program = python.with_name("nasbench-robust" + python.suffix)
    said = run(program, "explore", "--small", "--no-open", "--out", folder / "page.html", folder=folder)
    assert said.endswith(" MB, needs no network\n")
    page = (folder / "page.html").read_text()
    assert all(part in page for part in ("uPlot", "var Parquet=", "class Landscape", "--accent"))


def test_that_environment_has_no_torch(python: Path, folder: Path) -> None:
    names = ("torch", "sklearn", "nasbench_robust", "pyarrow")
    asked = f"import json, importlib.util as u; print(json.dumps([u.find_spec(n) is not None for n in {names}]))"
    assert json.loads(run(python, "-c", asked, folder=folder)) == [False, False, True, True]


NEEDS_TORCH = (
    "attacks.pgd",
    "ntk.kernels",
    "proxies.scores",
    "networks.Network",
    "engines.torch.train",
    "images.random_crop",
)


@pytest.mark.parametrize("name", NEEDS_TORCH)
def test_what_needs_torch_says_which_extra_has_it(name: str, python: Path, folder: Path) -> None:
    room, _, attribute = name.rpartition(".")
    for asked in (f"import nasbench_robust as nbr; nbr.{name}", f"from nasbench_robust.{room} import {attribute}"):
        done = subprocess.run([python, "-c", asked], cwd=folder, capture_output=True, text=True)
        said = "the package 'torch' is needed here and not installed; run: pip install torch "
        said += "(in a clone of nasbench-robust, pip install '.[train]' brings all that belongs to it)"
        assert done.stderr.splitlines()[-1] == f"nasbench_robust.errors.MissingPackageError: {said}"


def test_every_extra_that_a_message_names_exists(python: Path, folder: Path) -> None:
    named = re.findall(r"MissingPackageError\(\s*[^,{]+,\s*\"(\w+)\"", "".join(map(Path.read_text, SOURCES)))
    [installed] = metadata.distributions(
        name="nasbench-robust", path=[str(next((folder / "venv").rglob("site-packages")))]
    )
    assert {*named, *EXTRAS.values()} <= set(installed.metadata.get_all("Provides-Extra"))
    assert named


def test_the_name_of_the_wheel_says_that_it_has_no_engine(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


@pytest.mark.skipif(not is_available(), reason="there is no native engine, and no torch in that environment")
def test_the_wheel_alone_makes_and_publishes_a_table(python: Path, folder: Path, tmp_path: Path) -> None:
    [native] = (folder / "venv").rglob("nasbench_robust/native")
    for engine in Path(nasbench_robust.native.__file__).parent.glob("_engine_*"):
        shutil.copy(engine, native)  # as a wheel that was built with a compiler has it

    def call(*arguments: object) -> str:
        return run(python.with_name("nasbench-robust" + python.suffix), *arguments, folder=tmp_path)

    said = call("train", "--index", 1234, "--dataset", "digits", "--out", "r")
    assert said.startswith("cell 1234, seed 0: clean_acc 0.")
    table = ("--out", "r", "--cells", "1234,5", "--seeds", 0)
    call("run", *table, "--workers", 2)
    assert "done      2\nmissing   0" in call("status", *table)
    assert "#SBATCH --array=0-0\n" in call("submit", "--out", "r", "--cells", "7", "--seeds", 0, "--dry-run")
    assert "2 runs, 0 repeated" in call("collect", "r", "--out", "release")
    assert "0 error(s)" in call("validate", "release")
    call("publish", "release", "--licence", "CC BY 4.0")
    assert call("query", 1234, "-r", "release", "-m", "pgd_acc", "--seed", 0) == call(
        "query", 1234, "-m", "pgd_acc", "--seed", 0
    )  # the run of the package's table again
    assert call("query", 5, "-r", "r", "-m", "clean_acc").startswith("0.")
