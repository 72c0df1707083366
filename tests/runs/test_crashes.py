"""A sample of the points at which commands may die; ``python tests/crashes.py`` looks at all of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import run_python

CRASHES = Path(__file__).parents[1] / "crashes.py"
GROUPS = (
    ("train", "run", "run, a worker"),
    ("collect", "collect over plain files"),
    ("compact", "compact an old folder", "repair"),
    ("publish", "publish plain files"),
    ("import", "fetch", "download"),
    ("merge", "split"),
)


@pytest.mark.skipif(sys.platform != "linux", reason="processes that lose their parent are waited for as Linux lets one")
@pytest.mark.parametrize("commands", GROUPS, ids=", ".join)
def test_a_command_may_die_at_any_operation_on_files(commands):
    said = run_python(CRASHES, *commands, "--every", "19")
    assert int(said.splitlines()[-1].split()[1]) >= 3 * len(commands) - 2, said
