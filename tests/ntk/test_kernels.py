"""The kernels of adversarial training: blocks of one pass, their combinations, attacks, and files."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest
import torch
from helpers import seeded
from kernel_oracles import combined, jacobian
from native_twins import needs_engine, random_batch, relative_error, twins

from nasbench_robust.attacks import perturb
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError, MissingDataError, TableError, UnknownNameError
from nasbench_robust.metrics import autoattack, fgsm, pgd
from nasbench_robust.networks import Network
from nasbench_robust.ntk import (
    BN_MODES,
    FixedNetwork,
    Kernels,
    gram_matrix,
    kernels,
    kernels_between,
    load_kernels,
    save_kernels,
    versions,
)
from nasbench_robust.ntk.modes import prepare
from nasbench_robust.skeletons import Skeleton

SMALL = Skeleton(channels=3, cells_per_stage=1, classes=4, input_channels=2, image_size=8)
CELL = Cell(["nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "nor_conv_3x3", "skip_connect"])
MATRICES = ("clean", "robust", "cross", "robust_twice", "cross_twice")


def make(count: int = 5) -> tuple[Network, torch.Tensor, torch.Tensor]:
    network, _ = twins(CELL, SMALL)
    images, labels = random_batch(SMALL, count)
    return network, torch.from_numpy(images), torch.from_numpy(labels)


def attacked(network: Network, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images attacked once and twice."""
    once = perturb(network.eval(), images.double(), labels, fgsm(0.1), torch.Generator())
    return once, perturb(network, once, labels, fgsm(0.1), torch.Generator())


@pytest.mark.parametrize("bn", ["eval", "batch_frozen"])
def test_blocks_are_kernels_of_their_own(bn):
    network, images, labels = make()
    once, twice = attacked(network, images, labels)
    fixed = FixedNetwork(network, images, bn=bn, precision="fp64")  # the clean batch decides the statistics of all
    found = kernels_between(fixed, (images, once, twice), beta=0.3, output="trace")
    pairs = [(images, images), (once, once), (images, once), (twice, twice), (once, twice)]
    for name, (first, second) in zip(MATRICES, pairs, strict=True):
        expected = gram_matrix(fixed, first.double(), second.double(), output="trace").numpy()
        assert relative_error(getattr(found, name), expected) < 1e-12, name


@pytest.mark.parametrize("bn", ["eval", "batch_frozen"])
@pytest.mark.parametrize("beta", [0.0, 0.25, 0.5, 1.0])
def test_combined_kernel_two_ways(bn, beta):
    network, images, labels = make()
    once, twice = attacked(network, images, labels)
    fixed = FixedNetwork(network, images, bn=bn, precision="fp64")
    found = kernels_between(fixed, (images, once, twice), beta=beta)
    rows = jacobian(network, images, bn=bn).sum(1)
    assert relative_error(found.clean, (rows @ rows.T).numpy()) < 1e-10
    for matrix, pair in ((found.combined, (images, once)), (found.combined_robust, (once, twice))):
        assert relative_error(matrix, combined(fixed.module, *pair, beta=beta)) < 1e-13
        assert np.linalg.eigvalsh(matrix).min() > -1e-12 * np.trace(matrix)


def test_limits_of_beta():
    network, images, labels = make()
    found = kernels(network, images, fgsm(0.1), beta=0.0, bn="eval", labels=labels)
    assert np.array_equal(found.combined, found.clean)
    assert np.array_equal(found.combined_robust, found.robust)
    adversarial = dataclasses.replace(found, beta=1.0)
    assert np.array_equal(adversarial.combined, found.robust)
    assert np.array_equal(adversarial.combined_robust, found.robust_twice)


@pytest.mark.parametrize("bn", BN_MODES)
@pytest.mark.parametrize("attack", [fgsm(0.1), pgd(0.1, steps=3), pgd(0.5, steps=2, norm="L2")])
def test_attacks_are_made_on_the_network_of_the_mode(bn, attack):
    network, images, labels = make()
    reference, generator = prepare(network, images, bn, torch.float64), seeded(1)
    once = perturb(reference, images.double(), labels, attack, generator)
    twice = perturb(reference, once, labels, attack, generator)  # goes on from A(x), and draws on
    fixed = FixedNetwork(network, images, bn=bn, precision="fp64")
    made = versions(fixed, images, labels, attack, seeded(1))
    for version, expected in zip(made, (images, once, twice), strict=True):
        assert relative_error(version.numpy(), expected.numpy()) < 1e-9
    expected = kernels_between(fixed, made, beta=1.0)
    options = {"beta": 1.0, "bn": bn, "labels": labels, "precision": "fp64"}
    found = kernels(network, images, attack, generator=seeded(1), **options)
    for name in MATRICES:
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert relative_error(found.robust_twice, found.robust) > 1e-6


@pytest.mark.parametrize("bn", BN_MODES)
@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_fixed_network_is_left_as_it_is_by_kernels_and_attacks(bn, precision):
    network, images, labels = make()
    fixed = FixedNetwork(network.float(), images, bn=bn, precision=precision)
    first = [gram_matrix(fixed, images, output="sum"), fixed.attacked(images, labels, fgsm(0.1))]
    again = [fixed.attacked(images, labels, fgsm(0.1)), gram_matrix(fixed, images, output="sum")]
    assert all(torch.equal(one, other) for one, other in zip(first, reversed(again), strict=True))
    assert not any(parameter.requires_grad for parameter in fixed.module.parameters())


