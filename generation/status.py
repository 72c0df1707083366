"""How far a table is: ``python generation/status.py --out DIR``: done, running, failed with reasons, hours to go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common import add_table_arguments, read_table_arguments

from nasbench_robust.programs import guarded
from nasbench_robust.runs import find_missing, is_claimed, shard_name
from nasbench_robust.table import Reader


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the state of a table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_table_arguments(parser)
    args = parser.parse_args(arguments)
    return guarded("status.py", lambda: _status(args))


def _status(args: argparse.Namespace) -> int:
    settings, units = read_table_arguments(args)
    missing = find_missing(args.out, settings, units)
    shards = [shard_name(settings, unit.index, unit.seed) for unit in missing]
    started = [shard for shard in shards if (Path(args.out) / "checkpoints" / f"{shard}.ckpt").exists()]
    running = [shard for shard in shards if is_claimed(args.out, shard)]
    print(f"runs      {len(units)}\ndone      {len(units) - len(missing)}\nmissing   {len(missing)}")
    print(f"running   {len(running)}\nstopped   {len(set(started) - set(running))} with a checkpoint to go on from")
    if len(missing) < len(units):
        columns = ["index", "seed", "failure", "train_seconds", "eval_seconds"]
        rows = Reader(Path(args.out) / "runs").read(columns).to_pylist()
        failed = [row for row in rows if row["failure"]]
        seconds = [(row["train_seconds"] or 0) + (row["eval_seconds"] or 0) for row in rows]
        hours = sum(seconds) / len(seconds) * len(missing) / 3600
        print(f"failed    {len(failed)}")
        for row in failed:
            print(f"  cell {row['index']}, seed {row['seed']}: {row['failure']}")
        print(f"left      about {hours:.2f} process hours, at {sum(seconds) / len(seconds):.1f} s a run so far")
    return 0


if __name__ == "__main__":
    sys.exit(main())
