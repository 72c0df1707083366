"""Score cells without training them: ``python generation/score_cells.py --dataset digits --out DIR --workers 2``.

Kernels, kernel regression and proxies of untrained networks, one shard per cell and initial seed; what is there is not
made again, and several processes or machines may work on one folder. Ctrl-C stops at once, SIGTERM after the cell under
way; the next call goes on. --table FILE adds the shards of --out to a file at the end, whose cells are not made again
either, and moves damaged ones to ``quarantine/``, so that the next call makes them again. In a Slurm array write the
work list with --write-worklist FILE, then run tasks with --work FILE: the task's number says which line.
"""

from __future__ import annotations

import os

# The matrices here are too small for several threads, whose waiting costs more than they save: one process per core.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse  # noqa: E402
import logging  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import run_local  # noqa: E402
from common import seed  # noqa: E402
from train_cell import EXIT_REQUEUE, Signals  # noqa: E402

from nasbench_robust.cells import Cell  # noqa: E402
from nasbench_robust.errors import InvalidValueError, MissingPackageError  # noqa: E402
from nasbench_robust.programs import guarded  # noqa: E402
from nasbench_robust.runs import (  # noqa: E402
    Unit,
    claim,
    find_missing,
    make_tasks,
    parse_cells,
    read_task,
    shard_name,
    write_worklist,
)
from nasbench_robust.scores import FOLDER, check_folder, collect_scores, scored_units, write_scores  # noqa: E402
from nasbench_robust.settings import read_settings  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing and return the exit code."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return guarded("score_cells.py", lambda: _run(args), args.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, help="folder of the shards")
    parser.add_argument("--dataset", default="digits", help="images to look at (default: digits)")
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the data set's scores")
    parser.add_argument(
        "--cells",
        default="all",
        help="'all' (default), 'every:4' for every fourth of all, or indices and ranges such as 0-99,1234",
    )
    parser.add_argument(
        "--seeds", type=seed, nargs="+", default=[0], metavar="SEED", help="initial weights (default: 0)"
    )
    parser.add_argument("--data-root", metavar="ROOT", help="folder of the images, or hub:owner/name")
    parser.add_argument("--engine", default="auto", choices=("auto", "native", "torch"), help="of the kernels")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--table", metavar="FILE", help="add the shards to this file; what it has is not made")
    parser.add_argument("--write-worklist", metavar="FILE", help="only write what is missing, --per-task units a line")
    parser.add_argument("--per-task", type=int, default=20, metavar="N", help="(default: 20)")
    parser.add_argument("--work", help="work list; --task says which line of it")
    parser.add_argument("--task", default=os.environ.get("SLURM_ARRAY_TASK_ID"), type=int)
    return parser


def _run(args: argparse.Namespace) -> int:
    settings = _settings(args)
    check_folder(args.out, settings)
    if args.work:
        if args.task is None:
            raise InvalidValueError("--task", None, "a line of the work list, or a Slurm array task")
        return _score(read_task(args.work, args.task), settings, args)
    there = scored_units(args.table, settings) if args.table else set()
    wanted = [(index, seed) for seed in args.seeds for index in _cells(args.cells)]
    units = [Unit(*key) for key in wanted if key not in there]
    if there:
        print(f"{len(wanted) - len(units)} of {len(wanted)} are in {args.table}", file=sys.stderr)
    if args.write_worklist:
        missing = find_missing(args.out, settings, units, FOLDER)
        tasks = make_tasks(missing, max(1, args.per_task))
        write_worklist(tasks, args.write_worklist)
        print(f"{len(missing)} missing, {len(tasks)} tasks -> {args.write_worklist}")
        return 0
    start = time.time()
    code = run_local.make(args, settings, units, FOLDER, _command)
    if code or not args.table:
        return code
    report = collect_scores(args.out, args.table)
    print(
        f"{report.rows} rows, {len(report.quarantined)} damaged shards set aside -> {args.table}; "
        f"{report.hours:.2f} core hours of scoring, this call took {(time.time() - start) / 3600:.2f} h"
    )
    return int(bool(report.quarantined))


def _cells(text: str) -> list[int]:
    """Return the cells that a text names; ``every:4`` takes every fourth of all, a sample spread over their indices."""
    if not text.startswith("every:"):
        return parse_cells(text)
    if not text[6:].isdecimal() or int(text[6:]) < 1:
        raise InvalidValueError("--cells", text, "'every:' and a positive integer", "every:4")
    return parse_cells("all")[:: int(text[6:])]


def _settings(args: argparse.Namespace) -> Any:
    try:
        from nasbench_robust.scores import score_settings_for
    except ImportError as error:
        raise MissingPackageError(error.name or "torch", "ntk") from None
    settings = score_settings_for(args.dataset)
    return read_settings(args.settings, settings) if args.settings else settings


def _command(args: argparse.Namespace, worklist: Path) -> tuple[str, ...]:
    """Return the command that scores a line of a work list, but for the number of the line."""
    command = [sys.executable, str(Path(__file__).resolve()), "--work", str(worklist.resolve())]
    command += ["--out", str(Path(args.out).resolve()), "--dataset", args.dataset]
    command += ["--engine", args.engine, "--device", args.device]
    for name in ("data_root", "settings"):
        value = getattr(args, name)
        if value:
            command += [f"--{name.replace('_', '-')}", str(Path(value).resolve() if name == "settings" else value)]
    return tuple(command)


def _score(units: Sequence[Unit], settings: Any, args: argparse.Namespace) -> int:
    """Score units one after the other, but those that are there or that another process is at; return the exit code."""
    import torch

    from nasbench_robust.engines import processor
    from nasbench_robust.images import load_images
    from nasbench_robust.scores import chosen_images, score_cell

    torch.set_num_threads(1)
    signals = Signals()
    images, labels = chosen_images(settings, load_images(settings.dataset, args.device, args.data_root))
    name = torch.cuda.get_device_name(images.device) if images.is_cuda else processor()
    for unit in units:
        if signals.should_stop():
            return EXIT_REQUEUE
        cell = Cell.from_index(Cell.from_index(unit.index).representative)
        with claim(args.out, shard_name(settings, cell.index, unit.seed)) as had:
            if not had or not find_missing(args.out, settings, [Unit(cell.index, unit.seed)], FOLDER):
                continue
            found = score_cell(cell, settings, images, labels, unit.seed, args.engine)
            write_scores(found, settings, cell.index, unit.seed, args.out, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
