"""Query the table that is part of the package, train the same cell again, and see that it agrees: some seconds.

Run: ``make demo``, or ``python examples/demo.py`` where nasbench-robust is installed with its ``train`` extra. Without
the native engine torch trains, which takes a minute, and equal seeds do not give equal counts.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import nasbench_robust as nbr
from nasbench_robust.releases import locate
from nasbench_robust.runs import choose_engine, run_cell, write_run
from nasbench_robust.settings import TrainingSettings
from nasbench_robust.table import read_table

ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
METRICS = ("clean_acc", "fgsm_acc@0.1", "pgd_acc@0.1")
NEW_SEED = 100
LIMIT = 4.0  # standard deviations


def main() -> int:
    """Run the demonstration; the exit code is 1 if the new run does not agree with the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="demo-results", help="folder for the rows (default: demo-results)")
    out = parser.parse_args().out

    bench = nbr.load()
    print("1. Query the table of the package:\n\n   >>> bench = nasbench_robust.load()")
    print(f"   >>> bench.query({ARCH!r},\n   ...             metric='pgd_acc')")
    print(f"   {bench.query(ARCH, metric='pgd_acc')}\n")

    cell = nbr.Cell.from_str(ARCH)
    settings = settings_of(cell, bench)
    engine = choose_engine("auto", settings)
    print(f"2. Train cell {cell.index} against PGD by the {engine} engine, with seed 0 again and with a new one:\n")
    for seed in (0, NEW_SEED):
        run = run_cell(cell, settings, images_for(engine), seed, engine=engine)
        path = write_run(run, settings, out)
        print(f"   seed {seed:3}: {run.row['train_seconds']:.1f} s of training -> {path}", flush=True)

    print(
        f"\n3. Load what that wrote and compare, on {bench.lookup(cell, metric='clean_acc').test_images} test images:\n"
    )
    return compare(cell, bench, nbr.load(out))


def settings_of(cell: nbr.Cell, bench: nbr.Benchmark) -> TrainingSettings:
    """Return the settings that the cell's first run in the package's table was made with."""
    rows = read_table(locate(), ["index", "seed", "settings"]).to_pylist()
    key = next(row["settings"] for row in rows if row["index"] == cell.representative)
    return TrainingSettings.from_dict(bench.info.settings[key])


def images_for(engine: str) -> object:
    """Return digits as the engine wants them."""
    if engine == "native":
        from nasbench_robust.images import load_arrays

        return load_arrays("digits")
    from nasbench_robust.images import load_images

    return load_images("digits")


def compare(cell: nbr.Cell, table: nbr.Benchmark, again: nbr.Benchmark) -> int:
    """Print table and new runs side by side; return 1 where the new seed lies outside the noise between seeds."""
    apart = False
    print(f"   {'metric':14} {'table':>7} {'noise':>7} {'seed 0':>8} {'again':>7} {f'seed {NEW_SEED}':>9}")
    for metric in METRICS:
        found = table.lookup(cell, metric=metric)
        noise = seed_noise(metric)
        first, new = (again.query(cell, metric=metric, seed=seed) for seed in (0, NEW_SEED))
        outside = abs(new - found.value) > LIMIT * noise * np.sqrt(1 + 1 / len(found.seeds))
        apart |= outside
        verdict = f"{'OUTSIDE' if outside else 'within'} {LIMIT:g} sd"
        row = f"{found.value:7.4f} {noise:7.4f} {found.seeds[0]:8.4f} {first:7.4f} {new:9.4f}   {verdict}"
        print(f"   {metric:14} {row}")
    print("\n   table: mean over its seeds; noise: standard deviation between seeds, pooled over all cells")
    return int(apart)


def seed_noise(metric: str) -> float:
    """Return the standard deviation of a metric between seeds of one cell, pooled over all cells."""
    runs = read_table(locate(), ["index", metric]).to_pandas().dropna()
    return float(np.sqrt(runs.groupby("index")[metric].var().mean()))


if __name__ == "__main__":
    sys.exit(main())
