"""From a cell to its network. Importing this costs nothing: torch is asked for when a network is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._door import resolve
from ..cells import Cell
from ..checks import flag
from ..checks import seed as checked_seed

if TYPE_CHECKING:
    from .published import Network


def network(cell: Cell | int | str, dataset: str = "digits", *, trained: bool = False, seed: int = 0) -> Network:
    """Return the network around a cell that the benchmark trains on a data set, a `torch.nn.Module`.

    Parameters
    ----------
    cell : Cell, int or str
        A cell, its index or its NAS-Bench-201 string.
    dataset : str
        Data set, which decides width, depth, classes and normalisation; images go in as pixels in [0, 1].
    trained : bool
        With the weights of the package's table: of digits, seed 0, and the cells of `trained_cells`. A cell of the same
        class gets the network of its representative, as a query gets its accuracy. In eval mode.
    seed : int
        Of initial weights where it is not trained.

    Raises
    ------
    InvalidCellError
        If there is no such cell.
    InvalidValueError
        If `trained` is no boolean, `seed` no seed, or trained weights are asked of another data set or seed.
    UnknownNameError
        If there is no such data set.
    MissingResultError
        If the weights of a trained network are not in the package.

    Notes
    -----
    Trained networks classify the same test and validation images correctly as the table says. Attacks of torch draw
    other numbers than the native engine that made the table, so accuracies under attack differ by a few images.
    """
    made: Network = resolve(
        "networks.trained:trained_network" if flag("trained", trained) else "networks.trained:untrained_network"
    )(Cell.of(cell), dataset, checked_seed("seed", seed))
    return made
