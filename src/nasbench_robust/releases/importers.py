"""Foreign result files to our runs table: the published page file, the per-seed file, the standard-training file.

A file is read strictly: a wrong type, a duplicate key, a value that is no accuracy, an alias that disagrees with the
class map or a missing cell is a `SourceFormatError` that names the place. Values are kept to the last bit; counts are
added where the value lies on the grid k / (images x seeds).
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from .. import cells
from ..datasets import DATASETS
from ..errors import MissingDataError, SourceFormatError
from ..files import checksum
from ..metrics import Attack, Metric, fgsm, pgd
from ..skeletons import Skeleton
from ..table import GRID_TOLERANCE, DatasetInfo, ReleaseInfo, runs_table

log = logging.getLogger(__name__)

_EPS_NAMES = {"3": 3 / 255, "3.0": 3 / 255, "8": 8 / 255, "8.0": 8 / 255}
_FOREIGN_DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "ImageNet16-120"}

_WU_2024 = """@inproceedings{wu2024robust,
  title     = {Robust {NAS} under adversarial training: benchmark, theory, and beyond},
  author    = {Yongtao Wu and Fanghui Liu and Carl-Johann Simon-Gabriel and Grigorios Chrysos and Volkan Cevher},
  booktitle = {The Twelfth International Conference on Learning Representations},
  year      = {2024},
  url       = {https://openreview.net/forum?id=cdUpf6t6LZ}
}"""
_JUNG_2023 = """@inproceedings{jung2023neural,
  title     = {Neural Architecture Design and Robustness: A Dataset},
  author    = {Steffen Jung and Jovita Lukasik and Margret Keuper},
  booktitle = {The Eleventh International Conference on Learning Representations},
  year      = {2023},
  url       = {https://openreview.net/forum?id=p8coElqiSDw}
}"""

# The published evaluation ran AutoAttack with 10 steps in its gradient-based parts.
_PUBLISHED_METRICS = (
    Metric("clean_acc"),
    Metric.of(fgsm(3 / 255)),
    Metric.of(pgd(3 / 255)),
    Metric.of(fgsm(8 / 255)),
    Metric.of(pgd(8 / 255)),
    Metric.of(Attack("autoattack", 8 / 255, steps=10, queries=5000)),
)
_STANDARD_METRICS = {
    "clean": Metric("clean_acc"),
    "aa_apgd-ce": Metric.of(Attack("apgd_ce", 1 / 255)),
    "aa_square": Metric.of(Attack("square", 1 / 255)),
    "fgsm": Metric.of(Attack("fgsm", 1 / 255)),
    "pgd": Metric.of(Attack("pgd", 1 / 255)),
    "corr": Metric("corruption_acc"),
}


def _release(eps: float, **about: Any) -> ReleaseInfo:
    """Return the description of a release on the project page, of the three data sets with one budget."""
    datasets = {
        name: DatasetInfo({"test": DATASETS[name].test_images}, eps, Skeleton.for_dataset(name))
        for name in _FOREIGN_DATASETS.values()
    }
    return ReleaseInfo(version="1", source="https://tt2408.github.io/nasrobbench201hp/", datasets=datasets, **about)


_PUBLISHED = _release(
    8 / 255,
    name="nas-robbench-201",
    title="NAS-RobBench-201: adversarially trained NAS-Bench-201 cells",
    licence="CC BY-SA 4.0",
    citation=_WU_2024,
    metrics=_PUBLISHED_METRICS,
)
_STANDARD = _release(
    1 / 255,
    name="standard-training",
    title="NAS-Bench-201 cells trained without an adversary, under attack",
    licence="see the source",
    citation=_JUNG_2023,
    metrics=tuple(_STANDARD_METRICS.values()),
)


def import_page_file(path: str | os.PathLike[str]) -> pa.Table:
    """Convert ``NAS-RobBench-201_html.json``, the table behind the benchmark's project page.

    Clean, FGSM and PGD accuracies are means of three seeds, AutoAttack is one seed (Wu et al., ICLR 2024; checked
    against the grid of the values), so every cell and data set has two rows: ``seeds`` 3 and ``seeds`` 1, both with a
    null ``seed``, since the source does not say which.

    Parameters
    ----------
    path : path
        The file as downloaded: ``acc={...}``.

    Returns
    -------
    pyarrow.Table
        A runs table; its metadata describes the release.

    Raises
    ------
    SourceFormatError
        If the file is not what it should be; the message says where.
    """
    lists, fields = _read_page_lists(path, _published_field)
    rows = []
    for index, values in lists.items():
        for dataset, measured in _by_dataset(fields, values).items():
            single = {metric: value for metric, value in measured.items() if metric.name == "autoattack_acc"}
            means = {metric: value for metric, value in measured.items() if metric not in single}
            rows += [
                _row(_PUBLISHED, dataset, index, None, 3, means),
                _row(_PUBLISHED, dataset, index, None, 1, single),
            ]
    return runs_table(_from_file(_PUBLISHED, path), rows)


def import_standard_file(path: str | os.PathLike[str]) -> pa.Table:
    """Convert ``standard-training_acc.json``: the same cells trained without an adversary (Jung et al., ICLR 2023).

    Attacks are at eps 1/255; values are rounded to three decimals, so they have no counts; one training of each cell.

    Parameters, returns and errors are those of `import_page_file`.
    """
    lists, fields = _read_page_lists(path, _standard_field)
    rows = [
        _row(_STANDARD, dataset, index, None, 1, measured, counts=False)
        for index, values in lists.items()
        for dataset, measured in _by_dataset(fields, values).items()
    ]
    return runs_table(_from_file(_STANDARD, path), rows)


def import_seed_file(path: str | os.PathLike[str]) -> pa.Table:
    """Convert ``NAS-RobBench-201_all.json``, the published file with one value per seed.

    Every seed becomes a row of its own. AutoAttack, which the file gives without a seed, becomes a row with a null
    ``seed``. Where the file's ``threeseed`` is not the mean of its seeds a warning is logged; the seeds are kept.

    Parameters, returns and errors are those of `import_page_file`.
    """
    content = _mapping(path, "the file", _read_json(path))
    rows: list[dict[str, Any]] = []
    unequal: list[str] = []
    for foreign, by_index in content.items():
        dataset = _FOREIGN_DATASETS.get(foreign)
        if dataset is None:
            problem = f"unknown data set, expected one of {', '.join(_FOREIGN_DATASETS)}"
            raise SourceFormatError(path, f"key {foreign!r}", problem)
        for key, by_metric in _mapping(path, foreign, by_index).items():
            where = f"{foreign}, cell {key!r}"
            index = _index(path, where, key)
            _check_representative(path, where, index)
            per_seed, alone = _seed_values(path, where, _mapping(path, where, by_metric), unequal)
            rows += [_row(_PUBLISHED, dataset, index, seed, 1, values) for seed, values in sorted(per_seed.items())]
            if alone:
                rows.append(_row(_PUBLISHED, dataset, index, None, 1, alone))
    if unequal:
        log.warning(
            "%s: 'threeseed' is not the mean of the seeds in %d places, first: %s", path, len(unequal), unequal[0]
        )
    present = {row["dataset"] for row in rows}
    if not present:
        raise SourceFormatError(path, "", "holds no results")
    datasets = {name: described for name, described in _PUBLISHED.datasets.items() if name in present}
    info = replace(_PUBLISHED, version="1-seeds", datasets=datasets)
    return runs_table(_from_file(info, path), rows)


IMPORTERS: dict[str, Callable[[str | os.PathLike[str]], pa.Table]] = {
    "page": import_page_file,
    "seeds": import_seed_file,
    "standard": import_standard_file,
}


def _from_file(info: ReleaseInfo, path: str | os.PathLike[str]) -> ReleaseInfo:
    """Name the file and its hash as the source."""
    return replace(info, source=f"{info.source} ({Path(path).name}, SHA-256 {checksum(Path(path))})")


def _seed_values(
    path: object, where: str, by_metric: Mapping[str, Any], unequal: list[str]
) -> tuple[dict[int, dict[Metric, float]], dict[Metric, float]]:
    """Return the values of one cell by seed, and those that the file gives without a seed."""
    per_seed: dict[int, dict[Metric, float]] = {}
    alone: dict[Metric, float] = {}
    seen: set[Metric] = set()
    for name, entry in by_metric.items():
        metric = _published_metric(path, where, name)
        place = f"{where}, {name!r}"
        if metric in seen:
            raise SourceFormatError(path, place, "the metric stands there twice")
        seen.add(metric)
        if not isinstance(entry, dict):
            alone[metric] = _accuracy(path, place, entry)
            continue
        seeds = {key: _accuracy(path, f"{place}, {key!r}", value) for key, value in entry.items()}
        mean = seeds.pop("threeseed", None)
        for key, value in seeds.items():
            if not re.fullmatch(r"0|[1-9][0-9]{0,8}", key):
                raise SourceFormatError(path, f"{place}, {key!r}", "expected a seed number or 'threeseed'")
            per_seed.setdefault(int(key), {})[metric] = value
        if mean is not None and not seeds:
            raise SourceFormatError(path, place, "a mean without the seeds behind it")
        if mean is not None and abs(mean - sum(seeds.values()) / len(seeds)) > 1e-6:
            unequal.append(place)
    return per_seed, alone


Field = tuple[str, Metric]


def _published_field(path: object, name: str) -> Field:
    dataset, _, metric = name.partition("#")
    if dataset not in _FOREIGN_DATASETS:
        raise SourceFormatError(path, f"field {name!r}", f"unknown data set {dataset!r}")
    return _FOREIGN_DATASETS[dataset], _published_metric(path, f"field {name!r}", metric)


def _published_metric(path: object, where: str, name: str) -> Metric:
    """Return the metric behind a published name; ``val_*`` means the test split there."""
    simple = {"val_acc": "clean_acc", "autoattack": "autoattack_acc"}
    attacked = re.fullmatch(r"val_(fgsm|pgd)_([0-9.]+)_acc", name)
    for metric in _PUBLISHED_METRICS:
        if simple.get(name) == metric.name:
            return metric
        if attacked and metric.name == f"{attacked[1]}_acc" and metric.eps == _EPS_NAMES.get(attacked[2]):
            return metric
    raise SourceFormatError(path, where, f"unknown metric {name!r}")


def _standard_field(path: object, name: str) -> Field:
    dataset, _, metric = name.partition("#")
    if dataset not in DATASETS or metric not in _STANDARD_METRICS:
        raise SourceFormatError(path, f"field {name!r}", "unknown data set or metric")
    return dataset, _STANDARD_METRICS[metric]


def _read_page_lists(
    path: str | os.PathLike[str], field: Callable[[object, str], Field]
) -> tuple[dict[int, list[float]], list[Field]]:
    """Return the values of every representative and what the positions mean, after checking the whole file."""
    content = _mapping(path, "the file", _read_json(path))
    header = content.pop("", None)
    if not isinstance(header, list) or not all(isinstance(name, str) for name in header) or not header:
        raise SourceFormatError(path, "key ''", "expected a list of field names")
    fields = [field(path, name) for name in header]
    if len(set(fields)) != len(fields):
        raise SourceFormatError(path, "key ''", "a field is named twice")
    lists: dict[int, list[float]] = {}
    for key, entry in content.items():
        where = f"key {key!r}"
        index = _index(path, where, key)
        if isinstance(entry, list):
            _check_representative(path, where, index)
            if len(entry) != len(fields):
                raise SourceFormatError(path, where, f"expected {len(fields)} values, got {len(entry)}")
            lists[index] = [_accuracy(path, f"{where}, field {n}", value) for n, value in enumerate(entry)]
        else:
            _check_alias(path, where, index, entry)
    if len(content) != cells.SIZE:
        absent = next(index for index in range(cells.SIZE) if str(index) not in content)
        raise SourceFormatError(
            path, "", f"expected all {cells.SIZE} cells, got {len(content)}; cell {absent} is missing"
        )
    return lists, fields


def _by_dataset(fields: Iterable[Field], values: Iterable[float]) -> dict[str, dict[Metric, float]]:
    by_dataset: dict[str, dict[Metric, float]] = {}
    for (dataset, metric), value in zip(fields, values, strict=True):
        by_dataset.setdefault(dataset, {})[metric] = value
    return by_dataset


def _row(
    info: ReleaseInfo,
    dataset: str,
    index: int,
    seed: int | None,
    seeds: int,
    values: Mapping[Metric, float],
    *,
    counts: bool = True,
) -> dict[str, Any]:
    images = info.datasets[dataset].images["test"]
    row: dict[str, Any] = {"dataset": dataset, "index": index, "seed": seed, "seeds": seeds, "test_images": images}
    for metric, value in values.items():
        row[metric.column] = value
        correct = round(value * images * seeds)
        if counts and abs(value * images * seeds - correct) <= GRID_TOLERANCE:
            row[metric.count_column] = correct
    return row


def _index(path: object, where: str, key: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,4}", key) or int(key) >= cells.SIZE:
        raise SourceFormatError(path, where, f"expected a cell index from 0 to {cells.SIZE - 1}")
    return int(key)


def _check_representative(path: object, where: str, index: int) -> None:
    if cells.representatives()[index] != index:
        problem = f"has results of its own, but its representative is {cells.representatives()[index]}"
        raise SourceFormatError(path, where, problem)


def _check_alias(path: object, where: str, index: int, entry: object) -> None:
    """Check that an entry without values is the index of the representative, as a string or an integer."""
    if isinstance(entry, bool) or not isinstance(entry, (str, int)):
        raise SourceFormatError(path, where, f"expected a list of values or an index, got {_type(entry)}")
    expected = int(cells.representatives()[index])
    if str(entry)[:20] != str(expected) or index == expected:
        raise SourceFormatError(path, where, f"points at cell {str(entry)[:20]}, but its representative is {expected}")


def _accuracy(path: object, where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SourceFormatError(path, where, f"expected an accuracy in [0, 1], got {_type(value)}")
    if not (isinstance(value, int) or math.isfinite(value)) or not 0 <= value <= 1:
        raise SourceFormatError(path, where, f"expected an accuracy in [0, 1], got {str(value)[:30]}")
    return float(value)


def _mapping(path: object, where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SourceFormatError(path, where, f"expected an object, got {_type(value)}")
    return value


def _type(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _read_json(path: str | os.PathLike[str]) -> Any:
    """Parse JSON, or JavaScript that assigns it to one variable; refuse duplicate keys and NaN."""

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise SourceFormatError(path, f"key {twice!r}", "stands twice")
        return content

    def refuse_constant(name: str) -> Any:
        raise SourceFormatError(path, "", f"holds {name}, which is no result")

    try:
        text = Path(path).read_text(encoding="utf-8")
        assigned = re.match(r"\s*(?:(?:var|let|const)\s+)?[A-Za-z_$][\w$]*\s*=", text[:200])
        if assigned:  # blanks, so that the places in messages are those in the file
            text = " " * assigned.end() + text[assigned.end() :]
        text = text.rstrip().removesuffix(";")
        return json.loads(text, object_pairs_hook=refuse_duplicates, parse_constant=refuse_constant)
    except FileNotFoundError:
        raise MissingDataError(f"no file {path}", "check the path") from None
    except OSError as error:
        raise SourceFormatError(path, "", f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SourceFormatError(path, f"byte {error.start}", "not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise SourceFormatError(path, f"character {error.pos}", f"cut, damaged or not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; brackets nested too deep
        if isinstance(error, SourceFormatError):
            raise
        raise SourceFormatError(path, "", f"not a result file ({error})") from None
