"""The programs that time training steps and their memory: tiny runs, and what they print."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("torchattacks")

import memory
import steps
import training_step

from nasbench_robust.cells import Cell


def test_program_prints_and_writes_a_row_for_every_side(call, tmp_path) -> None:
    out = tmp_path / "table.md"
    options = ["--repeats", 2, "--batch-size", 8, "--cells", "light", "--sides", "plain", "fast", "--out", out]
    assert call("training_step", *options).out == out.read_text()
    rows = [line.split(" | ") for line in out.read_text().splitlines() if line.startswith("| light")]
    assert [row[1] for row in rows] == ["reference", "plain", "fast"]
    assert rows[0][-1].strip(" |") == ""
    assert all(0.1 < float(row[-1].split()[0]) < 10 for row in rows[1:])


def test_ratios_are_taken_turn_by_turn() -> None:
    seconds = {"reference": [1.0, 10.0, 100.0], "fast": [0.5, 5.0, 50.0]}
    reference, fast = training_step.rows("heavy", seconds, 32)
    assert reference == "| heavy | reference | 3.2 | 10000.0 (5500.0 to 55000.0) |  |"
    assert fast == "| heavy | fast | 6.4 | 5000.0 (2750.0 to 27500.0) | 2.00 (2.00 to 2.00) |"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sides", "fast-graph"], "--sides fast-graph: not on cpu, expected plain, fast, fast-bf16"),
        (["--dataset", "cifar"], "did you mean 'cifar10'"),
        (["--repeats", "0"], "0: expected a positive integer"),
        (["--threads", "x"], "x: expected a positive integer"),
    ],
)
def test_faults_are_named(call, options, message) -> None:
    done = call("training_step", *options)
    assert done.code == 2
    assert message in done.err


def test_every_side_takes_steps() -> None:
    cell = Cell.from_str(training_step.CELLS["light"])
    for side in steps.sides_on("cpu"):
        step = steps.make_step(side, cell, "digits", 4, 2)
        assert [step(), step()] == [None, None]  # an epoch that ended would be returned


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_is_that_of_a_step() -> None:
    small, large = (memory.peak_mib("plain", "light", "digits", count) for count in (64, 1024))
    assert 0 < 2 * small < large
