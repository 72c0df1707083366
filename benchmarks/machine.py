"""What the benchmarks that print a table share: arguments, the device, the table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch
from example_cells import CELLS

from nasbench_robust.engines import provenance
from nasbench_robust.errors import NasbenchRobustError
from nasbench_robust.files import write_bytes
from nasbench_robust.settings import settings_for


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which cells are compared, and where the table goes."""
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS), help="default: all three")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to a file too")


def dataset_name(text: str) -> str:
    """Read the name of a data set with a protocol of training: the type of an argument."""
    try:
        settings_for(text)
    except NasbenchRobustError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def publish(lines: Iterable[str], out: Path | None) -> None:
    """Print lines as they come, and write them to a file at the end: it appears whole or not at all."""
    printed = []
    for line in lines:
        print(line, flush=True)
        printed.append(line)
    if out:
        write_bytes(("\n".join(printed) + "\n").encode(), out)


def parse_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add ``--device`` to a parser and return what it reads; one that is not there ends the program."""
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="default: cpu")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here, expected cpu")
    return args


def describe(device: str) -> str:
    """Return what the device is, and what drives it."""
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name() if device == "cuda" else f"{provenance.processor()}, {threads} thread(s)"
    return f"{name}, torch {torch.__version__}"


def wait(device: str) -> None:
    """Return when the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
