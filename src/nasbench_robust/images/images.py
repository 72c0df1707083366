"""One data set in memory, the same class for arrays and for tensors. No torch until tensors are asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ..arrays import Record
from ..errors import InvalidValueError, UnknownNameError
from ..metrics import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

Pixels = TypeVar("Pixels", "npt.NDArray[Any]", "torch.Tensor")


@dataclass(frozen=True, eq=False, repr=False)
class Split(Record, Generic[Pixels]):
    """The images of one split and their classes.

    Attributes
    ----------
    pixels : ndarray or Tensor, shape (n, channels, size, size)
        uint8 with values 0..255 for natural images, a quarter of the memory of floats; float32 in [0, 1] for digits,
        exact sixteenths. `to_unit` makes pixels in [0, 1] of batches of either.
    labels : ndarray or Tensor of int64, shape (n,)
        Classes from 0.
    """

    pixels: Pixels
    labels: Pixels

    def __iter__(self) -> Iterator[Pixels]:
        """Unpack: ``pixels, labels = split``."""
        return iter((self.pixels, self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> Split[Pixels]:
        """Return some of the images: ``split[:100]``, or those that an array of positions names."""
        return Split(self.pixels[chosen], self.labels[chosen])


ArraySplit: TypeAlias = Split["npt.NDArray[Any]"]


@dataclass(frozen=True, eq=False, repr=False)
class Images(Record, Generic[Pixels]):
    """One data set: arrays, or tensors on one device.

    Attributes
    ----------
    name : str
        Canonical name.
    train, test : Split
    validation : Split or None
        None where the data set has none.
    """

    name: str
    train: Split[Pixels]
    test: Split[Pixels]
    validation: Split[Pixels] | None = None

    def held_out(self, split: str) -> Split[Pixels]:
        """Return the split ``"test"`` or ``"validation"``.

        Raises
        ------
        UnknownNameError
            If there is no split of that name.
        InvalidValueError
            If these images have no validation split.
        """
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS)
        if split == "test":
            return self.test
        if self.validation is None:
            expected = f"'test': these images of {self.name} have no validation split"
            raise InvalidValueError("split", split, expected, "test")
        return self.validation

    def to(self, device: str | torch.device) -> Images[torch.Tensor]:
        """Return the images as tensors on a device; those that are there already are shared, not copied.

        Raises
        ------
        InvalidValueError
            If there is no such device here.
        """
        import torch

        place = checked_device(device)
        return self._each(lambda values: torch.as_tensor(values).to(place))

    def arrays(self) -> Images[npt.NDArray[Any]]:
        """Return the images as arrays; those of the CPU share their memory with the tensors."""
        return self._each(lambda values: values if isinstance(values, np.ndarray) else values.cpu().numpy())

    def _each(self, convert: Any) -> Images[Any]:
        splits = (getattr(self, entry.name) for entry in fields(self)[1:])
        return Images(self.name, *(split and Split(*map(convert, split)) for split in splits))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return ``test_images``, ``train_labels``, ...: the flat names that splits had before."""
            split, _, part = name.rpartition("_")
            if split not in ("train", "test", "validation") or part not in ("images", "labels"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            found = getattr(self, split)
            return found and (found.pixels if part == "images" else found.labels)


def checked_device(device: str | torch.device) -> torch.device:
    """Return a device that is here; raise `InvalidValueError` where it is not, or is no device at all."""
    import torch

    try:
        place = torch.device(device)
    except RuntimeError:
        raise InvalidValueError("device", str(device), "cpu, cuda or cuda:0", "cpu") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise InvalidValueError("device", str(device), "cpu: there is no CUDA device here", "cpu")
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        expected = f"one of the {torch.cuda.device_count()} CUDA devices here, from cuda:0"
        raise InvalidValueError("device", str(device), expected, "cuda")
    return place


ArrayImages: TypeAlias = Images["npt.NDArray[Any]"]
TensorImages: TypeAlias = Images["torch.Tensor"]
