"""The settings of a search on each data set."""

from __future__ import annotations

from typing import Any

from ...datasets import canonical_name
from ...metrics import pgd
from ...skeletons import Skeleton
from .methods import find_method
from .settings import SearchSettings


def search_settings_for(name: str, method: str = "darts", space: str = "cell", **changes: Any) -> SearchSettings:
    """Return the settings of a search on the data set called `name`, some of them changed.

    On digits a search takes 800 steps instead of CIFAR-10's 19,500. The learning rate of the architecture is larger by
    about the same factor, so that it can go as far.

    Parameters
    ----------
    name, method, space : str
        Data set; one of `methods.METHODS`, which gives `strength` and `order` their defaults; what is searched.
        ARNAS's space has its published search network, 8 cells and 24 channels, and batches of 32.
    **changes
        Fields of `SearchSettings`.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If a name is not known, a value is out of range, or the method cannot be had in this order.
    """
    default = find_method(method)
    values: dict[str, Any] = {"dataset": name, "method": method, "space": space}
    values |= {"strength": default.strength, "order": default.order}
    if canonical_name(name) == "digits":
        values |= {
            "skeleton": Skeleton.for_dataset(name, channels=8, cells_per_stage=1 if space != "arnas" else 2),
            "attack": pgd(0.1, steps=7, step_size=0.1 / 4),
            **{"batch_size": 32, "alpha_lr": 7e-3, "crop_padding": 1, "flip": False},
        }
    elif space == "arnas":
        values |= {"skeleton": Skeleton.for_dataset(name, channels=24, cells_per_stage=2), "batch_size": 32}
    else:
        values["skeleton"] = Skeleton.for_dataset(name)
    settings = SearchSettings(**{**values, **changes})
    find_method(settings.method, settings.order, settings.space)
    return settings
