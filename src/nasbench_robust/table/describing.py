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
_LICENCE = "unpublished"
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
        licence=_LICENCE,
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

    Where one of them was given a name, a licence or a citation, as `publish` does, the table keeps these, and has the
    version of its settings, as it is another table.

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
    published = [info for info in different if not _describes_itself(info)]
    if len(published) == 1:
        first, name, title = published[0], published[0].name, published[0].title
    else:
        names = sorted({info.name for info in different})
        first, name = different[0], "-".join(datasets) if len(names) > 1 else names[0]
        title = _TITLE + " and ".join(datasets)
    return replace(
        first,
        name=name,
        version=f"settings-{json_hash(sorted(settings))}",
        title=title,
        datasets=datasets,
        metrics=tuple(measured.values()),
        settings=settings,
    )


def _describes_itself(info: ReleaseInfo) -> bool:
    """Return whether nobody gave a table a name, a licence or a citation: all of it follows from its settings."""
    return info.name == "-".join(info.datasets) and (info.licence, info.citation) == (_LICENCE, _CITATION)
