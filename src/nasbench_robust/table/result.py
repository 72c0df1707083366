"""One answer of a table, with everything known about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ..arrays import Record
from ..cells import Cell
from ..metrics import Attack

if TYPE_CHECKING:
    import numpy as np
else:
    from .._door import np


@dataclass(frozen=True, repr=False)
class Result(Record):
    """Everything known about one answer; see `Benchmark.lookup`.

    Attributes
    ----------
    value : float
        Accuracy in [0, 1]: the mean over seeds, or the value of the seed that was asked for.
    std : float or None
        Sample standard deviation (n - 1) over the seeds; None where fewer than two single-seed values are known.
    n_seeds : int
        Number of training runs behind `value`.
    seeds : dict of int to float
        Value by seed; empty where the source gives only a mean, or one run without its seed.
    index : int
        The cell that was asked for.
    representative : int
        The cell that was trained and answers.
    connected : bool
        Whether the cell's output depends on its input.
    dataset, metric, split : str
        Canonical data set, long metric name such as ``pgd_acc@8/255``, split of the images.
    test_images : int
        Images of that split.
    correct : int or None
        Correctly classified images, of ``test_images * n_seeds``; None where the source is rounded.
    attack : Attack or None
        Settings of the attack.
    release, version, source : str
        Where the number comes from.
    """

    value: float
    std: float | None
    n_seeds: int
    seeds: dict[int, float]
    index: int
    representative: int
    connected: bool
    dataset: str
    metric: str
    split: str
    test_images: int
    correct: int | None
    attack: Attack | None
    release: str
    version: str
    source: str

    def __repr__(self) -> str:
        about = f"{self.metric} on {self.split} images of {self.dataset}, cell {self.index}, {self.n_seeds} seed(s)"
        return f"<Result {self.value}: {about}>"

    def _repr_html_(self) -> str:
        import html

        facts = {item.name: getattr(self, item.name) for item in fields(self)}
        rows = (f"<tr><th>{name}</th><td>{html.escape(str(fact))}</td></tr>" for name, fact in facts.items())
        return f"{Cell.from_index(self.index)._repr_svg_()}<table>{''.join(rows)}</table>"


def summary(rows: Sequence[tuple[int, int, float, float]]) -> dict[str, Any]:
    """Return what a `Result` says of its runs, given seed, number of runs, value and count of each row."""
    seeds = {seed: value for seed, _, value, _ in rows if seed >= 0}
    correct = sum(count for *_, count in rows)
    return {
        "std": _deviation(list(seeds.values())),
        "n_seeds": sum(runs for _, runs, *_ in rows),
        "seeds": dict(sorted(seeds.items())),
        "correct": int(correct) if correct == correct else None,  # NaN: not known
    }


def _deviation(values: list[float]) -> float | None:
    """Return the sample standard deviation, to the last bit that of NumPy, which takes ten times as long for a few."""
    if len(values) < 2:
        return None
    if len(values) >= 8:  # where NumPy adds in another order
        return float(np.std(values, ddof=1))
    total = squares = 0.0
    for value in values:
        total += value
    for value in values:
        squares += (value - total / len(values)) * (value - total / len(values))
    return math.sqrt(squares / (len(values) - 1))
