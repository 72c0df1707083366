"""What every command and every program owes: help, usage, and one line with code 2 where something is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from nasbench_robust import cli
from nasbench_robust.files import HOME_VARIABLE, OFFLINE_VARIABLE
from nasbench_robust.registry import RELEASES, Release
from nasbench_robust.runs import Run, collect, write_run
from nasbench_robust.settings import settings_for

Outcome = tuple[int, str, str]  # exit code, output, errors

COMMANDS = [f"nasbench-robust {command.name}" for command in cli.commands()]
PROGRAMS = [
    f"{path.parent.name}/{path.name}"
    for path in sorted([*(ROOT / "generation").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")])
    if re.search(r"^(def main\(|main = )", path.read_text(), re.MULTILINE)
]
# Programs that are a command under another name.
SAME = {"train": "train_cell", "run": "run_local", "score": "score_cells", "search": "search_supernet"}
SAME |= {"genotype": "train_genotype", "submit": "submit", "status": "status", "collect": "collect"}
# A wrong value, a file that is not there, a place where nothing can be written; and a part of the sentence for each.
# The fixture `desk` makes: `file`, page.json, the folders shards, others (which contradicts it) and release.
FAULTS = """
query 9930 -m pgd => did you mean 'pgd_acc'?
query 9930 -m train_seconds => did you mean bench.values(metric='train_seconds')?
query 9930 -m pgd_acc -r '' => release is '', expected text that is not empty
query '' -m pgd_acc => arch is '', expected text that is not empty
query +9930 -m pgd_acc => did you mean 9930?
query 9930 -m pgd_acc -r absent.parquet => no file or folder absent.parquet
cell 15625 => the nearest is 15624
cell 9930 -d cifar10 => digits has no data set 'cifar10'
cell 9930 -r absent.parquet => no file or folder absent.parquet
info -r nas-robbench => did you mean 'nas-robbench-201'?
info -r absent.parquet => no file or folder absent.parquet
best -m pgd_acc,clean_acc => did you mean 'clean_acc'? (known: clean_acc, fgsm_acc, pgd_acc, autoattack_acc)
best -m pgd_acc -k 0 => k is 0, expected an integer of at least 1
best -m pgd_acc -r nas-robbench-201 => nas-robbench-201 is not on this machine
export --cells representative => did you mean 'representatives'?
export -r absent.parquet => no file or folder absent.parquet
export --out '' => out is '', expected text that is not empty
export --out release => release: Is a directory
export --out pipe.parquet => a file: Parquet is not written to a pipe
export --out file/table.csv => file: File exists
export --out file/table.parquet => file: File exists
validate digit => did you mean 'digits'?
validate absent.parquet => no file or folder absent.parquet
download made => did you mean 'made-up'?
download made-up --path absent.json => cannot read absent.json
download made-up --path page.json => file/home
import page page.json --out release => nothing is overwritten
import page absent.json --out o => no file absent.json
import page page.json --out file/o => file/o
import page file --out o => file: character
import page release --out o => Is a directory
publish release --name '' => name is ''
publish absent => no runs.parquet in absent
publish release --out file/o => file/o
train --index 15625 --out o => the nearest is 15624
pareto -m clean_acc => at least two metric names
compare digits nosuch => unknown release 'nosuch'
rank --dataset cifar => did you mean 'cifar10'?
rank --dataset digits => the table in the package has digits
rank --top 4788 => top is 4788, expected an integer from 1 to 4,787; did you mean 4787?
train --out o => no --index is given, expected the index of a cell, or a Slurm array task
train --index 3 --out o --dataset digit => did you mean 'digits'?
train --index 3 --out o --engine nativ => did you mean 'native'?
train --index 3 --out o --engine native --device cuda => engine is 'native', expected torch for cuda
train --index 3 --out o --dataset cifar10 --data-root absent => no complete cifar10 in absent
train --index 3 --out o --settings absent.json => cannot read absent.json
train --work absent.jsonl --task 0 --out o => cannot read the work list absent.jsonl
train --index 3 --out file/o => file/o
run --out o --cells 7-5 => cells is '7-5'
run --out o --settings absent.json => cannot read absent.json
run --out file/o --cells 3 => file/o
submit --out o --cells 7-5 => cells is '7-5'
submit --out o --settings absent.json => cannot read absent.json
submit --out file/o --cells 3 => file/o
status --out o --cells 7-5 => cells is '7-5'
status --out o --settings absent.json => cannot read absent.json
collect shards others --out o => different results for digits/3/0 in failure
collect absent --out o => no runs in absent
collect shards --out file/o => file/o
collect shards others --names one --out o => --names is ['one'], expected as many as there are folders, 2
compact absent => no runs in absent
compact release/runs.parquet => no runs in release/runs.parquet
merge absent --out o => no runs in absent
merge shards others --out o => different results for digits/3/0 in failure
merge shards --out file/o => file/o
split absent --out o => no runs in absent
split shards --out o --cells 7-5 => cells is '7-5'
split shards --out o --seeds 9 => shards has no such runs
split shards --out o --datasets digit => datasets is ['digit'], expected some of digits
split shards --out file/o => file/o
explore -r digit => did you mean 'digits'?
explore --out page.txt => expected a name that ends in .html; did you mean page.txt.html?
explore -r digits digits --no-open => --release is 'digits digits', expected each release once
explore --small --no-open --out file/o.html => file: File exists
verify digit => did you mean 'digits'?
verify absent.parquet => no file or folder absent.parquet
repair absent => no runs.parquet and no folder runs
score --out o --cells 7-5 => cells is '7-5'
score --out o --settings absent.json => cannot read absent.json
score --out file/o --cells 3 => file/o
search --out o --method dart => did you mean 'darts'?
search --out o --settings absent.json => cannot read absent.json
search --out file/o => file/o
genotype --out o --genotype arna => expected an integer from 0 to 15624, or a string
genotype --out o --genotype absent.json => cannot read absent.json
genotype --out file/o => file/o
make_digits --out o --sample 1 => --sample is '1', expected a share
make_digits --out o --cells 3 --resume absent.parquet => no file or folder absent.parquet
make_digits --out file/o --cells 3 --seeds 0 => file/o
digits_again --out o --cells 7-5 => cells is '7-5'
digits_again --out file/o --cells 3 --seeds 0 => file/o
digits_weights --out file/o => file
""".strip().splitlines()
WRONG_USAGE = """
nasbench-robust quer => invalid choice: 'quer'
nasbench-robust query => required: arch
nasbench-robust query 3 -m clean_acc --seed x => invalid int value: 'x'
nasbench-robust train --index 3 --out o --seeds -1 => expected an integer in 0..2147483647
nasbench-robust score --out o --workers 0 => expected a positive integer
benchmarks/bounds.py --repeats x => invalid int value: 'x'
benchmarks/evaluation.py --epochs 0 => expected a positive integer
benchmarks/first_gpu.py --minutes 0 => expected a positive integer
benchmarks/folders.py --runs 0 => expected a positive integer
benchmarks/memory.py --batch-size 0 => expected a positive integer
benchmarks/native_engine.py --repeats 0 => expected a positive integer
benchmarks/native_large.py --exact x => invalid int value: 'x'
benchmarks/ntk.py --cells heavie => invalid choice: 'heavie'
benchmarks/roofline.py --repeats 0 => expected a positive integer
benchmarks/side_by_side.py --repeats 0 => expected a positive integer
benchmarks/side_by_side.py question => question: expected one of processes, questions, searches, engine
benchmarks/threads.py --threads 0 => expected a positive integer
benchmarks/roofline.py --device cuda => there is no CUDA device here, expected cpu
benchmarks/starting.py --repeats 0 => expected a positive integer
benchmarks/training_step.py --sides fast-graph => --sides fast-graph: not on cpu, expected plain, fast, fast-bf16
benchmarks/training_step.py --dataset cifar => did you mean 'cifar10'
benchmarks/training_step.py --threads x => x: expected a positive integer
""".strip().splitlines()
PRINTING = """
query 9930 -m pgd_acc
info
best -m pgd_acc
rank
export -m pgd_acc
validate release
verify release
repair shards --dry-run
download digits
doctor
status --out o --cells 3
submit --out o --cells 3 --dry-run
""".strip().splitlines()
FULL = Path("/dev/full")


def faults() -> Iterator[tuple[str, str, str]]:
    """Yield programs, arguments and what they say: of commands under both names."""
    for line in FAULTS:
        asked, _, said = line.partition(" => ")
        name, _, arguments = asked.partition(" ")
        if name in SAME:
            yield f"generation/{SAME[name]}.py", arguments, said
        yield (
            f"generation/{name}.py"
            if name in ("make_digits", "digits_again", "digits_weights")
            else f"nasbench-robust {name}",
            arguments,
            said,
        )


def name_of(program: str) -> str:
    return program.split()[0].rpartition("/")[2]


@pytest.fixture
def run(load_program, capsys, monkeypatch) -> Iterator[Callable[..., Outcome]]:
    """Return a function that runs a command or a program in this process."""

    def run(program: str, arguments: str) -> Outcome:
        main = load_program(program.removesuffix(".py")).main if program.endswith(".py") else cli.main
        monkeypatch.setattr(sys, "argv", [name_of(program), *program.split()[1:], *shlex.split(arguments)])
        try:
            code = main() or 0
        except SystemExit as left:
            code = left.code
        return code, *capsys.readouterr()

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, made_up_file) -> Iterator[Path]:
    """The folder that the faults are about, on a machine without network."""
    folder = tmp_path_factory.mktemp("desk")
    digest = hashlib.sha256(made_up_file.read_bytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(HOME_VARIABLE, str(folder / "file" / "home"))
        patch.setenv(OFFLINE_VARIABLE, "1")
        patch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
        patch.setitem(RELEASES, "made-up", Release("made-up", "http://127.0.0.1:9/page.json", digest, "page"))
        Path("page.json").symlink_to(made_up_file)
        Path("file").write_text("no folder")
        os.mkfifo("pipe.parquet")
        for shards, failure in (("shards", "the loss is nan"), ("others", "out of memory")):
            row = {"dataset": "digits", "index": 3, "seed": 0, "seeds": 1, "test_images": 517, "failure": failure}
            write_run(Run(row, [], {}), settings_for("digits"), shards)
        collect(["shards"], "release")
        yield folder


def assert_one_line(outcome: Outcome, name: str, said: str) -> None:
    """The last line, and no other, is the program's; before it there may be one of how much there is to do."""
    code, _, errors = outcome
    assert code == 2
    *before, last = errors.removesuffix("\n").split("\n")
    assert last.startswith(f"{name}: ")
    assert said in last
    assert all(re.match(r"1 (runs|scores), 0 there, 1 missing$|\d runs, |converting ", line) for line in before)


