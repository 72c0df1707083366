"""Train one cell adversarially, write it to Parquet, load it, query it back: about half a minute on one core.

Run: ``make demo``, or ``python examples/demo.py`` where nasbench-robust is installed with its ``train`` extra.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import nasbench_robust as nbr

ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
PROGRAM = Path(__file__).resolve().parents[1] / "generation" / "train_cell.py"


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="demo-results", help="folder for the rows (default: demo-results)")
    out = parser.parse_args().out

    cell = nbr.Cell.from_str(ARCH)
    command = ["generation/train_cell.py", "--index", str(cell.index), "--dataset", "digits", "--out", out]
    print(f"1. Train cell {cell.index} on 8x8 digits, against PGD:\n\n   $ python {' '.join(command)}\n", flush=True)
    code = subprocess.run([sys.executable, str(PROGRAM), *command[1:]], check=False).returncode
    if code:
        return code

    print(f"\n2. Load the Parquet it wrote and ask:\n\n   >>> bench = nasbench_robust.load({out!r})")
    bench = nbr.load(out)
    print(f"   >>> bench.query({cell.index}, dataset='digits', metric='pgd_acc')")
    print(f"   {bench.query(cell.index, dataset='digits', metric='pgd_acc')}\n")

    print(f"3. All that was measured on {bench.info.datasets['digits'].images['test']} test images:\n")
    print(f"   {'metric':14} {'accuracy':>8} {'correct':>8}   attack")
    for name in bench.metrics()["long_name"]:
        result = bench.lookup(cell, "digits", name)
        attack = (
            f"{result.attack.norm} {result.attack.name}, {result.attack.steps} step(s)" if result.attack else "none"
        )
        print(f"   {name:14} {result.value:8.4f} {result.correct:8d}   {attack}")
    print(f"\n   trained in {bench.train_seconds(cell):.0f} s; rows, curve and outcomes are in {out}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
