"""The native engine on images of 32x32: as exact as torch in float32, no larger in memory, chosen for them."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import native_twins
import numpy as np
import pytest
import torch
from native_twins import (
    LARGE_CELLS,
    compare_eval,
    differentiate,
    flat,
    gradients_of,
    needs_engine,
    pgd_from,
    random_batch,
    smooth_batch,
    statistics_of,
    torch_twin,
    twins,
)

from nasbench_robust import metrics
from nasbench_robust.attacks import autoattack
from nasbench_robust.engines.native import NativeTrainer
from nasbench_robust.images import Images, Split, load_arrays
from nasbench_robust.runs import choose_engine
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.skeletons import Skeleton

# With these shifts of batch normalisation every ReLU passes everything: no gradient jumps where rounding moves a value
# across 0, and errors are those of sums alone.
ABOVE_ZERO = 10.0


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the root of the mean square error, as a share of the root of the mean square."""
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


@needs_engine
@pytest.mark.parametrize("name", LARGE_CELLS)
def test_long_sums_are_as_exact_as_those_of_torch(name):
    """A batch of 256 images of 32x32 has 262,144 values per channel to sum, 16,384 of them in a lane."""
    network, native = twins(LARGE_CELLS[name], Skeleton(4, 1, 10, 3, 32))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.fill_(ABOVE_ZERO)
    native.parameters[:] = flat(network.parameters())
    single, before = copy.deepcopy(network).float(), native.statistics.copy()
    images, labels = random_batch(native.skeleton, 256)
    losses = [differentiate(each, images, labels)[0] for each in (network, single)]
    loss, _ = native.differentiate(images, labels)
    assert abs(loss - losses[0]) < 1e-6 * losses[0]
    exact, rounded = gradients_of(network), gradients_of(single)
    assert error(native.gradient, exact) < 2 * error(rounded, exact) < 1e-5
    updated = native.statistics != before
    exact, rounded = (flat(statistics_of(each))[updated] for each in (network, single))
    assert error(native.statistics[updated], exact) < 2 * error(rounded, exact) + 1e-7


@needs_engine
@pytest.mark.parametrize("name", LARGE_CELLS)
def test_passes_on_large_images_equal_those_of_torch(name):
    skeleton = Skeleton(16, 1, 10, 3, 32)
    network, native = twins(LARGE_CELLS[name], skeleton)
    images, _ = smooth_batch(network, skeleton, 3, seed=0)
    logits, gradient = compare_eval(network, native, images)
    assert logits < 1e-5
    assert gradient < 1e-5


STEPS = """
import sys
from pathlib import Path
from native_twins import LARGE_CELLS as LARGE_CELLS, compare_eval, differentiate, gradients_of, random_batch
from native_twins import LARGE_CELLS, Skeleton, differentiate, twins

def resident(name):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])

def taken(step, batch):
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = resident("VmRSS")
    step(*batch)
    return resident("VmHWM") - before

for cell in LARGE_CELLS.values():
    for skeleton, count in ((Skeleton(2, 1, 10, 3, 32), 4), (Skeleton(16, 2, 10, 3, 32), 64)):
        network, native = twins(cell, skeleton)
        network.float()
        step = native.differentiate if sys.argv[1] == "native" else lambda *batch: differentiate(network, *batch)
        last = taken(step, random_batch(skeleton, count))  # of the second round: what libraries load is there by then
    print(last)
"""


@needs_engine
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a moment")
def test_training_step_takes_less_memory_than_that_of_torch():
    def kibibytes(engine: str) -> np.ndarray:
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system
        command = [sys.executable, "-c", STEPS, engine]
        folder = Path(__file__).parents[1]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return np.array(done.stdout.split(), int)

    native, reference = kibibytes("native"), kibibytes("torch")
    assert (native > 20_000).all()
    assert (native < reference).all(), (native, reference)


@pytest.fixture(scope="module")
def trained() -> tuple[NativeTrainer, TrainingSettings]:
    """A network trained on digits drawn four times as large, in three channels."""
    settings = replace(
        settings_for("cifar10"),
        skeleton=Skeleton(4, 1, 10, 3, 32),
        epochs=5,
        batch_size=32,
        flip=False,
        attack=metrics.pgd(0.05, steps=2),
    )
    digits = load_arrays("digits")
    train, test = (
        Split(np.ascontiguousarray(pixels[:count].repeat(4, 2).repeat(4, 3).repeat(3, 1)), labels[:count])
        for (pixels, labels), count in ((digits.train, 1024), (digits.test, 96))
    )
    return native_twins.trained(settings, Images("cifar10", train, test), cell=LARGE_CELLS["medium"]), settings


@needs_engine
def test_training_and_pgd_work_on_large_images(trained, monkeypatch):
    trainer, settings = trained
    assert trainer.curve[-1].clean_acc > 0.6
    network, attack = torch_twin(trainer.network, settings), metrics.pgd(0.05, steps=10)
    images, labels = trainer.images.test
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, images.shape).astype(np.float32)
    found = trainer.network.pgd(images, labels, noise, eps=0.05, step_size=attack.step_size, steps=10)
    expected = pgd_from(network, images, labels, noise, attack, monkeypatch)
    right = [trainer.network.logits(points.astype(np.float32)).argmax(axis=1) == labels for points in (found, expected)]
    assert 0.2 < right[0].mean() < 0.95
    assert (right[0] != right[1]).mean() <= 0.03


@needs_engine
def test_autoattack_on_large_images_is_that_of_torch_but_for_chance(trained):
    trainer, settings = trained
    images, labels = (each[:48] for each in trainer.images.test)
    attack = replace(metrics.autoattack(0.05, steps=3), queries=50)
    survivors, found = trainer.network.autoattack(images, labels, eps=0.05, steps=3, queries=50, restarts=1, seed=0)
    assert np.abs(found - images).max() <= 0.05 + 1e-6
    broken = survivors[0] & ~survivors[-1]
    assert (trainer.network.logits(found[broken]).argmax(axis=1) != labels[broken]).all()
    network = torch_twin(trainer.network, settings).float()
    generator = torch.Generator().manual_seed(0)
    result = autoattack(network, torch.from_numpy(images), torch.from_numpy(labels), attack, generator)
    expected = np.array([alive.numpy() for alive in result.survivors.values()])
    assert np.array_equal(survivors[0], expected[0])
    assert 5 < survivors[1].sum() < survivors[0].sum()
    assert np.abs(survivors.sum(axis=1) - expected.sum(axis=1)).max() <= 3


@needs_engine
def test_auto_takes_the_engine_for_natural_images():
    for name in ("digits", "cifar10", "cifar100", "ImageNet16-120"):
        assert choose_engine("auto", settings_for(name)) == "native"
        assert choose_engine("auto", settings_for(name), "cuda") == "torch-fast-graph"
        assert choose_engine("auto", settings_for(name), threads=2) == "native"
    larger = replace(settings_for("cifar10"), skeleton=Skeleton(16, 5, 10, 3, 64))
    assert choose_engine("auto", larger) == "torch-fast"
    assert choose_engine("native", larger) == "native"
