"""The dataset card of a release: a YAML header that hubs read, and what the release says about itself, as text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .. import cells
from ..metrics import Metric, format_eps
from ..table import Finding, ReleaseInfo

MARK = "# written by nasbench-robust publish"
# Licences by the identifiers of the Hugging Face Hub; any other is called "other" there.
_LICENCES = frozenset(
    ("apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "mit")
    + ("odbl", "odc-by", "pddl")
)
_TAGS = ("neural-architecture-search", "adversarial-robustness", "adversarial-training", "nas-bench-201", "benchmark")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LISTED = 20


def card(
    info: ReleaseInfo, runs: pa.Table, rows: Mapping[str, int], findings: Sequence[Finding], repository: str
) -> str:
    """Return the text of the card; the same release gives the same text.

    Parameters
    ----------
    info : ReleaseInfo
    runs : pyarrow.Table
        The runs table.
    rows : mapping of str to int
        Number of rows by table (``runs``, ``cells``, ...), of those that are published.
    findings : sequence of Finding
        What validation noticed.
    repository : str
        ``owner/name`` of the repository, for the line that loads it.
    """
    sections = (
        _opening(info, runs),
        _datasets(info, runs),
        _metrics(info.metrics),
        _missing(info, runs),
        _findings(findings),
        _files(rows, runs),
        _columns(info, rows),
        _settings(info),
        _provenance(info, runs),
        _loading(info, repository, rows),
        f"## Cite\n\n{_fenced(info.citation, 'bibtex')}",
    )
    return "\n\n".join((_header(info, rows), *sections)) + "\n"


def _header(info: ReleaseInfo, rows: Mapping[str, int]) -> str:
    """Return the YAML; strings are written as JSON, which YAML includes."""
    licence = info.licence.strip().lower().replace(" ", "-")
    lines = ["---", MARK]
    if licence in _LICENCES:
        lines.append(f"license: {licence}")
    else:
        lines += ["license: other", f"license_name: {_quoted(licence)}"]
    size = next((name for limit, name in _SIZES if rows["runs"] < limit), "1M<n<10M")
    lines += [f"pretty_name: {_quoted(info.title)}", "size_categories:", f"- {size}", "tags:"]
    lines += [f"- {tag}" for tag in _TAGS if tag != "adversarial-training" or _is_adversarial(info)]
    lines.append("configs:")
    for name in rows:
        lines += [f"- config_name: {name}", *(["  default: true"] if name == next(iter(rows)) else [])]
        lines += ["  data_files:", "  - split: train", f"    path: {name}.parquet"]
    return "\n".join([*lines, "---"])


def plain_name(column: str) -> str:
    """Return the name of a metric's column as any program takes it, ``pgd_acc_8_255``."""
    return re.sub(r"[^A-Za-z0-9]+", "_", column)


def _is_adversarial(info: ReleaseInfo) -> bool:
    """Return whether the networks were trained against an adversary, as settings and title say."""
    return bool(info.settings) or "adversarially trained" in info.title.lower()


def _row_of_runs(runs: pa.Table) -> str:
    """Return what a row of the runs table is: a run, or the mean of several."""
    averaged = sorted({number for number in runs.column("seeds").to_pylist() if number > 1})
    if not averaged:
        return "one row per training run"
    return f"one row per cell and group of runs that the source averaged ({', '.join(map(str, averaged))} or 1 run)"


def _opening(info: ReleaseInfo, runs: pa.Table) -> str:
    counted = any(runs.column(metric.count_column).null_count < runs.num_rows for metric in info.metrics)
    trained = "Adversarially trained cells" if _is_adversarial(info) else "Cells, trained without an adversary,"
    counts = "beside each stands the count of correctly classified images" if counted else "the source gives no counts"
    return (
        f"# {_inline(info.title)}\n\n"
        f"Release `{info.name}`, version {_inline(info.version)}. Licence: {_inline(info.licence)}. "
        f"Source: {_inline(info.source)}.\n\n"
        f"{trained} of NAS-Bench-201. Accuracies are fractions of the images of one split, in [0, 1]; "
        f"{counts}. Indices are those of the classes' representatives among the 15,625 cells."
    )


def _datasets(info: ReleaseInfo, runs: pa.Table) -> str:
    columns = ["dataset", "index", "seed", "seeds", "failure"]
    counted = list(zip(*(runs.column(name).to_pylist() for name in columns), strict=True))
    lines = []
    for name, described in info.datasets.items():
        mine = [row for row in counted if row[0] == name]
        net = described.skeleton
        lines.append(
            (
                f"`{name}`",
                ", ".join(f"{split} ({images:,} images)" for split, images in described.images.items()),
                format_eps(described.eps),
                f"{net.channels} channels, {net.cells_per_stage} cell(s) per stage, {net.classes} classes, "
                f"images {net.input_channels} x {net.image_size} x {net.image_size}",
                _seeds(mine),
                f"{len({row[1] for row in mine}):,}",
                f"{len(mine):,}",
                f"{sum(row[4] is not None for row in mine):,}",
            )
        )
    heads = ("data set", "splits", "default eps", "network", "seeds", "cells", "rows of runs", "failed runs")
    return f"## Data sets\n\n{_table(heads, lines)}"


