"""What a release says about itself: the description in the metadata of its runs table, as JSON.

So a file cannot be separated from what its columns mean.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ..arrays import Record
from ..errors import InvalidValueError
from ..metrics import Metric, checked_eps, stored_fields
from ..skeletons import Skeleton

FORMAT = 3  # 1 has no column `run`, 2 no CPU seconds
METADATA_KEY = b"nasbench_robust"


@dataclass(frozen=True, repr=False)
class DatasetInfo(Record):
    """What a release says about one of its data sets.

    Attributes
    ----------
    images : dict of str to int
        Number of images of every split that was measured.
    eps : float
        Budget that a metric name without one means.
    skeleton : Skeleton
        The network around the cells.
    """

    images: dict[str, int]
    eps: float
    skeleton: Skeleton

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", checked_eps(self.eps))
        if not isinstance(self.images, dict) or not all(
            type(images) is int and 0 < images < 2**31 for images in self.images.values()
        ):
            raise InvalidValueError("images", self.images, "a positive number by split")


@dataclass(frozen=True, repr=False)
class ReleaseInfo(Record):
    """What a release says about itself; stored in the metadata of its runs table.

    Attributes
    ----------
    name, version, title, licence : str
        As they are to be cited.
    citation : str
        BibTeX.
    source : str
        Where the numbers come from: an address with its SHA-256, or the program that made them.
    datasets : dict of str to DatasetInfo
        By canonical name.
    metrics : tuple of Metric
        The measured columns. A data set may lack some: its cells are null there.
    settings : dict of str to dict
        Training settings by the hash that rows refer to; empty where the source does not give them.
    format : int
        Which columns the table has; see `Column`.
    """

    name: str
    version: str
    title: str
    licence: str
    citation: str
    source: str
    datasets: dict[str, DatasetInfo]
    metrics: tuple[Metric, ...]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    format: int = field(default=FORMAT, compare=False)

    def to_json(self) -> str:
        """Return the description as JSON."""
        return json.dumps({"format": self.format, **asdict(self, dict_factory=stored_fields)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> ReleaseInfo:
        """Rebuild a description; raises `ValueError`, `KeyError` or `TypeError` where it is not one."""
        stored = json.loads(text)
        if stored["format"] not in range(1, FORMAT + 1):
            raise ValueError("a format that this version does not know; upgrade nasbench-robust")
        stored["datasets"] = {
            name: DatasetInfo(info["images"], info["eps"], Skeleton(**info["skeleton"]))
            for name, info in stored["datasets"].items()
        }
        stored["metrics"] = tuple(Metric.from_dict(metric) for metric in stored["metrics"])
        return cls(**stored)


def complete_citation(info: ReleaseInfo, year: int | None) -> str:
    """Return the BibTeX entry of a release; one that this package made gets the table, its version and a year."""
    citation = info.citation.rstrip()
    if not citation.startswith("@software{") or "year" in citation:
        return citation
    added = [f"  note = {{Table {info.name}}}", f"  version = {{{info.version}}}"]
    added += [f"  year = {{{year}}}"] if year else []
    return ",\n".join((citation.removesuffix("}").rstrip(), *added)) + "\n}"
