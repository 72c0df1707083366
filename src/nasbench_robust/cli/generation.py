"""Commands that make a table: train, run, submit, status, collect."""

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

    signals = Signals()
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
    from ..runs import check_folder, check_settings, compact_many, find_missing, make_locally, remember

    settings, units = _read_table(args)
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

    settings, units = _read_table(args)
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


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, help="folder of the runs")
    add_cells(parser, None)
    add_seeds(parser, None, "default: those that run and submit were asked for, or 0 1 2")
    text = "images that are trained on (default: those that run and submit were asked for, or digits)"
    parser.add_argument("--dataset", help=text)
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the data set's protocol")


def _status(args: argparse.Namespace) -> int:
    from ..engines import finished_epochs
    from ..files import is_there
    from ..runs import find_missing, is_claimed, shard_name

    settings, units = _asked_for(args)
    missing = find_missing(args.out, settings, units)
    shards = {shard_name(settings, unit.index, unit.seed): unit for unit in missing}
    checkpoints = {shard: Path(args.out) / "checkpoints" / f"{shard}.ckpt" for shard in shards}
    running = [shard for shard in shards if is_claimed(args.out, shard)]
    stopped = [shard for shard in shards if shard not in running and is_there(checkpoints[shard])]
    print(f"runs      {len(units)}\ndone      {len(units) - len(missing)}\nmissing   {len(missing)}")
    print(f"running   {len(running)}\nstopped   {len(stopped)} with a checkpoint to go on from")
    epochs = {shard: finished_epochs(checkpoints[shard]) for shard in (*running, *stopped)}
    for shard in running:
        done = "at its beginning" if epochs[shard] is None else f"epoch {epochs[shard]} of {settings.epochs}"
        print(f"  cell {shards[shard].index}, seed {shards[shard].seed}: {done}")
    if len(missing) < len(units):
        begun = sum((done or 0) / settings.epochs for done in epochs.values())
        _print_done(Path(args.out), len(missing) - begun, len(running))
    return 0


def _asked_for(args: argparse.Namespace) -> tuple[TrainingSettings, list[Unit]]:
    """Return the settings and units that are named, or else those that the folder remembers."""
    from ..runs import remembered

    named = {name: value for name in ("cells", "seeds", "dataset", "settings") if (value := getattr(args, name))}
    before = remembered(args.out)
    if before and not named:
        return before
    args.cells, args.seeds, args.dataset = args.cells or "all", args.seeds or [0, 1, 2], args.dataset or "digits"
    settings, units = _read_table(args)
    return (before[0] if before and not {"dataset", "settings"} & set(named) else settings), units


def _print_done(folder: Path, missing: float, running: int) -> None:
    """Print which runs failed, how long those that are missing will take, and when that is."""
    from datetime import datetime, timedelta

    from ..table import open_table

    rows = open_table(folder).read(["index", "seed", "failure", "train_seconds", "eval_seconds"]).to_pylist()
    failed = [row for row in rows if row["failure"]]
    print(f"failed    {len(failed)}")
    for row in failed:
        print(f"  cell {row['index']}, seed {row['seed']}: {row['failure']}")
    seconds = sum((row["train_seconds"] or 0) + (row["eval_seconds"] or 0) for row in rows) / len(rows)
    print(f"left      about {seconds * missing / 3600:.2f} process hours, at {seconds:.1f} s a run so far")
    if running:
        end = datetime.now().astimezone() + timedelta(seconds=seconds * missing / running)
        print(f"finished  about {end:%Y-%m-%d %H:%M}, by the {running} that run now")


def _collect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", help="folders of runs, or releases")
    parser.add_argument("--out", required=True, help="folder of the release")
    text = "what the settings of each folder are called, where several have one data set: digits@NAME"
    parser.add_argument("--names", nargs="+", metavar="NAME", help=text)


def _collect(args: argparse.Namespace) -> int:
    from ..releases import locate
    from ..runs import collect
    from ..table import validate

    if args.names and len(args.names) != len(args.folders):
        raise InvalidValueError("--names", args.names, f"as many as there are folders, {len(args.folders)}")
    report = collect(args.folders, args.out, args.names or ())
    table = Path(args.out) / "runs.parquet"
    aside = len(report.quarantined)
    print(f"{report.runs} runs, {report.repeated} repeated, {aside} files of damaged runs set aside -> {table}")
    for path in report.incomplete:
        print(f"left out, without its curve or outcomes: {path}")
    for dataset, index, number, reason in report.failed:
        print(f"failed: {dataset} cell {index}, seed {number}: {reason}")
    findings = validate(locate(args.out))
    for finding in findings:
        print(finding)
    return int(any(finding.severity == "error" for finding in findings))


TRAIN = Command(
    "train",
    "adversarially train cells, measure them, and write their rows",
    _train_arguments,
    _train,
    "Runs go to files under --out, one per cell and seed; a run that is there is not made again, and one that was "
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
    "What is missing is read from the folder, so it can be called again at any time: after a failure, after a time "
    "limit, or to add seeds. Options of sbatch follow after --: submit --out DIR -- --partition=gpu --gres=gpu:1.",
)
STATUS = Command(
    "status", "how far a table is: done, running, failed with reasons, hours to go", _status_arguments, _status
)
COLLECT = Command(
    "collect",
    "merge the runs of folders, and releases, into one release",
    _collect_arguments,
    _collect,
    "Files that say the same are merged, files that disagree are refused by name, and damaged ones are moved to "
    "quarantine/. The exit code is 1 if the release has errors.",
)
COMMANDS = (TRAIN, RUN, SUBMIT, STATUS, COLLECT)
