"""What training tells about itself as it goes, whichever engine does it. No torch."""

from __future__ import annotations

from dataclasses import dataclass


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
