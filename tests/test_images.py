"""Digits as tensors, and augmentation in batches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nasbench_robust.datasets import DATASETS
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.images import load_images, random_crop, random_flip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_digits_have_the_stated_sizes_and_range() -> None:
    images, facts = load_images("Digits"), DATASETS["digits"]
    assert images.train_images.shape == (facts.train_images, 1, 8, 8)
    assert images.test_images.shape == (facts.test_images, 1, 8, 8)
    assert images.train_images.min() == 0
    assert images.train_images.max() == 1
    assert set(images.train_labels.tolist()) == set(range(10))


def test_digits_normalisation_is_that_of_the_training_images() -> None:
    pixels, facts = load_images("digits").train_images, DATASETS["digits"]
    assert facts.mean == pytest.approx((pixels.mean().item(),), abs=5e-5)
    assert facts.std == pytest.approx((pixels.std(unbiased=False).item(),), abs=5e-5)


def test_split_of_digits_never_changes() -> None:
    images = load_images("digits")
    assert images.train_labels[:12].tolist() == TRAIN_LABELS
    assert images.test_labels.bincount().tolist() == [47, 55, 55, 52, 60, 41, 53, 59, 44, 51]


TRAIN_LABELS = [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8]


def test_unknown_images_and_devices_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"'cifar10' .*known: digits"):
        load_images("cifar10")
    with pytest.raises(InvalidValueError, match="device is 'cup'"):
        load_images("digits", "cup")


def test_crop_shifts_every_image_by_its_own_offset() -> None:
    images = torch.rand(200, 2, 6, 6, generator=seeded())
    cropped = random_crop(images, 1, seeded(1))
    padded = F.pad(images, (1, 1, 1, 1))
    offsets = set()
    for image, result in zip(padded, cropped, strict=True):
        found = [(r, c) for r in range(3) for c in range(3) if torch.equal(image[:, r : r + 6, c : c + 6], result)]
        assert len(found) == 1
        offsets.add(found[0])
    assert len(offsets) == 9


def test_crop_without_padding_is_the_identity() -> None:
    images = torch.rand(3, 1, 8, 8)
    assert random_crop(images, 0, seeded()) is images


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = torch.rand(400, 1, 4, 4, generator=seeded())
    result = random_flip(images, seeded(1))
    mirrored = [torch.equal(r, i.flip(2)) for r, i in zip(result, images, strict=True)]
    kept = [torch.equal(r, i) for r, i in zip(result, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 160 < sum(mirrored) < 240


def test_augmentation_depends_on_the_generator_alone() -> None:
    images = torch.rand(50, 1, 8, 8)
    assert torch.equal(random_crop(images, 2, seeded(3)), random_crop(images, 2, seeded(3)))
    assert not torch.equal(random_crop(images, 2, seeded(3)), random_crop(images, 2, seeded(4)))
