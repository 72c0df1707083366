"""Adversarially train cells, measure them, and write the rows: ``python generation/train_cell.py --index 1234``.

Rows go to shards under --out, one per cell and seed; a run that is there already is not made again, and one that was
interrupted goes on from its checkpoint. In a Slurm array --index defaults to the task's number, or --work names a work
list of which the task makes one line. SIGTERM and SIGUSR1 make the program checkpoint and exit with code 75; on
SIGUSR1, which Slurm sends before the time limit, it asks to be queued again. Read the rows with
``nasbench_robust.load(OUT)``.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import epoch_bar, seed

from nasbench_robust.errors import InvalidValueError, MissingPackageError
from nasbench_robust.programs import guarded, positive

EXIT_REQUEUE = 75  # EX_TEMPFAIL: not done, try again


class Signals:
    """Remembers that the program was asked to stop; the run under way asks after every step."""

    def __init__(self) -> None:
        self.received: set[int] = set()
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda number, _: self.received.add(number))

    def should_stop(self) -> bool:
        """Return whether a signal has come."""
        return bool(self.received)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that the arguments name and return the exit code."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signals = Signals()
    return guarded("train_cell.py", lambda: _train(args, signals), args.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--index", type=int, help="index of the cell, 0 to 15624 (default: SLURM_ARRAY_TASK_ID)")
    what.add_argument("--work", help="work list; --task says which line of it")
    parser.add_argument("--task", default=task, type=int, help="line of the work list (default: SLURM_ARRAY_TASK_ID)")
    parser.add_argument(
        "--dataset", default="digits", help="digits (default), cifar10, cifar100 or ImageNet16-120: images to train on"
    )
    parser.add_argument(
        "--data-root",
        metavar="ROOT",
        help="folder of the images, or hub:owner/name (default: the folder that NASBENCH_ROBUST_IMAGES names); "
        "digits need none",
    )
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0], metavar="SEED", help="one run each (default: 0)")
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the data set's protocol")
    parser.add_argument("--out", required=True, help="folder for the shards")
    parser.add_argument("--every", type=positive, default=1, help="epochs between checkpoints (default: 1)")
    parser.add_argument(
        "--engine",
        default="auto",
        help="auto (default: native on a CPU where it was built, else torch-fast), native, torch, torch-fast, "
        "torch-fast-bf16; with --device cuda also torch-fast-graph and torch-fast-bf16-graph",
    )
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads (default: 1); results depend on it")
    return parser


def _train(args: argparse.Namespace, signals: Signals) -> int:
    from nasbench_robust.runs import choose_engine
    from nasbench_robust.settings import read_settings, settings_for

    units = _units(args)
    check_folder(Path(args.out))
    settings = settings_for(args.dataset)
    if args.settings:
        settings = read_settings(args.settings, settings)
    engine = choose_engine(args.engine, settings, args.device, args.threads)
    images = _load(engine, args)
    for unit in units:
        if not _make(unit, settings, images, engine, args, signals):
            return stopped(signals)
    return 0


def _load(engine: str, args: argparse.Namespace) -> Any:
    """Return the images as the engine wants them."""
    if engine == "native":
        from nasbench_robust.images import load_arrays

        return load_arrays(args.dataset, args.data_root)
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError(error.name or "torch", "train") from None
    from nasbench_robust.images import load_images

    torch.set_num_threads(args.threads)
    return load_images(args.dataset, args.device, args.data_root)


def _units(args: argparse.Namespace) -> list[Any]:
    """Return what is to be made: one line of a work list, all of it, or one cell with the given seeds."""
    from nasbench_robust.cells import Cell
    from nasbench_robust.runs import Unit, read_task

    if args.work:
        if args.task is None:
            raise InvalidValueError("--task", None, "a line of the work list, or a Slurm array task")
        return read_task(args.work, args.task)
    index = args.task if args.index is None else args.index
    if index is None:
        raise InvalidValueError("--index", None, "the index of a cell, or a Slurm array task")
    return [Unit(Cell.from_index(index).index, seed) for seed in args.seeds]


def check_folder(folder: Path) -> None:
    """Find out before the training, not after it, that the rows cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _make(unit: Any, settings: Any, images: Any, engine: str, args: argparse.Namespace, signals: Signals) -> bool:
    """Make one run, unless it is there or another process is at it; return False if it was asked to stop."""
    from nasbench_robust.cells import Cell
    from nasbench_robust.errors import RunInterruptedError
    from nasbench_robust.runs import claim, is_done, run_cell, shard_name, write_run

    cell = Cell.from_index(unit.index)
    label = f"cell {cell.index}, seed {unit.seed}"
    shard = shard_name(settings, cell.representative, unit.seed)
    with claim(args.out, shard) as had:
        if not had or is_done(args.out, settings, cell, unit.seed):
            if not args.work:  # the units of a work list are often there
                print(f"{label}: " + (f"already in {args.out}" if had else "another process is making it"))
            return True
        checkpoint = Path(args.out) / "checkpoints" / f"{shard}.ckpt"
        with epoch_bar(settings.epochs, label) as show:
            try:
                run = run_cell(
                    cell,
                    settings,
                    images,
                    unit.seed,
                    engine=engine,
                    progress=show,
                    checkpoint=checkpoint,
                    every=args.every,
                    should_stop=signals.should_stop,
                )
            except RunInterruptedError as error:
                print(error, flush=True)
                return False
        path = write_run(run, settings, args.out)
        checkpoint.unlink(missing_ok=True)
    print(f"{label}: {run.row.get('failure') or _summary(run.row)} -> {path}", flush=True)
    return not signals.should_stop()


def stopped(signals: Signals) -> int:
    """Ask Slurm to run the job again if it was about to end it; say to the caller that there is more to do."""
    from nasbench_robust.runs import slurm

    job = os.environ.get("SLURM_JOB_ID")
    if signal.SIGUSR1 in signals.received and job:
        slurm.requeue(job)
    return EXIT_REQUEUE


def _summary(row: dict[str, Any]) -> str:
    measured = {name: value for name, value in row.items() if "_acc" in name}
    return ", ".join(f"{name} {value:.4f}" for name, value in measured.items())


if __name__ == "__main__":
    sys.exit(main())
