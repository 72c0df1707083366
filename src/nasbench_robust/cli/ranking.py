"""The command that ranks cells without labels: rank."""

from __future__ import annotations

import argparse

from ..errors import InvalidValueError
from .command import Command, positive
from .tables import _add_json, _print_cells


def _rank_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--dataset", default="cifar10", help="cifar10 (default), cifar100 or ImageNet16-120")
    parser.add_argument("--top", type=positive, default=20, help="how many (default: 20; at most 4,787 functions)")
    _add_json(parser)


def _rank(args: argparse.Namespace) -> int:
    from ..cells import Cell
    from ..datasets import canonical_name

    dataset = canonical_name(args.dataset)
    if dataset == "digits":
        expected = "images whose cells are not trained here; the table in the package has digits: nasbench-robust best"
        raise InvalidValueError("dataset", args.dataset, expected, "cifar10")
    import numpy as np

    from ..predict import label_free, rank, smoothed_digits, structure_count
    from ..skeletons import Skeleton

    rank(structure_count(), args.top)  # says before the work if there are not so many
    ranking = label_free()
    best = rank(ranking, args.top)
    cells = [Cell.from_index(index) for index in best.tolist()]
    skeleton = Skeleton.for_dataset(dataset)
    columns = {
        "index": best,
        "arch": np.array([str(cell) for cell in cells]),
        "parameters": np.array([cell.parameters(skeleton) for cell in cells]),
        "digits": smoothed_digits()[best],
        "structure": structure_count()[best],
        "ranking": ranking[best],
    }
    return _print_cells(columns, 3, args.json)


RANK = Command(
    "rank",
    "rank cells without training any on the images of interest",
    _rank_arguments,
    _rank,
    "By the table of digits in the package, smoothed over cells of like structure (digits, in normal scores), and by "
    "a count of what is large in a cell (structure): the sum of the logarithms of both ranks. Parameters are those of "
    "the data set, which changes nothing else. Of cells that compute the same function the first is listed.",
)
COMMANDS = (RANK,)
