"""Commands that search by gradients, and train what was found: search, genotype."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command import Command, add_images, add_seeds, say, with_changes

if TYPE_CHECKING:
    from ..images import TensorImages


def _load(args: argparse.Namespace) -> TensorImages:
    from ..images import load_images, use_threads

    use_threads(args.threads)
    return load_images(args.dataset, args.device, args.data_root)


def _search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", default="darts", help="darts (default), gdas, rnas-like-v1, arnas-s, ...")
    parser.add_argument(
        "--space", default="cell", help="cell (default), two-cells (stages 1 and 2, stage 3) or arnas (its own space)"
    )
    add_seeds(parser, [0], "default: 0")
    parser.add_argument("--strength", type=float, help="weight of the method's second term (default: the method's)")
    parser.add_argument("--order", type=int, help="1, or 2 to look one step ahead (default: the method's)")
    add_images(parser, "search on")
    parser.add_argument("--out", required=True, help="folder of the records")


def _search(args: argparse.Namespace) -> int:
    from ..runs import Signals, check_folder, make, unit_progress
    from ..search.supernet import SearchJob, search_settings_for

    signals = Signals(ctrl_c=True)
    check_folder(args.out)
    changes: dict[str, Any] = {name: getattr(args, name) for name in ("strength", "order")}
    changes = {name: value for name, value in changes.items() if value is not None}
    settings = with_changes(args, search_settings_for(args.dataset, args.method, args.space, **changes))
    return make(SearchJob(settings, Path(args.out), _load(args)), args.seeds, signals, say=say, bar=unit_progress)


def _genotype_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--genotype", nargs="+", default=["arnas"], help="arnas (default), FILE.json, CELL or CELL,CELL"
    )
    add_seeds(parser, [0], "one run each (default: 0)")
    add_images(parser)
    parser.add_argument("--out", required=True, help="folder for the results")


def _genotype(args: argparse.Namespace) -> int:
    from ..runs import Signals, check_folder, make, unit_progress
    from ..search.arnas import GenotypeJob, default_settings, parse_architecture

    signals = Signals(ctrl_c=True)
    check_folder(args.out)
    architectures = list(map(parse_architecture, args.genotype))
    settings = {each: with_changes(args, default_settings(each, args.dataset)) for each in architectures}
    job = GenotypeJob(settings, Path(args.out), _load(args))
    units = [(architecture, number) for number in args.seeds for architecture in architectures]
    return make(job, units, signals, say=say, bar=unit_progress)


SEARCH = Command(
    "search",
    "search a cell in a supernet by gradients",
    _search_arguments,
    _search,
    "One JSON record per seed goes to --out: the architecture parameters of every epoch, what was found and, where one "
    "cell is searched, one-shot scores of a sample of cells. A search that is there is not made again; one that was "
    "interrupted goes on from its checkpoint. What a search of several cells found is trained by the command genotype.",
)
GENOTYPE = Command(
    "genotype",
    "train networks of several cells: what a search over them found",
    _genotype_arguments,
    _genotype,
    "--genotype takes arnas, the published genotype of ARNAS's own space; JSON files with such genotypes, trained by "
    "ARNAS's recipe; or cells of the benchmark's space, trained by its own protocol: 9930,1462 is cell 9930 in stages "
    "1 and 2 and cell 1462 in stage 3, at widths C, 2C and 2C, and 9930 the same network of one cell. One JSON file "
    "per run goes to --out.",
)
COMMANDS = (SEARCH, GENOTYPE)
