"""ARNAS's own space: networks against definitions written out here, derivation, genotypes, staged cells."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import as_trained, seeded, with_weights_of

from nasbench_robust.cells import Cell
from nasbench_robust.datasets import dataset
from nasbench_robust.errors import (
    InvalidCellError,
    InvalidValueError,
    MissingDataError,
    SourceFormatError,
    UnknownNameError,
)
from nasbench_robust.networks import Network, StagedNetwork, Subnetwork, Supernet
from nasbench_robust.search.arnas import ARNAS, ArnasNetwork, ArnasSupernet, Genotype, parse_architecture, read_genotype
from nasbench_robust.search.arnas.runs import StagedCells
from nasbench_robust.search.arnas.space import ARNAS_EDGES, ARNAS_OPERATIONS, NODES, ROLES, derive, layers_of
from nasbench_robust.settings import settings_for
from nasbench_robust.skeletons import Skeleton


def random_genotype(seed: int) -> Genotype:
    rng = np.random.default_rng(seed)
    cells = []
    for _ in ROLES:
        sources = [source for node in range(2, 2 + NODES) for source in rng.permutation(node)[:2].tolist()]
        cells.append([(str(rng.choice(ARNAS_OPERATIONS)), source) for source in sources])
    return Genotype(*cells)


# --- the network


def test_published_network_has_the_published_parameter_count():
    network = ArnasNetwork(ARNAS, "cifar10", generator=seeded())
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 4_520_394
    assert round(count / 1e6, 2) == 4.52


def reference_forward(genotype: Genotype, layers: int, state: dict, images: torch.Tensor) -> torch.Tensor:
    """The network as functions of a state dictionary, in eval mode, from the definition of DARTS's cells."""

    def normalise(features: torch.Tensor, prefix: str) -> torch.Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (state[f"{prefix}.{name}"].view(1, -1, 1, 1) for name in names)
        return (features - mean) / torch.sqrt(variance + 1e-5) * scale + shift

    def relu_conv_bn(features: torch.Tensor, prefix: str) -> torch.Tensor:
        return normalise(F.conv2d(features.clamp(min=0), state[f"{prefix}.1.weight"]), f"{prefix}.2")

    def reduce(features: torch.Tensor, prefix: str) -> torch.Tensor:
        active = features.clamp(min=0)
        even = F.conv2d(active[:, :, ::2, ::2], state[f"{prefix}.even.weight"])
        odd = F.conv2d(active[:, :, 1::2, 1::2], state[f"{prefix}.odd.weight"])
        return normalise(torch.cat([even, odd], dim=1), f"{prefix}.normalise")

    def operate(name: str, features: torch.Tensor, prefix: str, stride: int) -> torch.Tensor:
        if name == "max_pool_3x3":
            return F.max_pool2d(features, 3, stride, 1)
        if name == "avg_pool_3x3":
            return F.avg_pool2d(features, 3, stride, 1, count_include_pad=False)
        if name == "skip_connect":
            return features if stride == 1 else reduce(features, prefix)
        kind, _, size = name.split("_")
        dilation, repeats = (2, 1) if kind == "dil" else (1, 2)
        for repeat in range(repeats):
            position = 4 * repeat
            weight = state[f"{prefix}.{position + 1}.weight"]
            padding = dilation * (int(size[0]) - 1) // 2
            step = stride if repeat == 0 else 1
            features = F.conv2d(features.clamp(min=0), weight, None, step, padding, dilation, len(weight))
            features = F.conv2d(features, state[f"{prefix}.{position + 2}.weight"])
            features = normalise(features, f"{prefix}.{position + 3}")
        return features

    first, second = layers // 3, 2 * layers // 3
    before = last = normalise(F.conv2d(images, state["stem.0.weight"], padding=1), "stem.1")
    for number in range(layers):
        prefix, reducing = f"cells.{number}", number in (first, second)
        cell = genotype.reduction if reducing else genotype.accurate if number < second else genotype.robust
        shrink = number - 1 in (first, second)
        nodes = [(reduce if shrink else relu_conv_bn)(before, f"{prefix}.before"), relu_conv_bn(last, f"{prefix}.last")]
        for node in range(2, 6):
            incoming = []
            for entry in (2 * node - 4, 2 * node - 3):
                name, source = cell[entry]
                stride = 2 if reducing and source < 2 else 1
                incoming.append(operate(name, nodes[source], f"{prefix}.operations.{entry}", stride))
            nodes.append(incoming[0] + incoming[1])
        before, last = last, torch.cat(nodes[2:], dim=1)
    return last.mean(dim=(2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("layers", [4, 5, 8])
def test_logits_equal_an_independent_forward_pass(layers):
    images = torch.rand(3, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    for genotype in (ARNAS, *(random_genotype(seed) for seed in range(8))):
        network = as_trained(ArnasNetwork(genotype, "digits", channels=2, layers=layers, generator=seeded())).eval()
        with torch.no_grad():
            expected = reference_forward(genotype, layers, network.state_dict(), images)
            torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-9)


def discrete_state(supernet: ArnasSupernet, genotype: Genotype) -> dict[str, torch.Tensor]:
    """The state of a supernet under the names of the genotype's network."""
    state = supernet.state_dict()
    found = {name: value for name, value in state.items() if name != "alpha" and ".edges." not in name}
    for number, layer in enumerate(supernet.layers):
        for entry, (edge, code) in enumerate(genotype.places(layer.role)):
            prefix = f"cells.{number}.edges.{edge}.{code}."
            inside = {name: value for name, value in state.items() if name.startswith(prefix)}
            if "pool" not in ARNAS_OPERATIONS[code]:  # the network has no normalisation there
                found |= {
                    f"cells.{number}.operations.{entry}.{name.removeprefix(prefix)}": value
                    for name, value in inside.items()
                }
    return found


def test_supernet_restricted_to_a_genotype_is_its_network():
    images = torch.rand(3, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    for genotype in (ARNAS, *(random_genotype(seed) for seed in range(4))):
        supernet = as_trained(ArnasSupernet("digits", channels=2, layers=5, generator=seeded(3))).eval()
        for cell in supernet.cells:
            for code in (0, 1):  # pools: their normalisation becomes the identity
                for operations in cell.edges:
                    operations[code][1].running_mean.zero_()
                    operations[code][1].running_var.fill_(1 - operations[code][1].eps)
        network = ArnasNetwork(genotype, "digits", channels=2, layers=5, generator=seeded(4)).double().eval()
        missing, unexpected = network.load_state_dict(discrete_state(supernet, genotype), strict=False)
        assert not unexpected
        own = dict(network.named_parameters())
        assert all(own[name].dim() == 1 for name in missing)  # scales and shifts, still 1 and 0
        with torch.no_grad():
            restricted = supernet(images, torch.from_numpy(genotype.mixture()))
            torch.testing.assert_close(restricted, network(images), rtol=1e-10, atol=1e-10)
            assert not torch.allclose(restricted, supernet(images), atol=1e-3)


@pytest.mark.parametrize(("layers", "reductions"), [(4, [1, 2]), (5, [1, 3]), (6, [2, 4]), (8, [2, 5]), (20, [6, 13])])
def test_where_cells_stand_and_how_wide_they_are(layers, reductions):
    plan = layers_of(layers, 5, 15)
    first, second = reductions
    assert [number for number, layer in enumerate(plan) if layer.role == "reduction"] == reductions
    assert all(layer.role == "accurate" for number, layer in enumerate(plan[:second]) if number != first)
    assert [layer.role for layer in plan[second + 1 :]] == ["robust"] * (layers - second - 1)
    assert [layer.channels for layer in plan] == [5] * first + [10] * (layers - first)
    assert [number for number, layer in enumerate(plan) if layer.after_reduction] == [first + 1, second + 1]
    outputs = [15, 15, *(layer.outputs for layer in plan)]
    assert [layer.inputs for layer in plan] == list(pairwise(outputs))[:-1]


# --- the supernet


def test_supernet_has_the_interface_of_the_search_and_no_dead_parameter():
    supernet = ArnasSupernet("digits", channels=2, layers=5, generator=seeded(1)).double()
    assert supernet.alpha.shape == (3, 14, 7)
    assert 0 < supernet.alpha.abs().max() < 0.01
    names = [name for name, _ in supernet.weights()]
    assert "alpha" not in names
    assert len(names) + 1 == len(list(supernet.parameters()))
    assert not any(".weight" in name and parameter.dim() == 1 for name, parameter in supernet.cells.named_parameters())
    images = torch.rand(16, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    labels = torch.randint(10, (16,), generator=seeded(3))
    with torch.no_grad():
        supernet.alpha.normal_(generator=seeded(4))
    torch.testing.assert_close(supernet.mixture().sum(dim=-1), torch.ones(3, 14, dtype=torch.float64))
    F.cross_entropy(supernet(images), labels).backward()
    assert supernet.alpha.grad.abs().min() > 1e-8  # rounding errors are 1e-16
    assert all(value.grad.abs().max() > 1e-8 for _, value in supernet.weights())
    torch.testing.assert_close(supernet(images), supernet(images, supernet.mixture()))


def test_weights_and_alpha_come_from_the_generator_alone():
    one, two, other = (
        ArnasSupernet("digits", channels=2, layers=4, generator=seeded(s)).state_dict() for s in (5, 5, 6)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["alpha"], other["alpha"])


# --- derivation


def sure_mixture(genotype: Genotype, strength: float = 5.0) -> np.ndarray:
    scores = np.exp(strength * genotype.mixture())
    return scores / scores.sum(axis=-1, keepdims=True)


def sets_of(genotype: Genotype) -> list[set]:
    return [set(getattr(genotype, role)[k : k + 2]) for role in ROLES for k in range(0, 8, 2)]


def test_derivation_finds_a_genotype_again():
    for genotype in (ARNAS, *(random_genotype(seed) for seed in range(20))):
        assert sets_of(derive(sure_mixture(genotype))) == sets_of(genotype)


def test_derivation_keeps_the_two_strongest_edges_of_a_node_in_their_order():
    mixture = np.full((3, 14, 7), 1 / 7)
    strong = {(1, 5): (4, 0.5), (3, 5): (6, 0.6), (4, 5): (0, 0.4), (0, 2): (1, 0.3), (1, 2): (2, 0.9)}
    for edge, (code, weight) in strong.items():
        mixture[2, ARNAS_EDGES.index(edge)] = (1 - weight) / 6
        mixture[2, ARNAS_EDGES.index(edge), code] = weight
    found = derive(mixture)
    assert found.robust[6:] == (("dil_conv_5x5", 3), ("sep_conv_5x5", 1))
    assert found.robust[:2] == (("skip_connect", 1), ("avg_pool_3x3", 0))
    tie = ("max_pool_3x3", 0), ("max_pool_3x3", 1)
    assert found.accurate == found.reduction == tie * 4  # all equal: the first sources, the first operation


def test_edges_are_compared_by_weights_and_not_by_architecture_parameters():
    supernet = ArnasSupernet("digits", channels=2, layers=4, generator=seeded())
    with torch.no_grad():
        supernet.alpha.zero_()
        supernet.alpha[0, ARNAS_EDGES.index((0, 3))] = 9.0  # large parameters, but no operation stands out
        supernet.alpha[0, ARNAS_EDGES.index((1, 3)), 3] = 1.0
        supernet.alpha[0, ARNAS_EDGES.index((2, 3)), 5] = 2.0
    assert supernet.genotype().accurate[2:4] == (("dil_conv_3x3", 2), ("sep_conv_3x3", 1))


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (np.zeros((3, 14, 8)), "the mixture's shape is"),
        (np.zeros((3, 14, 7)), "add up to 1"),
        (np.full((3, 14, 7), np.nan), "add up to 1"),
        (np.eye(7)[None, [0] * 14].repeat(3, 0) * 2 - 1 / 7, "add up to 1"),
    ],
)
def test_what_is_no_mixture_is_refused(mixture, message):
    with pytest.raises(InvalidValueError, match=message):
        derive(mixture)


# --- genotypes


def test_genotype_goes_through_a_file(tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(ARNAS.to_dict()))
    assert read_genotype(path) == parse_architecture(str(path)) == parse_architecture("arnas") == ARNAS
    assert ARNAS.mixture().sum() == 24


def broken(entry: int, choice: object) -> list:
    cell: list = [list(pair) for pair in ARNAS.robust]
    cell[entry] = choice
    return cell


@pytest.mark.parametrize(
    ("cell", "error", "message"),
    [
        (broken(1, ["sep_conv_7x7", 1]), UnknownNameError, "entry 1 of the robust cell 'sep_conv_7x7'; did you mean"),
        (broken(1, ["none", 1]), UnknownNameError, "entry 1 of the robust cell 'none'"),
        (broken(3, ["skip_connect", 3]), InvalidCellError, "source of node 3 is an integer from 0 to 2"),
        (broken(3, ["skip_connect", True]), InvalidCellError, "source of node 3 is an integer from 0 to 2"),
        (broken(3, ["skip_connect", 1]), InvalidCellError, "node 3 of the robust cell has the source 1 twice"),
        (broken(5, "skip_connect"), InvalidCellError, "entry 5 of the robust cell is not a pair"),
        (broken(0, None)[1:], InvalidCellError, "the robust cell has 8 pairs"),
        ("dil", InvalidCellError, "the robust cell has 8 pairs"),
    ],
)
def test_broken_genotype_is_named(cell, error, message):
    with pytest.raises(error, match=message):
        Genotype.from_dict({**ARNAS.to_dict(), "robust": cell})


def test_what_is_no_architecture_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"normal": []}')
    with pytest.raises(SourceFormatError, match="not JSON"):
        parse_architecture(str(tmp_path / "a.json"))
    with pytest.raises(InvalidCellError, match="expected the cells accurate, reduction, robust by name"):
        parse_architecture(str(tmp_path / "b.json"))
    with pytest.raises(MissingDataError, match="cannot read"):
        parse_architecture("nothing.json")
    with pytest.raises(InvalidCellError):
        parse_architecture("arnsa")
    with pytest.raises(InvalidValueError, match="one or two cells"):
        parse_architecture("1,2,3")
    with pytest.raises(InvalidValueError, match=r"layers is 3, expected an integer of at least 4; did you mean 4\?"):
        layers_of(3, 2, 6)


# --- staged cells


def test_staged_network_of_equal_cells_is_the_network_of_the_benchmark():
    facts, skeleton = dataset("digits"), Skeleton(3, 2, 10, 1, 8)
    for index in (0, 1462, 9930):
        cell = Cell.from_index(index)
        norm = {"mean": facts.mean, "std": facts.std}
        staged = StagedNetwork((cell,) * 3, skeleton, **norm, generator=seeded(), widths=skeleton.widths).eval()
        plain = Network(cell, skeleton, **norm, generator=seeded()).eval()
        images = torch.rand(4, 1, 8, 8)
        assert sum(parameter.numel() for parameter in staged.parameters()) == cell.parameters(skeleton)
        assert torch.equal(staged(images), plain(images))
    with pytest.raises(InvalidValueError, match="three cells, one per stage"):
        StagedNetwork((cell,) * 2, skeleton, **norm, generator=seeded())


def test_staged_cells_are_what_the_supernet_of_two_cells_searches():
    facts, settings = dataset("digits"), settings_for("digits")
    pair = Cell.from_index(9930), Cell.from_index(77)
    generator = seeded(8)
    supernet = Supernet(
        settings.skeleton, mean=facts.mean, std=facts.std, generator=generator, groups=(0, 0, 1), widths=(4, 8, 8)
    )
    as_trained(supernet).eval()
    network = StagedCells.of(*pair).network(settings, seeded(9))
    assert StagedCells.of(*pair) == parse_architecture(f"9930, {pair[1]}")
    with_weights_of(supernet, network, (pair[0], *pair))
    images = torch.rand(3, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), Subnetwork(supernet, pair)(images), rtol=1e-10, atol=1e-10)
