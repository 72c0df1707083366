"""The part of the query API that looks into runs: how an accuracy came about, and which images it is made of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import cells
from ..errors import InvalidValueError, MissingResultError, UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from ..arrays import Booleans, Floats
    from ..cells import Cell
    from .details import Curves, Details
    from .store import Store
else:
    from .._door import np


class Detailed:
    """Curves and outcomes of the runs of a table; see `Benchmark`, which is one.

    Cells are answered by the representative of their class, data sets and metrics are named as in `Benchmark.query`.
    A release that was published without curves or outcomes has none: `MissingResultError`.
    """

    if TYPE_CHECKING:

        @cached_property
        def _store(self) -> Store: ...

    @cached_property
    def _details(self) -> Details:
        from .details import Details  # pandas, or what else takes long, is needed here and not before

        return Details(self._store.reader, self._store.info)

    def curve(self, arch: Cell | int | str, dataset: str | None = None, *, seed: int | None = None) -> pd.DataFrame:
        """Return how training a cell went, epoch by epoch.

        Parameters
        ----------
        arch : Cell, int or str
            As in `query`.
        dataset : str, optional
            May be left out where the release has one data set.
        seed : int, optional
            One training run. Default: the mean over all seeds there are.

        Returns
        -------
        pandas.DataFrame
            A row per epoch, labelled from 1: ``learning_rate`` of the last step; ``train_loss`` (cross entropy) and
            ``train_acc`` on the adversarial training images as the epoch went; ``clean_acc`` and ``pgd_acc`` after it,
            the latter under the PGD of the training settings, on the split that ``attrs["split"]`` names: validation
            where the data set has one, else test. Accuracies are in [0, 1].

        Raises
        ------
        InvalidCellError, UnknownNameError, InvalidValueError
            If an argument names nothing.
        MissingResultError
            If the release has no curves, or none of this cell and seed.
        """
        import pandas as pd

        name, curves, rows = self._runs_of(arch, dataset, seed)
        columns = {column: values[rows].mean(axis=0) for column, values in curves.values.items()}
        frame = pd.DataFrame(columns).dropna(how="all")
        frame.index = pd.Index(np.arange(1, len(frame) + 1), name="epoch")
        frame.attrs = {"dataset": name, "split": curves.split}
        return frame

    def curves(
        self,
        archs: Iterable[Cell | int | str] | npt.NDArray[Any] | None = None,
        dataset: str | None = None,
        *,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Return the curves of many runs, one below the other.

        Parameters
        ----------
        archs : iterable or integer array, optional
            Cells, indices or strings, as in `query_many`. Default: all cells that were trained.
        dataset, seed
            As in `curve`; without a seed, every run that there is.

        Returns
        -------
        pandas.DataFrame
            ``index`` (as asked for), ``seed``, ``epoch`` and the columns of `curve`, a row per run and epoch. Errors
            are those of `curve`.
        """
        import pandas as pd

        from .views import indices_of

        name = self._store.dataset(dataset)
        curves = self._details.curves(name)
        asked = np.unique(curves.index) if archs is None else indices_of(archs)
        rows = [self._runs_of(int(index), name, seed)[2] for index in asked]
        runs = np.concatenate([*rows, np.empty(0, np.int64)]).astype(np.int64)
        epochs = next(iter(curves.values.values())).shape[1]
        columns = {
            "index": np.repeat(asked, [epochs * len(each) for each in rows]),
            "seed": np.repeat(curves.seed[runs], epochs),
            "epoch": np.tile(np.arange(1, epochs + 1), len(runs)),
            **{column: values[runs].ravel() for column, values in curves.values.items()},
        }
        frame = pd.DataFrame(columns).dropna(subset=list(curves.values), how="all", ignore_index=True)
        frame.attrs = {"dataset": name, "split": curves.split}
        return frame

    def curve_values(self, dataset: str | None = None, name: str = "pgd_acc", *, seed: int | None = None) -> Floats:
        """Return one column of the curves for all cells at once, by cell index and epoch.

        Parameters
        ----------
        dataset, seed
            As in `curve`.
        name : str
            A column of `curve`; ``"pgd_acc@0.1"`` too, if that is the budget of the training.

        Returns
        -------
        ndarray of float64, shape (15625, epochs)
            Read only; column 0 is epoch 1; nan where there is none. Means over seeds, or those of one seed.
        """
        from .details import by_cell
        from .schema import CURVE_COLUMNS

        canonical = self._store.dataset(dataset)
        name, _, eps = name.partition("@") if isinstance(name, str) else (name, "", "")
        if name not in CURVE_COLUMNS or (eps and name != "pgd_acc"):
            raise UnknownNameError("column of curves", f"{name}@{eps}" if eps else name, CURVE_COLUMNS)
        if eps:
            self._check_curve_eps(canonical, eps)
        curves = self._details.curves(canonical)
        if _checked(seed) is not None and seed not in curves.seed:
            self._raise_missing("curves", f"seed {seed}", canonical, np.unique(curves.seed).tolist())
        return by_cell(curves, name, seed)

    def outcomes(
        self,
        arch: Cell | int | str,
        dataset: str | None = None,
        metric: str = "",
        *,
        seed: int | None = None,
        eps: float | str | None = None,
        split: str | None = None,
    ) -> Booleans:
        """Return which images one training run of a cell classifies correctly.

        Parameters
        ----------
        arch, dataset, metric, eps, split
            As in `query`. A part of an AutoAttack is named behind it, ``autoattack_acc>apgd_t``: its outcomes are what
            is left after that part and those before it.
        seed : int, optional
            The run. It may be left out where there is only one: outcomes of several are no single answer.

        Returns
        -------
        ndarray of bool, shape (images,)
            In the order of the split; its mean is the accuracy that `query` gives.

        Raises
        ------
        InvalidCellError, UnknownNameError, InvalidValueError
            If an argument names nothing, or the seed is missing.
        MissingResultError
            If the release has no outcomes, or none of this question.
        """
        answers: Booleans = self.outcomes_many([arch], dataset, metric, seed=seed, eps=eps, split=split)[0]
        return answers

    def outcomes_many(
        self,
        archs: Iterable[Cell | int | str] | npt.NDArray[Any],
        dataset: str | None = None,
        metric: str = "",
        *,
        seed: int | None = None,
        eps: float | str | None = None,
        split: str | None = None,
    ) -> Booleans:
        """Return the outcomes of many cells, shape (len(archs), images); the rest is as in `outcomes`."""
        from .views import indices_of

        metric, _, part = metric.partition(">") if isinstance(metric, str) else (metric, "", "")
        name = self._store.dataset(dataset)
        measured = self._store.metric(name, metric, eps, split)
        column = f"{measured.column}>{part}" if part else measured.column
        outcomes = self._details.outcomes(name, column)
        seeds = sorted({one for _, one in outcomes.row})
        if seed is None and len(seeds) > 1:
            raise InvalidValueError("seed", None, f"one of {', '.join(map(str, seeds))}: outcomes are those of one run")
        chosen = seeds[0] if (asked := _checked(seed)) is None else asked
        indices = cells.representatives()[indices_of(archs)].tolist()
        if missing := [index for index in indices if (index, chosen) not in outcomes.row]:
            ran = [one for one in seeds if (missing[0], one) in outcomes.row]
            self._raise_missing(f"outcomes of {column}", f"seed {chosen} of cell {missing[0]}", name, ran)
        return outcomes.correct([outcomes.row[index, chosen] for index in indices])

    def _runs_of(self, arch: Any, dataset: str | None, seed: int | None) -> tuple[str, Curves, npt.NDArray[Any]]:
        """Return the canonical data set, its curves, and which of them are of a cell and seed: one or more."""
        name, cell = self._store.dataset(dataset), cells.Cell.of(arch)
        curves = self._details.curves(name)
        rows = curves.rows(cell.representative, _checked(seed))
        if not len(rows):
            which = f"cell {cell.representative}" if seed is None else f"seed {seed} of cell {cell.representative}"
            self._raise_missing("curve", which, name, curves.seed[curves.rows(cell.representative, None)].tolist())
        return name, curves, rows

    def _check_curve_eps(self, dataset: str, eps: str) -> None:
        """Raise an error if PGD accuracy along the curves has another budget."""
        from ..metrics import Attack, parse_long_name, same_eps

        _, wanted, norm = parse_long_name(f"pgd_acc@{eps}")
        settings = [one for one in self._store.info.settings.values() if one["dataset"] == dataset]
        trained = [Attack.from_stored(one["attack"]) for one in settings]
        if trained and not all(each.norm == norm and same_eps(each.eps, wanted) for each in trained):
            told = f"{self._store.info.name} has curves of pgd_acc at the eps of the training alone, not at {eps}"
            known = sorted({each.label.partition("@")[2] for each in trained})
            raise MissingResultError(told, known, "eps of the training")

    def _raise_missing(self, what: str, which: str, dataset: str, ran: list[int]) -> None:
        told = f"{self._store.info.name} has no {what} on {dataset} for {which}"
        raise MissingResultError(told, ran, "seeds that were run")


def _checked(seed: Any) -> int | None:
    from ..checks import seed as checked_seed  # which the first query does without

    return None if seed is None else checked_seed("seed", seed)
