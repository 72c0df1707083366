"""Fixtures: programs of the repository, called in this process the way the command line calls them."""

from __future__ import annotations

import io
import runpy
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

FOLDERS = [Path(__file__).parents[2] / name for name in ("analysis", "benchmarks")]
sys.path += map(str, FOLDERS)  # where Python puts the folder of the program that it runs


class Outcome(NamedTuple):
    code: object
    out: str
    err: str


@pytest.fixture(scope="session")
def call() -> Callable[..., Outcome]:
    """A program by name, and its arguments, to exit code, output and errors."""

    def call(program: str, *arguments: object) -> Outcome:
        path = next(path for folder in FOLDERS if (path := folder / f"{program}.py").exists())
        argv, code = [str(path), *map(str, arguments)], 0
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
            try:
                runpy.run_path(str(path), run_name="__main__")
            except SystemExit as end:
                code = end.code or 0
        return Outcome(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def fault(call: Callable[..., Outcome]) -> Callable[..., str]:
    """A call that must fail as all programs of the folder analysis do, to the one line that says why."""

    def fault(program: str, *arguments: object) -> str:
        outcome = call(program, *arguments)
        assert outcome.code == 2, outcome.err
        assert outcome.err.startswith(f"{program}.py: ")
        assert outcome.err.count("\n") == 1
        return outcome.err

    return fault
