"""Images as tensors, augmentation in batches, and a training step on every kind of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import seeded
from pictures import FOLDERS, TEST, made_up, write

from nasbench_robust.cells import Cell
from nasbench_robust.datasets import DATASETS
from nasbench_robust.engines.torch import Trainer
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.images import Split, crop, flip, load_images, random_crop, random_flip, shrink, to_unit
from nasbench_robust.metrics import fgsm, pgd
from nasbench_robust.runs import run_cell
from nasbench_robust.settings import settings_for
from nasbench_robust.skeletons import Skeleton


def test_digits_have_the_stated_sizes_and_range():
    images, facts = load_images("Digits"), DATASETS["digits"]
    assert images.train.pixels.shape == (facts.train_images, 1, 8, 8)
    assert images.validation.pixels.shape == (facts.validation_images, 1, 8, 8)
    assert images.test.pixels.shape == (facts.test_images, 1, 8, 8)
    assert images.train.pixels.min() == 0
    assert images.train.pixels.max() == 1
    assert set(images.train.labels.tolist()) == set(range(10))


def test_digits_normalisation_is_that_of_the_training_images():
    pixels, facts = load_images("digits").train.pixels, DATASETS["digits"]
    assert facts.mean == pytest.approx((pixels.mean().item(),), abs=5e-5)
    assert facts.std == pytest.approx((pixels.std(unbiased=False).item(),), abs=5e-5)


def test_digits_are_exact_sixteenths_and_need_no_files(monkeypatch):
    monkeypatch.setenv("NASBENCH_ROBUST_IMAGES", "/nowhere")
    images = load_images("digits", root="/nowhere either")
    assert images.train.pixels.dtype == torch.float32
    assert set((16 * images.train.pixels).unique().tolist()) == set(range(17))
    assert to_unit(images.train.pixels) is images.train.pixels


@pytest.mark.parametrize("size", [16, 8, 4])
def test_a_pixel_of_a_shrunk_image_is_the_mean_of_its_square(size):
    images = torch.rand(3, 2, 16, 16, generator=seeded())
    shrunk, side = shrink(images, size), 16 // size
    assert shrunk.shape == (3, 2, size, size)
    for row in range(size):
        for column in range(size):
            square = images[:, :, row * side : (row + 1) * side, column * side : (column + 1) * side]
            torch.testing.assert_close(shrunk[:, :, row, column], square.mean(dim=(2, 3)))


def test_split_of_digits_never_changes():
    images = load_images("digits")
    assert images.train.labels[:12].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8]
    assert images.validation.labels.bincount().tolist() == [31, 24, 23, 25, 23, 20, 26, 30, 30, 24]
    assert images.test.labels.bincount().tolist() == [47, 55, 55, 52, 60, 41, 53, 59, 44, 51]


def test_splits_of_digits_share_no_image_and_are_all_of_them_in_one_order():
    datasets = pytest.importorskip("sklearn.datasets")
    images = load_images("digits")
    pixels, labels = datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1_797)
    splits = (images.train.pixels, images.validation.pixels, images.test.pixels)
    assert [len(split) for split in splits] == [1_024, 256, 517]
    assert torch.equal(16 * torch.cat(splits).flatten(1), torch.tensor(pixels[order], dtype=torch.float32))
    classes = torch.cat((images.train.labels, images.validation.labels, images.test.labels))
    assert torch.equal(classes, torch.tensor(labels[order]))
    assert torch.equal(classes[-517:], torch.tensor(labels[order[1_280:]]))  # test images are what they always were


def test_held_out_images_are_found_by_the_name_of_their_split():
    images = load_images("digits")
    assert images.held_out("test") is images.test
    assert images.held_out("validation") is images.validation
    with pytest.raises(UnknownNameError, match="unknown split 'valid'; did you mean 'validation'"):
        images.held_out("valid")
    without = replace(images, validation=None)
    with pytest.raises(InvalidValueError, match="'test': these images of digits have no validation split"):
        without.held_out("validation")
    with pytest.raises(InvalidValueError, match="have no validation split"):  # before the training, not after it
        Trainer(Cell.from_index(9930), settings_for("digits"), without, seed=0)


def test_only_digits_have_a_validation_split():
    images = {"cifar10": 10_000, "cifar100": 10_000, "ImageNet16-120": 6_000}
    expected = {name: {"test": count} for name, count in images.items()} | {"digits": {"test": 517, "validation": 256}}
    assert {name: facts.held_out for name, facts in DATASETS.items()} == expected


def test_sizes_of_training_splits():
    sizes = {name: facts.train_images for name, facts in DATASETS.items()}
    assert sizes == {"cifar10": 50_000, "cifar100": 50_000, "ImageNet16-120": 151_700, "digits": 1_024}


def test_unknown_images_and_devices_are_named():
    with pytest.raises(UnknownNameError, match=r"'cifar11'; did you mean 'cifar10'.*known: cifar10, .*digits"):
        load_images("cifar11")
    with pytest.raises(InvalidValueError, match="device is 'cup'"):
        load_images("digits", "cup")


def test_crop_shifts_every_image_by_its_own_offset():
    images = torch.rand(200, 2, 6, 6, generator=seeded())
    cropped = random_crop(images, 1, seeded(1))
    padded = F.pad(images, (1, 1, 1, 1))
    offsets = set()
    for image, result in zip(padded, cropped, strict=True):
        found = [(r, c) for r in range(3) for c in range(3) if torch.equal(image[:, r : r + 6, c : c + 6], result)]
        assert len(found) == 1
        offsets.add(found[0])
    assert len(offsets) == 9


def test_crops_of_arrays_start_at_their_row_and_column():
    images = np.random.default_rng(0).random((4, 2, 5, 5), dtype=np.float32)
    rows, columns = np.array([0, 3, 1, 4]), np.array([2, 0, 4, 1])
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    cropped = crop(images, 2, np.stack([rows, columns]))
    for number, (row, column) in enumerate(zip(rows, columns, strict=True)):
        assert np.array_equal(cropped[number], padded[number, :, row : row + 5, column : column + 5])


def test_crops_of_tensors_draw_rows_first():
    images, draws = torch.rand(30, 1, 6, 6, generator=seeded()), seeded(1)
    rows, columns = torch.randint(0, 3, (2, 30), generator=seeded(1)).tolist()
    padded = F.pad(images, (1, 1, 1, 1))
    for result, image, row, column in zip(random_crop(images, 1, draws), padded, rows, columns, strict=True):
        assert torch.equal(result, image[:, row : row + 6, column : column + 6])


def test_marked_arrays_are_mirrored_left_to_right():
    images = np.random.default_rng(0).random((3, 2, 4, 4), dtype=np.float32)
    mirrored = flip(images, np.array([True, False, True]))
    assert np.array_equal(mirrored, np.stack([images[0, :, :, ::-1], images[1], images[2, :, :, ::-1]]))


def test_crop_without_padding_is_the_identity():
    images = torch.rand(3, 1, 8, 8)
    assert random_crop(images, 0, seeded()) is images


def test_flip_mirrors_about_half_of_the_images():
    images = torch.rand(400, 1, 4, 4, generator=seeded())
    result = random_flip(images, seeded(1))
    mirrored = [torch.equal(r, i.flip(2)) for r, i in zip(result, images, strict=True)]
    kept = [torch.equal(r, i) for r, i in zip(result, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 160 < sum(mirrored) < 240


def test_augmentation_depends_on_the_generator_alone():
    images = torch.rand(50, 1, 8, 8)
    assert torch.equal(random_crop(images, 2, seeded(3)), random_crop(images, 2, seeded(3)))
    assert not torch.equal(random_crop(images, 2, seeded(3)), random_crop(images, 2, seeded(4)))


def test_bytes_become_255ths_as_correctly_rounded():
    levels = torch.arange(256, dtype=torch.uint8)
    assert to_unit(levels).tolist() == [torch.tensor(level / 255).item() for level in range(256)]


def test_augmenting_bytes_or_floats_is_the_same():
    images = torch.randint(0, 256, (60, 3, 8, 8), dtype=torch.uint8, generator=seeded())
    for change in (lambda batch, draws: random_crop(batch, 2, draws), random_flip):
        assert torch.equal(to_unit(change(images, seeded(1))), change(to_unit(images), seeded(1)))


@pytest.mark.parametrize("name", FOLDERS)
def test_one_epoch_on_every_kind_of_images(name, small, tmp_path):
    images = load_images(name, root=write(tmp_path, name, "batches", made_up(name)))
    skeleton, attack = Skeleton.for_dataset(name, channels=2, cells_per_stage=1), pgd(8 / 255, steps=1)
    quick = {"epochs": 1, "batch_size": 128, "evaluation": (fgsm(8 / 255),)}
    settings = replace(settings_for(name), skeleton=skeleton, attack=attack, **quick)
    run = run_cell(Cell.from_index(9930), settings, images, seed=0)
    assert not run.failed
    assert run.row["test_images"] == TEST
    assert images.validation is None
    assert [metric.split for metric in run.outcomes] == ["test", "test"]
    assert run.curve[0].clean_acc == run.row["clean_acc"]
    assert 0 < run.curve[0].train_loss < 10
    floats = replace(
        images,
        **{name: Split(getattr(images, name).pixels / 255, getattr(images, name).labels) for name in ("train", "test")},
    )
    same = run_cell(Cell.from_index(9930), settings, floats, seed=0)
    assert same.curve == run.curve
    assert all(np.array_equal(same.outcomes[metric], run.outcomes[metric]) for metric in settings.metrics)
