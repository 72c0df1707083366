"""A differentiable search from beginning to end, as a record of plain values that is kept as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ...arrays import Record
from ...cells import Cell
from ...engines import Checkpoint, Step, check_form, provenance, stop_if_asked, tell, watching
from ...engines.torch import as_tensors, made_on, make_generator
from ...errors import RunInterruptedError, SourceFormatError, TrainingDivergedError
from ...files import is_there, parse_json, read_text, write_bytes
from ...images import TensorImages
from ...metrics import Metric
from ...runs import parse_cells
from .bilevel import BilevelSearch, SearchEpoch
from .one_shot import one_shot_accuracies
from .settings import SearchSettings
from .spaces import describe_found

ONE_SHOT_IMAGES = 1000


def one_shot_sample(count: int) -> list[int]:
    """Return so many representatives at equal distances of all, or all if there are no more."""
    everything = parse_cells("all")
    return everything[:: -(-len(everything) // count)] if count else []


def run_search(
    settings: SearchSettings,
    images: TensorImages,
    seed: int,
    *,
    progress: Callable[[SearchEpoch], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Search, score a sample of cells by the supernet, and return the record.

    Parameters
    ----------
    settings : SearchSettings
    images : Images
        On the device that is to be used.
    seed : int
    progress : callable, optional
        Called with every epoch as it ends.
    checkpoint : path, optional
        Written after every epoch and on a stop, and gone on from where it is there.
    should_stop : callable
        Asked after every step, and between the passes of one-shot scores.

    Returns
    -------
    dict
        ``settings``, ``seed``, ``history`` (see `SearchEpoch`), what was found (see `spaces.describe_found`),
        ``one_shot`` (where one cell is searched: indices of the sampled cells and an accuracy per cell by metric, on
        images of the architecture's half), ``failure`` (None, or why the search ended early), ``seconds`` and
        provenance. A search that diverged has found nothing and has no one-shot scores.

    Raises
    ------
    RunInterruptedError
        If `should_stop` said yes.
    InvalidValueError
        If the checkpoint is one of another search, or there are fewer images than the settings ask for.
    """
    search = BilevelSearch(settings, images, seed)
    kept = _Kept(search, None if checkpoint is None else Path(checkpoint))
    try:
        with watching(should_stop):
            _finish(search, progress, kept)
            ending = {**_result(search, kept.one_shot), "failure": None}
    except RunInterruptedError:
        kept.save()
        raise RunInterruptedError(f"{settings.method}, seed {seed}: stopped on request") from None
    except TrainingDivergedError as error:
        ending = {"failure": str(error)}
    return {
        "settings": settings.to_dict(),
        "settings_hash": settings.hash,
        "seed": seed,
        "history": [_epoch(epoch) for epoch in search.history],
        **ending,
        "seconds": search.seconds,
        **made_on(images.train.pixels.device),
        "revision": provenance.revision(),
    }


class _Kept:
    """The checkpoint of a search, from which it goes on where there is one."""

    def __init__(self, search: BilevelSearch, path: Path | None) -> None:
        self._search, self.one_shot = search, dict[str, Any]()
        key, versions = [search.settings.hash, search.seed], made_on(search.images.train.pixels.device)["versions"]
        self._checkpoint = Checkpoint(path, "search", key, versions, search.images)
        self._checkpoint.resume(search, self._take_up)

    def _take_up(self, state: dict[str, Any]) -> None:
        check_form(state["one_shot"], {}, "one_shot")
        self._search.load_state_dict(state["search"])
        self.one_shot = as_tensors(state["one_shot"], torch.device("cpu"))

    def save(self) -> None:
        if self._checkpoint.path is not None:
            self._checkpoint.save({"one_shot": self.one_shot, "search": self._search.state_dict()})


def _finish(search: BilevelSearch, progress: Callable[[SearchEpoch], None] | None, kept: _Kept) -> None:
    """Take the steps that are left."""
    done = 0
    while not search.finished:
        epoch, done = search.step(), done + 1
        tell(Step(f"epoch {len(search.history) + (epoch is None)}", done, max(done, search.steps_per_epoch)))
        if epoch is not None:
            done = 0
            kept.save()
            if progress is not None:
                progress(epoch)
        stop_if_asked()


