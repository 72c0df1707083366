"""Which cells compute the same function: twins, beyond what the classes of `cells.representatives` merge. No torch.

The published classes compare texts. Some cells of different classes are nevertheless the same network once what cannot
matter is removed, and since one member of every class was trained, such twins are repeated trainings of one network:
the differences between their results are noise.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import permutations, product
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import read_only
from .classes import representatives
from .encodings import EDGES, OPERATIONS
from .space import SIZE, opcodes

_NONE, _SKIP, _POOL = (OPERATIONS.index(name) for name in ("none", "skip_connect", "avg_pool_3x3"))
_INPUT, _SHIFT = "input", "shift"

# A feature map is a sum of terms, (times average-pooled, atom): how often. Atom 0 is the cell's input, every other one
# the output of one convolution, or the learned shift that remains of a convolution of zeros.
_Sum = Counter[tuple[int, int]]
_Atom = tuple[str, _Sum]


@lru_cache(maxsize=1)
def families() -> npt.NDArray[np.int16]:
    """Return for every cell the smallest representative that computes the same function, shape (15625,), by index.

    Two cells are twins if their networks are the same function of the image and of the weights, for some renaming of
    the convolutions. Removed is what cannot matter: edges that do not reach the output, the order of sums, and where
    a skip or an average pooling (a linear operation) stands relative to a sum. A convolution ignores a positive factor
    of its whole input (batch normalisation; up to its epsilon), and of zeros it passes on its learned shift. Whether
    two edges share a convolution's output or each have their own does make a difference. A cell is looked at as its
    representative, the member that is trained.
    """
    first: dict[Any, int] = {}
    family = np.zeros(SIZE, np.int16)
    codes = opcodes().tolist()
    for index in np.unique(representatives()).tolist():
        family[index] = first.setdefault(_signature(codes[index]), index)
    return read_only(family[representatives()])


def _signature(codes: list[int]) -> Any:
    """Return what is equal exactly for twins: all atoms that the output needs, and the output, in canonical order."""
    atoms, output = _expand(codes)
    trees: dict[int, str] = {}
    _tree(output, atoms, trees)
    groups: dict[str, list[int]] = {}
    for atom, tree in sorted(trees.items(), key=lambda item: item[1]):
        groups.setdefault(tree, []).append(atom)
    # Atoms with the same tree can be told apart only by who shares them: the least of all orders is the canonical one.
    orders = product(*(permutations(group) for group in groups.values()))
    return min(_write(atoms, output, [atom for group in order for atom in group]) for order in orders)


def _expand(codes: list[int]) -> tuple[list[_Atom], _Sum]:
    """Return the atoms of a cell and its output as a sum of them."""
    atoms: list[_Atom] = [(_INPUT, Counter())]
    nodes: list[_Sum] = [Counter({(0, 0): 1}), Counter(), Counter(), Counter()]
    for (source, target), code in sorted(zip(EDGES, codes, strict=True)):  # a node is whole before it is read
        if code == _SKIP:
            nodes[target].update(nodes[source])
        elif code == _POOL:
            for (pooled, atom), count in nodes[source].items():
                constant = atoms[atom][0] == _SHIFT
                nodes[target][0 if constant else pooled + 1, atom] += count
        elif code != _NONE:
            atoms.append(_convolve(OPERATIONS[code], nodes[source]))
            nodes[target][0, len(atoms) - 1] += 1
    return atoms, nodes[3]


def _convolve(operation: str, features: _Sum) -> _Atom:
    if not features:
        return _SHIFT, Counter()
    factor = gcd(*features.values())
    return operation, Counter({term: count // factor for term, count in features.items()})


def _tree(features: _Sum, atoms: list[_Atom], trees: dict[int, str]) -> str:
    """Write a sum as text without saying what is shared, and note the text of every atom below it."""
    terms = []
    for (pooled, atom), count in features.items():
        if atom not in trees:
            operation, inside = atoms[atom]
            trees[atom] = f"{operation}({_tree(inside, atoms, trees)})"
        terms.append(f"{count}*{pooled}*{trees[atom]}")
    return "+".join(sorted(terms))


def _write(atoms: list[_Atom], output: _Sum, order: list[int]) -> tuple[Any, ...]:
    place = {atom: position for position, atom in enumerate(order)}

    def terms(features: _Sum) -> tuple[tuple[int, int, int], ...]:
        return tuple(sorted((place[atom], pooled, count) for (pooled, atom), count in features.items()))

    return (*((atoms[atom][0], terms(atoms[atom][1])) for atom in order), ("output", terms(output)))
