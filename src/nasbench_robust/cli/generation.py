"""Commands that make a table: train, run, submit."""

from __future__ import annotations

import argparse
import math
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidValueError
from .command import (
    TASK_VARIABLES,
    Command,
    add_cells,
    add_images,
    add_seeds,
    add_task,
    again,
    positive,
    say,
    tell,
    with_changes,
)

if TYPE_CHECKING:
    from ..runs import ArrayJob, Unit
    from ..settings import TrainingSettings


# ------------------------------------------------------------------ train


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    text = f"index of the cell, 0 to 15624, where there is no work list (default: {', '.join(TASK_VARIABLES)})"
    parser.add_argument("--index", help=text)
    add_task(parser)
    add_seeds(parser, [0], "one run each (default: 0)")
    add_images(parser)
    _add_engine(parser)
    parser.add_argument("--out", required=True, help="folder for the runs")
    parser.add_argument("--every", type=positive, default=1, help="epochs between checkpoints (default: 1)")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    text = "auto (default: native on a CPU where it was built, torch-fast-graph on a GPU, else torch-fast), native, "
    text += "torch, torch-fast, torch-fast-bf16; with --device cuda torch-fast-graph, -tf32-graph and -bf16-graph too"
    parser.add_argument("--engine", default="auto", help=text)


def _train(args: argparse.Namespace) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy would start a thread a core, which nothing here uses
    from ..engines import choose_engine
    from ..images import load_arrays
    from ..native import use_threads
    from ..runs import CellJob, Signals, check_folder, make, unit_progress

    signals = Signals(ctrl_c=True)
    units = _train_units(args)
    check_folder(Path(args.out))
    settings = _training_settings(args)
    engine = choose_engine(args.engine, settings, args.device, args.threads)
    images: Any = load_arrays(settings.dataset, args.data_root)
    if engine == "native":
        use_threads(args.threads)
    else:
        images = _on_device(images, args)
    job = CellJob(settings, Path(args.out), images, engine, args.every)
    return make(job, units, signals, say=say, bar=unit_progress, tell_there=not args.work)


def _on_device(images: Any, args: argparse.Namespace) -> Any:
    from ..images import use_threads

    use_threads(args.threads)
    return images.to(args.device)


def _training_settings(args: argparse.Namespace) -> TrainingSettings:
    from ..settings import settings_for

    settings = with_changes(args, settings_for(args.dataset))
    settings.skeleton.check_dataset(settings.dataset)
    return settings


def _train_units(args: argparse.Namespace) -> list[Unit]:
    """Return what is to be made: one line of a work list, or one cell with the given seeds."""
    from ..cells import Cell
    from ..runs import Unit

    if args.work:
        if args.index is not None:
            raise InvalidValueError("--index", args.index, "a cell, or a work list with --work, not both")
        return read_line(args)
    index = args.task if args.index is None else Cell.from_text(args.index).index
    if index is None:
        raise InvalidValueError("--index", None, "the index of a cell, or a Slurm array task")
    return [Unit(Cell.from_index(index).index, number) for number in args.seeds]


def read_line(args: argparse.Namespace) -> list[Unit]:
    """Return the units of the line of the work list that ``--task`` names."""
    from ..runs import read_task

    if args.task is None:
        raise InvalidValueError("--task", None, "a line of the work list, or a Slurm array task")
    return read_task(args.work, args.task)


# ------------------------------------------------------------------ whole tables


