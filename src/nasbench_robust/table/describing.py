"""What a table of runs says about itself: made from the settings of its runs, or from several such descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from ..datasets import dataset
from ..errors import TableError
from ..files import json_hash
from ..metrics import Metric
from ..settings import TrainingSettings
from .info import FORMAT, DatasetInfo, ReleaseInfo
from .run_files import StoredRun

_CITATION = """@software{nasbench_robust,
  title  = {nasbench-robust},
  author = {{The nasbench-robust developers}}
}"""
_TITLE = "NAS-Bench-201 cells adversarially trained on "


@lru_cache(maxsize=64)
def release_info(settings: TrainingSettings) -> ReleaseInfo:
    """Return the description of a table of runs with these settings."""
    row = dataset(settings.dataset)
    eps = max((attack.eps for attack in settings.evaluation if attack.norm == "Linf"), default=settings.attack.eps)
    return ReleaseInfo(
        name=settings.dataset,
        version=f"settings-{settings.hash}",
        title=f"{_TITLE}{settings.dataset}",
        licence="unpublished",
        citation=_CITATION,
        source="nasbench-robust",
        datasets={settings.dataset: DatasetInfo(row.held_out, eps, settings.skeleton)},
        metrics=settings.metrics,
        settings={settings.hash: settings.to_dict()},
    )


def release_info_of(runs: Sequence[StoredRun]) -> ReleaseInfo:
    """Return the description of a table of these runs, all of the settings of the first."""
    return release_info(TrainingSettings.from_dict(runs[0].settings))


def merged_info(infos: Sequence[ReleaseInfo], places: Sequence[object]) -> ReleaseInfo:
    """Return the description of a table made of several.

    Raises
    ------
    TableError
        If one column of two tables was measured in different ways.
    """
    different = list({replace(info, format=FORMAT).to_json(): info for info in infos}.values())
    if len(different) == 1:
        return different[0]
    measured: dict[str, Metric] = {}
    for info, place in zip(infos, places, strict=True):
        for metric in info.metrics:
            if (other := measured.setdefault(metric.column, metric)) != metric:
                how = " and ".join(str(each.attack) for each in (other, metric))
                raise TableError(place, f"{metric.column} is not measured as in {places[0]}: {how}")
    datasets = {name: described for info in different for name, described in info.datasets.items()}
    settings = {key: stored for info in different for key, stored in info.settings.items()}
    names = sorted({info.name for info in different})
    return replace(
        different[0],
        name="-".join(datasets) if len(names) > 1 else names[0],
        version=f"settings-{json_hash(sorted(settings))}",
        title=_TITLE + " and ".join(datasets),
        datasets=datasets,
        metrics=tuple(measured.values()),
        settings=settings,
    )
