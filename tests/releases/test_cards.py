"""The dataset card: true of every release, and read by the hub's client, by `datasets` and by pandas."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import nasbench_robust as nbr
from nasbench_robust.releases import locate, publish
from nasbench_robust.releases.importers import import_standard_file
from nasbench_robust.table import write_table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def published_releases(tmp_path_factory: pytest.TempPathFactory, request) -> Callable[[str], Path]:
    """Return the folder of a release as it is published, by name; made once."""
    made: dict[str, Path] = {}

    def release(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp(name)
            source = locate("digits").parent
            if name == "means":
                source = request.getfixturevalue("published_table").parent
            if name == "standard":
                source = tmp_path_factory.mktemp("standard-source")
                write_table(import_standard_file(request.getfixturevalue("standard_file")), source / "runs.parquet")
            made[name] = publish(source, out, repository="owner/name", force=True).folder
        return made[name]

    return release


NAMES = ["digits", "means", "standard"]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_what_the_hub_reads(name: str, published_releases) -> None:
    hub = pytest.importorskip("huggingface_hub")
    folder = published_releases(name)
    data = hub.DatasetCard.load(folder / "README.md").data
    assert data.configs[0] == {
        "config_name": "table",
        "default": True,
        "data_files": [{"split": "train", "path": "table.parquet"}],
    }
    assert all((folder / config["data_files"][0]["path"]).is_file() for config in data.configs)
    assert ("adversarial-training" in data.tags) == (name != "standard")
    assert data.license
    assert data.pretty_name


@pytest.mark.parametrize("name", NAMES)
def test_datasets_reads_the_default_configuration(name: str, published_releases, tmp_path: Path, monkeypatch) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(published_releases(name)), split="train", cache_dir=str(tmp_path))
    assert len(rows) == pq.read_metadata(published_releases(name) / "table.parquet").num_rows


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_one_row_per_cell_and_plain_names(name: str, published_releases) -> None:
    folder = published_releases(name)
    table, bench = pd.read_parquet(folder / "table.parquet"), nbr.load(folder)
    assert not table.duplicated(["dataset", "index"]).any()
    assert len(table) == 6466 * len(bench.datasets)
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", column) for column in table.columns)
    if name != "standard":
        assert not table.isna().any().any()  # PGD and AutoAttack stand in one row
    for metric in bench.info.metrics:
        expected = bench.values(bench.datasets[0], metric.column)
        plain = re.sub(r"\W+", "_", metric.column)
        mine = table[table["dataset"] == bench.datasets[0]]
        assert np.array_equal(mine[plain], expected[mine["index"]]), metric


def test_the_card_says_how_networks_were_trained_and_what_a_row_is(published_releases) -> None:
    cards = {name: (published_releases(name) / "README.md").read_text() for name in NAMES}
    assert "Adversarially trained cells of" in cards["digits"]
    assert "one row per training run" in cards["digits"]
    assert "the source averaged (3 or 1 run)" in cards["means"]
    assert "trained without an adversary" in cards["standard"]
    assert "the source gives no counts" in cards["standard"]
    assert "image 0 is the lowest bit of the first byte" in cards["digits"]
    assert all("join the tables on dataset and index" in card for card in cards.values())


def test_the_dictionary_names_every_column(published_releases) -> None:
    folder = published_releases("digits")
    card = (folder / "README.md").read_text()
    for name in ("table", "runs", "cells", "curves", "outcomes"):
        for column in pq.read_schema(folder / f"{name}.parquet").names:
            known = column.partition("@")[0] if name == "cells" else column
            assert known in card, (name, column)


def test_the_snippets_run(published_releases, monkeypatch) -> None:
    folder = published_releases("digits")
    monkeypatch.chdir(folder)
    card = (folder / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len(snippets) == 4
    assert "load_dataset" in snippets[2]
    for snippet in (snippets[1].replace("hf://datasets/owner/name/", ""), snippets[3]):
        names: dict = {}
        exec(snippet, names)
    row = names["row"]
    correct = nbr.load(folder).lookup(int(row["index"]), metric=row["metric"], seed=int(row["seed"])).correct
    assert names["correct"].sum() == correct


# ---------------------------------------------------------------------- citations


def test_the_library_and_the_citation_file_agree_on_the_paper() -> None:
    yaml = pytest.importorskip("yaml")
    from nasbench_robust.releases.importers import _PUBLISHED

    [paper] = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    title = re.search(r"title\s*= \{(.*)\},", _PUBLISHED.citation)[1].replace("{", "").replace("}", "")
    assert title == paper["title"] == "Robust NAS under adversarial training: benchmark, theory, and beyond"
    assert str(paper["year"]) in _PUBLISHED.citation


def test_the_citation_of_digits_is_complete() -> None:
    bench = nbr.load()
    cited = bench.cite()
    for part in ("@software{nasbench_robust,", f"version = {{{bench.info.version}}}", "note = {Table digits}"):
        assert part in cited
    assert re.search(r"year = \{20\d\d\}\n\}$", cited)
    assert cited.count("{") == cited.count("}")
