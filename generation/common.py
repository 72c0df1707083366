"""What the programs of this folder share: arguments, the types of arguments, and a bar of progress."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nasbench_robust.programs import positive
from nasbench_robust.runs import ENGINES, Unit, parse_cells
from nasbench_robust.settings import TrainingSettings, read_settings, settings_for

TRAIN_CELL = Path(__file__).resolve().parent / "train_cell.py"


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which runs a table is to have, and where it is."""
    parser.add_argument("--out", required=True, help="folder of the shards")
    parser.add_argument("--dataset", default="digits", help="images to train on (default: digits)")
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the data set's protocol")
    parser.add_argument("--cells", default="all", help="'all' (default), or indices and ranges such as 0-99,1234")
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")


def seed(text: str) -> int:
    """Read a seed: the type of an argument."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text} is no seed: expected an integer in 0..2147483647")
    return int(text)


def read_table_arguments(args: argparse.Namespace) -> tuple[TrainingSettings, list[Unit]]:
    """Return the settings and all units of the table, seed by seed: a first seed of everything comes first."""
    settings = settings_for(args.dataset)
    if args.settings:
        settings = read_settings(args.settings, settings)
    return settings, [Unit(index, seed) for seed in args.seeds for index in parse_cells(args.cells)]


def train_command(args: argparse.Namespace, worklist: Path) -> tuple[str, ...]:
    """Return the command that makes a line of a work list, but for the number of the line."""
    command = [sys.executable, str(TRAIN_CELL), "--work", str(worklist.resolve()), "--dataset", args.dataset]
    command += ["--out", str(Path(args.out).resolve()), "--device", args.device, "--threads", str(args.threads)]
    command += ["--engine", args.engine]
    if args.data_root:
        command += ["--data-root", args.data_root]
    if args.settings:
        command += ["--settings", str(Path(args.settings).resolve())]
    return tuple(command)


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that are handed on to train_cell.py."""
    parser.add_argument("--data-root", metavar="ROOT", help="folder of the images, or hub:owner/name")
    parser.add_argument("--engine", default="auto", choices=ENGINES, help="default: auto")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads of a process (default: 1)")


@contextlib.contextmanager
def epoch_bar(epochs: int, label: str) -> Iterator[Callable[[Any], None]]:
    """Show how far a training run is; what is yielded takes every `Epoch` as it ends."""
    from tqdm import tqdm

    with tqdm(total=epochs, desc=label, unit="epoch", disable=None) as bar:

        def show(epoch: Any) -> None:
            shown = {"loss": epoch.train_loss, "clean": epoch.clean_acc, "pgd": epoch.pgd_acc}
            bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
            bar.update(epoch.epoch - bar.n)

        yield show
