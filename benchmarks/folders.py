"""What a folder of runs as large as the published benchmark costs to keep, and to look at: files, bytes, CPU, memory.

The folder is synthetic: runs of the table of the package, those of seeds from 3 on being copies of the first three.

Usage: python benchmarks/folders.py [--runs 58194] [--old 2000] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pyarrow.compute as pc

import nasbench_robust as nbr
from nasbench_robust.cli.command import positive
from nasbench_robust.releases import locate
from nasbench_robust.settings import TrainingSettings
from nasbench_robust.table import (
    CURVES_SCHEMA,
    OUTCOMES_SCHEMA,
    Reader,
    StoredRun,
    release_info,
    run_path,
    runs_of,
    shard_file,
    tables_of,
    write_run_file,
    write_table,
)

SEEDS = 3  # of the package's table
NAMES = ("runs", "curves", "outcomes")
BY_NAME = ("mkdir", "rename", "link", "unlink", "symlink", "stat", "lstat", "rmdir", "fsync", "readlink", "access")
COMMAND = [sys.executable, "-m", "nasbench_robust"]


def bundled_runs() -> Iterator[StoredRun]:
    """Yield the runs of the package's table."""
    tables = {name: Reader(locate().with_name(f"{name}.parquet")).read() for name in NAMES}
    settings = Reader(locate()).info().settings
    for start in range(0, 15_625, 625):
        within = [
            table.filter(pc.and_(pc.greater_equal(table["index"], start), pc.less(table["index"], start + 625)))
            for table in tables.values()
        ]
        yield from runs_of(dict(zip(NAMES, within, strict=True)), settings, locate())


def with_seed(run: StoredRun, seed: int) -> StoredRun:
    """Return a run as if it were of another seed."""
    return replace(run, row={**run.row, "seed": seed})


def make_folder(folder: Path, runs: int, old: bool = False) -> TrainingSettings:
    """Write runs to a folder, the old layout with three files each; return their settings."""
    made, stored = 0, None
    with mock.patch("os.fsync"):  # it would measure the disk
        for run in bundled_runs():
            stored = stored or run.settings
            for seed in range(run.row["seed"], 9, SEEDS):
                if made < runs:
                    (write_old if old else write_new)(with_seed(run, seed), folder)
                    made += 1
    return TrainingSettings.from_dict(stored or {})


def write_new(run: StoredRun, folder: Path) -> None:
    """Write a run as the package does."""
    write_run_file(run, run_path(folder, shard_file(*run.key[:3])))


def write_old(run: StoredRun, folder: Path) -> None:
    """Write a run as the first version did, to three files."""
    tables = tables_of([run], release_info(TrainingSettings.from_dict(run.settings)))
    schemas = {"curves": CURVES_SCHEMA, "outcomes": OUTCOMES_SCHEMA}
    for name, table in tables.items():
        table = table.cast(schemas[name]) if name in schemas else table
        write_table(table.drop_columns(["run"]), folder / name / shard_file(*run.key[:3]))


def measured(arguments: Sequence[str]) -> tuple[float, float, str]:
    """Return CPU seconds and peak MiB of a program, and what it printed."""
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True);"
        "use = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(use.ru_utime + use.ru_stime, use.ru_maxrss / 1024); print(done.returncode, done.stderr[-300:]);"
        "print(done.stdout[-300:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    first, second, *rest = done.stdout.splitlines()
    if not second.startswith("0 "):
        raise SystemExit(f"{' '.join(arguments)}: {second}")
    seconds, peak = map(float, first.split())
    return seconds, peak, "\n".join(rest)


def report(what: str, arguments: Sequence[str]) -> None:
    """Print what a program costs."""
    seconds, peak, _ = measured(arguments)
    print(f"  {what:34} {seconds:8.2f} CPU s {peak:8.0f} MiB", flush=True)


def look(folder: Path, settings: Path, when: str) -> None:
    """Print what commands that look at a folder cost."""
    load = "import sys, nasbench_robust as nbr; nbr.load(sys.argv[1]).query(0, metric='pgd_acc')"
    report(f"status, {when}", [*COMMAND, "status", "--out", str(folder)])
    submit = ["--out", str(folder), "--settings", str(settings), "--dry-run", "--seeds", *map(str, range(9))]
    report(f"submit --dry-run, {when}", [*COMMAND, "submit", *submit, "--cells", "9930"])
    report(f"load and query, {when}", [sys.executable, "-c", load, str(folder)])


