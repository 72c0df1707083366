"""ARNAS's placement on the benchmark's cell: a cell for stages 1 and 2 and another for stage 3, beside each alone.

A search of two cells, by ARNAS's strategy, once per seed; then adversarial training, by the benchmark's own protocol,
of the pair that was found, of the pair the other way round, and of either cell in all stages, all at widths C, 2C and
2C. The difference of the pair and its controls is what the placement is worth. Run:
``python analysis/arnas_two_cells.py --workers 2``. It writes one row per trained network, and prints the means.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from nasbench_robust.cli.command import guarded
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.files import write_bytes
from nasbench_robust.search.arnas import default_settings, parse_architecture, run_name
from nasbench_robust.search.supernet import read_search, record_name, search_settings_for
from nasbench_robust.settings import read_settings

ROOT = Path(__file__).resolve().parents[1]
SEARCH, TRAIN = (ROOT / "generation" / name for name in ("search_supernet.py", "train_genotype.py"))
SETTINGS = ROOT / "examples" / "without-autoattack.json"
METRICS = ("clean_acc", "pgd_acc@0.1")


def networks_of(record: dict[str, Any]) -> dict[str, str]:
    """Return what is trained for a search: role to the text that train_genotype.py takes."""
    accurate, robust = record["argmax"]
    roles = {"found": f"{accurate},{robust}", "reversed": f"{robust},{accurate}"}
    return {**roles, "accurate cell alone": str(accurate), "robust cell alone": str(robust)}


def search(folder: Path, seed: int, overridden: dict[str, Any]) -> dict[str, Any] | None:
    """Make a search if it is not there; return its record, or None if it ended with an error."""
    there = folder / "searches"
    shared = there / f"settings-{seed}.json"
    there.mkdir(parents=True, exist_ok=True)
    write_bytes(json.dumps(overridden).encode(), shared)
    command = [sys.executable, str(SEARCH), "--space", "two-cells", "--method", "arnas-s", "--seeds", str(seed)]
    code = subprocess.run([*command, "--out", str(there), "--settings", str(shared)], check=False).returncode
    settings = read_settings(shared, search_settings_for("digits", "arnas-s", "two-cells"))
    record = there / record_name(settings, seed)
    return read_search(record) if code == 0 and record.exists() else None


def train(folder: Path, architectures: Sequence[str], seeds: int, settings: Path) -> int:
    """Train networks if they are not there; return the exit code."""
    command = [sys.executable, str(TRAIN), "--genotype", *architectures, "--settings", str(settings)]
    command += ["--seeds", *map(str, range(seeds)), "--out", str(folder / "networks")]
    return subprocess.run(command, check=False).returncode


def rows_of(folder: Path, record: dict[str, Any], seeds: int, settings: Path) -> Iterator[dict[str, Any]]:
    """Yield a row per trained network of a search."""
    for role, text in networks_of(record).items():
        architecture = parse_architecture(text)
        trained_by = read_settings(settings, default_settings(architecture, "digits"))
        for seed in range(seeds):
            result = json.loads((folder / "networks" / f"{run_name(architecture, trained_by, seed)}.json").read_text())
            row = {"search": record["seed"], "role": role, "cells": text, "seed": seed}
            counts = {each["metric"]: each["correct"] / each["images"] for each in result.get("accuracies", [])}
            yield {**row, "parameters": result["parameters"], **{name: counts.get(name) for name in METRICS}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, train, write, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", default="results/arnas_two_cells", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--out", default="analysis/results", help="folder to write to (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="searches, and trainings of a network (default: 3)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    return guarded("arnas_two_cells.py", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    for name, value in (("seeds", args.seeds), ("workers", args.workers)):
        if value < 1:
            raise InvalidValueError(f"--{name}", value, "a positive integer", "1")
    folder, settings, overridden = Path(args.runs), SETTINGS, {}
    if args.epochs is not None:
        overridden = {"epochs": args.epochs}
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "settings.json"
        write_bytes(json.dumps({**json.loads(SETTINGS.read_text()), **overridden}).encode(), settings)
    with ThreadPoolExecutor(args.workers) as pool:
        records = list(pool.map(lambda seed: search(folder, seed, overridden), range(args.seeds)))
        made = [record for record in records if record is not None and record["failure"] is None]
        if len(made) < args.seeds:
            print(f"arnas_two_cells.py: {args.seeds - len(made)} searches failed", file=sys.stderr)
            return 1
        wanted = [tuple(dict.fromkeys(networks_of(record).values())) for record in made]
        if any(pool.map(lambda each: train(folder, each, args.seeds, settings), wanted)):
            return 1
    rows = pd.DataFrame([row for record in made for row in rows_of(folder, record, args.seeds, settings)])
    Path(args.out).mkdir(parents=True, exist_ok=True)
    table = Path(args.out) / "arnas_two_cells.csv"
    rows.to_csv(table, index=False, float_format="%.6g")
    _print(rows)
    print(f"\nwrote {table}")
    return 0


def _print(rows: pd.DataFrame) -> None:
    print("accuracy on digits' test images, % +- standard deviation over seeds, by search")
    for (seed, role, cells), part in rows.groupby(["search", "role", "cells"], sort=False):
        shown = [f"{name} {100 * part[name].mean():5.1f} +- {100 * part[name].std(ddof=1):.1f}" for name in METRICS]
        print(f"{seed:>8} {role:22} {cells:>14}  {part['parameters'].iloc[0]:>7} parameters  {'  '.join(shown)}")
    found = rows[rows["role"] == "found"].groupby("search")[METRICS[1]].mean()
    for role in ("accurate cell alone", "robust cell alone", "reversed"):
        gain = 100 * (found - rows[rows["role"] == role].groupby("search")[METRICS[1]].mean())
        values = ", ".join(f"{value:+.1f}" for value in gain)
        print(f"- PGD accuracy of the pair found minus {role}: {gain.mean():+.1f} points in the mean ({values})")


if __name__ == "__main__":
    sys.exit(main())
