"""Committed tables of scores that go beside the first ones: whole, of the same settings, made again where cheap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from nasbench_robust.cells import Cell
from nasbench_robust.metrics import pgd
from nasbench_robust.proxies import PROXIES
from nasbench_robust.runs import parse_cells
from nasbench_robust.scores import ScoreKey, ScoreSettings, read_scores, score_cell, score_settings_for
from nasbench_robust.scores.keys import score_keys

FOLDER = Path(__file__).parents[2] / "analysis" / "scores"
PARTS = {"cifar10_proxies": "cifar10"}
KEY = ["index", "seed", "score"]


@pytest.fixture(scope="module", params=PARTS)
def part(request: pytest.FixtureRequest) -> tuple[str, pd.DataFrame, ScoreSettings]:
    frame, stored = read_scores(FOLDER / f"{request.param}.parquet")
    return request.param, frame, ScoreSettings.from_dict(stored)


def test_a_part_belongs_to_the_first_table_and_repeats_nothing_of_it(part):
    name, frame, settings = part
    assert settings.identity == score_settings_for(PARTS[name]).identity
    assert not settings.kernels
    assert set(frame["score"]) == set(settings.proxies)
    assert not frame.duplicated(KEY).any()
    first, _ = read_scores(FOLDER / f"{PARTS[name]}.parquet")
    clean = first[first["kernel"].isna() & first["attack"].isna()]
    assert pd.concat([frame[KEY], clean[KEY]]).duplicated().sum() == 0


def test_the_readme_says_which_cells_and_seeds_there_are(part):
    name, frame, _ = part
    rows = [line.split("|") for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("|")]
    said = [[cell.strip(" `") for cell in row[1:-1]] for row in rows if row[1].strip(" `") == f"{name}.parquet"]
    found = set()
    for _, cells, seeds, scores in said:
        for score in scores.replace("`", "").split(", "):
            for seed in map(int, seeds.split(", ")):
                of_score = frame[(frame["score"] == score) & (frame["seed"] == seed)]
                assert sorted(of_score["index"]) == parse_cells(cells), (score, seed)
                found.add((score, seed))
    assert found == set(zip(frame["score"], frame["seed"], strict=True))


def test_only_cells_without_a_path_or_with_idle_blocks_have_no_value(part):
    _, frame, _ = part
    failed = frame[frame["value"].isna()]
    for index, score, failure in failed[["index", "score", "failure"]].itertuples(index=False):
        assert failure == (
            "a block passes gradients on unchanged"
            if score == "az_trainability" and Cell.from_index(index).connected
            else "the output does not depend on the input"
        )


def test_what_looks_at_no_image_is_made_again(part):
    _, frame, settings = part
    torch.set_num_threads(1)
    blank, labels = torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)
    names = [name for name in settings.proxies if not PROXIES[name].uses_images]
    for seed, of_seed in frame[frame["score"].isin(names)].groupby("seed"):
        index = int(of_seed["index"].unique()[500])
        wanted = [ScoreKey(None, None, score) for score in of_seed.loc[of_seed["index"] == index, "score"]]
        made = score_cell(Cell.from_index(index), settings, blank, labels, int(seed), wanted=wanted)
        stored = of_seed[of_seed["index"] == index].set_index("score")["value"]
        assert {row.score: row.value for row in made} == pytest.approx(stored.to_dict(), rel=1e-4)


# ------------------------------------------------------------------ modes of batch normalisation


@pytest.mark.parametrize("bn", ["batch_coupled", "eval"])
def test_tables_of_modes_differ_in_the_mode_alone(bn):
    frame, stored = read_scores(FOLDER / "modes" / f"{bn}.parquet")
    settings = ScoreSettings.from_dict(stored)
    assert settings == replace(
        score_settings_for("cifar10"),
        bn=bn,
        images=6,
        attacks=(pgd(8 / 255, steps=7, step_size=8 / 255 / 4),),
        proxies=(),
    )
    keys = set(score_keys(settings))
    assert set(frame["seed"]) == {0, 1, 2}
    for seed, rows in frame.groupby("seed"):
        few = bn == "batch_coupled" and seed > 0
        assert sorted(set(rows["index"])) == parse_cells("every:192" if few else "every:32")
        assert len(rows) == len(keys) * rows["index"].nunique()
    failed = frame[frame["failure"] == "the output does not depend on the input"]
    assert not any(Cell.from_index(int(index)).connected for index in failed["index"].unique())
