"""ARNAS's own search space: which operation and input every node of its three cells has, and where the cells stand.

A network has Accurate cells near the input, Robust cells near the output and two Reduction cells between them. A cell
has two inputs, the outputs of the two cells before it, and four nodes, each the sum of two operations on earlier nodes;
its output is their concatenation. No torch.

Source: Ou, Feng and Sun, "Towards Accurate and Robust Architectures via Neural Architecture Search", CVPR 2024 (arXiv
2405.05502); operations, cell and derivation are those of Liu, Simonyan and Yang, "DARTS", ICLR 2019, without none.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from ...arrays import Floats
from ...checks import integer
from ...errors import InvalidCellError, InvalidValueError, UnknownNameError
from ...files import parse_json, read_text

ARNAS_OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
ROLES = ("accurate", "reduction", "robust")
NODES = 4  # of a cell, numbered from 2; 0 and 1 are its inputs
ARNAS_EDGES = tuple((source, node) for node in range(2, 2 + NODES) for source in range(node))
LEAST_LAYERS = 4  # fewer have no Robust cell

Choice = tuple[str, int]


@dataclass(frozen=True)
class Genotype:
    """One architecture of the space: three cells, each with two (operation, source) pairs for every node.

    Attributes
    ----------
    accurate, reduction, robust : tuple of eight (str, int)
        Two pairs for node 2, two for node 3 and so on; sources are numbered from 0, the output of the cell before the
        last one, and the two of a node differ.

    Raises
    ------
    InvalidCellError
        If a cell has another form; the message names the cell and the entry.
    UnknownNameError
        If an operation is not one of `ARNAS_OPERATIONS`.
    """

    accurate: tuple[Choice, ...]
    reduction: tuple[Choice, ...]
    robust: tuple[Choice, ...]

    def __post_init__(self) -> None:
        for role in ROLES:
            object.__setattr__(self, role, _checked(role, getattr(self, role)))

    def to_dict(self) -> dict[str, list[list[str | int]]]:
        """Return the cells by name, as lists of [operation, source] that JSON can hold."""
        plain: dict[str, list[list[str | int]]] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, stored: object) -> Genotype:
        """Rebuild a genotype from what `to_dict` gave."""
        if not isinstance(stored, dict) or set(stored) != set(ROLES):
            raise InvalidCellError(stored, f"expected the cells {', '.join(ROLES)} by name")
        return cls(**stored)

    def mixture(self) -> Floats:
        """Return the weights that restrict a supernet to this genotype, shape (3, 14, 7): 1 where chosen, else 0."""
        weights = np.zeros((len(ROLES), len(ARNAS_EDGES), len(ARNAS_OPERATIONS)))
        for number, role in enumerate(ROLES):
            for edge, code in self.places(role):
                weights[number, edge, code] = 1
        return weights

    def places(self, role: str) -> list[tuple[int, int]]:
        """Return edge and operation, as indices into `ARNAS_EDGES` and `ARNAS_OPERATIONS`, of a cell's eight pairs."""
        return [
            (ARNAS_EDGES.index((source, 2 + entry // 2)), ARNAS_OPERATIONS.index(operation))
            for entry, (operation, source) in enumerate(getattr(self, role))
        ]


def _checked(role: str, cell: object) -> tuple[Choice, ...]:
    """Return a cell as a tuple of tuples."""
    if not isinstance(cell, (list, tuple)) or len(cell) != 2 * NODES:
        raise InvalidCellError(cell, f"the {role} cell has {2 * NODES} pairs of an operation and a source")
    choices = [_checked_choice(role, entry, choice) for entry, choice in enumerate(cell)]
    for first in range(0, len(choices), 2):
        if choices[first][1] == choices[first + 1][1]:
            problem = f"node {2 + first // 2} of the {role} cell has the source {choices[first][1]} twice"
            raise InvalidCellError(cell, f"{problem}, expected two different ones")
    return tuple(choices)


def _checked_choice(role: str, entry: int, choice: object) -> Choice:
    if not isinstance(choice, (list, tuple)) or len(choice) != 2:
        raise InvalidCellError(choice, f"entry {entry} of the {role} cell is not a pair of an operation and a source")
    operation, source = choice
    if operation not in ARNAS_OPERATIONS:
        raise UnknownNameError(f"operation in entry {entry} of the {role} cell", operation, ARNAS_OPERATIONS)
    node = 2 + entry // 2
    if type(source) is not int or not 0 <= source < node:
        problem = f"entry {entry} of the {role} cell: a source of node {node} is an integer from 0 to {node - 1}"
        raise InvalidCellError(choice, problem)
    return operation, source


def read_genotype(path: str | os.PathLike[str]) -> Genotype:
    """Read a JSON file with what `Genotype.to_dict` gives, or the record of a search, which holds it as ``genotype``.

    Raises
    ------
    MissingDataError, SourceFormatError
        If there is no such file, or it is not JSON.
    InvalidCellError, UnknownNameError
        If it is no genotype.
    """
    stored = parse_json(read_text(path), path)
    return Genotype.from_dict(stored.get("genotype", stored) if isinstance(stored, dict) else stored)


def derive(mixture: npt.ArrayLike) -> Genotype:
    """Return the discrete architecture of a search: per node the two edges with the largest weight of an operation.

    Every edge kept has the operation of its largest weight. Where weights are equal the earlier source and the earlier
    operation win. A node's pairs stand in descending order of their weights, as in DARTS.

    Parameters
    ----------
    mixture : array_like, shape (3, 14, 7)
        Weights of the operations, rows that add up to 1: the softmax of the architecture parameters, which themselves
        cannot be compared between edges.
    """
    weights = np.asarray(mixture, float)
    shape = (len(ROLES), len(ARNAS_EDGES), len(ARNAS_OPERATIONS))
    if weights.shape != shape:
        raise InvalidValueError("the mixture's shape", weights.shape, str(shape))
    sums = weights.sum(axis=-1)
    if not (weights >= 0).all() or not np.allclose(sums, 1, atol=1e-4):
        raise InvalidValueError("mixture", weights.tolist(), "non-negative weights that add up to 1 on every edge")
    return Genotype(*(_derive_cell(cell) for cell in weights))


def _derive_cell(weights: Floats) -> tuple[Choice, ...]:
    choices = []
    for node in range(2, 2 + NODES):
        edges = [edge for edge, (_, target) in enumerate(ARNAS_EDGES) if target == node]
        strongest = sorted(edges, key=lambda edge: -weights[edge].max())[:2]  # stable: the earlier source first
        choices += [(ARNAS_OPERATIONS[int(weights[edge].argmax())], ARNAS_EDGES[edge][0]) for edge in strongest]
    return tuple(choices)


@dataclass(frozen=True)
class Layer:
    """One cell of a network.

    Attributes
    ----------
    role : str
        Which of the three cells, one of `ROLES`.
    inputs : tuple of two int
        Channels of the outputs of the cell before the last one and of the last one.
    channels : int
        Of every node.
    after_reduction : bool
        Whether the last cell was a Reduction cell, so that the first input is twice as large.
    """

    role: str
    inputs: tuple[int, int]
    channels: int
    after_reduction: bool

    @property
    def outputs(self) -> int:
        """Channels of the concatenation of all nodes."""
        return NODES * self.channels


def layers_of(layers: int, channels: int, stem: int) -> tuple[Layer, ...]:
    """Return the cells of a network in order: of L cells, numbers L // 3 and 2 L // 3 are Reduction cells.

    Cells before the second one are Accurate, cells after it Robust. Channels double at the first reduction alone.

    Parameters
    ----------
    layers : int
        L, at least 4.
    channels : int
        C, of the nodes of the first cells.
    stem : int
        Channels of the network's stem.
    """
    integer(LEAST_LAYERS)("layers", layers)
    reductions = first, second = layers // 3, 2 * layers // 3
    plan: list[Layer] = []
    inputs = (stem, stem)
    for number in range(layers):
        role = "reduction" if number in reductions else "accurate" if number < second else "robust"
        plan.append(Layer(role, inputs, channels if number < first else 2 * channels, number - 1 in reductions))
        inputs = (inputs[1], plan[-1].outputs)
    return tuple(plan)


ARNAS = Genotype(  # two pairs, those of one node, in a line
    accurate=(
        ("skip_connect", 0), ("skip_connect", 1),
        ("sep_conv_5x5", 0), ("sep_conv_3x3", 1),
        ("sep_conv_5x5", 3), ("sep_conv_3x3", 1),
        ("sep_conv_5x5", 4), ("skip_connect", 0),
    ),
    reduction=(
        ("avg_pool_3x3", 1), ("avg_pool_3x3", 0),
        ("dil_conv_5x5", 2), ("avg_pool_3x3", 0),
        ("dil_conv_5x5", 3), ("dil_conv_5x5", 2),
        ("dil_conv_5x5", 4), ("dil_conv_5x5", 3),
    ),
    robust=(
        ("dil_conv_5x5", 0), ("dil_conv_5x5", 1),
        ("dil_conv_5x5", 1), ("dil_conv_5x5", 2),
        ("dil_conv_3x3", 3), ("dil_conv_5x5", 2),
        ("dil_conv_3x3", 4), ("dil_conv_3x3", 3),
    ),
)  # fmt: skip
"""The architecture that the paper reports (arXiv 2405.05502)."""
