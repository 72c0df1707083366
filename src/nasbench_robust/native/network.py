"""A network in the native engine: parameters as NumPy arrays, passes, gradients, attacks, training steps. No torch."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..arrays import Booleans, Floats, Integers, Singles
from ..attacks import check_images, check_labels, checked_radius
from ..cells import OPERATIONS, Cell
from ..checks import integer, number
from ..errors import InvalidValueError
from ..metrics import MOST
from ..skeletons import Skeleton
from .library import library

Ints = npt.NDArray[np.int32]
Labels: TypeAlias = "npt.NDArray[np.int32] | Integers"
_steps, _step_size = integer(0, MOST), number(most=MOST)


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
    Its methods release the interpreter's lock and share work space, so threads that call them wait for each other.
    """

    def __init__(self, cell: Cell, skeleton: Skeleton, *, mean: Sequence[float], std: Sequence[float]) -> None:
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != skeleton.input_channels:
                raise InvalidValueError(name, values, f"{skeleton.input_channels} value(s), one per input channel")
        self.cell, self.skeleton, self._normalisation = cell, skeleton, (tuple(mean), tuple(std))
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
        self._library = _OneAtATime(library())
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
        arrays = (self.parameters, self.gradient, self.momentum, self.statistics)
        return _again, (self.cell, self.skeleton, self._normalisation, tuple(map(np.copy, arrays)))

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
            _check_finite("logit_gradient", logit_gradient)
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
        _check_finite("cotangents", cotangents)
        kernel = np.empty((len(images), len(images)))
        self._library.engine_tangent_kernel(
            *(self._handle, _floats(images), _floats(cotangents), len(images)),
            kernel.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )
        return kernel

    def pgd(
        self, images: Singles, labels: Labels, noise: Singles | None, *, eps: float, step_size: float, steps: int
    ) -> Singles:
        """Return what `nasbench_robust.attacks.pgd` returns, started from ``images + noise``, or from the images.

        Noise of the shape (restarts, n, channels, size, size) makes as many restarts: of an image the first one that is
        misclassified is returned, else the last.
        """
        images = self._checked(images)
        adversarial = np.empty_like(images)  # of the checked ones, which are floats of the engine's size
        classes = self._checked_labels(labels, len(images))
        eps, step_size, steps = checked_radius(eps), _step_size("step_size", step_size), _steps("steps", steps)
        if noise is not None:
            noise = np.ascontiguousarray(noise, np.float32)
            if noise.ndim == images.ndim + 1 and len(noise):
                return self._restarted(images, classes, noise, eps=eps, step_size=step_size, steps=steps)
            _check_shape("noise", noise, images.shape)
            _check_finite("noise", noise)
        self._library.engine_pgd(
            *(self._handle, _floats(images), _ints(classes), len(images)),
            *(_floats(noise), eps, step_size, steps, _floats(adversarial)),
        )
        return adversarial

    def _restarted(self, images: Singles, classes: Ints, noise: Singles, **step: Any) -> Singles:
        """Return the first restart of an image that is misclassified, or its last."""
        adversarial = self.pgd(images, classes, noise[0], **step)
        for start in noise[1:]:
            withstood = self.is_right(adversarial, classes)[:, None, None, None]
            adversarial = np.where(withstood, self.pgd(images, classes, start, **step), adversarial)
        return adversarial

    def is_right(self, images: Singles, labels: Labels) -> Booleans:
        """Return which images are classified correctly, shape (n,); whose logits are not numbers is not."""
        logits = self.logits(images)
        right: Booleans = np.equal(logits.argmax(axis=1), labels) & ~np.isnan(logits).any(axis=1)
        return right

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
            integer(1, MOST)(name, value)
        integer(0, 2**64 - 1)("seed", seed)
        integer(0, 2**31 - 1)("first", first)
        eps, images = checked_radius(eps), self._checked(images)
        adversarial = np.empty_like(images)
        classes = self._checked_labels(labels, len(images))
        survivors = np.empty((5, len(images)), np.uint8)
        self._library.engine_autoattack(
            *(self._handle, _floats(images), _ints(classes), len(images), eps, steps, queries, restarts, seed, first),
            *(survivors.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)), _floats(adversarial)),
        )
        # The engine compares logits, and nothing is larger than what is no number.
        numbers = ~np.isnan(self.logits(images)).any(axis=1)
        return survivors.astype(bool) & numbers, adversarial

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
        # The engine's ReLU and projections would make numbers of what is no pixel.
        check_images(checked, shape=(self.skeleton.input_channels, size, size))
        return checked

    def _checked_labels(self, labels: Any, count: int) -> Ints:
        classes = np.asarray(labels)
        check_labels(classes, count, self.skeleton.classes)
        checked: Ints = np.ascontiguousarray(classes, np.int32)
        return checked


def _again(cell: Cell, skeleton: Skeleton, normalisation: Any, arrays: tuple[Singles, ...]) -> NativeNetwork:
    """Return a network that was pickled or copied."""
    network = NativeNetwork(cell, skeleton, mean=normalisation[0], std=normalisation[1])
    for name, values in zip(("parameters", "gradient", "momentum", "statistics"), arrays, strict=True):
        getattr(network, name)[:] = values
    network.fold()
    return network


class _OneAtATime:
    """The engine's functions for one network, which share its work space."""

    def __init__(self, functions: Any) -> None:
        self._functions, self._lock = functions, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._functions, name)

        def call(*arguments: Any) -> Any:
            with self._lock:
                return function(*arguments)

        return call


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


def _check_finite(name: str, array: Singles) -> None:
    if not np.isfinite(array).all():
        raise InvalidValueError(name, float(array[~np.isfinite(array)][0]), "finite numbers")


def _floats(array: Singles | None) -> Any:
    return None if array is None else array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def _ints(array: Ints) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
