"""What the structure of a cell tells without any data: counts on its live edges, and the paths through it.

An edge is live if it lies on a path from the input to the output; a path is a sequence of one to three operations other
than none. All functions answer for the whole space, one row per cell, by index; what they return is read only.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from .. import cells
from ..arrays import Floats, Integers, read_only
from ..cells import EDGES, OPERATIONS, opcodes

ROUTES = ((0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3))
NONE, SKIP, CONV_1X1, CONV_3X3, POOL = (OPERATIONS.index(name) for name in OPERATIONS)
PATHS = tuple(path for length in (1, 2, 3) for path in product((SKIP, CONV_1X1, CONV_3X3, POOL), repeat=length))
# How far apart two cells are for each difference of `feature_groups`: an operation on a live edge, the logarithm of a
# count of paths, a standard deviation of a count. Rounded from what the leave-one-out likelihood of the digits
# accuracies of 800 families prefers, before anything was held against published ones; `analysis/smoothing_scales.py`
# looks for them again. Other kernels (a sum, Matern, rational quadratic) predict left-out families about as well.
SCALES = (0.1, 0.28, 0.09)


@lru_cache(maxsize=1)
def live_operations() -> npt.NDArray[np.uint8]:
    """Return the operation numbers of all cells with none in place of what is not live, shape (15625, 6)."""
    live = np.zeros((cells.SIZE, len(EDGES)), bool)
    for edges in _routes():
        live[:, edges] |= (opcodes()[:, edges] != NONE).all(axis=1)[:, None]
    return read_only(np.where(live, opcodes(), NONE).astype(np.uint8))


@lru_cache(maxsize=1)
def path_counts() -> Integers:
    """Return how often each path leads from the input of a cell to its output, shape (15625, 84), as `PATHS`.

    A path is counted by its operations, whatever nodes it goes by; where a count is above 0 is the path encoding of
    BANANAS (White, Neiswanger and Savani, AAAI 2021, section 4).
    """
    counts = np.zeros((cells.SIZE, len(PATHS)), np.int64)
    for edges in _routes():
        codes = opcodes()[:, edges]
        for column, path in enumerate(PATHS):
            if len(path) == len(edges):
                counts[:, column] += (codes == path).all(axis=1)
    return read_only(counts)


@lru_cache(maxsize=1)
def _structure() -> dict[str, Integers]:
    live, paths = live_operations(), path_counts()
    on_path = {code: np.array([path.count(code) for path in PATHS]) for code in (CONV_1X1, CONV_3X3, POOL)}
    convolutions = on_path[CONV_1X1] + on_path[CONV_3X3]
    counts = {OPERATIONS[code]: (live == code).sum(axis=1) for code in (CONV_3X3, CONV_1X1, SKIP, POOL)}
    counts |= {f"{OPERATIONS[code]} by path": paths @ on_path[code] for code in (CONV_3X3, CONV_1X1, POOL)}
    counts["identity paths"] = paths @ (convolutions + on_path[POOL] == 0)
    counts["pooling paths"] = paths @ ((convolutions == 0) & (on_path[POOL] > 0))
    counts["paths"] = paths.sum(axis=1)
    counts["depth"] = ((paths > 0) * convolutions).max(axis=1)
    return {name: read_only(column.astype(np.int64)) for name, column in counts.items()}


def structure() -> dict[str, Integers]:
    """Return counts that describe the live edges and paths of every cell, by name, each of shape (15625,).

    Returns
    -------
    dict of str to ndarray of int64
        ``nor_conv_3x3``, ``nor_conv_1x1``, ``skip_connect``, ``avg_pool_3x3``: live edges with that operation;
        ``... by path``: the same summed over paths, an edge counting once for each path that it lies on;
        ``identity paths``: paths of skips alone; ``pooling paths``: those with poolings and skips alone; ``paths``: all
        paths, 0 to 4; ``depth``: most convolutions on one path.
    """
    return dict(_structure())


def structure_count() -> Floats:
    """Return a score without any data, shape (15625,): higher for cells that are larger where it matters.

    Live 3x3 convolutions, and half of: live 1x1 convolutions, minus live poolings, plus 1 if a path of skips leads
    through the cell. The coefficients are round numbers that were set by hand after looking at means by operation, also
    of published accuracies: a baseline that nothing is fitted for, not one that never saw the data.
    """
    count = _structure()
    halves = count["nor_conv_1x1"] - count["avg_pool_3x3"] + (count["identity paths"] > 0)
    return np.asarray(count["nor_conv_3x3"] + 0.5 * halves)


@lru_cache(maxsize=1)
def feature_groups() -> tuple[Floats, ...]:
    """Return the three groups of columns of `features` before they are scaled, of shapes (15625, 24), 40 and 11."""
    edges = (live_operations()[:, :, None] == np.arange(1, len(OPERATIONS))).reshape(cells.SIZE, -1)
    words = [tuple(code for code in path if code != SKIP) for path in PATHS]
    merged = np.array([[word == other for other in dict.fromkeys(words)] for word in words])
    counts = np.stack(list(_structure().values()), axis=1)
    standardised = (counts - counts.mean(axis=0)) / counts.std(axis=0)
    groups = (edges.astype(np.float64), np.log1p(path_counts() @ merged), standardised)
    return tuple(read_only(group[cells.families()]) for group in groups)


@lru_cache(maxsize=1)
def features() -> Floats:
    """Return what a Gaussian process over cells looks at, shape (15625, 75); twins have the same row.

    Live operations by edge (24 columns of zeros and a constant), logarithms of 1 + how often each path without its
    skips leads through the cell (40), and the standardised counts of `structure` (11); scaled so that the covariance
    of two cells is ``exp(-|x - y|^2)``. A cell is looked at as its family, the smallest cell of the same function.
    """
    return read_only(np.hstack([scale * group for scale, group in zip(SCALES, feature_groups(), strict=True)]))


def _routes() -> list[list[int]]:
    """Return the positions of the edges on each way from node 0 to node 3."""
    return [[EDGES.index(edge) for edge in pairwise(nodes)] for nodes in ROUTES]
