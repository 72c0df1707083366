"""The command that scores cells without training them: score."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .command import Command, add_cells, add_images, add_seeds, add_task, again, positive, say, tell, with_changes
from .generation import devices, read_line

if TYPE_CHECKING:
    from ..runs import Unit
    from ..scores import ScoreSettings


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, help="folder of the shards")
    add_images(parser, "look at")
    add_cells(parser)
    add_seeds(parser, [0], "initial weights (default: 0)")
    parser.add_argument("--engine", default="auto", choices=("auto", "native", "torch"), help="of the kernels")
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    parser.add_argument("--table", metavar="FILE", help="add the shards to this file; what it has is not made")
    parser.add_argument("--write-worklist", metavar="FILE", help="only write what is missing, --per-task units a line")
    parser.add_argument("--per-task", type=positive, default=20, metavar="N", help="(default: 20)")
    add_task(parser)


def _score(args: argparse.Namespace) -> int:
    # The matrices here are too small for several threads, whose waiting costs more than they save: one process a core.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when NumPy is imported
        os.environ.setdefault(variable, "1")
    from ..runs import Unit, make_locally, make_tasks, parse_cells, write_worklist
    from ..scores import check_folder, collect_scores, missing_scores, score_keys, scored_units

    settings = _score_settings(args)
    check_folder(args.out, settings)
    if args.work:
        return _score_line(args, settings)
    there = scored_units(args.table, settings) if args.table else {}
    wanted = [Unit(index, number) for number in args.seeds for index in parse_cells(args.cells)]
    every = frozenset(score_keys(settings))
    units = [unit for unit in wanted if not every <= there.get((unit.index, unit.seed), frozenset())]

    def find_missing(units: Sequence[Unit]) -> list[Unit]:
        return [unit for unit in units if missing_scores(args.out, settings, unit.index, unit.seed, there)]

    if there:
        tell(f"{len(wanted) - len(units)} of {len(wanted)} are in {args.table}")
    if args.write_worklist:
        missing = find_missing(units)
        tasks = make_tasks(missing, args.per_task)
        write_worklist(tasks, args.write_worklist)
        print(f"{len(missing)} missing, {len(tasks)} tasks -> {args.write_worklist}")
        return 0
    start = time.time()
    kept = ("out", "dataset", "engine", "device", "data_root", "settings", "table")
    code = make_locally(
        args.out,
        units,
        args.workers,
        lambda work: again("score", args, work, *kept),
        find_missing,
        what="scores",
        say=tell,
        devices=devices(args.device),
    )
    if code or not args.table:
        return code
    report = collect_scores(args.out, args.table)
    print(
        f"{report.rows} rows, {len(report.quarantined)} damaged shards set aside -> {args.table}; "
        f"{report.hours:.2f} core hours of scoring, this call took {(time.time() - start) / 3600:.2f} h"
    )
    return int(bool(report.quarantined))


def _score_line(args: argparse.Namespace, settings: ScoreSettings) -> int:
    """Score the units of one line of a work list."""
    from ..images import load_images, use_threads
    from ..runs import Signals, is_quiet, make, unit_progress
    from ..scores import ScoreJob, chosen_images, scored_units

    signals, units = Signals(), read_line(args)
    use_threads(1)
    images, labels = chosen_images(settings, load_images(settings.dataset, args.device, args.data_root))
    there = scored_units(args.table, settings) if args.table else {}
    job = ScoreJob(settings, Path(args.out), images, labels, args.engine, there)
    report = (lambda _: None) if is_quiet() else say
    return make(job, units, signals, say=report, bar=unit_progress, tell_there=False)


def _score_settings(args: argparse.Namespace) -> ScoreSettings:
    from ..scores import score_settings_for

    return with_changes(args, score_settings_for(args.dataset))


SCORE = Command(
    "score",
    "score cells without training them: kernels, kernel regression, proxies",
    _score_arguments,
    _score,
    "One shard per cell and initial seed; what is there is not made again, and several processes or machines may work "
    "on one folder. --table FILE adds the shards to a file, whose scores are not made again either: of a cell that "
    "lacks a proxy or an attack of the settings only that is made. In a Slurm array "
    "write the work list with --write-worklist FILE, then run tasks with --work FILE.",
)
COMMANDS = (SCORE,)
