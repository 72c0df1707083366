"""What training tells about itself as it goes, whichever engine does it. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """One point of the training curve.

    Attributes
    ----------
    epoch : int
        From 1.
    learning_rate : float
        Of the last step.
    train_loss, train_acc : float
        Cross entropy and accuracy on the adversarial training images, means over the epoch as it went.
    clean_acc, pgd_acc : float
        After the epoch on the validation split, or on test where the data set has none (the settings' `curve_split`):
        as it is, and under the PGD of the training settings.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_acc: float
    clean_acc: float
    pgd_acc: float


def resumed_curve(stored: Sequence[dict[str, Any]], done: int, epochs: int, images: int) -> list[Epoch]:
    """Return the curve of a run that is taken up after so many images of the epoch that is under way.

    Raises
    ------
    ValueError
        If it is not the beginning of a run of so many epochs over so many images.
    """
    curve = [Epoch(**epoch) for epoch in stored]
    if not all(isinstance(value, (int, float)) for epoch in stored for value in epoch.values()):
        raise ValueError("a curve of something else than numbers")
    if [epoch.epoch for epoch in curve] != list(range(1, len(curve) + 1)) or len(curve) > epochs:
        raise ValueError(f"a curve of {len(curve)} epochs in a run of {epochs}")
    if type(done) is not int or not 0 <= done <= images or (done and len(curve) == epochs):
        raise ValueError(f"{done} of {images} images done")
    return curve
