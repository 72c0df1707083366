"""Submit what is missing of a table as Slurm array jobs: ``python generation/submit.py --out DIR``.

What is missing is read from the shards on the disk, so the program can be called again at any time: after a failure,
after a time limit, or to add seeds. ``--dry-run`` prints the scripts and submits nothing. Options of sbatch that are
not named here follow after ``--``: ``submit.py --out DIR -- --partition=gpu --gres=gpu:1``.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from common import add_table_arguments, add_train_arguments, read_table_arguments, train_command

from nasbench_robust.programs import guarded
from nasbench_robust.runs import (
    ArrayJob,
    array_jobs,
    find_missing,
    make_tasks,
    max_array_size,
    render,
    submit,
    write_worklist,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Submit what is missing and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_table_arguments(parser)
    add_train_arguments(parser)
    parser.add_argument("--runs-per-task", type=int, default=1, help="runs that one task makes in turn (default: 1)")
    parser.add_argument("--throttle", type=int, help="tasks that run at once at most (default: no limit of our own)")
    parser.add_argument("--time", default="12:00:00", help="time limit of a task (default: 12:00:00)")
    parser.add_argument("--warning", type=int, default=120, help="seconds of notice before the limit (default: 120)")
    parser.add_argument("--max-array-size", type=int, help="default: what the site says")
    parser.add_argument("--dry-run", action="store_true", help="print the scripts, submit nothing")
    parser.add_argument("options", nargs="*", help="further options of sbatch, after --")
    args = parser.parse_args(arguments)
    return guarded("submit.py", lambda: _submit(args), args.out)


def _submit(args: argparse.Namespace) -> int:
    settings, units = read_table_arguments(args)
    missing = find_missing(args.out, settings, units)
    print(f"{len(units)} runs, {len(units) - len(missing)} there, {len(missing)} missing", file=sys.stderr)
    if not missing:
        return 0
    tasks = make_tasks(missing, args.runs_per_task)
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    folder = Path(args.out).resolve() / "jobs" / stamp
    whole = ArrayJob(
        command=train_command(args, folder / "work.jsonl"),
        tasks=len(tasks),
        offset=0,
        log_folder=str(folder),
        name=f"nbr-{settings.dataset}",
        throttle=args.throttle,
        time_limit=args.time,
        warning_seconds=args.warning,
        options=tuple(args.options),
    )
    scripts = [render(job) for job in array_jobs(whole, args.max_array_size or max_array_size())]
    if args.dry_run:
        print("\n".join(scripts), end="")
        return 0
    write_worklist(tasks, folder / "work.jsonl")
    for number, text in enumerate(scripts):
        script = folder / f"array-{number}.sbatch"
        script.write_text(text)
        print(f"job {submit(script)}: {script}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
