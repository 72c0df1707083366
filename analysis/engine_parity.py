"""Whether two engines train alike: the same cells by both, with the digits settings, and the difference.

Twelve fixed cells that differ in their operations are trained with several seeds by both engines, and measured on the
test images: clean, FGSM and PGD-20. Native and torch draw different numbers from a seed, so runs are compared as
independent samples: the first engine minus the second for every cell (Welch), and the mean of these differences over
cells, with the standard error that the spread between seeds gives it. Run: ``python analysis/engine_parity.py --workers
2``, or with ``--engines torch-fast-bf16 torch-fast`` for what bfloat16 does. Runs are kept under ``--runs`` and never
made twice: stop it and start it again. It writes a CSV and a figure, and prints what follows.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from engine_parity_report import LEVEL, POWER, draw, print_conclusion

from nasbench_robust.cli.command import guarded, positive
from nasbench_robust.errors import MissingResultError, UnknownNameError
from nasbench_robust.runs import ENGINES, release_info
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.table import Reader

Floats = npt.NDArray[np.float64]
DEFAULT = ("native", "torch")
CELLS = {  # representatives, most convolutions first
    1462: "3x3 on all edges",
    9930: "3x3 and a skip",
    11351: "3x3 and skips",
    818: "chain of 3x3",
    4317: "1x1 on all edges",
    7602: "3x3, 1x1, skip, pool",
    10560: "3x3, 1x1, pool, skip",
    14: "one 3x3, dead ends",
    263: "1x1 after an unreached node",
    10589: "one 1x1, pool, skip, none",
    7581: "pool on all edges",
    1835: "skip on all edges",
}
RUN_LOCAL = Path(__file__).resolve().parents[1] / "generation" / "run_local.py"
COLUMNS = ["metric", "cell", "label", "first", "second", "first_runs", "second_runs", "first_mean", "second_mean"]
COLUMNS += ["first_sd", "second_sd", "difference", "low", "high", "detectable"]
COLUMNS += ["variance_ratio", "variance_low", "variance_high"]


# ------------------------------------------------------------------ statistics


@dataclass(frozen=True)
class Estimate:
    """A sum of independent normal estimates: its value, and the variance of each part with its degrees of freedom."""

    value: float
    parts: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """Square of the standard error."""
        return sum(variance for variance, _ in self.parts)

    @property
    def freedom(self) -> float:
        """Degrees of freedom after Welch and Satterthwaite."""
        below = sum(variance**2 / freedom for variance, freedom in self.parts)
        return float(self.variance**2 / below) if below > 0 else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the 95 % interval."""
        half = self._quantile((1 + LEVEL) / 2) * math.sqrt(self.variance)
        return self.value - half, self.value + half

    @property
    def detectable(self) -> float:
        """The true value whose interval would have lain off zero with a probability of 80 %."""
        return (self._quantile((1 + LEVEL) / 2) + self._quantile(POWER)) * math.sqrt(self.variance)

    def _quantile(self, probability: float) -> float:
        from scipy import stats

        return float(stats.t.ppf(probability, self.freedom))


def difference(one: Floats, other: Floats) -> Estimate:
    """Return the difference of the means of two independent samples with variances of their own (Welch 1947)."""
    parts = tuple((sample.var(ddof=1) / len(sample), len(sample) - 1.0) for sample in (one, other))
    return Estimate(float(one.mean() - other.mean()), parts)


def pooled(one: Sequence[Floats], other: Sequence[Floats]) -> Estimate:
    """Return the difference of the means over cells, each cell with runs of the same seeds in the same order.

    Runs of one seed share their draws, whatever the cell, so they are not independent: every seed counts as one
    observation, its mean over the cells. Seeds that a cell lacks (nan) are left out.
    """
    sides = [np.mean(np.stack(samples), axis=0) for samples in (one, other)]
    means = [side[~np.isnan(side)] for side in sides]
    if min(map(len, means)) < 2:
        raise MissingResultError("there are no two seeds yet that every cell has by each engine")
    return difference(*means)


def variance_ratio(one: Sequence[Floats], other: Sequence[Floats]) -> tuple[float, float, float]:
    """Return the ratio of the mean variances within samples, and its 95 % interval (F distribution)."""
    from scipy import stats

    sides = []
    for samples in (one, other):
        parts = tuple((sample.var(ddof=1) / len(samples), len(sample) - 1.0) for sample in samples)
        sides.append(Estimate(0.0, parts))
    top, bottom = sides
    if top.variance == 0 or bottom.variance == 0:
        return np.nan, np.nan, np.nan
    ratio = top.variance / bottom.variance
    low, high = (ratio / stats.f.ppf(p, top.freedom, bottom.freedom) for p in ((1 + LEVEL) / 2, (1 - LEVEL) / 2))
    return ratio, float(low), float(high)


# ------------------------------------------------------------------ runs


def parity_settings(epochs: int | None) -> TrainingSettings:
    """Return the digits settings without AutoAttack."""
    settings = settings_for("digits")
    kept = tuple(attack for attack in settings.evaluation if attack.name != "autoattack")
    return replace(settings, evaluation=kept, epochs=epochs or settings.epochs)


