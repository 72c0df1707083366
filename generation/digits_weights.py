"""Train the cells whose weights are in the package, compare with the table, and write ``weights.npz``.

The cells: 9930, 2581, 13714 and 6111, of which every column of the published table has its best one, and 20 at equal
distances in the order of PGD accuracy on digits at eps 0.1, from the best to the worst that has a path from input to
output. All of seed 0. A run whose counts are not those of the table, AutoAttack's among them, ends the program.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.arrays import Singles
from nasbench_robust.cli.command import guarded
from nasbench_robust.engines.draws import Draws
from nasbench_robust.engines.native import NativeTrainer, evaluate
from nasbench_robust.files import checksum, write_bytes
from nasbench_robust.images import load_arrays
from nasbench_robust.settings import settings_for
from nasbench_robust.table import Benchmark

BEST = (9930, 2581, 13714, 6111)
EVEN = 20
SEED = 0
METRIC = "pgd_acc@0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, compare, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="weights.npz", help="file to write (default: %(default)s)")
    args = parser.parse_args(arguments)
    return guarded("digits_weights.py", lambda: _make(Path(args.out)), args.out)


def _make(out: Path) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    bench = nbr.load()
    chosen = chosen_cells(bench)
    arrays: dict[str, np.ndarray] = {"index": np.array(chosen, np.int64)}
    for index in chosen:
        different, parameters, statistics = _train(bench, index)
        if different:
            print(f"cell {index} is not as in the table: {', '.join(different)}", file=sys.stderr)
            return 1
        arrays |= {f"{index}/parameters": parameters, f"{index}/statistics": statistics}
        print(f"cell {index}: {len(parameters):,} parameters, all counts those of the table")
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its names are keywords
    write_bytes(file.getvalue(), out)
    print(f"wrote {out}; networks/trained.py has to know its hash: {checksum(out)}")
    return 0


def chosen_cells(bench: Benchmark) -> list[int]:
    """Return the indices that the rule above names, the best of the published table first."""
    frame = bench.frame("digits", [METRIC])
    frame = frame[cells.connected()[frame["index"]]].sort_values([METRIC, "index"], ascending=[False, True])
    places = np.linspace(0, len(frame) - 1, EVEN).round().astype(int)
    return list(dict.fromkeys([*BEST, *frame["index"].to_numpy()[places].tolist()]))


def _train(bench: Benchmark, index: int) -> tuple[list[str], Singles, Singles]:
    """Return in which counts a run differs from the table's, its parameters and its running statistics."""
    images = load_arrays("digits")
    trainer = NativeTrainer(nbr.Cell.from_index(index), settings_for("digits"), images, SEED)
    while not trainer.finished:
        trainer.step()
    different = []
    for metric in bench.info.metrics:
        correct = int(evaluate(trainer.network, images, metric, Draws(SEED, "evaluation")).sum())
        known = bench.lookup(index, "digits", metric.column, seed=SEED).correct
        different += [] if correct == known else [f"{metric.column} ({correct}, not {known})"]
    return different, trainer.network.parameters.copy(), trainer.network.statistics.copy()


if __name__ == "__main__":
    sys.exit(main())
