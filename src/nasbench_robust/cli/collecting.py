"""Commands about folders of runs: how far they are, and the release that they make: status, collect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidValueError
from .command import Command, add_cells, add_seeds, tell
from .generation import read_table

if TYPE_CHECKING:
    from ..runs import Unit
    from ..settings import TrainingSettings


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, help="folder of the runs")
    add_cells(parser, None)
    add_seeds(parser, None, "default: those that run and submit were asked for, or 0 1 2")
    text = "images that are trained on (default: those that run and submit were asked for, or digits)"
    parser.add_argument("--dataset", help=text)
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the data set's protocol")


def _status(args: argparse.Namespace) -> int:
    from ..engines import finished_epochs
    from ..files import is_folder, is_there
    from ..runs import is_claimed, shard_name
    from ..table import present_runs

    settings, units = _asked_for(args)
    present = present_runs(Path(args.out))
    names = [shard_name(settings, unit.index, unit.seed) for unit in units]
    missing = sum(name not in present for name in names)
    shards = {name: unit for name, unit in zip(names, units, strict=True) if name not in present}
    checkpoints = {shard: Path(args.out) / "checkpoints" / f"{shard}.ckpt" for shard in shards}
    running = [shard for shard in shards if is_claimed(args.out, shard)]
    stopped = [shard for shard in shards if shard not in running and is_there(checkpoints[shard])]
    if not is_folder(Path(args.out)):
        tell(f"{args.out}: there is no such folder yet")
    print(f"runs      {len(units)}\ndone      {len(units) - missing}\nmissing   {missing}")
    print(f"running   {len(running)}\nstopped   {len(stopped)} with a checkpoint to go on from")
    if others := present.difference(names):
        print(f"others    {len(others)} runs that were not asked for are there, such as {min(others)}")
    epochs = {shard: finished_epochs(checkpoints[shard]) for shard in (*running, *stopped)}
    for shard in running:
        done = "at its beginning" if epochs[shard] is None else f"epoch {epochs[shard]} of {settings.epochs}"
        print(f"  cell {shards[shard].index}, seed {shards[shard].seed}: {done}")
    if missing < len(units):
        begun = sum((done or 0) / settings.epochs for done in epochs.values())
        _print_done(Path(args.out), missing - begun, len(running))
    return 0


def _asked_for(args: argparse.Namespace) -> tuple[TrainingSettings, list[Unit]]:
    """Return the settings and units that are named, or else those that the folder remembers."""
    from ..runs import remembered

    named = {name: value for name in ("cells", "seeds", "dataset", "settings") if (value := getattr(args, name))}
    before = remembered(args.out)
    if before and not named:
        return before
    args.cells, args.seeds, args.dataset = args.cells or "all", args.seeds or [0, 1, 2], args.dataset or "digits"
    settings, units = read_table(args)
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
    card = Path(args.out) / "README.md"
    was_published = card.is_file()
    report = collect(args.folders, args.out, args.names or ())
    table = Path(args.out) / "runs.parquet"
    aside = len(report.quarantined)
    print(f"{report.runs} runs, {report.repeated} repeated, {aside} files of damaged runs set aside -> {table}")
    if was_published and not card.exists():
        print(f"{card}, which told of the table before, is gone: nasbench-robust publish makes a new one")
    for path in report.incomplete:
        print(f"left out, without its curve or outcomes: {path}")
    for dataset, index, number, reason in report.failed:
        print(f"failed: {dataset} cell {index}, seed {number}: {reason}")
    findings = validate(locate(args.out))
    for finding in findings:
        print(finding)
    return int(any(finding.severity == "error" for finding in findings))


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
COMMANDS = (STATUS, COLLECT)
