"""Train one cell adversarially, write it to Parquet, load it, query it back: about half a minute on one core.

The full evaluation of digits has AutoAttack too, which takes another minute: without-autoattack.json leaves it out.

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
SETTINGS = Path(__file__).resolve().with_name("without-autoattack.json")


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="demo-results", help="folder for the rows (default: demo-results)")
    out = parser.parse_args().out

    cell = nbr.Cell.from_str(ARCH)
    options = ["--index", str(cell.index), "--dataset", "digits", "--out", out, "--settings"]
    shown = " ".join(["generation/train_cell.py", *options, f"examples/{SETTINGS.name}"])
    print(f"1. Train cell {cell.index} on 8x8 digits, against PGD:\n\n   $ python {shown}\n", flush=True)
    code = subprocess.run([sys.executable, str(PROGRAM), *options, str(SETTINGS)], check=False).returncode
    if code:
        return code

    print(f"\n2. Load the Parquet it wrote and ask:\n\n   >>> bench = nasbench_robust.load({out!r})")
    bench = nbr.load(out)
    print(f"   >>> bench.query({cell.index}, dataset='digits', metric='pgd_acc')")
    print(f"   {bench.query(cell.index, dataset='digits', metric='pgd_acc')}\n")

    print("3. All that was measured:\n")
    print(f"   {'metric':14} {'split':10} {'accuracy':>8} {'correct':>8} {'images':>7}   attack")
    for name, split in bench.metrics()[["long_name", "split"]].itertuples(index=False):
        result = bench.lookup(cell, "digits", name, split=split)
        attack = (
            f"{result.attack.norm} {result.attack.name}, {result.attack.steps} step(s)" if result.attack else "none"
        )
        print(f"   {name:14} {split:10} {result.value:8.4f} {result.correct:8d} {result.test_images:7d}   {attack}")
    print(f"\n   trained in {bench.train_seconds(cell):.0f} s; rows, curve and outcomes are in {out}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
