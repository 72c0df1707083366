"""`nasbench-robust doctor`: what is there is ok, what is optional has a remedy, what is broken ends with code 1."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from nasbench_robust import cli
from nasbench_robust.cli.doctor import OPTIONAL
from nasbench_robust.files import HOME_VARIABLE
from nasbench_robust.native import is_available
from nasbench_robust.native.library import BUILD_VARIABLE

# Runs the command where torch and matplotlib cannot be imported, and where the system knows no such packages.
WITHOUT = """
import sys
from importlib import metadata
found = metadata.version
def version(name):
    if name == "matplotlib":
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
sys.modules["torch"] = None
from nasbench_robust.cli import main
sys.exit(main(["doctor"]))
"""


@pytest.fixture
def lines(capsys) -> dict[str, tuple[str, str]]:
    def lines() -> dict[str, tuple[str, str]]:
        rows = [re.split(r"\s{2,}", line, maxsplit=2) for line in capsys.readouterr().out.splitlines()[1:]]
        return {what: (state, words) for state, what, words in rows}

    return lines


def test_an_installation_that_is_whole_is_ok(lines, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "new"))
    assert cli.main(["doctor"]) == 0
    found = lines()
    assert found["digits"][0] == found["cache"][0] == found["torch"][0] == "ok"
    assert found["native engine"][0] == ("ok" if is_available() else "missing")
    assert found["nas-robbench-201"] == ("missing", "nasbench-robust download nas-robbench-201")
    assert {*OPTIONAL} <= {*found}


def test_a_cache_that_cannot_be_written_to_is_wrong(lines, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "file" / "home"))
    assert cli.main(["doctor"]) == 1
    state, words = lines()["cache"]
    assert state == "WRONG"
    assert HOME_VARIABLE in words


@pytest.mark.skipif(not is_available(), reason="this installation has no native engine")
def test_a_build_that_is_not_there_is_wrong(tmp_path) -> None:
    environment = {HOME_VARIABLE: str(tmp_path), BUILD_VARIABLE: "avx1024", "PATH": ""}
    program = [sys.executable, "-c", "import sys; from nasbench_robust.cli import main; sys.exit(main(['doctor']))"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert re.search(r"WRONG +native engine +NASBENCH_ROBUST_ENGINE is 'avx1024'", done.stdout)
    assert re.search(r"missing +Slurm", done.stdout)


def test_what_is_missing_comes_with_its_remedy(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"missing +torch +.*pip install '\.\[train\]' in a clone", done.stdout)
    assert re.search(r"missing +matplotlib +figures: pip install matplotlib, or '\.\[plots\]' in a clone", done.stdout)
