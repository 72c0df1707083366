"""Trained networks of the package: their accuracies are those of the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from native_twins import needs_engine

import nasbench_robust as nbr
from nasbench_robust.attacks import fgsm
from nasbench_robust.cells import Cell, connected, representatives
from nasbench_robust.datasets import dataset
from nasbench_robust.engines.draws import Draws
from nasbench_robust.engines.native import evaluate
from nasbench_robust.errors import InvalidValueError, MissingDataError, MissingResultError, TableError
from nasbench_robust.images import load_arrays, load_images
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.metrics import fgsm as fgsm_attack
from nasbench_robust.native import NativeNetwork
from nasbench_robust.networks import trained, trained_cells, weights_of
from nasbench_robust.settings import settings_for

TRAINED = trained_cells()


@pytest.fixture(scope="module")
def bench() -> nbr.Benchmark:
    return nbr.load()


def test_they_are_two_dozen_and_span_the_table(bench: nbr.Benchmark) -> None:
    values = bench.frame("digits", ["pgd_acc@0.1"]).set_index("index")["pgd_acc@0.1"]
    values = values[connected()[values.index]]
    found = values[list(TRAINED)]
    assert len(TRAINED) == len(set(TRAINED)) == 24
    assert {9930, 2581, 13714, 6111} < set(TRAINED)
    assert (found.max(), found.min()) == (values.max(), values.min())


@pytest.mark.parametrize("split", ["test", "validation"])
def test_torch_classifies_as_many_images_as_the_table_says(bench: nbr.Benchmark, split: str) -> None:
    pixels, labels = getattr(load_images("digits"), split)
    for index in TRAINED:
        network = nbr.network(index, trained=True)
        assert not network.training
        with torch.no_grad():
            correct = int((network(pixels).argmax(dim=1) == labels).sum())
        assert correct == bench.lookup(index, "digits", "clean_acc", seed=0, split=split).correct, index


def test_gradients_of_torch_make_the_attack_of_the_table(bench: nbr.Benchmark) -> None:
    """FGSM draws nothing, so all that may differ is the sign of a gradient of about 0."""
    pixels, labels = load_images("digits").test
    for index in TRAINED[:6]:
        network = nbr.network(index, trained=True)
        attacked = fgsm(network, pixels, labels, fgsm_attack(0.1), torch.Generator())
        with torch.no_grad():
            correct = int((network(attacked).argmax(dim=1) == labels).sum())
        assert abs(correct - bench.lookup(index, "digits", "fgsm_acc", eps=0.1, seed=0).correct) <= 1, index


@needs_engine
def test_the_native_engine_attacks_them_to_the_counts_of_the_table(bench: nbr.Benchmark) -> None:
    facts, images = dataset("digits"), load_arrays("digits")
    for index in TRAINED[::6]:
        cell = Cell.from_index(index)
        network = NativeNetwork(cell, settings_for("digits").skeleton, mean=facts.mean, std=facts.std)
        network.parameters[:], network.statistics[:] = weights_of(cell)
        network.fold()
        correct = evaluate(network, images, Metric.of(pgd(0.1)), Draws(0, "evaluation")).sum()
        assert correct == bench.lookup(index, "digits", "pgd_acc", eps=0.1, seed=0).correct, index


def test_a_cell_of_the_class_gets_the_network_of_its_representative() -> None:
    twins = np.flatnonzero(np.isin(representatives(), TRAINED) & ~np.isin(np.arange(15_625), TRAINED))
    network = nbr.network(int(twins[0]), trained=True)
    assert network.cell.index == representatives()[twins[0]]


def test_untrained_ones_are_those_of_the_data_set_and_of_the_seed() -> None:
    first, again, other = (nbr.network(9930, "cifar10", seed=seed) for seed in (1, 1, 2))
    assert sum(parameter.numel() for parameter in first.parameters()) == 1_288_506
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert first(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    "damage", [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:1000])]
)
def test_damaged_weights_are_one_sentence(tmp_path, monkeypatch, damage) -> None:
    file = tmp_path / "weights.npz"
    file.write_bytes(trained.WEIGHTS.read_bytes())
    monkeypatch.setattr(trained, "WEIGHTS", file)
    damage(file)
    with pytest.raises((MissingDataError, TableError), match=r"weights\.npz.*install it again"):
        nbr.network(9930, trained=True)


def test_what_is_not_there_is_said_in_a_sentence() -> None:
    with pytest.raises(MissingResultError, match=r"no trained weights of cell 0 \(cells that it has: 9930, 2581"):
        nbr.network(0, trained=True)
    with pytest.raises(InvalidValueError, match="not of cifar10 and 0"):
        nbr.network(9930, "cifar10", trained=True)
    with pytest.raises(InvalidValueError, match="not of digits and 3"):
        nbr.network(9930, trained=True, seed=3)
    with pytest.raises(InvalidValueError, match="trained is 'yes', expected True or False"):
        nbr.network(9930, trained="yes")
    with pytest.raises(InvalidValueError, match="seed is 'a', expected an integer from 0"):
        nbr.network(9930, seed="a")