@pytest.mark.parametrize("program", [*COMMANDS, *PROGRAMS])
def test_help_names_the_program(run, program):
    code, output, errors = run(program, "--help")
    assert (code, errors) == (0, "")
    assert output.startswith(f"usage: {program if program in COMMANDS else name_of(program)} ")


@pytest.mark.parametrize("program", [*COMMANDS, *PROGRAMS])
def test_an_unknown_option_is_wrong_usage(run, program):
    enough = {name: arguments for name, arguments, _ in faults()}
    code, output, errors = run(program, f"{enough.get(program, '')} --no-such-option")
    assert (code, output) == (2, "")
    assert errors.startswith(f"usage: {name_of(program)}")
    assert errors.endswith(f"\n{name_of(program)}: error: unrecognized arguments: --no-such-option\n")


@pytest.mark.parametrize("line", WRONG_USAGE)
def test_a_wrong_argument_is_wrong_usage(run, line):
    asked, _, said = line.partition(" => ")
    if "cuda" in asked and pytest.importorskip("torch").cuda.is_available():
        pytest.skip("there is a CUDA device here")
    program, _, arguments = asked.partition(" ")
    code, output, errors = run(program, arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(f"usage: {name_of(program)}")
    assert re.match(rf"{re.escape(name_of(program))}( \w+)?: error: ", errors.splitlines()[-1])
    assert said in errors.splitlines()[-1]


@pytest.mark.parametrize(("program", "arguments", "said"), list(faults()))
def test_a_fault_is_one_line_and_leaves_no_file(run, desk, program, arguments, said):
    before = set(desk.rglob("*"))
    assert_one_line(run(program, arguments), name_of(program), said)
    assert [path for path in desk.rglob("*") if path.is_file() and path not in before] == []


def test_no_command_and_no_program_is_left_out():
    programs = {program for program, _, _ in faults()} | {line.split()[0] for line in WRONG_USAGE}
    # One takes a revision, and git tells; the others take nothing.
    untold = {"benchmarks/lines.py", "nasbench-robust releases", "nasbench-robust doctor"}
    assert {*COMMANDS, *PROGRAMS} - programs == untold


@pytest.mark.skipif(not FULL.exists(), reason="there is no file here that is always full")
@pytest.mark.parametrize("asked", PRINTING)
def test_output_that_finds_no_place_is_a_fault(run, desk, monkeypatch, asked):
    with contextlib.suppress(OSError), open(FULL, "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert_one_line(run("nasbench-robust", asked), "nasbench-robust", "No space left on device")


@pytest.mark.parametrize(
    ("command", "output", "said"),
    [
        (["-m", "nasbench_robust", "query", "9930", "-m", "pgd_acc"], FULL, "output: No space left on device"),
        ([ROOT / "generation" / "train_cell.py", "--index", "15625", "--out", "o"], os.devnull, "the nearest is 15624"),
    ],
)
def test_a_process_ends_as_the_function_does(desk, command, output, said):
    if not Path(output).exists():
        pytest.skip("there is no file here that is always full")
    with open(output, "w") as file:
        done = subprocess.run([sys.executable, *command], stdout=file, stderr=subprocess.PIPE, text=True)
    assert_one_line((done.returncode, "", done.stderr), "nasbench-robust" if output == FULL else "train_cell.py", said)