@needs_engine
@pytest.mark.parametrize("attack", [fgsm(0.05), pgd(0.05, steps=2)])
def test_native_engine_makes_the_same(attack):
    network, images, labels = make(9)
    options = {"beta": 0.5, "bn": "batch_frozen", "labels": labels}
    made = [
        kernels(network, images, attack, **options, generator=seeded(), engine=engine) for engine in ("torch", "native")
    ]
    for name in MATRICES:
        # A gradient that is 0 to rounding may have another sign: a pixel or two may differ, not the picture.
        assert relative_error(getattr(made[1], name), getattr(made[0], name)) < 2e-2, name
    assert relative_error(made[1].clean, made[0].clean) < 1e-4


def test_without_the_second_attack():
    network, images, labels = make()
    found = kernels(network, images, fgsm(0.1), beta=0.5, bn="eval", labels=labels, twice=False)
    assert found.robust_twice is None
    with pytest.raises(MissingDataError, match="twice=True"):
        _ = found.combined_robust


def test_what_an_attack_needs():
    network, images, labels = make()
    fixed = {"beta": 0.5, "bn": "eval", "labels": labels}
    with pytest.raises(InvalidValueError, match="expected an Attack"):
        kernels(network, images, None, **fixed)
    with pytest.raises(InvalidValueError, match="labels"):
        kernels(network, images, fgsm(0.1), **{**fixed, "labels": labels[:2]})
    with pytest.raises(InvalidValueError, match="random start"):
        kernels(network, images, pgd(0.1), **fixed)
    with pytest.raises(UnknownNameError, match="attack of a kernel"):
        kernels(network, images, autoattack(0.1), **fixed)
    with pytest.raises(InvalidValueError, match=r"beta.*a weight in \[0, 1\]"):
        kernels(network, images, fgsm(0.1), **{**fixed, "beta": 1.5})
    with pytest.raises(InvalidValueError, match="output"):
        kernels(network, images, fgsm(0.1), output="full", **fixed)
    for wrong in ((images,), (images, images[:2]), (images,) * 4):
        with pytest.raises(InvalidValueError, match="the shapes of versions"):
            kernels_between(FixedNetwork(network, images, bn="eval"), wrong, beta=0.5)


# ------------------------------------------------------------------ files

KEY = {"cell": CELL, "dataset": "digits", "seed": 0, "settings": {"bn": "eval", "eps": 0.1}}


def some_kernels(seed: int = 0) -> Kernels:
    rng = np.random.default_rng(seed)
    return Kernels(*(rng.random((3, 3)) for _ in range(5)), beta=0.25)


def test_files_keep_everything(tmp_path):
    path, kept = tmp_path / "kernels.h5", some_kernels()
    save_kernels(kept, path, **KEY)
    other = dataclasses.replace(some_kernels(1), robust_twice=None, cross_twice=None)
    save_kernels(other, path, **{**KEY, "seed": 1})
    for expected, seed in ((kept, 0), (other, 1)):
        found = load_kernels(path, **{**KEY, "seed": seed})
        assert found.beta == 0.25
        for name in MATRICES:
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert [entry.name for entry in tmp_path.iterdir()] == ["kernels.h5"]


def test_files_keep_what_is_there(tmp_path):
    path = tmp_path / "kernels.h5"
    save_kernels(some_kernels(), path, **KEY)
    before = path.read_bytes()
    save_kernels(some_kernels(), path, **KEY)  # the same again
    with pytest.raises(InvalidValueError, match="kernels"):
        save_kernels(some_kernels(1), path, **KEY)
    assert path.read_bytes() == before


def test_files_that_are_not_there_or_damaged(tmp_path):
    path = tmp_path / "kernels.h5"
    with pytest.raises(MissingDataError, match="no file"):
        load_kernels(path, **KEY)
    save_kernels(some_kernels(), path, **KEY)
    with pytest.raises(MissingDataError, match="has no kernels digits/"):
        load_kernels(path, **{**KEY, "settings": {"bn": "eval", "eps": 0.2}})
    path.write_bytes(path.read_bytes()[:200])
    damaged = path.read_bytes()
    with pytest.raises(TableError, match="not a sound HDF5 file"):
        load_kernels(path, **KEY)
    with pytest.raises(TableError, match="not a sound HDF5 file"):
        save_kernels(some_kernels(), path, **KEY)
    assert path.read_bytes() == damaged


def test_kernels_that_were_changed_in_their_file_are_refused(tmp_path):
    path = tmp_path / "kernels.h5"
    save_kernels(some_kernels(), path, **KEY)
    with h5py.File(path, "a") as file:
        file.visititems(lambda name, entry: entry.write_direct(np.eye(3)) if name.endswith("/clean") else None)
    with pytest.raises(TableError, match="not those that were saved: their SHA-256 differs"):
        load_kernels(path, **KEY)
