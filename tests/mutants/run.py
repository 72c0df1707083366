"""Small bugs, planted one at a time in a copy of the repository: do the tests of their own module notice?

    python tests/mutants/run.py [--only ID ...] [--survivors] [--limit N] [--check]

The bugs stand in ``*.toml`` beside this file, a file a room or some: ``file`` below ``src/nasbench_robust``, the text
``before`` (once in that file) and ``after``, the ``tests`` that should notice, and a ``note`` where they cannot.
``results.csv`` says what came of each; what stands there is not run again. Exit code 1: an entry is broken, or fewer
than 95 % were noticed. Files of C++ are compiled in the copy, for the instruction set that this processor uses, those
alone that depend on the change. Needs Python 3.11, and a C++ compiler for bugs in C++. Not part of the tests: it takes
an hour.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import tomllib

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGE = Path("src/nasbench_robust")
RESULTS = HERE / "results.csv"
LEAST_SHARE = 0.95
LONGEST = 400  # seconds: tests that take longer than that have noticed
# What takes long to import and is no part of the package is imported once, where the processes of tests are forked.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "pandas", "pyarrow.parquet", "scipy.stats", "hypothesis", "pytest"])
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the tests have it
LEFT_OUT = (".git", "__pycache__", "*.egg-info", ".venv", "build", "dist", ".*_cache", ".hypothesis")


@dataclass(frozen=True)
class Mutant:
    """One planted bug."""

    id: str
    file: str
    before: str
    after: str
    tests: str
    note: str = ""

    def problem(self) -> str:
        """Return what is wrong with the entry, or nothing."""
        path = ROOT / PACKAGE / self.file
        found = path.read_text().count(self.before) if path.is_file() else 0
        if found != 1:
            return f"its text stands {found} times in {self.file}"
        missing = [name for name in self.tests.split() if not (ROOT / name.partition("::")[0]).exists()]
        return f"there is no {missing[0]}" if missing else "" if self.before != self.after else "it changes nothing"


@dataclass(frozen=True)
class Result:
    """What came of a mutant: ``caught``, ``survived`` or ``broken``, the first test that failed, seconds."""

    mutant: str
    outcome: str
    test: str
    seconds: str


def read_mutants() -> list[Mutant]:
    """Return all mutants, room by room."""
    paths = sorted(HERE.glob("*.toml"))
    mutants = [Mutant(**entry) for path in paths for entry in tomllib.loads(path.read_text())["mutant"]]
    twice = {mutant.id for mutant in mutants if sum(other.id == mutant.id for other in mutants) > 1}
    if twice:
        sys.exit(f"mutants of one name: {', '.join(sorted(twice))}")
    return mutants


def read_results() -> dict[str, Result]:
    """Return what is known, by mutant."""
    if not RESULTS.exists():
        return {}
    with RESULTS.open(newline="") as file:
        return {row["mutant"]: Result(**row) for row in csv.DictReader(file)}


def write_results(results: dict[str, Result], mutants: list[Mutant]) -> None:
    """Write what is known, in the order of the list."""
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Result.__dataclass_fields__)
        writer.writerows(vars(results[mutant.id]).values() for mutant in mutants if mutant.id in results)


def run_tests(root: Path, environment: dict[str, str], tests: list[str], said: Path) -> None:
    """Run tests in a copy of the repository and end with pytest's exit code; for a process of its own."""
    import pytest

    os.chdir(root)
    os.environ.update(environment)
    sys.path.insert(0, str(root / "src"))
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))


