"""Parameters and FLOPs of the network around a cell: the published figures, and every layer added up one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.skeletons import Skeleton


def layers(skeleton: Skeleton, conv_1x1: int, conv_3x3: int):
    """Yield (parameters, multiply-accumulates) of every layer, in the order in which an image passes them."""

    def convolution(kernel: int, inputs: int, outputs: int, size: int, norm: bool = True):
        weights = kernel * kernel * inputs * outputs
        return weights + 2 * outputs * norm, weights * size * size

    width, size = skeleton.channels, skeleton.image_size
    yield convolution(3, skeleton.input_channels, width, size)
    for stage in range(3):
        if stage:
            size //= 2
            yield convolution(3, width, 2 * width, size)
            yield convolution(3, 2 * width, 2 * width, size)
            yield convolution(1, width, 2 * width, size, norm=False)
            width *= 2
        for _ in range(skeleton.cells_per_stage):
            yield from [convolution(1, width, width, size)] * conv_1x1
            yield from [convolution(3, width, width, size)] * conv_3x3
    yield 2 * width, 0  # the last batch normalisation
    yield width * skeleton.classes + skeleton.classes, width * skeleton.classes


def test_smallest_and_largest_published_network():
    assert Skeleton().parameters(0, 0) == 73_306
    assert Skeleton().parameters(0, 6) == 1_531_546
    parameters = Skeleton().parameters(cells.operation_counts("nor_conv_1x1"), cells.operation_counts("nor_conv_3x3"))
    assert parameters.min() == 73_306
    assert parameters.max() == 1_531_546


def test_flops_of_the_smallest_and_the_largest_network():
    assert round(Skeleton().flops(0, 0) / 1e6, 2) == 7.78
    assert round(Skeleton().flops(0, 6) / 1e6, 2) == 220.12


@given(
    channels=st.integers(1, 40),
    cells_per_stage=st.integers(1, 7),
    classes=st.integers(1, 200),
    input_channels=st.integers(1, 4),
    quarter=st.integers(1, 20),
    conv_1x1=st.integers(0, 6),
    conv_3x3=st.integers(0, 6),
)
def test_closed_forms_equal_the_sum_over_the_layers(
    channels, cells_per_stage, classes, input_channels, quarter, conv_1x1, conv_3x3
):
    skeleton = Skeleton(channels, cells_per_stage, classes, input_channels, 4 * quarter)
    parameters, flops = map(sum, zip(*layers(skeleton, conv_1x1, conv_3x3), strict=True))
    assert skeleton.parameters(conv_1x1, conv_3x3) == parameters
    assert skeleton.flops(conv_1x1, conv_3x3) == flops


def test_arrays_of_counts_give_arrays_of_the_same_numbers():
    counts = cells.operation_counts("nor_conv_1x1"), cells.operation_counts("nor_conv_3x3")
    skeleton = Skeleton.for_dataset("cifar100")
    parameters, flops = skeleton.parameters(*counts), skeleton.flops(*counts)
    assert parameters.dtype == flops.dtype == np.int64
    for index in range(0, cells.SIZE, 500):
        cell = Cell.from_index(index)
        assert parameters[index] == cell.parameters(skeleton)
        assert flops[index] == cell.flops(skeleton)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10", Skeleton(16, 5, 10, 3, 32)),
        ("CIFAR-100", Skeleton(16, 5, 100, 3, 32)),
        ("ImageNet16-120", Skeleton(16, 5, 120, 3, 16)),
        ("digits", Skeleton(16, 5, 10, 1, 8)),
    ],
)
def test_data_sets_fix_images_and_classes(name, expected):
    assert Skeleton.for_dataset(name) == expected


def test_the_default_is_the_published_network_on_cifar10():
    assert Skeleton() == Skeleton.for_dataset("cifar10")
    assert Skeleton().widths == (16, 32, 64)
    assert Skeleton().sizes == (32, 16, 8)


def test_a_data_set_may_be_given_a_smaller_network():
    small = Skeleton.for_dataset("digits", channels=4, cells_per_stage=1)
    assert (small.channels, small.cells_per_stage, small.classes) == (4, 1, 10)
    with pytest.raises(UnknownNameError, match="did you mean 'cifar10'"):
        Skeleton.for_dataset("cifar11")


@pytest.mark.parametrize("other", [{"classes": 11}, {"input_channels": 3}, {"image_size": 16}])
def test_a_network_for_other_images_is_refused(other):
    skeleton = Skeleton.for_dataset("digits", channels=4)
    skeleton.check_dataset("digits")
    with pytest.raises(InvalidValueError, match=r"a Skeleton for 10 classes and 1 x 8\^2 pixels, the images of digits"):
        dataclasses.replace(skeleton, **other).check_dataset("digits")


def test_images_are_shrunk_by_whole_squares_of_pixels():
    for size in (4, 8, 16, 32):
        Skeleton(image_size=size).check_dataset("cifar10", shrunk=True)
    for size in (12, 24, 64):
        with pytest.raises(InvalidValueError, match=r"image_size=.*, or shrunk to a size of 4, 8, 16$"):
            Skeleton(image_size=size).check_dataset("cifar10", shrunk=True)
    with pytest.raises(InvalidValueError, match="a Skeleton for 100 classes"):
        Skeleton(image_size=16).check_dataset("cifar100", shrunk=True)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Skeleton)])
@pytest.mark.parametrize("value", [0, -4, True, 4.0, "4", None, np.int64(4), float("nan")])
def test_every_field_is_a_positive_integer(name, value):
    with pytest.raises(
        InvalidValueError, match=f"^({name} is .*|no {name} is given), expected a positive integer"
    ) as caught:
        Skeleton(**{name: value})
    assert caught.value.name == name
    assert caught.value.given is value


@pytest.mark.parametrize(("size", "hint"), [(1, 4), (3, 4), (30, 32), (33, 32), (35, 36)])
def test_an_image_size_that_cannot_be_halved_twice_suggests_the_nearest(size, hint):
    with pytest.raises(InvalidValueError, match=f"expected a multiple of 4; did you mean {hint}\\?"):
        Skeleton(image_size=size)


def test_a_skeleton_cannot_be_changed_and_serves_as_a_key():
    skeleton = Skeleton()
    with pytest.raises(dataclasses.FrozenInstanceError):
        skeleton.channels = 8
    assert {Skeleton(): 1}[Skeleton(16)] == 1
