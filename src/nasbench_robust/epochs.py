"""What training tells about itself as it goes, whichever engine does it. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import NasbenchRobustError

__all__ = ["STREAMS", "Epoch", "TrainingDivergedError"]

# What draws are for: streams of one seed must not overlap, and a change of one must not move the others.
STREAMS = ("weights", "training", "curve", "evaluation", "scores", "search")


class TrainingDivergedError(NasbenchRobustError, ArithmeticError):
    """The loss of a training run is no longer finite.

    Attributes
    ----------
    epoch : int
        Epoch in which it happened, from 1.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        super().__init__(f"the training loss is not finite in epoch {epoch}")


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
