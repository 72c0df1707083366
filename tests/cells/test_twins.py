"""Twins: cells that compute the same function, against brute force over weights and against real networks."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from nasbench_robust.cells import Cell, families, opcodes, representatives
from nasbench_robust.cells.cell import EDGES

REPRESENTATIVES = np.unique(representatives())
CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")
SIZE = 5


def index_of(codes: str) -> int:
    return Cell.decode(codes, encoding="opcodes").representative


def evaluate(cell: Cell, weights: list[dict]) -> np.ndarray:
    """Evaluate a cell on vectors whose operations have the algebra of the real ones, in plain numpy."""
    pool = np.linspace(0.1, 0.9, SIZE * SIZE).reshape(SIZE, SIZE)
    pool /= pool.sum(axis=1, keepdims=True)  # linear, and keeps constants
    nodes = [np.linspace(-1, 1, 3 * SIZE).reshape(3, SIZE) ** 3 + 0.2, *(np.zeros((3, SIZE)) for _ in range(3))]
    remaining = iter(weights)
    for (source, target), operation in sorted(zip(EDGES, cell.operations, strict=True)):
        if operation == "none":
            continue
        value = nodes[source]
        if operation == "avg_pool_3x3":
            value = value @ pool.T
        elif operation in CONVOLUTIONS:
            own = next(remaining)
            value = np.maximum(value, 0) @ own[operation]
            value = value - value.mean()
            value = value / (value.std() or 1) + own["shift"]
        nodes[target] = nodes[target] + value
    return nodes[3]


def same_function(one: Cell, other: Cell, rng: np.random.Generator) -> bool:
    """Return whether some assignment of one set of weights to both cells' convolutions gives equal outputs."""
    number = max(sum(operation in CONVOLUTIONS for operation in cell.operations) for cell in (one, other))
    weights = [
        {**{name: rng.normal(size=(SIZE, SIZE)) for name in CONVOLUTIONS}, "shift": rng.uniform()}
        for _ in range(number)
    ]
    expected = evaluate(one, weights)
    return any(np.allclose(evaluate(other, list(order)), expected) for order in itertools.permutations(weights))


def test_every_family_is_named_by_its_smallest_representative():
    found = families()
    assert found.shape == (15625,)
    assert (found[found] == found).all()
    assert (found <= representatives()).all()
    assert (found == found[representatives()]).all()
    assert not found.flags.writeable
    assert len(np.unique(found)) == 4787


def test_twins_compute_the_same_function():
    chosen = random.Random(0).sample(np.flatnonzero(families()[REPRESENTATIVES] != REPRESENTATIVES).tolist(), 150)
    rng = np.random.default_rng(0)
    for index in REPRESENTATIVES[chosen].tolist():
        assert same_function(Cell.from_index(int(families()[index])), Cell.from_index(index), rng), index


def test_cells_of_different_families_do_not():
    rng = np.random.default_rng(1)
    few = [index for index in REPRESENTATIVES.tolist() if (opcodes()[index] // 2 == 1).sum() <= 3]  # convolutions
    by_counts: dict = {}
    for index in few:
        by_counts.setdefault(tuple(sorted(opcodes()[index].tolist())), []).append(index)
    groups = [group for group in by_counts.values() if len(group) > 1]
    checked = 0
    for _ in range(600):
        one, other = rng.choice(groups[rng.integers(len(groups))], size=2, replace=False).tolist()
        if families()[one] != families()[other]:
            assert not same_function(Cell.from_index(one), Cell.from_index(other), rng), (one, other)
            checked += 1
    assert checked > 300


@pytest.mark.parametrize(
    ("one", "other", "twins"),
    [
        ("300300", "000300", True),  # node 1 leads nowhere
        ("100030", "000300", True),  # a skip before the convolution
        ("410044", "401044", False),  # averaging once and twice
        ("444001", "404400", False),
        ("200023", "200022", True),  # of zeros, both convolutions pass on their shift
        ("110131", "011131", False),
    ],
)
def test_examples(one, other, twins):
    rng = np.random.default_rng(0)
    pair = [Cell.from_index(index_of(codes)) for codes in (one, other)]
    assert (families()[pair[0].index] == families()[pair[1].index]) == same_function(*pair, rng)
    if twins:
        assert families()[pair[0].index] == families()[pair[1].index]


def test_networks_of_twins_with_the_same_weights_in_all_convolutions_agree():
    torch = pytest.importorskip("torch")
    from nasbench_robust.networks import network_for
    from nasbench_robust.skeletons import Skeleton

    skeleton = Skeleton.for_dataset("digits", channels=4, cells_per_stage=1)
    images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def logits(index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        network = network_for(Cell.from_index(index), skeleton, "digits", generator).double().eval()
        for parameter in (*network.parameters(), *network.buffers()):
            if parameter.dtype == torch.float64:
                same = torch.Generator().manual_seed(parameter.numel())
                parameter.data = torch.rand(parameter.shape, generator=same, dtype=torch.float64) + 0.1
        network.train()  # batch statistics, which take a factor of the input out
        return network(images)

    chosen = random.Random(1).sample(np.flatnonzero(families()[REPRESENTATIVES] != REPRESENTATIVES).tolist(), 60)
    for index in REPRESENTATIVES[chosen].tolist():
        assert torch.allclose(logits(index), logits(int(families()[index])), atol=1e-3), index
