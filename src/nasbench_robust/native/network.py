"""A network in the native engine: parameters as NumPy arrays, passes, gradients, attacks, training steps. No torch."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Booleans, Floats, Integers, Singles
from ..cells import OPERATIONS, Cell
from ..errors import InvalidValueError
from ..skeletons import Skeleton
from .library import library

Ints = npt.NDArray[np.int32]
Labels = npt.NDArray[np.int32] | Integers


class NativeNetwork:
    """The skeleton around a cell, as `nasbench_robust.networks.Network`, in the C++ engine.

    Parameters
    ----------
    cell : Cell
        The cell, the same in all three stages.
    skeleton : Skeleton
        Width, depth, classes and image shape; made for small ones.
    mean, std : sequence of float
        Per-channel normalisation of pixels in [0, 1].

    Attributes
    ----------
    parameters, gradient, momentum : ndarray of float32
        All parameters in the order of ``Network.parameters()``, flattened, and what belongs to each. They are the
        engine's own memory: assign to their elements, and call `fold` after a change of parameters or statistics.
    statistics : ndarray of float32
        Running mean and variance of every batch normalisation, in the order of ``Network.buffers()``. Those on edges
        that cannot influence the output are never updated.

    Notes
    -----
    Its methods release the interpreter's lock and share work space: call them from one thread at a time.
    """

    def __init__(self, cell: Cell, skeleton: Skeleton, *, mean: Sequence[float], std: Sequence[float]) -> None:
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != skeleton.input_channels:
                raise InvalidValueError(name, values, f"{skeleton.input_channels} value(s), one per input channel")
        self.cell, self.skeleton = cell, skeleton
        shape = np.array(
            [
                skeleton.channels,
                skeleton.cells_per_stage,
                skeleton.classes,
                skeleton.input_channels,
                skeleton.image_size,
            ],
            np.int32,
        )
        self._library = library()
        self._owner = _Owner(
            _ints(shape),
            _ints(np.array([OPERATIONS.index(name) for name in cell.operations], np.int32)),
            _floats(np.array(mean, np.float32)),
            _floats(np.array(std, np.float32)),
        )
        self._handle = self._owner.handle
        sizes = [self._library.engine_parameters(self._handle)] * 3 + [self._library.engine_statistics(self._handle)]
        self.parameters, self.gradient, self.momentum, self.statistics = (
            np.asarray(_Memory(self._owner, which, size)) for which, size in enumerate(sizes)
        )

    def __reduce__(self) -> Any:
        raise TypeError("a network of the native engine lives in one process: copy its arrays instead")

    @property
    def values(self) -> int:
        """About how many numbers `tangent_kernel` keeps for an image, four bytes each."""
        return int(self._library.engine_values(self._handle))

    def fold(self) -> None:
        """Fold batch normalisation with its running statistics into the convolutions, for all passes in eval mode."""
        self._library.engine_fold(self._handle)

    def logits(self, images: Singles) -> Singles:
        """Return logits, shape (n, classes), of images in [0, 1], shape (n, channels, size, size), in eval mode."""
        return self.logits_and_gradient(images, None)[0]

    def logits_and_gradient(self, images: Singles, logit_gradient: Singles | None) -> tuple[Singles, Singles | None]:
        """Return logits and, given an objective's gradient with respect to them, that with respect to the images."""
        images = self._checked(images)
        logits = np.empty((len(images), self.skeleton.classes), np.float32)
        gradient = None if logit_gradient is None else np.empty_like(images)
        if logit_gradient is not None:
            logit_gradient = np.ascontiguousarray(logit_gradient, np.float32)
            _check_shape("logit_gradient", logit_gradient, logits.shape)
        self._library.engine_pass(
            self._handle, _floats(images), len(images), _floats(logits), _floats(logit_gradient), _floats(gradient)
        )
        return logits, gradient

    def tangent_kernel(self, images: Singles, cotangents: Singles) -> Floats:
        """Return the empirical neural tangent kernel in eval mode, summed in float64 over gradients in float32.

        Parameters
        ----------
        images : ndarray, shape (n, channels, size, size)
            Pixels in [0, 1].
        cotangents : ndarray, shape (n, classes)
            Which scalar of an image's logits is differentiated: the sum of ``cotangents * logits`` over classes.

        Returns
        -------
        ndarray of float64, shape (n, n)
            Scalar products of the gradients with respect to all parameters; those of edges that cannot influence the
            output are zero. Takes about four bytes times `values` for an image.
        """
        images = self._checked(images)
        cotangents = np.ascontiguousarray(cotangents, np.float32)
        _check_shape("cotangents", cotangents, (len(images), self.skeleton.classes))
        kernel = np.empty((len(images), len(images)))
        self._library.engine_tangent_kernel(
            *(self._handle, _floats(images), _floats(cotangents), len(images)),
            kernel.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )
        return kernel

    def pgd(
        self, images: Singles, labels: Labels, noise: Singles | None, *, eps: float, step_size: float, steps: int
    ) -> Singles:
        """Return what `nasbench_robust.attacks.pgd` returns, started from ``images + noise``, or from the images."""
        images, adversarial = self._checked(images), np.empty_like(images)
        classes = self._checked_labels(labels, len(images))
        if noise is not None:
            noise = np.ascontiguousarray(noise, np.float32)
            _check_shape("noise", noise, images.shape)
        self._library.engine_pgd(
            *(self._handle, _floats(images), _ints(classes), len(images)),
            *(_floats(noise), eps, step_size, steps, _floats(adversarial)),
        )
        return adversarial

    def autoattack(
        self,
        images: Singles,
        labels: Labels,
        *,
        eps: float,
        steps: int,
        queries: int,
        restarts: int,
        seed: int,
        first: int = 0,
    ) -> tuple[Booleans, Singles]:
        """Attack images as `nasbench_robust.attacks.autoattack` does.

        `first` is the number of the first image. An image's draws depend on the seed and its number alone, so images
        may be attacked in parts.

        Returns
        -------
        ndarray of bool, shape (5, n)
            Which images are classified correctly, as they are and after each part; cumulative.
        ndarray of float32, of the shape of `images`
            A misclassified point within eps where a part found one; the image itself where not.

        Raises
        ------
        InvalidValueError
            If the network has fewer than 4 classes: the objective of APGD-T needs the fourth.
        """
        if self.skeleton.classes < 4:
            raise InvalidValueError("classes", self.skeleton.classes, "at least 4 for AutoAttack here, or torch")
        for name, value in (("steps", steps), ("queries", queries), ("restarts", restarts)):
            if not 1 <= value < 2**31:
                raise InvalidValueError(name, value, "a positive integer")
        images = self._checked(images)
        adversarial = np.empty_like(images)
        classes = self._checked_labels(labels, len(images))
        survivors = np.empty((5, len(images)), np.uint8)
        self._library.engine_autoattack(
            *(self._handle, _floats(images), _ints(classes), len(images), eps, steps, queries, restarts, seed, first),
            *(survivors.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)), _floats(adversarial)),
        )
        return survivors.astype(bool), adversarial

    def differentiate(self, images: Singles, labels: Labels) -> tuple[float, int]:
        """Pass a batch through in train mode: fill `gradient`, update `statistics`.

        Returns
        -------
        float, int
            Mean cross entropy and number of right predictions.
        """
        images = self._checked(images)
        classes = self._checked_labels(labels, len(images))
        if len(images) * (self.skeleton.image_size // 4) ** 2 < 2:
            raise InvalidValueError("images", len(images), "more than one value per channel, to normalise a batch")
        correct = ctypes.c_int()
        loss = self._library.engine_differentiate(
            self._handle, _floats(images), _ints(classes), len(images), ctypes.byref(correct)
        )
        return loss / len(images), correct.value

    def update(self, learning_rate: float, momentum: float, weight_decay: float) -> None:
        """Take one SGD step along `gradient`, as ``torch.optim.SGD`` does."""
        self._library.engine_update(self._handle, learning_rate, momentum, weight_decay)

    def _checked(self, images: Any) -> Singles:
        checked: Singles = np.ascontiguousarray(images, np.float32)
        size = self.skeleton.image_size
        if checked.shape[1:] != (self.skeleton.input_channels, size, size):
            expected = f"(n, {self.skeleton.input_channels}, {size}, {size})"
            raise InvalidValueError("the shape of images", checked.shape, expected)
        finite = np.isfinite(checked)
        if not finite.all():  # the engine's ReLU and projections would make numbers of them
            raise InvalidValueError("a pixel", float(checked[~finite][0]), "a number in [0, 1]")
        return checked

    def _checked_labels(self, labels: Any, count: int) -> Ints:
        classes = np.asarray(labels)
        if classes.shape != (count,) or not ((classes >= 0) & (classes < self.skeleton.classes)).all():
            raise InvalidValueError("labels", labels, f"{count} classes in 0..{self.skeleton.classes - 1}")
        checked: Ints = np.ascontiguousarray(classes, np.int32)
        return checked


class _Owner:
    """A network of the engine's, freed when neither a `NativeNetwork` nor one of its arrays needs it any more."""

    def __init__(self, *arguments: Any) -> None:
        self._library = library()
        self.handle = self._library.engine_new(*arguments)

    def __del__(self) -> None:
        if handle := getattr(self, "handle", None):
            self._library.engine_free(handle)


class _Memory:
    """One of the engine's arrays, for NumPy, which keeps this object and with it the network."""

    def __init__(self, owner: _Owner, which: int, size: int) -> None:
        self.owner = owner
        address = ctypes.addressof(library().engine_array(owner.handle, which).contents)
        kind = np.dtype(np.float32).str
        self.__array_interface__ = {"shape": (size,), "typestr": kind, "data": (address, False), "version": 3}


def _check_shape(name: str, array: Singles, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise InvalidValueError(f"the shape of {name}", array.shape, str(shape))


def _floats(array: Singles | None) -> Any:
    return None if array is None else array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def _ints(array: Ints) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
