"""The cells and their tables as other packages of hyperparameter optimisation know them: ConfigSpace, syne-tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cells import EDGES, OPERATIONS, Cell
from ...errors import InvalidCellError, MissingPackageError
from .problems import TableProblem

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

PARAMETERS = tuple(f"{source}->{target}" for source, target in EDGES)  # one an edge; its choices are the operations
_EPOCH, _SECONDS = "epoch", "elapsed_time"


def config_space(seed: int | None = None) -> ConfigurationSpace:
    """Return the 15,625 cells as a ``ConfigSpace.ConfigurationSpace``: a categorical parameter an edge.

    Parameters
    ----------
    seed : int, optional
        Of the space's own generator.

    Raises
    ------
    MissingPackageError
        If ConfigSpace is not installed.

    Examples
    --------
    >>> cell = cell_of(config_space(seed=0).sample_configuration())  # doctest: +SKIP
    """
    try:
        from ConfigSpace import ConfigurationSpace
    except ImportError:
        raise MissingPackageError("ConfigSpace", "optimisers") from None
    return ConfigurationSpace(name="nas-bench-201", seed=seed, space={name: list(OPERATIONS) for name in PARAMETERS})


def cell_of(config: Mapping[str, Any]) -> Cell:
    """Return the cell of a configuration with an operation by each of ``"0->1"``, ..., ``"2->3"``.

    Raises
    ------
    InvalidCellError
        If an edge is missing, or carries no operation.
    """
    missing = [name for name in PARAMETERS if name not in config]
    if missing:
        raise InvalidCellError(dict(config), f"no operation for {missing[0]}; expected one for each edge")
    return Cell([config[name] for name in PARAMETERS])


def syne_tune_blackbox(problem: TableProblem) -> Any:
    """Return a problem as a blackbox of syne-tune, for its ``UserBlackboxBackend``.

    Parameters
    ----------
    problem : TableProblem
        With ``fidelity="epoch"`` it has ``epoch`` as fidelity, else none. Its metrics are the objectives, by their long
        names, to be maximised; ``elapsed_time`` is the time up to that epoch in seconds, nan where none is known.

    Returns
    -------
    syne_tune.blackbox_repository.blackbox.Blackbox

    Raises
    ------
    MissingPackageError
        If syne-tune is not installed.
    """
    try:
        from syne_tune.blackbox_repository.blackbox import Blackbox
        from syne_tune.config_space import choice, randint
    except ImportError:
        raise MissingPackageError("syne-tune", "optimisers") from None
    curve = problem.curve
    epochs = 0 if curve is None else curve.shape[1]
    objectives = [*problem.columns, _SECONDS]

    class TableBlackbox(Blackbox):  # type: ignore[misc]
        """A table behind the interface of syne-tune."""

        def __init__(self) -> None:
            space = {name: choice(list(OPERATIONS)) for name in PARAMETERS}
            super().__init__(space, {_EPOCH: randint(1, epochs)} if epochs else None, objectives)

        @property
        def fidelity_values(self) -> Any:
            return np.arange(1, epochs + 1) if epochs else None

        def _objective_function(
            self,
            configuration: dict[str, Any],
            fidelity: dict[str, Any] | None = None,
            seed: int | None = None,  # noqa: ARG002 (the problem says which seed it is)
        ) -> Any:
            index = cell_of(configuration).index
            seconds = problem.seconds[index] if problem.has_seconds else np.nan
            if curve is None:
                return dict(zip(objectives, [*problem.values[index].tolist(), float(seconds)], strict=True))
            answers = np.stack([curve[index], seconds * self.fidelity_values / epochs], axis=1)
            if fidelity is None:
                return answers
            return dict(zip(objectives, answers[int(fidelity[_EPOCH]) - 1].tolist(), strict=True))

    return TableBlackbox()
