"""What all programs of the folder analysis promise, and how the folder is built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("matplotlib", "scipy", "sklearn", "torch"):
    pytest.importorskip(package)
resource = pytest.importorskip("resource")

ANALYSIS = Path(__file__).parents[2] / "analysis"
PROGRAMS = sorted(path.stem for path in ANALYSIS.glob("*.py") if "__main__" in path.read_text())
SHARED = {path.stem for path in ANALYSIS.glob("*.py")} - set(PROGRAMS)
STUDIES = {path.parent.name for path in ANALYSIS.glob("*/__init__.py")}
SCORES = ANALYSIS / "scores" / "digits.parquet"
NTK = ("ntk_correlation", "ntk_figure")
NO_TABLE = ("gradient_masking", "smoothing_scales")  # one trains what it looks at, one reads digits alone
OWN_RUNS = ("arnas_two_cells", "engine_parity")  # make runs of their own and read no table
FAULTS = [
    *(
        (name, ["--published", "./no-such-file"], "no-such-file")
        for name in PROGRAMS
        if name not in (*OWN_RUNS, *NTK, *NO_TABLE)
    ),
    *((name, ["./no-such-file"], "no-such-file") for name in NTK),
    ("engine_parity", ["--summary", "--runs", "./no-such-file"], "no-such-file"),
    ("arnas_two_cells", ["--seeds", "0"], "--seeds: 0: expected a positive integer"),
    ("digits_settings", ["--variants", "C=5"], "C=5"),
    ("digits_settings", ["--seeds", "1"], "at least 2"),
    ("digits_vs_published", ["--digits", "./no-such-file"], "no file or folder"),
    ("digits_vs_published", ["--resamples", "0"], "--resamples: 0: expected a positive integer"),
    ("engine_parity", ["--engines", "torch", "jax"], "jax"),
    ("engine_parity", ["--seeds", "1", "2", "3"], "one for each of the two engines"),
    ("benchmark_figures", ["--queries", "0"], "--queries: 0: expected a positive integer"),
    ("gradient_masking", ["--images", "0"], "--images: 0: expected a positive integer"),
    ("gradient_masking", ["--cells", "20000"], "20000"),
    ("ntk_correlation", [SCORES, "--resamples", "0"], "--resamples: 0: expected a positive integer"),
    ("predictors", ["--published", "digits", "--scores", "./no-folder"], "no-folder has no tables of scores"),
    ("predictors", ["--repeats", "0"], "--repeats: 0: expected a positive integer"),
    ("robust_search", ["--methods", "dart"], "darts"),
    ("robust_search", ["--seeds", "0"], "--seeds: 0: expected a positive integer"),
    ("robust_search", ["--dataset", "cifar100"], "did you mean 'cifar10'"),
    ("search_comparison", ["--queries", "0"], "--queries: 0: expected a positive integer"),
    ("search_comparison", ["--published", "digits", "--dataset", "cifar10"], "has no data set"),
    ("smoothing_scales", ["--digits", "./no-such-file"], "no-such-file"),
    ("smoothing_scales", ["--families", "4785"], "at most 4784"),
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_lists_the_options(program):
    """In a process of its own, so that what the manual says to type is what runs."""
    command = [sys.executable, str(ANALYSIS / f"{program}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {program}.py ")
    assert "--out" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_option_is_one_line(program, fault):
    needed = [SCORES] if program in NTK else []
    assert "--nonsense" in fault(program, *needed, "--nonsense")


@pytest.mark.parametrize(("program", "arguments", "message"), FAULTS)
def test_a_fault_is_one_line(program, arguments, message, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in fault(program, "--out", tmp_path, *arguments)


@pytest.mark.parametrize("full", [False, True], ids=["no folder", "full"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_results_that_cannot_be_written_are_one_line_before_the_work(program, full, fault, made_up_table, tmp_path):
    arguments = [SCORES] if program in NTK else []
    if program not in NO_TABLE:
        arguments += ["--runs", tmp_path / "runs"] if program in OWN_RUNS else ["--published", made_up_table]
    (tmp_path / "file").touch()
    out = tmp_path / "out" if full else tmp_path / "file" / "out"
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if full:  # no byte fits into a file, as on a disk that is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        line = fault(program, *arguments, "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    assert str(out) in line
    assert not (tmp_path / "runs").exists()


# ------------------------------------------------------------------ the folder


def local_imports(path: Path) -> set[str]:
    """Return which files and studies of the folder a file imports."""
    names = re.findall(r"^ *(?:from|import) (\w+)", path.read_text(), flags=re.MULTILINE)
    return set(names) & (SHARED | STUDIES | set(PROGRAMS))


def test_studies_import_what_is_shared_and_no_other_study():
    assert local_imports(ANALYSIS / "score_tables.py") == {"tables"}
    assert not any(local_imports(ANALYSIS / f"{name}.py") for name in SHARED - {"score_tables"})
    for study in STUDIES:
        for path in (ANALYSIS / study).glob("*.py"):
            assert local_imports(path) <= SHARED | {study}, path
    for program in PROGRAMS:
        assert len(local_imports(ANALYSIS / f"{program}.py") - SHARED) == 1, program


def test_every_study_says_what_came_of_it_and_every_result_has_its_study():
    named = set()
    for study in STUDIES:
        files = re.findall(r"results/([\w.-]+\.\w+)", (ANALYSIS / study / "README.md").read_text())
        assert files, study
        named |= set(files)
    assert named == {path.name for path in (ANALYSIS / "results").iterdir()}
