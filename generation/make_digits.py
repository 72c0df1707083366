"""Make the table that is part of the package, or check it: ``python generation/make_digits.py --workers 2``.

By default all 6,466 cells and three seeds are trained and measured again, into the folder --out; stop it with Ctrl-C
and start it again, it goes on where it was. With --resume the runs that the package's table, or the tables named, have
completely are taken from there. With --sample 1% that share of the package's runs is made again and compared with
them, and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from digits_sample import compare_sample

from nasbench_robust.cli.command import add_cells, add_seeds, guarded, positive, tell
from nasbench_robust.cli.generation import train_command
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.registry import BUNDLED
from nasbench_robust.releases import locate
from nasbench_robust.runs import (
    EXIT_INTERRUPTED,
    EXIT_REQUEUE,
    Unit,
    assemble,
    collect,
    find_missing,
    make_locally,
    parse_cells,
    release_info,
)
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.table import Reader, ReleaseInfo, read_table, validate

SEEDS = (0, 1, 2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or check the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="digits-table", help="folder of runs and of the table (default: %(default)s)")
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    add_cells(parser)
    add_seeds(parser, SEEDS, "default: 0 1 2")
    parser.add_argument(
        "--resume",
        nargs="*",
        metavar="TABLE",
        help="keep the complete runs of these tables (default: of the package's table)",
    )
    parser.add_argument("--sample", metavar="SHARE", help="check only: make this share, 1%% for example, again")
    parser.add_argument("--sample-seed", type=int, help="chooses the runs of --sample (default: others every time)")
    parser.set_defaults(dataset="digits", engine="native", device="cpu", threads=1, data_root=None, settings=None)
    args = parser.parse_args(arguments)
    return guarded("make_digits.py", lambda: _check(args) if args.sample else _make(args), args.out)


def _check(args: argparse.Namespace) -> int:
    try:
        share = float(args.sample.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if args.sample_seed is not None and args.sample_seed < 0:
        raise InvalidValueError("--sample-seed", args.sample_seed, "an integer of at least 0", "0")
    if not 0 < share <= 1 or not args.sample.endswith("%"):
        raise InvalidValueError("--sample", args.sample, "a share above 0% and up to 100%", "1%")
    return compare_sample(share, args.workers, args.sample_seed)


def _make(args: argparse.Namespace) -> int:
    start = time.time()
    settings = settings_for("digits")
    units = [Unit(index, seed) for seed in args.seeds for index in parse_cells(args.cells)]
    resumed = _resumed(args.resume)
    there = {unit for folder in resumed for unit in _complete(folder, settings)}
    missing = [unit for unit in units if unit not in there]
    find = partial(find_missing, args.out, settings)
    code = make_locally(args.out, missing, args.workers, partial(train_command, args), find, say=tell)
    if code in (EXIT_INTERRUPTED, EXIT_REQUEUE):
        return code
    made = find(units) != units
    if not made and there.isdisjoint(units):  # a table without a run is none
        return code
    folders = []
    if made:
        collect([args.out], Path(args.out) / "collected")
        folders.append(Path(args.out) / "collected")
    folders += resumed
    table = Path(args.out) / "table"
    count = assemble(folders, digits_info(settings, folders), table, units)
    print(f"{count} runs -> {table}/, {_cost(table)}; this call took {(time.time() - start) / 3600:.2f} h")
    errors = [finding for finding in validate(table / "runs.parquet") if finding.severity == "error"]
    for finding in errors:
        print(finding)
    return code or int(bool(errors))


def _resumed(tables: Sequence[str] | None) -> list[Path]:
    """Return the folders of the tables whose runs are kept: the package's where none is named."""
    return [] if tables is None else [locate(table).parent for table in tables or [BUNDLED]]


def _complete(folder: Path, settings: TrainingSettings) -> set[Unit]:
    """Return the runs of a table that were measured with all of the settings' metrics."""
    rows = read_table(folder / "runs.parquet", ["index", "seed", "settings"]).to_pylist()
    return {Unit(row["index"], row["seed"]) for row in rows if row["settings"] == settings.hash}


def digits_info(settings: TrainingSettings, folders: Sequence[Path]) -> ReleaseInfo:
    """Return the description of the release: that of a table of such runs, with the settings that occur in it."""
    known = {}
    for folder in folders:
        known.update(Reader(folder / "runs.parquet").info().settings)
    known[settings.hash] = settings.to_dict()
    return replace(
        release_info(settings),
        version=f"1+{settings.hash[:8]}",
        title="Digits: every NAS-Bench-201 cell adversarially trained on 8x8 images",
        licence="Apache-2.0",
        source="made by nasbench-robust: python generation/make_digits.py",
        settings=known,
    )


def _cost(table: Path) -> str:
    """Return what the runs of a table cost: seconds of processors, or by the clock where those were not counted."""
    columns = [f"{part}{kind}_seconds" for part in ("train", "eval") for kind in ("_cpu", "")]
    rows = [[value or 0.0 for value in row.values()] for row in read_table(table / "runs.parquet", columns).to_pylist()]
    training, evaluation = (sum(row[first] or row[first + 1] for row in rows) / 3600 for first in (0, 2))
    return f"{training:.2f} core hours of training, {evaluation:.2f} of evaluation"


if __name__ == "__main__":
    sys.exit(main())