def _seeds(rows: Iterable[tuple[Any, ...]]) -> str:
    named: set[int] = set()
    unnamed: set[int] = set()
    for _, _, seed, seeds, _ in rows:
        (unnamed if seed is None else named).add(seeds if seed is None else seed)
    texts = [", ".join(map(str, sorted(named)))] if named else []
    texts += [f"mean over {number}, not named" if number > 1 else "one, not named" for number in sorted(unnamed)]
    return "; ".join(texts) or "-"


def _metrics(metrics: Sequence[Metric]) -> str:
    lines = []
    for metric in metrics:
        attack = metric.attack
        eps = "-" if attack is None else format_eps(attack.eps)
        length = "-" if attack is None or attack.step_size is None else f"{attack.step_size:.6g}"
        others = ("norm", "steps", "random_start", "restarts", "queries")
        norm, steps, start, restarts, queries = (_shown(getattr(attack, name, None)) for name in others)
        settings = (norm, eps, steps, length, start, restarts, queries)
        lines.append((f"`{metric.column}`", f"`{metric.count_column}`", metric.split, metric.description, *settings))
    heads = ("column", "count", "split", "attack", "norm", "eps", "steps", "step size", "random start", "restarts")
    text = "eps and step size are in pixels of [0, 1]; - means none, or not given by the source."
    return f"## Metrics\n\n{_table((*heads, 'queries'), lines)}\n\n{text}"


def _missing(info: ReleaseInfo, runs: pa.Table) -> str:
    names, indices, seeds = (runs.column(name).to_pylist() for name in ("dataset", "index", "seed"))
    have: dict[tuple[str, int | None], set[int]] = {}
    for name, index, seed in zip(names, indices, seeds, strict=True):
        have.setdefault((name, seed), set()).add(index)
    expected = set(np.unique(cells.representatives()).tolist())
    lines = []
    for (name, seed), there in sorted(have.items(), key=lambda item: (item[0][0], item[0][1] is None, item[0][1] or 0)):
        lacking = sorted(expected - there)
        which = ", ".join(map(str, lacking)) if len(lacking) <= _LISTED else "not listed"
        lines.append((f"`{name}`", "not named" if seed is None else str(seed), f"{len(lacking):,}", which or "-"))
    text = [
        f"## Missing runs\n\nOf the {len(expected):,} classes of cells, these have no row.",
        _table(("data set", "seed", "without a row", "cells"), lines),
    ]
    failed = [row for row in runs.select(["dataset", "failure"]).to_pylist() if row["failure"] is not None]
    if failed:
        count = Counter((row["dataset"], row["failure"]) for row in failed)
        reasons = [(f"`{name}`", reason, str(number)) for (name, reason), number in sorted(count.items())]
        text.append(f"Failed runs have a row without accuracies.\n\n{_table(('data set', 'reason', 'runs'), reasons)}")
    missing = sorted(set(info.datasets) - {name for name, _ in have})
    text += [f"There are no runs at all on {', '.join(missing)}."] if missing else []
    return "\n\n".join(text)


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "## Validation\n\n`nasbench-robust validate` finds nothing."
    listed = "\n".join(f"- {_inline(str(finding))}" for finding in findings)
    return f"## Validation\n\n`nasbench-robust validate` says:\n\n{listed}"


def _files(rows: Mapping[str, int], runs: pa.Table) -> str:
    about = {
        "table": "one row per data set and cell: means over the runs there are",
        "runs": f"{_row_of_runs(runs)}: accuracies, counts, settings, provenance",
        "cells": "all 15,625 cells: string, representative, operations, parameters, FLOPs",
        "curves": "one row per run and epoch",
        "outcomes": "one row per run and metric: a bit for every image",
    }
    lines = [(f"`{name}.parquet`", f"{number:,}", about[name]) for name, number in rows.items()]
    return f"## Files\n\n{_table(('file', 'rows', 'holds'), lines)}\n\n`manifest.json`: SHA-256 and size of every file."


