"""Commands that make a table: train, run, submit, status, collect."""

from __future__ import annotations

import argparse
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidValueError, UnknownNameError
from .command import Command, add_cells, add_images, again, epoch_bar, positive, say, seed, tell, with_changes

if TYPE_CHECKING:
    from ..runs import Unit
    from ..settings import TrainingSettings

TASK_VARIABLE = "SLURM_ARRAY_TASK_ID"


# ------------------------------------------------------------------ train


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--index", help=f"index of the cell, 0 to 15624 (default: {TASK_VARIABLE})")
    what.add_argument("--work", help="work list; --task says which line of it")
    task = os.environ.get(TASK_VARIABLE)
    parser.add_argument("--task", default=task, type=int, help=f"line of the work list (default: {TASK_VARIABLE})")
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0], metavar="SEED", help="one run each (default: 0)")
    add_images(parser)
    _add_engine(parser)
    parser.add_argument("--out", required=True, help="folder for the shards")
    parser.add_argument("--every", type=positive, default=1, help="epochs between checkpoints (default: 1)")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    text = "auto (default: native on a CPU where it was built, else torch-fast), native, torch, torch-fast, "
    text += "torch-fast-bf16; with --device cuda also torch-fast-graph and torch-fast-bf16-graph"
    parser.add_argument("--engine", default="auto", help=text)


def _train(args: argparse.Namespace) -> int:
    from ..engines import choose_engine
    from ..images import load_arrays
    from ..runs import CellJob, Signals, check_folder, make

    signals = Signals()
    units = _train_units(args)
    check_folder(Path(args.out))
    settings = _training_settings(args)
    engine = choose_engine(args.engine, settings, args.device, args.threads)
    images: Any = load_arrays(settings.dataset, args.data_root)
    if engine != "native":
        images = _on_device(images, args)
    job = CellJob(settings, Path(args.out), images, engine, args.every)
    return make(job, units, signals, say=say, bar=epoch_bar, tell_there=not args.work)


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
    parser.add_argument("--out", required=True, help="folder of the shards")
    add_cells(parser)
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")


def _read_table(args: argparse.Namespace) -> tuple[TrainingSettings, list[Unit]]:
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
    from ..runs import find_missing, make_locally

    settings, units = _read_table(args)
    _check_engine(args, settings)
    _check_images(args, settings)
    missing, command = partial(find_missing, args.out, settings), partial(train_command, args)
    return make_locally(args.out, units, args.workers, command, missing, say=tell)


def _submit_arguments(parser: argparse.ArgumentParser) -> None:
    _add_table(parser)
    add_images(parser)
    _add_engine(parser)
    parser.add_argument("--runs-per-task", type=int, default=1, help="runs that one task makes in turn (default: 1)")
    parser.add_argument("--throttle", type=int, help="tasks that run at once at most (default: no limit of our own)")
    parser.add_argument("--time", default="12:00:00", help="time limit of a task (default: 12:00:00)")
    parser.add_argument("--warning", type=int, default=120, help="seconds of notice before the limit (default: 120)")
    parser.add_argument("--max-array-size", type=int, help="default: what the site says")
    parser.add_argument("--dry-run", action="store_true", help="print the scripts, submit nothing")
    parser.add_argument("options", nargs="*", help="further options of sbatch, after --")