def _add_table(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which runs a table is to have, and where it is."""
    parser.add_argument("--out", required=True, help="folder of the runs")
    add_cells(parser)
    add_seeds(parser, [0, 1, 2], "default: 0 1 2")


def read_table(args: argparse.Namespace) -> tuple[TrainingSettings, list[Unit]]:
    """Return the settings and all units of the table, seed by seed: a first seed of everything comes first."""
    from ..runs import Unit, parse_cells

    return _training_settings(args), [Unit(index, number) for number in args.seeds for index in parse_cells(args.cells)]


def _check_engine(args: argparse.Namespace, settings: TrainingSettings) -> None:
    """Find out before all runs, not in each of them, that they cannot be made; a node may have what is not here."""
    from ..engines import choose_engine

    if not re.fullmatch(r"cpu|cuda(:\d+)?", args.device):
        raise InvalidValueError("device", args.device, "cpu, cuda or cuda:0", "cpu")
    choose_engine(args.engine, settings, args.device, args.threads)


def _check_images(args: argparse.Namespace, settings: TrainingSettings) -> None:
    """Find out that the images, their validation split or the device are not on this machine."""
    from ..images import checked_device, load_arrays

    if args.device != "cpu":
        checked_device(args.device)
    load_arrays(settings.dataset, args.data_root).held_out(settings.curve_split)


def train_command(args: argparse.Namespace, worklist: Path) -> list[str]:
    """Return the command that makes a line of a work list of runs, but for the number of the line."""
    return again("train", args, worklist, "dataset", "out", "device", "threads", "engine", "data_root", "settings")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _add_table(parser)
    add_images(parser)
    _add_engine(parser)
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")


def _run(args: argparse.Namespace) -> int:
    from ..runs import check_folder, check_settings, compact_many, find_missing, make_locally, remember

    settings, units = read_table(args)
    _check_engine(args, settings)
    _check_images(args, settings)
    check_settings(args.out, settings)
    check_folder(args.out)
    remember(args.out, settings, args.cells, args.seeds)
    missing, command = partial(find_missing, args.out, settings), partial(train_command, args)
    code = make_locally(args.out, units, args.workers, command, missing, say=tell, devices=devices(args.device))
    compact_many(args.out)
    return code


def devices(device: str) -> list[str]:
    """Return what the processes of one machine are spread over: all GPUs for ``cuda``, else the device for all."""
    if device != "cuda":
        return []
    from torch.cuda import device_count

    return [f"cuda:{number}" for number in range(device_count())]


def _submit_arguments(parser: argparse.ArgumentParser) -> None:
    _add_table(parser)
    add_images(parser)
    _add_engine(parser)
    text = "runs that one task makes in turn, on the average of tasks that take equally long (default: 1)"
    parser.add_argument("--runs-per-task", type=positive, default=1, help=text)
    text = "tasks that run at once at most (default: no limit of our own); several arrays then run one after the other"
    parser.add_argument("--throttle", type=positive, help=text)
    parser.add_argument("--time", default="12:00:00", help="time limit of a task (default: 12:00:00)")
    text = "seconds of notice before the limit (default: 120)"
    parser.add_argument("--warning", type=positive, default=120, help=text)
    parser.add_argument("--max-array-size", type=positive, help="default: what the site says")
    parser.add_argument("--dry-run", action="store_true", help="print the scripts, submit nothing")
    text = "only write what is missing, one task a line, for another scheduler"
    parser.add_argument("--write-worklist", metavar="FILE", help=text)
    parser.add_argument("options", nargs="*", help="further options of sbatch, after --")


def _submit(args: argparse.Namespace) -> int:
    from ..runs import check_settings, compact_many, find_missing, make_tasks, queued, remember, write_worklist

    settings, units = read_table(args)
    _check_engine(args, settings)
    check_settings(args.out, settings)
    if not args.dry_run:
        compact_many(args.out)
    missing = find_missing(args.out, settings, units)
    waiting = queued(args.out)
    left = [unit for unit in missing if unit not in waiting]
    queue = f", {len(missing) - len(left)} of them queued" if len(left) < len(missing) else ""
    tell(f"{len(units)} runs, {len(units) - len(missing)} there, {len(missing)} missing{queue}")
    if not left:
        return 0
    tasks = make_tasks(left, args.runs_per_task, settings.skeleton)
    if args.write_worklist:
        remember(args.out, settings, args.cells, args.seeds)
        write_worklist(tasks, args.write_worklist)
        print(f"{len(tasks)} tasks -> {args.write_worklist}")
    else:
        _submit_tasks(args, settings, tasks)
    return 0


def _submit_tasks(args: argparse.Namespace, settings: TrainingSettings, tasks: list[list[Unit]]) -> None:
    """Submit array jobs for tasks, or print their scripts."""
    import datetime

    from ..files import write_bytes
    from ..runs import array_jobs, max_array_size, remember, remember_job, render, submit, write_worklist

    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    folder = Path(args.out).absolute() / "jobs" / stamp
    arrays = list(array_jobs(_whole_array(args, settings, len(tasks), folder), args.max_array_size or max_array_size()))
    scripts = [render(array) for array in arrays]
    if args.dry_run:
        print("\n".join(scripts), end="")
        return
    remember(args.out, settings, args.cells, args.seeds)
    write_worklist(tasks, folder / "work.jsonl")
    job = None
    for number, (array, text) in enumerate(zip(arrays, scripts, strict=True)):
        script = folder / f"array-{number}.sbatch"
        write_bytes(text.encode(), script)
        job = submit(script, job if args.throttle else None)
        remember_job(job, array.offset, folder / "work.jsonl")
        say(f"job {job}: {script}")


def _whole_array(args: argparse.Namespace, settings: TrainingSettings, tasks: int, folder: Path) -> ArrayJob:
    """Return one array of all tasks, whatever size a site takes, with its files in a folder."""
    from ..runs import ArrayJob, peak_memory

    peak = peak_memory(Path(args.out)) if args.device == "cpu" else None
    return ArrayJob(
        command=tuple(train_command(args, folder / "work.jsonl")),
        tasks=tasks,
        offset=0,
        log_folder=str(folder),
        name=f"nbr-{settings.dataset}",
        throttle=args.throttle,
        cpus=args.threads,
        gpus=int(args.device != "cpu"),
        memory_mib=math.ceil(2 * peak) if peak else None,  # of which the folder's runs took half
        time_limit=args.time,
        warning_seconds=args.warning,
        options=tuple(args.options),
    )


TRAIN = Command(
    "train",
    "adversarially train cells, measure them, and write their rows",
    _train_arguments,
    _train,
    "Runs go to files under --out, one per cell and seed; a run that is there is not made again, and one that was "
    "interrupted goes on from its checkpoint. SIGTERM and SIGUSR1 make it checkpoint and exit with code 75, Ctrl-C "
    "with 130; on SIGUSR1, sent by Slurm before the time limit, it asks to be queued again.",
)
RUN = Command(
    "run",
    "make what is missing of a table on this machine",
    _run_arguments,
    _run,
    "Stop it with Ctrl-C and start it again: it goes on where it was.",
)
SUBMIT = Command(
    "submit",
    "submit what is missing of a table as Slurm array jobs",
    _submit_arguments,
    _submit,
    "What is missing is read from the folder, so it can be called again at any time: after a failure, after a time "
    "limit, or to add seeds. Options of sbatch follow after --: submit --out DIR -- --partition=gpu --gres=gpu:1.",
)
COMMANDS = (TRAIN, RUN, SUBMIT)
