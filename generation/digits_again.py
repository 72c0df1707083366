"""Train every run of the package's table again, compare, and make the table's next version: ``--workers 2``.

All is measured again but AutoAttack, whose outcomes take most of the time and stay. A run is to be the same in every
image, every count and every number of its curve. Where all are, the next version of the table is written to the folder
--out/table: the table as it is, and beside the seconds that it has those of the processors that training took now.
Stop it with Ctrl-C and start it again; with --cells or --seeds only these are made and compared, and no table is.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nasbench_robust.cli.command import add_cells, add_seeds, guarded, positive, tell
from nasbench_robust.cli.generation import train_command
from nasbench_robust.files import commit, expose, latest
from nasbench_robust.registry import BUNDLED
from nasbench_robust.releases import locate
from nasbench_robust.runs import Unit, collect, find_missing, make_locally, parse_cells
from nasbench_robust.settings import read_settings, settings_for
from nasbench_robust.table import FORMAT, Reader, StoredRun, runs_of, runs_table, validate, write_table

SETTINGS = Path(__file__).resolve().parents[1] / "examples" / "without-autoattack.json"
SEEDS = (0, 1, 2)
TABLES = ("runs", "curves", "outcomes")
SHOWN = 20
COST = "train_cpu_seconds"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make and compare the runs and return the exit code: 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="digits-again", help="folder of runs and of the table (default: %(default)s)")
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    add_cells(parser)
    add_seeds(parser, SEEDS, "default: 0 1 2")
    parser.set_defaults(dataset="digits", engine="native", device="cpu", threads=1, data_root=None)
    parser.set_defaults(settings=str(SETTINGS))
    args = parser.parse_args(arguments)
    return guarded("digits_again.py", lambda: _again(args), args.out)


def _again(args: argparse.Namespace) -> int:
    settings = read_settings(args.settings, settings_for("digits"))
    units = [Unit(index, seed) for seed in args.seeds for index in parse_cells(args.cells)]
    find = partial(find_missing, args.out, settings)
    code = make_locally(args.out, units, args.workers, partial(train_command, args), find, say=tell)
    if code:
        return code
    collected, before, wanted = Path(args.out) / "collected", locate(BUNDLED).parent, set(units)
    collect([args.out], collected)
    again = {unit: run for unit, run in _runs(latest(collected).folder) if unit in wanted}
    known = {unit: run for unit, run in _runs(before) if unit in again}
    different = {unit: what for unit, run in again.items() if (what := _differences(known.get(unit), run))}
    for unit, what in list(different.items())[:SHOWN]:
        print(f"cell {unit.index}, seed {unit.seed} differs in {', '.join(what)}")
    print(f"{len(again) - len(different)} of {len(again)} runs are the same in every image, count and epoch")
    print(f"they took {sum(run.row[COST] for run in again.values()) / 3600:.2f} core hours of training")
    if different:
        return 1
    if len(again) == Reader(before / "runs.parquet").read(["index"]).num_rows:
        return _make_next(before, again, Path(args.out) / "table")
    print("no table is made of some of its runs")
    return 0


def _runs(folder: Path) -> Iterator[tuple[Unit, StoredRun]]:
    """Yield the runs of a release by cell and seed."""
    tables = {name: Reader(folder / f"{name}.parquet").read() for name in TABLES}
    for run in runs_of(tables, Reader(folder / "runs.parquet").info().settings, folder):
        yield Unit(run.row["index"], run.row["seed"]), run


def _differences(known: StoredRun | None, again: StoredRun) -> list[str]:
    """Return in what a run is not the known one; what was not measured again is not looked at."""
    if known is None:
        return ["that the table has no such run"]
    outcomes = {outcome.name: outcome for outcome in known.outcomes}
    different = [outcome.name for outcome in again.outcomes if outcomes.get(outcome.name) != outcome]
    different += [] if np.array_equal(known.curve, again.curve) else ["its curve"]
    return different + ([] if known.row.get("failure") == again.row.get("failure") else ["whether it failed"])


def _make_next(before: Path, again: dict[Unit, StoredRun], out: Path) -> int:
    """Write the next version of the table and return 1 where validation finds an error."""
    reader = Reader(before / "runs.parquet")
    version = re.sub(r"^\d+", lambda number: str(int(number[0]) + 1), reader.info().version)
    info = replace(reader.info(), version=version, format=FORMAT)
    rows = [{**row, COST: again[Unit(row["index"], row["seed"])].row[COST]} for row in reader.read().to_pylist()]

    def write(folder: Path) -> dict[str, Any]:
        write_table(runs_table(info, rows), folder / "runs.parquet")
        for name in TABLES[1:]:
            shutil.copyfile(before / f"{name}.parquet", folder / f"{name}.parquet")
        return {"name": info.name, "version": info.version}

    commit(out, write, latest(out))
    expose(out)
    print(f"version {info.version} -> {out}/")
    return int(any(finding.severity == "error" for finding in validate(out / "runs.parquet")))


if __name__ == "__main__":
    sys.exit(main())
