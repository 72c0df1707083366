"""What attacks, evaluations, kernels, proxies and bounds expect of their input, checked once at their doors.

Pixels on another scale, labels that are no classes and a network in train mode give numbers that look like results. A
check reads images and labels once, and nothing is checked in the loop of an attack. Arrays and tensors alike, without
torch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..datasets import dataset
from ..errors import InvalidValueError
from ..metrics import MOST, checked_eps

if TYPE_CHECKING:
    import torch

DARK = 16  # uint8 images are on the scale 0..255: a batch that ends here is on another one, that of digits for example
CORRECTED = "[0, 1]; divide by the largest value of the scale, and leave normalisation to the network"


def check_images(
    images: Any, name: str = "images", *, shape: tuple[int, ...] | None = None, bytes_too: bool = False
) -> None:
    """Raise `InvalidValueError` for what is no batch of images with pixels in [0, 1].

    Parameters
    ----------
    images : ndarray or Tensor, shape (n, channels, size, size)
        Of floats.
    name : str
        What an error calls them.
    shape : tuple of int, optional
        Shape of one image, where it is known.
    bytes_too : bool
        Whether uint8 on the scale 0..255 is taken as well.
    """
    size = getattr(images, "shape", None)
    if size is None or len(size) < 2 or (shape is not None and tuple(size[1:]) != tuple(shape)):
        given = type(images).__name__ if size is None else tuple(size)
        expected = "channels, size, size" if shape is None else ", ".join(map(str, shape))
        raise InvalidValueError(f"the shape of {name}", given, f"(n, {expected})")
    kind = kind_of(images)
    if "float" not in kind and not (bytes_too and kind == "uint8"):
        expected = f"floats in {CORRECTED}" + (", or uint8 in 0..255" if bytes_too else "")
        raise InvalidValueError(f"the type of {name}", kind, expected)
    if not all(size):
        return
    # Tensors know both in one pass; both are NaN where a pixel is.
    lowest, highest = map(float, images.aminmax() if hasattr(images, "aminmax") else (images.min(), images.max()))
    if kind == "uint8":
        if 0 < highest <= DARK:
            raise InvalidValueError(
                f"the range of {name}", f"{lowest:g}..{highest:g} in uint8", f"0..255, or floats in {CORRECTED}"
            )
    elif not (lowest >= 0 and highest <= 1):  # NaN fails too
        raise InvalidValueError(f"the range of {name}", f"{lowest:g}..{highest:g}", f"pixels in {CORRECTED}")


def check_labels(labels: Any, count: int, classes: int | None = None, name: str = "labels") -> None:
    """Raise `InvalidValueError` for what is not one class number for each image: integers, int64 in tensors."""
    kind, shape = kind_of(labels), tuple(getattr(labels, "shape", ()))
    upper = "" if classes is None else f"..{classes - 1}"
    expected = f"{count} classes in 0{upper}" if upper else f"{count} classes from 0"
    if "int" not in kind or (kind != "int64" and hasattr(labels, "detach")):
        raise InvalidValueError(name, f"of the type {kind}", f"{expected}, int64")
    if shape != (count,):
        raise InvalidValueError(name, f"of the shape {shape}", expected)
    if count:
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or (classes is not None and highest >= classes):
            raise InvalidValueError(name, f"from {lowest} to {highest}", expected)


def check_splits(images: Any, name: str) -> None:
    """Raise `InvalidValueError` if `Images` are not those of a data set, as far as a network would notice."""
    row = dataset(name)
    shape = row.input_channels, row.image_size, row.image_size
    for part in ("train", "test", "validation"):
        split = getattr(images, part)
        if split is not None:
            check_images(split.pixels, f"{part} images", shape=shape, bytes_too=True)
            check_labels(split.labels, len(split.pixels), row.classes, f"{part} labels")


def checked_radius(eps: Any, norm: str = "Linf") -> float:
    """Return a radius as a float: a budget as `metrics.checked_eps` takes it, or 0."""
    if isinstance(eps, str):
        return checked_eps(eps, norm)
    is_real = isinstance(eps, Real) and not isinstance(eps, bool)
    if not is_real or not 0 <= eps <= (1 if norm == "Linf" else MOST):
        expected = "a radius from 0 to 1, for pixels in [0, 1]" if norm == "Linf" else "a finite radius of at least 0"
        raise InvalidValueError("eps", eps, expected, "0" if is_real and eps < 0 else "1")
    return float(eps)


def kind_of(values: Any) -> str:
    """Return the type of the elements of an array or a tensor, or of what is neither: ``"float32"``."""
    return _spelled(getattr(values, "dtype", type(values).__name__))


@functools.cache
def _spelled(kind: Any) -> str:
    return str(kind).removeprefix("torch.")


def differentiable(values: torch.Tensor) -> torch.Tensor:
    """Return a tensor from outside any graph, and a copy of one that was made in inference mode."""
    return values.clone() if values.is_inference() else values.detach()


@contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Put the network into eval mode, and afterwards every module back into the mode it was in.

    Of a function that gives logits nobody knows the modules: its mode is its own affair.
    """
    training = [module for module in network.modules() if module.training] if hasattr(network, "modules") else []
    if training:
        network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def one_precision(network: Any, images: Any, name: str = "images") -> Iterator[None]:
    """Name both types where torch cannot pass images through a network of another floating-point type.

    Nothing is refused beforehand: a network may well convert what it is given.
    """
    try:
        yield
    except RuntimeError as error:
        own = sorted({kind_of(tensor) for tensor in getattr(network, "parameters", tuple)()})
        if type(error) is not RuntimeError or "type" not in str(error) or not own or kind_of(images) in own:
            raise
        expected = f"{' or '.join(own)}, as the parameters of the network are"
        raise InvalidValueError(
            f"the type of {name}", kind_of(images), expected, f"{name}.to(torch.{own[0]})"
        ) from None


@contextmanager
def labels_in_range(network: Any, labels: torch.Tensor) -> Iterator[None]:
    """Compare the labels with the first logits that the network gives meanwhile, before anything is made of them."""
    highest = int(labels.max()) if len(labels) else -1

    def look(_module: Any, _inputs: Any, logits: torch.Tensor) -> None:
        handle.remove()
        if logits.ndim != 2:
            raise InvalidValueError("the shape of the logits", tuple(logits.shape), "(n, classes)")
        if highest >= logits.shape[1]:
            raise InvalidValueError("labels", f"up to {highest}", f"classes in 0..{logits.shape[1] - 1}")

    if not hasattr(network, "register_forward_hook"):
        yield
        return
    handle = network.register_forward_hook(look)
    try:
        yield
    finally:
        handle.remove()