def _epoch(epoch: SearchEpoch) -> dict[str, Any]:
    """Return an epoch as JSON can hold it: without what was logged and is not finite."""
    return {**asdict(epoch), "logs": {name: value for name, value in epoch.logs.items() if math.isfinite(value)}}


def _result(search: BilevelSearch, kept: dict[str, Any]) -> dict[str, Any]:
    """Return what a search found and, where it is one cell, one-shot scores."""
    result = describe_found(search.supernet)
    if search.settings.space == "cell":
        result["one_shot"] = _one_shot(search, kept)
    return result


def _one_shot(search: BilevelSearch, kept: dict[str, Any]) -> dict[str, Any]:
    for_weights, for_architecture = (half[:ONE_SHOT_IMAGES] for half in search.halves)
    sample = one_shot_sample(search.settings.one_shot_cells)
    accuracies = one_shot_accuracies(
        search.supernet,
        [Cell.from_index(index) for index in sample],
        search.pixels(for_weights),
        search.pixels(for_architecture),
        search.images.train.labels[for_architecture],
        [Metric("clean_acc"), Metric.of(search.settings.attack)],
        make_generator(search.seed, "evaluation", for_weights.device),
        kept,
    )
    return {"cells": sample, **{metric.name: values for metric, values in accuracies.items()}}


def record_name(settings: SearchSettings, seed: int) -> str:
    """Return the file name of a search's record."""
    space = "" if settings.space == "cell" else f"-{settings.space}"
    return f"{settings.method}{space}-{settings.dataset}-{settings.hash[:8]}-{seed}.json"


def write_search(record: dict[str, Any], folder: str | os.PathLike[str]) -> Path:
    """Write a record into a folder, whole or not at all, and return its path."""
    path = Path(folder) / record_name(SearchSettings.from_dict(record["settings"]), record["seed"])
    write_bytes((json.dumps(record, allow_nan=False) + "\n").encode(), path)
    return path


def read_search(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a record that `write_search` wrote.

    Raises
    ------
    MissingDataError, SourceFormatError
        If there is no such file, or it is none.
    """
    try:
        record: dict[str, Any] = parse_json(read_text(path), path)
        SearchSettings.from_dict(record["settings"])
    except SourceFormatError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise SourceFormatError(path, "", f"not the record of a search: {error}") from None
    return record


@dataclass(frozen=True, eq=False, repr=False)
class SearchJob(Record):
    """Searches as a `nasbench_robust.runs.Job`; units are seeds.

    Attributes
    ----------
    settings : SearchSettings
    folder : Path
        Of the records.
    images : Images
        On the device that is to be used.
    """

    settings: SearchSettings
    folder: Path
    images: TensorImages

    @property
    def epochs(self) -> int:
        """How many epochs a search has."""
        return self.settings.epochs

    def name(self, unit: int) -> str:
        """Return the file name of the search's record."""
        return record_name(self.settings, unit)

    def label(self, unit: int) -> str:
        """Return what a search is called where it is reported."""
        return self.name(unit)

    def is_done(self, unit: int) -> bool:
        """Return whether the folder holds the search already."""
        return is_there(self.folder / self.name(unit))

    def run(
        self, unit: int, checkpoint: Path, progress: Callable[[SearchEpoch], None], should_stop: Callable[[], bool]
    ) -> dict[str, Any]:
        """Make a search."""
        options: dict[str, Any] = {"progress": progress, "checkpoint": checkpoint, "should_stop": should_stop}
        return run_search(self.settings, self.images, unit, **options)

    def write(self, unit: int, result: dict[str, Any]) -> Path:
        """Write the record as JSON."""
        return write_search(result, self.folder)

    def summary(self, result: dict[str, Any]) -> str:
        """Return what is reported of a search: what it ended with, or why it did not."""
        outcome = result["failure"] or f"found {result.get('argmax') or result.get('genotype')}"
        return f"{outcome}, {result['seconds']:.0f} s"