def make_runs(args: argparse.Namespace, settings: TrainingSettings) -> int:
    """Make what is missing with both engines, one after the other; return an exit code."""
    folder = Path(args.runs)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(settings.to_dict(), indent=1))
    for engine, seeds in zip(args.engines, args.seeds, strict=True):
        print(f"{engine} engine", file=sys.stderr, flush=True)
        command = [sys.executable, str(RUN_LOCAL), "--out", str(folder / engine), "--engine", engine]
        command += ["--settings", str(folder / "settings.json"), "--workers", str(args.workers)]
        command += ["--cells", ",".join(map(str, args.cells)), "--seeds", *map(str, range(seeds))]
        if code := subprocess.run(command, check=False).returncode:
            return code
    return 0


def read_runs(args: argparse.Namespace, settings: TrainingSettings) -> dict[tuple[str, str, int], Floats]:
    """Return the accuracies by engine, metric and cell, one for each of the given seeds; nan where there is no run."""
    metrics = [metric.column for metric in settings.metrics if metric.split == "test"]
    found: dict[tuple[str, str, int], Floats] = {}
    for engine, seeds in zip(args.engines, args.seeds, strict=True):
        reader = Reader(Path(args.runs) / engine / "runs")
        if reader.info() != release_info(settings):
            raise MissingResultError(f"{args.runs} holds runs with other settings; name another folder by --runs")
        rows = reader.read(["index", "seed", *metrics]).to_pandas().set_index(["index", "seed"])
        for metric in metrics:
            for cell in args.cells:
                wanted = pd.MultiIndex.from_product([[cell], range(seeds)])
                found[engine, metric, cell] = rows[metric].reindex(wanted).to_numpy(np.float64)
    return found


def summarise(runs: dict[tuple[str, str, int], Floats], engines: Sequence[str]) -> pd.DataFrame:
    """Return a row for every metric and cell with at least two runs by each engine, and one of all cells together."""
    rows = []
    for metric in dict.fromkeys(key[1] for key in runs):
        whole, samples = {}, {}
        for cell in dict.fromkeys(key[2] for key in runs):
            both = [runs[engine, metric, cell] for engine in engines]
            first, second = (side[~np.isnan(side)] for side in both)
            if min(len(first), len(second)) >= 2:
                whole[cell], samples[cell] = both, (first, second)
        if not samples:
            raise MissingResultError("no cell has two runs by each engine yet")
        for cell, pair in samples.items():
            rows.append([metric, str(cell), CELLS.get(cell, ""), *engines, *describe([pair], difference(*pair))])
        together = describe(list(samples.values()), pooled(*zip(*whole.values(), strict=True)))
        rows.append([metric, "all", f"mean of {len(samples)} cells", *engines, *together])
    return pd.DataFrame(rows, columns=COLUMNS)


def describe(samples: Sequence[tuple[Floats, Floats]], found: Estimate) -> list[Any]:
    """Return numbers of runs, means over cells, standard deviations within cells, the difference, the variances."""
    sides = list(zip(*samples, strict=True))
    numbers = [sum(map(len, side)) for side in sides]
    means = [np.mean([sample.mean() for sample in side]) for side in sides]
    deviations = [np.sqrt(np.mean([sample.var(ddof=1) for sample in side])) for side in sides]
    return [
        *numbers,
        *means,
        *deviations,
        found.value,
        *found.interval,
        found.detectable,
        *variance_ratio(sides[0], sides[1]),
    ]


# ------------------------------------------------------------------ the program


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that are missing, summarise, write, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engines", nargs=2, default=list(DEFAULT), metavar="ENGINE", help="default: native torch")
    parser.add_argument("--runs", default="results/engine_parity", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--out", default="analysis/results", help="folder to write to (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=positive, nargs="+", default=[8], help="runs of a cell: by both, or by each engine (default: 8)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--summary", action="store_true", help="make no runs, summarise those that are there")
    parser.add_argument("--cells", type=int, nargs="+", default=list(CELLS), help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if len(args.seeds) > 2:
        parser.error(f"--seeds: {len(args.seeds)} numbers, expected one, or one for each of the two engines")
    args.seeds = [args.seeds[0], args.seeds[-1]]
    return guarded("engine_parity.py", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    for engine in args.engines:
        if engine not in ENGINES[1:]:
            raise UnknownNameError("engine", engine, ENGINES[1:])
    settings = parity_settings(args.epochs)
    if not args.summary and (code := make_runs(args, settings)):
        return code
    table = summarise(read_runs(args, settings), args.engines)
    headline = [metric.column for metric in settings.metrics if metric.split == "test"][-1]
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    name = "engine_parity" + ("" if tuple(args.engines) == DEFAULT else f"_{args.engines[0]}")
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
    written = [folder / f"{name}.csv", *draw(table, headline, folder / name)]
    print_conclusion(table, headline)
    print(f"\nwrote {', '.join(map(str, written))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