_KEYS = (
    ("release, dataset", "what the row is of"),
    ("index", "the cell, 0 to 15,624; join the tables on dataset and index (and seed, where there is one)"),
    ("seed", "of the run; null where the source does not say, or averages several"),
    ("run", "names one making of a run, in all tables alike; null or not there where nobody gave it a name"),
)
_DICTIONARY: dict[str, tuple[tuple[str, str], ...]] = {
    "table": (
        ("dataset, index", "the key: one row each"),
        ("arch, representative, connected", "NAS-Bench-201 string; index of its class; whether input reaches output"),
        ("parameters, flops", "of the network; multiply-accumulates for one image"),
    ),
    "runs": (
        *_KEYS,
        ("seeds", "runs behind the row"),
        ("test_images", "images of the test split"),
        ("failure", "why a run has no result"),
        ("settings", "hash of the training settings, which stand below"),
        ("engine, device, versions, revision, date", "what made the run, and when"),
        ("train_seconds, eval_seconds", "what it cost by the clock"),
        (
            "train_cpu_seconds, eval_cpu_seconds",
            "what it cost in seconds of processors; null or not there in older runs",
        ),
        ("peak_memory_mib", "the most memory that it took"),
    ),
    "cells": (
        ("index, arch, representative, connected", "as in table, for all 15,625 cells"),
        ("none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3", "edges with that operation"),
        ("parameters@DATASET, flops@DATASET", "of the network on that data set"),
    ),
    "curves": (
        *_KEYS,
        ("epoch", "from 1"),
        ("learning_rate, train_loss, train_acc", "of the last step; on the adversarial training images"),
        ("split, clean_acc, pgd_acc", "accuracies after the epoch, and the split that they are of"),
    ),
    "outcomes": (
        *_KEYS,
        ("metric", "its column in runs; behind `>` the part of AutoAttack whose survivors these are"),
        ("images", "how many bits there are"),
        ("correct", "a bit an image, in the order of the split; image 0 is the lowest bit of the first byte"),
    ),
}


def _columns(info: ReleaseInfo, rows: Mapping[str, int]) -> str:
    """Return the dictionary of the columns; those of metrics stand in a section of their own."""
    lines = [(f"`{name}`", columns, text) for name in rows for columns, text in _DICTIONARY[name]]
    names = [(f"`{metric.column}`", f"`{plain_name(metric.column)}`") for metric in info.metrics]
    parts = [f"## Columns\n\n{_table(('table', 'columns', 'meaning'), lines)}"]
    if "table" in rows:
        parts.append(f"Metrics, in [0, 1]:\n\n{_table(('in runs', 'in table'), names)}")
    return "\n\n".join(parts)


def _settings(info: ReleaseInfo) -> str:
    if not info.settings:
        return "## Training settings\n\nThe source does not give them in a form that rows could refer to."
    parts = [
        f"`{name}`:\n\n{_fenced(json.dumps(info.settings[name], indent=2, sort_keys=True), 'json')}"
        for name in sorted(info.settings)
    ]
    return "\n\n".join(("## Training settings\n\nBy the hash in the column `settings`.", *parts))


_COSTS = {
    "train_seconds": "training, all runs",
    "eval_seconds": "evaluation, all runs",
    "train_cpu_seconds": "training, all runs, of processors",
    "eval_cpu_seconds": "evaluation, all runs, of processors",
}


def _provenance(info: ReleaseInfo, runs: pa.Table) -> str:
    lines = [("source", info.source)]
    for column in ("engine", "device", "versions", "revision"):
        count = Counter(value for value in runs.column(column).to_pylist() if value is not None)
        lines += [(column, f"{value} ({count[value]:,} rows)") for value in sorted(count)]
    dates = [date for date in runs.column("date").to_pylist() if date is not None]
    if dates:
        lines.append(("dates (UTC)", f"{min(dates):%Y-%m-%d} to {max(dates):%Y-%m-%d}"))
    for column, text in _COSTS.items():
        known = runs.column(column).to_pylist() if column in runs.column_names else []
        seconds = [value for value in known if value is not None]
        if seconds:
            lines.append((text, f"{sum(seconds) / 3600:.3g} hours"))
    return f"## Provenance\n\n{_table(('what', 'value'), lines)}"


def _loading(info: ReleaseInfo, repository: str, rows: Mapping[str, int]) -> str:
    latest = f'bench = nasbench_robust.load("hub:{repository}")  # or "hub:{repository}@COMMIT", which never changes'
    column = info.metrics[0].column
    name, metric = ("table", plain_name(column)) if "table" in rows else ("runs", column)
    snippets = [
        _fenced("pip install '.[hub]'  # in a clone of nasbench-robust", "sh"),
        _fenced(f"import nasbench_robust\n\n{latest}\nbench.metrics()", "python"),
        "`load` checks `runs.parquet` against `manifest.json`. Without the package, the files are plain Parquet:",
        _fenced(
            f'import pandas as pd\n\nframe = pd.read_parquet("hf://datasets/{repository}/{name}.parquet")\n'
            f'frame.sort_values("{metric}", ascending=False).head()',
            "python",
        ),
        _fenced(
            f'from datasets import load_dataset\n\nrows = load_dataset("{repository}", "{name}", split="train")',
            "python",
        ),
    ]
    if "outcomes" in rows:
        unpack = 'np.unpackbits(np.frombuffer(row["correct"], np.uint8), bitorder="little", count=row["images"])'
        snippets.append(
            _fenced(
                f'import numpy as np\nimport pandas as pd\n\nrow = pd.read_parquet("outcomes.parquet").iloc[0]\n'
                f"correct = {unpack}.astype(bool)  # by image",
                "python",
            )
        )
    return "\n\n".join(("## Load", *snippets))


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(_table_lines(heads, lines))


def _table_lines(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for line in lines:
        yield f"| {' | '.join(_inline(text).replace('|', chr(92) + '|') for text in line)} |"


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


def _inline(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    return json.dumps(_inline(text), ensure_ascii=False)


def _shown(value: object) -> str:
    return "-" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
