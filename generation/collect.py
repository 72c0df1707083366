"""Merge the shards of one or several folders into a release: ``python generation/collect.py DIR --out RELEASE``.

Files that say the same are merged, files that disagree are refused by name, and the files of a run of which one is
damaged are moved to ``quarantine/`` (submit again to make the run anew). Calling it twice gives the same release.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from nasbench_robust.programs import guarded
from nasbench_robust.runs import collect
from nasbench_robust.table import validate


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect and return the exit code: 1 if the release has errors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", help="folders of shards")
    parser.add_argument("--out", required=True, help="folder of the release")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return guarded("collect.py", lambda: _collect(args), args.out)


def _collect(args: argparse.Namespace) -> int:
    report = collect(args.folders, args.out)
    table = Path(args.out) / "runs.parquet"
    aside = len(report.quarantined)
    print(f"{report.runs} runs, {report.repeated} repeated, {aside} files of damaged runs set aside -> {table}")
    for dataset, index, seed, reason in report.failed:
        print(f"failed: {dataset} cell {index}, seed {seed}: {reason}")
    findings = validate(table)
    for finding in findings:
        print(finding)
    return int(any(finding.severity == "error" for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
