"""The look of figures: colours that colour-blind readers can tell apart, sizes for a printed column, words."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from ..errors import MissingPackageError

P = ParamSpec("P")

# Okabe and Ito, Color Universal Design (2008).
BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
LIGHT = "#dddddd"  # grids
SKY = "#56B4E9"
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, "#000000")  # of lines, one after the other
LINES = ("-", "--", ":")  # a line whose colour was taken before has another one of these

SETTINGS: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "svg.fonttype": "none",
    "svg.hashsalt": "nasbench-robust",
}
_METRICS = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD", "autoattack": "AutoAttack"}
_DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def metric_words(name: str) -> tuple[str, str]:
    """Return the word and the eps of a metric or an attack, ``("PGD", "8/255")``; either may be empty."""
    kind, _, eps = name.partition("@")
    return _METRICS.get(kind.removesuffix("_acc"), kind), eps


def metric_label(name: str) -> str:
    """Return ``PGD 8/255`` for a metric or an attack."""
    return " ".join(metric_words(name)).strip()


def dataset_label(name: str) -> str:
    """Return a data set's name as it is written in a text."""
    return _DATASETS.get(name, name)


def context() -> Any:
    """Return the context in which figures have the style.

    The backend is started before: what it sets as it starts, to show figures of later cells of a notebook, has to last.
    """
    from matplotlib import pyplot

    start: Any = pyplot.draw_if_interactive
    start()
    return pyplot.rc_context(SETTINGS)


def drawn(width: float, height: float) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Return what gives a plot its style, and axes in a figure of so many inches where it is called without any.

    The plot takes ``axes`` by name. matplotlib's own settings are those of before when it returns.
    """

    def decorate(plot: Callable[P, Any]) -> Callable[P, Any]:
        @wraps(plot)
        def styled(*args: P.args, **options: P.kwargs) -> Any:
            try:
                from matplotlib import pyplot
            except ImportError:
                raise MissingPackageError("matplotlib", "plots") from None
            with context():
                if options.get("axes") is not None:
                    return plot(*args, **options)
                figure, options["axes"] = pyplot.subplots(figsize=(width, height), layout="constrained")
                try:
                    return plot(*args, **options)
                except BaseException:
                    pyplot.close(figure)  # a question that is refused leaves no empty figure in a notebook
                    raise

        return styled

    return decorate


def percent(name: str) -> str:
    """Return the label of an axis that shows a metric: ``PGD accuracy at eps 0.1 (%)``, with the split if not test."""
    whole, _, split = name.partition("#")
    word, eps = metric_words(whole)
    return f"{word} accuracy{f' at eps {eps}' if eps else ''}{f', {split}' if split else ''} (%)"