def _submit(args: argparse.Namespace) -> int:
    import datetime

    from ..engines import engine_names
    from ..files import write_bytes
    from ..runs import ArrayJob, array_jobs, find_missing, make_tasks, max_array_size, render, submit, write_worklist

    if args.engine not in engine_names():  # by its name alone: other machines will do the work
        raise UnknownNameError("engine", args.engine, engine_names())
    settings, units = _read_table(args)
    _check_engine(args, settings)
    missing = find_missing(args.out, settings, units)
    tell(f"{len(units)} runs, {len(units) - len(missing)} there, {len(missing)} missing")
    if not missing:
        return 0
    tasks = make_tasks(missing, args.runs_per_task)
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    folder = Path(args.out).resolve() / "jobs" / stamp
    whole = ArrayJob(
        command=tuple(train_command(args, folder / "work.jsonl")),
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
        write_bytes(text.encode(), script)
        say(f"job {submit(script)}: {script}")
    return 0


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    _add_table(parser)
    parser.add_argument("--dataset", default="digits", help="images that are trained on (default: digits)")
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the data set's protocol")


def _status(args: argparse.Namespace) -> int:
    from ..runs import find_missing, is_claimed
    from ..table import shard_name

    settings, units = _read_table(args)
    missing = find_missing(args.out, settings, units)
    shards = [shard_name(settings, unit.index, unit.seed) for unit in missing]
    started = [shard for shard in shards if (Path(args.out) / "checkpoints" / f"{shard}.ckpt").exists()]
    running = [shard for shard in shards if is_claimed(args.out, shard)]
    print(f"runs      {len(units)}\ndone      {len(units) - len(missing)}\nmissing   {len(missing)}")
    print(f"running   {len(running)}\nstopped   {len(set(started) - set(running))} with a checkpoint to go on from")
    if len(missing) < len(units):
        _print_done(Path(args.out), len(missing))
    return 0


def _print_done(folder: Path, missing: int) -> None:
    """Print which runs failed, and how long those that are missing will take."""
    from ..table import Reader

    columns = ["index", "seed", "failure", "train_seconds", "eval_seconds"]
    rows = Reader(folder / "runs").read(columns).to_pylist()
    failed = [row for row in rows if row["failure"]]
    seconds = sum((row["train_seconds"] or 0) + (row["eval_seconds"] or 0) for row in rows) / len(rows)
    print(f"failed    {len(failed)}")
    for row in failed:
        print(f"  cell {row['index']}, seed {row['seed']}: {row['failure']}")
    print(f"left      about {seconds * missing / 3600:.2f} process hours, at {seconds:.1f} s a run so far")


def _collect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", help="folders of shards")
    parser.add_argument("--out", required=True, help="folder of the release")


def _collect(args: argparse.Namespace) -> int:
    from ..runs import collect
    from ..table import validate

    report = collect(args.folders, args.out)
    table = Path(args.out) / "runs.parquet"
    aside = len(report.quarantined)
    print(f"{report.runs} runs, {report.repeated} repeated, {aside} files of damaged runs set aside -> {table}")
    for dataset, index, number, reason in report.failed:
        print(f"failed: {dataset} cell {index}, seed {number}: {reason}")
    findings = validate(table)
    for finding in findings:
        print(finding)
    return int(any(finding.severity == "error" for finding in findings))


TRAIN = Command(
    "train",
    "adversarially train cells, measure them, and write their rows",
    _train_arguments,
    _train,
    "Rows go to shards under --out, one per cell and seed; a run that is there is not made again, and one that was "
    "interrupted goes on from its checkpoint. SIGTERM and SIGUSR1 make it checkpoint and exit with code 75; on "
    "SIGUSR1, sent by Slurm before the time limit, it asks to be queued again.",
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
    "What is missing is read from the shards, so it can be called again at any time: after a failure, after a time "
    "limit, or to add seeds. Options of sbatch follow after --: submit --out DIR -- --partition=gpu --gres=gpu:1.",
)
STATUS = Command(
    "status", "how far a table is: done, running, failed with reasons, hours to go", _status_arguments, _status
)
COLLECT = Command(
    "collect",
    "merge the shards of one or several folders into a release",
    _collect_arguments,
    _collect,
    "Files that say the same are merged, files that disagree are refused by name, and the files of a run of which one "
    "is damaged are moved to quarantine/. The exit code is 1 if the release has errors.",
)
COMMANDS = (TRAIN, RUN, SUBMIT, STATUS, COLLECT)