class Copy:
    """A copy of the repository, in which one mutant after the other stands."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self.environment = {**os.environ, "PYTHONPATH": str(root / "src")}
        self._build = ""

    def judge(self, mutant: Mutant) -> Result:
        """Plant a mutant, run its tests and take it out again."""
        start = time.monotonic()
        path = self.root / PACKAGE / mutant.file
        whole = path.read_text()
        is_native = path.suffix in (".cpp", ".h")
        if is_native:
            self._prepare_native()
        path.write_text(whole.replace(mutant.before, mutant.after))
        try:
            if is_native:
                self._compile(path.name)
            outcome, test = self._test(mutant)
        except subprocess.CalledProcessError as error:
            outcome, test = "broken", f"it does not compile: {error.stderr.splitlines()[0]}"
        finally:
            path.write_text(whole)
            if is_native:
                self._compile(path.name)
        return Result(mutant.id, outcome, test, f"{time.monotonic() - start:.0f}")

    def _test(self, mutant: Mutant) -> tuple[str, str]:
        said = self.root.parent / "said"
        process = PROCESSES.Process(target=run_tests, args=(self.root, self.environment, mutant.tests.split(), said))
        process.start()
        process.join(LONGEST)
        if process.is_alive():
            process.kill()
            return "caught", "by its time"
        code = process.exitcode
        if code in (0, 5):  # 5: no test was there
            return ("survived", "") if code == 0 else ("broken", "no tests")
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", said.read_text(errors="replace"), re.MULTILINE)
        return "caught", failed[1] if failed else f"pytest ended with {code}"

    def _prepare_native(self) -> None:
        """Compile the engine as it is, into object files that are kept."""
        if self._build:
            return
        asked = "from nasbench_robust.native import build_name; print(build_name())"
        command = [sys.executable, "-c", asked]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        self._build = done.stdout.strip()
        self.environment["NASBENCH_ROBUST_ENGINE"] = self._build
        extensions = []
        with mock.patch("setuptools.setup", lambda **options: extensions.extend(options["ext_modules"])):
            runpy.run_path(str(self.root / "setup.py"))
        self._flags = next(each.extra_compile_args for each in extensions if each.name.endswith(self._build))
        self._compile("")

    def _compile(self, changed: str) -> None:
        """Compile the files that depend on a changed one, all for none, and link."""
        native, objects = self.root / PACKAGE / "native", self.root / "objects"
        objects.mkdir(exist_ok=True)
        compiler = shlex.split(os.environ.get("CXX", "g++"))
        for source in sorted((native / "src").glob("*.cpp")):
            depends = objects / f"{source.stem}.d"
            if not changed or not depends.exists() or re.search(rf"/{re.escape(changed)}\b", depends.read_text()):
                command = [*compiler, *self._flags, "-fPIC", "-MMD", "-c", source, "-o", objects / f"{source.stem}.o"]
                subprocess.run(command, capture_output=True, text=True, check=True)
        library = next(native.glob(f"_engine_{self._build}.*"))
        beside = objects / library.name
        command = [*compiler, "-shared", *sorted(objects.glob("*.o")), "-o", beside]
        subprocess.run(command, capture_output=True, text=True, check=True)
        beside.replace(library)


def main() -> int:
    """Run the mutants that are asked for and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="ID", help="only these, again where they were run before")
    parser.add_argument("--survivors", action="store_true", help="those again that survived")
    parser.add_argument("--limit", type=int, help="end after so many")
    parser.add_argument("--check", action="store_true", help="only look for entries that are broken")
    args = parser.parse_args()
    mutants, results = read_mutants(), read_results()
    broken = {mutant.id: mutant.problem() for mutant in mutants if mutant.problem()}
    for name, problem in broken.items():
        print(f"broken    {name}: {problem}")
    if args.check:
        print(f"{len(mutants)} mutants, {len(broken)} of them broken")
        return int(bool(broken))
    again = set(args.only or ()) | {
        name for name, result in results.items() if args.survivors and result.outcome == "survived"
    }
    wanted = [mutant for mutant in mutants if mutant.id in again or not (again or mutant.id in results)]
    wanted = [mutant for mutant in wanted if mutant.id not in broken][: args.limit]
    if wanted:
        with tempfile.TemporaryDirectory() as folder:
            copy = Copy(Path(folder) / "copy")
            for mutant in wanted:
                results[mutant.id] = result = copy.judge(mutant)
                write_results(results, mutants)
                print(f"{result.outcome:9} {mutant.id}: {result.test or mutant.note} ({result.seconds} s)", flush=True)
    known = [results[mutant.id].outcome for mutant in mutants if mutant.id in results]
    caught = known.count("caught")
    print(f"{len(mutants)} mutants, {len(known)} run, {caught} caught, {known.count('survived')} survived")
    return int(bool(broken) or "broken" in known or caught < LEAST_SHARE * len(known))


if __name__ == "__main__":
    sys.exit(main())
