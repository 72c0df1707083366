"""How much CPU time passes before a process does what it was started for: ``python benchmarks/starting.py``.

A digits run up to its first training step, beside the bare import of the libraries that it reads and writes tables
with; scoring up to the first cell, beside the bare import of torch; and, with ``--cifar ROOT``, the images of CIFAR-10
in Parquet files, decoded and as they are kept on the disk from then on. Seconds are those of the processors that whole
processes used, medians of turns.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import nasbench_robust
from nasbench_robust.cli.command import positive
from nasbench_robust.files import HOME_VARIABLE

# Both end where the work begins; what is put in the place of a name is imported when the program asks for it.
TRAINING = """
import os, runpy, sys
import nasbench_robust.engines

def engine_named(name):
    from nasbench_robust.engines.catalogue import engine_named
    from nasbench_robust.engines.native.training import NativeTrainer
    NativeTrainer.step = lambda _: os._exit(0)
    return engine_named(name)

nasbench_robust.engines.engine_named = engine_named
program, folder = sys.argv[1:]
sys.argv = [program, "--index", "894", "--engine", "native", "--out", folder]
runpy.run_path(program, run_name="__main__")
"""
SCORING = """
import os, runpy, sys
import nasbench_robust.scores

def ScoreJob(*arguments):
    from nasbench_robust.scores import jobs
    jobs.score_cell = lambda *_: os._exit(0)
    return jobs.ScoreJob(*arguments)

nasbench_robust.scores.ScoreJob = ScoreJob
program, folder = sys.argv[1:]
sys.argv = [program, "--work", f"{folder}/work.jsonl", "--task", "0", "--out", folder]
runpy.run_path(program, run_name="__main__")
"""
GENERATION = Path(__file__).resolve().parents[1] / "generation"
CIFAR = "import sys; from nasbench_robust.images import load_arrays; load_arrays('cifar10', sys.argv[1])"
TABLES, TORCH = "import numpy, pyarrow.parquet", "import torch"


def cpu_seconds(program: str, *arguments: str, **environment: str) -> float:
    """Return the CPU time of a new interpreter that runs a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, env={**os.environ, **environment})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(ours: tuple[str, ...], peer: tuple[str, ...], repeats: int) -> tuple[float, float]:
    """Return the medians of two programs with their arguments that run in turns, after one turn that is not counted."""
    turns = [[cpu_seconds(*each) for each in (ours, peer)] for _ in range(repeats + 1)]
    first, second = zip(*turns[1:], strict=True)
    return statistics.median(first), statistics.median(second)


def cifar(root: str, home: Path, repeats: int) -> tuple[float, float]:
    """Return the medians of reading CIFAR-10 as it is kept, and of decoding it, in turns."""
    kept, decoded = [], []
    for turn in range(repeats):
        place = {HOME_VARIABLE: str(home / str(turn))}
        decoded.append(cpu_seconds(CIFAR, root, **place))
        kept.append(cpu_seconds(CIFAR, root, **place))
    return statistics.median(kept), statistics.median(decoded)


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cifar", metavar="ROOT", help="folder of the Parquet files of CIFAR-10 (default: left out)")
    parser.add_argument("--repeats", type=positive, default=7, help="turns (default: 7; of CIFAR-10 at most 3)")
    args = parser.parse_args()
    rows = {}
    compileall.compile_dir(Path(nasbench_robust.__file__).parent, quiet=2)  # as pip does it when it installs
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "work.jsonl").write_text("[[894, 0]]\n")
        training, scoring = (
            (TRAINING, f"{GENERATION}/train_cell.py", folder),
            (SCORING, f"{GENERATION}/score_cells.py", folder),
        )
        rows["a digits run | numpy and pyarrow"] = compare(training, (TABLES,), args.repeats)
        rows["scoring of digits | torch"] = compare(scoring, (TORCH,), args.repeats)
        if args.cifar:
            rows["CIFAR-10, kept | decoded"] = cifar(args.cifar, Path(folder), min(args.repeats, 3))
        else:
            print("CIFAR-10 left out: no --cifar")
    print("| CPU seconds of | beside | seconds | beside | ratio |\n|---|---|---|---|---|")
    for names, (ours, peer) in rows.items():
        print(f"| {names} | {ours:.2f} | {peer:.2f} | {ours / peer:.2f} |")


if __name__ == "__main__":
    main()