def weigh(folder: Path, what: str) -> None:
    """Print the number and size of a folder's files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    blocks = sum(path.stat().st_blocks for path in files) * 512
    print(f"  {what:34} {len(files):8} files {size / 1e6:8.1f} MB, {blocks / 1e6:.1f} MB on the disk", flush=True)


def operations(folder: Path, settings: Path) -> None:
    """Print how many operations on files a run takes in its life, from its training to its table, by strace."""
    units = 200
    work = folder.with_name("work.jsonl")
    work.write_text("".join(json.dumps([[index, 0] for index in range(units)]) + "\n"))
    commands = [
        [*COMMAND, "train", "--out", str(folder), "--work", str(work), "--task", "0", "--settings", str(settings)],
        [*COMMAND, "compact", str(folder)],
        [*COMMAND, "collect", str(folder), "--out", str(folder.with_name("release"))],
    ]
    total = 0
    for command in commands:
        log = folder.with_name("strace.log")
        trace = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=%file,%desc"]
        subprocess.run([*trace, *command], check=True, capture_output=True)
        calls = [line for line in log.read_text().splitlines() if str(folder) in line and _is_operation(line)]
        total += len(calls)
        print(f"  {command[3]:34} {len(calls) / units:8.1f} operations a run")
    print(f"  {'in its whole life':34} {total / units:8.1f} operations a run", flush=True)


def _is_operation(line: str) -> bool:
    """Return whether a call names a file, or flushes one: not one about a file that is open."""
    name = re.search(r"(\w+)\((AT_FDCWD)?", line)
    return name is not None and (name[2] is not None or name[1] in BY_NAME) and "AT_EMPTY_PATH" not in line


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=positive, default=58_194, help="default: 58194, as many as were published")
    parser.add_argument("--old", type=positive, default=2000, help="runs of the old layout (default: 2000)")
    parser.add_argument("--folder", help="where to make the folders (default: a temporary one)")
    args = parser.parse_args(arguments)
    print(f"nasbench-robust {nbr.__version__}; {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        place = Path(name)
        _old_layout(place / "old", args.old)
        print(f"{args.runs} runs")
        start = time.process_time()
        stored = make_folder(place / "new", args.runs)
        print(f"  {'written':34} {(time.process_time() - start) / args.runs * 1e3:8.2f} CPU ms a run")
        settings = place / "settings.json"
        settings.write_text(json.dumps(stored.to_dict()))
        weigh(place / "new", "a file a run")
        look(place / "new", settings, "a file a run")
        report("collect, a file a run", [*COMMAND, "collect", str(place / "new"), "--out", str(place / "release")])
        report("compact", [*COMMAND, "compact", str(place / "new")])
        weigh(place / "new", "compacted")
        look(place / "new", settings, "compacted")
        report("collect, compacted", [*COMMAND, "collect", str(place / "new"), "--out", str(place / "release")])
        report("verify, compacted", [*COMMAND, "verify", str(place / "new")])
        _more_runs(place / "new", 500)
        look(place / "new", settings, "500 more")
        report("compact, 500 more", [*COMMAND, "compact", str(place / "new")])
        print("operations on files")
        if shutil.which("strace"):
            quick = place / "quick.json"
            quick.write_text(json.dumps({"epochs": 1, "skeleton": {"channels": 2}, "evaluation": []}))
            operations(place / "life", quick)
        else:
            print("  not counted: there is no strace")
    return 0


def _old_layout(folder: Path, runs: int) -> None:
    make_folder(folder, runs, old=True)
    print(f"{runs} runs, three files each")
    weigh(folder, "three files a run")
    load = "import sys, nasbench_robust as nbr; nbr.load(sys.argv[1]).query(0, metric='pgd_acc')"
    report("load and query, three files", [sys.executable, "-c", load, str(folder)])
    report("collect, three files", [*COMMAND, "collect", str(folder), "--out", str(folder.with_name("old-release"))])


def _more_runs(folder: Path, runs: int) -> None:
    """Write runs of a seed that the folder has not."""
    with mock.patch("os.fsync"):
        for number, run in enumerate(bundled_runs()):
            if number == runs * SEEDS:
                return
            if run.row["seed"] == 0:
                write_new(with_seed(run, 9), folder)


if __name__ == "__main__":
    sys.exit(main())
