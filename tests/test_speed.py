"""The speeds that the manual promises, some measured by the programs of the folder benchmarks."""

from __future__ import annotations

import subprocess
import sys
import time
import timeit
from types import SimpleNamespace

import pytest

import nasbench_robust as nbr
from nasbench_robust.cells import Cell

pytestmark = pytest.mark.alone

ATTEMPTS = 3  # a busy machine makes any time longer, never shorter: one good measurement shows that it can be done


def row(load_program, table: str, tmp_path, operation: str):
    """Return the program that compares, and a row of one of its tables about the bundled release."""
    program = load_program("benchmarks/side_by_side")
    rows = program.TABLES[table](nbr.load(), "digits", tmp_path)
    return program, next(row for row in rows if row.operation == operation)


def shortest(load_program, table: str, tmp_path, operation: str, repeats: int) -> dict[str, float]:
    """Return for each side of a row the shortest of its medians in some attempts."""
    program, compared = row(load_program, table, tmp_path, operation)
    attempts = [program.measure(compared, repeats) for _ in range(ATTEMPTS)]
    return {name: min(seconds[name] for seconds in attempts) for name in attempts[0]}


def test_a_first_query_takes_about_as_long_as_reading_json(load_program, tmp_path):
    seconds = shortest(load_program, "processes", tmp_path, "import, load, one `query`", 7)
    assert seconds["ours"] <= 1.5 * seconds["json"]
    assert seconds["ours"] <= seconds["pyarrow"]


@pytest.mark.parametrize(
    ("operation", "limit"),
    [
        ("`query(index)`", 1e-6),
        ("`query(string)`", 2e-6),
        ("`lookup`: a value with its facts", 20e-6),
        ("`query_many` of all strings", 10e-3),
        ("`frame()`", 5e-3),
        ('`frame(cells="all")`', 10e-3),
        ("`best(k=10)`", 1e-3),
        ("`pareto()`", 2e-3),
    ],
)
def test_warm_questions_are_instant(load_program, tmp_path, operation, limit):
    assert shortest(load_program, "questions", tmp_path, operation, 5)["ours"] < limit


@pytest.mark.parametrize(
    "operation",
    ["random search", "regularised evolution", "local search", "REINFORCE"],
    ids=lambda name: name.split()[0],
)
def test_searches_take_no_longer_than_plain_loops(load_program, tmp_path, operation):
    seconds = shortest(load_program, "searches", tmp_path, f"{operation}, 150 queries", 3)
    assert seconds["ours"] <= 1.2 * seconds["plain loop"]


CLASS_MAP = """
import time
from nasbench_robust import cells
start = time.perf_counter()
cells.representatives()
print(time.perf_counter() - start)
"""


def test_the_class_map_takes_less_than_a_second_in_a_fresh_process():
    ran = subprocess.run([sys.executable, "-c", CLASS_MAP], capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 1


def test_help_takes_less_than_a_second():
    def measured() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "nasbench_robust", "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    assert min(measured() for _ in range(ATTEMPTS)) < 1


def test_reading_a_string_takes_less_than_ten_microseconds():
    arch = str(Cell.from_index(0))
    assert min(timeit.repeat(lambda: Cell.from_str(arch), number=2_000, repeat=7)) / 2_000 < 10e-6


def test_the_program_prints_a_line_for_every_row(load_program, capsys, monkeypatch, tmp_path):
    out = tmp_path / "table.md"
    arguments = ["side_by_side.py", "questions", "--repeats", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    load_program("benchmarks/side_by_side").main()
    printed = capsys.readouterr().out
    assert out.read_text() == printed
    answers = ["`query(index)`", "`query(index, eps=)`", "`query(string)`"]
    answers += ["`query_many` of all strings", "`lookup`: a value with its facts"]
    assert [line.split(" | ")[0] for line in printed.splitlines() if line.startswith("| `")] == [
        f"| {operation}"
        for operation in (
            "`frame()`",
            '`frame(cells="all")`',
            "`best(k=10)`",
            "`pareto()`",
            *answers,
            *(f"{answer}, in the order of the cells" for answer in answers),
        )
    ]


def test_tables_that_need_torch_are_left_out_without_it(load_program, tmp_path, monkeypatch):
    program = load_program("benchmarks/side_by_side")
    monkeypatch.setattr(program, "library", lambda _: None)
    assert [list(program.TABLES[name](None, "digits", tmp_path)) for name in ("engine", "large")] == [[], []]


def test_a_comparison_with_other_answers_is_refused(load_program, tmp_path):
    program = load_program("benchmarks/side_by_side")
    compared = SimpleNamespace(
        operation="x", same=True, apart=0.0, sides={"ours": (lambda: [1], 1), "peer": (lambda: [2], 1)}
    )
    with pytest.raises(RuntimeError, match=r"x: peer answers \[2\], ours \[1\]"):
        program.measure(compared, 1)
