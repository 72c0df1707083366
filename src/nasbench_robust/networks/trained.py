"""Networks as they are before training, and some as they are after it, with weights of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arrays import Singles
from ..cells import Cell
from ..errors import InvalidValueError, MissingDataError, MissingResultError, TableError
from ..files import checksum, is_there
from ..settings import settings_for
from .published import Network, network_for

WEIGHTS = Path(__file__).parents[1] / "data" / "digits" / "weights.npz"
WEIGHTS_SHA256 = "bbb6b1f856a39ad7cd6c5fe3db7cf2dc4a093e6e0c91c00142fdb069bc561824"
DATASET, SEED = "digits", 0  # of the weights


def untrained_network(cell: Cell, dataset: str, seed: int) -> Network:
    """Return the network that a cell has on a data set, with weights drawn from a seed."""
    return network_for(cell, settings_for(dataset).skeleton, dataset, torch.Generator().manual_seed(seed))


def trained_network(cell: Cell, dataset: str, seed: int) -> Network:
    """Return the network of a cell's class with the weights that its run of the table ended with, in eval mode."""
    if dataset != DATASET or seed != SEED:
        raise InvalidValueError(
            "trained", True, f"False: the package has weights of {DATASET} and seed {SEED}, not of {dataset} and {seed}"
        )
    representative = Cell.from_index(cell.representative)
    parameters, statistics = weights_of(representative)
    network = untrained_network(representative, dataset, seed)
    with torch.no_grad():
        _fill(list(network.parameters()), parameters)
        _fill([buffer for name, buffer in network.named_buffers() if "running" in name], statistics)
    return network.eval()


def trained_cells() -> tuple[int, ...]:
    """Return the indices of the cells whose trained weights are in the package: `generation/digits_weights.py`."""
    with _stored() as stored:
        return tuple(stored["index"].tolist())


def weights_of(cell: Cell) -> tuple[Singles, Singles]:
    """Return the parameters of a trained network and its running statistics, each in one row, in the order of torch."""
    with _stored() as stored:
        if cell.index not in stored["index"]:
            raise MissingResultError(
                f"the package has no trained weights of cell {cell.index}",
                tuple(stored["index"].tolist()),
                "cells that it has",
                hint="`nasbench-robust train` makes any other",
            )
        return stored[f"{cell.index}/parameters"], stored[f"{cell.index}/statistics"]


def _stored() -> Any:
    """Open the file of weights, if it is the one that the package came with."""
    if not is_there(WEIGHTS):
        raise MissingDataError(f"this copy of the package has no {WEIGHTS}", "install it again")
    if checksum(WEIGHTS) != WEIGHTS_SHA256:
        raise TableError(WEIGHTS, "damaged: not the file that the package came with; install it again")
    return np.load(WEIGHTS)


def _fill(tensors: list[torch.Tensor], values: Singles) -> None:
    """Give tensors the values of one row, one after the other."""
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, np.split(values, ends[:-1]), strict=True):
        tensor.copy_(torch.from_numpy(part).view_as(tensor))
