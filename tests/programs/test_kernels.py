"""Programs about kernels against accuracies: made-up scores with a known answer go in, and it is found."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
stats = pytest.importorskip("scipy.stats")

from made_up_tables import made_up
from PIL import Image

from kernels import compute
from kernels.scores import Name, read_data
from nasbench_robust import cells
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.scores import SCORES_SCHEMA, Scored, read_scores, score_settings_for, write_scores
from nasbench_robust.table import Reader, write_table

COUNT, UNCONNECTED, FAILED = 200, 2, 20
KEYS = [*compute.PLACE, "failures"]
HEADLINE = ("cifar10", "pgd_acc@8/255")


def some_cells(rng: np.random.Generator) -> np.ndarray:
    representatives = np.unique(cells.representatives())
    whole = cells.connected()[representatives]
    drawn = rng.choice(representatives[whole], COUNT - UNCONNECTED, replace=False)
    return np.sort([*drawn, *representatives[~whole][:UNCONNECTED]])


def write(path: Path, dataset: str, index: np.ndarray, columns: dict[tuple, np.ndarray]) -> Path:
    """Write a table of scores; columns are by kernel, attack and score, of shape (cells,) or (cells, seeds)."""
    settings = score_settings_for(dataset)
    shard = write_scores([Scored(None, None, "params", 1.0, None, 0.5)], settings, 0, 0, path.parent / dataset, "cpu")
    metadata = Reader(shard).schema.metadata
    rows = []
    fixed = {"dataset": dataset, "revision": None, "device": "cpu", "date": datetime.datetime(2024, 5, 7)}
    for (kernel, attack, score), values in columns.items():
        for (row, seed), value in np.ndenumerate(np.reshape(values, (len(index), -1))):
            key = {"index": index[row], "seed": seed, "kernel": kernel, "attack": attack, "score": score}
            outcome = {"value": None, "failure": "singular"} if np.isnan(value) else {"value": value, "failure": None}
            rows.append({**fixed, **key, **outcome, "seconds": 0.5})
    write_table(pa.Table.from_pylist(rows, SCORES_SCHEMA.with_metadata(metadata)), path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Accuracies that depend on the parameter count and on two things that scores know, and scores of both sets."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    index = some_cells(rng)
    parameters = np.array([cells.Cell.from_index(int(cell)).parameters() for cell in index], float)
    first, second = rng.normal(size=(2, COUNT))
    quality = 0.6 * (parameters - parameters.mean()) / parameters.std() + 0.8 * (first + second) / np.sqrt(2)
    accuracies = (0.4 + 0.03 * quality)[:, None]
    on_images = {"index": index, "clean_acc": accuracies + 0.2, "pgd_acc@8/255": accuracies}
    on_digits = {"index": index, "clean_acc": accuracies + 0.2, "pgd_acc@0.1": accuracies}
    metrics = [(Metric("clean_acc"), Metric.of(pgd(eps))) for eps in (8 / 255, 0.1)]
    return {
        "index": index,
        "quality": quality,
        "parameters": parameters,
        "first": first,
        "second": second,
        "rng": rng,
        "folder": folder,
        "published": made_up("published", "cifar10", on_images, metrics[0], folder / "published", 8 / 255),
        "digits": made_up("digits", "digits", on_digits, metrics[1], folder / "digits", 0.1),
    }


@pytest.fixture(scope="module")
def scored(made: dict) -> Path:
    rng, quality, two = made["rng"], made["quality"], np.ones((1, 2))
    condition = np.exp(-quality)
    condition[np.argsort(-quality)[:FAILED]] = np.nan
    noisy = quality[:, None] + rng.normal(0, 0.5, size=(COUNT, 2))
    columns = {
        (None, None, "params"): made["parameters"],
        (None, None, "synflow"): made["parameters"] + rng.normal(0, 1, COUNT),
        (None, None, "naswot"): np.round(quality),
        (None, None, "zen"): noisy,
        ("clean", None, "frobenius_norm"): np.exp(9 * quality),
        ("clean", None, "condition_number"): condition,
        ("clean", None, "minimum_eigenvalue"): -quality,
        ("regression", None, "standard_clean"): rng.uniform(size=COUNT),
    }
    for attack in ("pgd@3/255", "pgd@8/255"):
        columns["robust", attack, "label_alignment"] = made["first"]
        for kernel in ("robust", "robust_twice"):
            columns[kernel, attack, "minimum_eigenvalue"] = quality
        for kernel in ("robust", "cross", "robust_twice"):
            columns[kernel, attack, "frobenius_norm"] = rng.normal(size=COUNT)
        columns["cross", attack, "smallest_singular_value"] = np.where(made["first"] > 0, made["first"], np.nan)
    both = {key: value.reshape(COUNT, -1) * two for key, value in columns.items()}
    return write(made["folder"] / "cifar10.parquet", "cifar10", made["index"], both)


@pytest.fixture(scope="module")
def options(made: dict) -> list[str]:
    return ["--published", str(made["published"]), "--digits", str(made["digits"]), "--resamples", "100"]


@pytest.fixture(scope="module")
def results(call, scored: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "new"
    assert call("ntk_correlation", scored, *options, "--out", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def found(results: Path) -> pd.DataFrame:
    table = pd.read_csv(results / "ntk_correlation_cifar10.csv", keep_default_na=False, na_values=[""])
    table[["kernel", "attack"]] = table[["kernel", "attack"]].fillna("")
    assert not table.duplicated(KEYS).any()
    return table.set_index(KEYS).sort_index()


def of(found: pd.DataFrame, *name: str, subset: str = "all", failures: str = "none") -> pd.Series:
    return found.loc[(*HEADLINE, subset, *name, failures)]


def test_a_perfect_score_a_reversed_one_and_noise_are_what_they_are(found):
    for subset in ("all", "connected", "top half", "top tenth"):
        perfect = of(found, "clean", "", "frobenius_norm", subset=subset)
        assert (perfect["spearman"], perfect["low"], perfect["high"], perfect["kendall"]) == (1, 1, 1, 1)
        assert of(found, "clean", "", "minimum_eigenvalue", subset=subset)["spearman"] == -1
        assert perfect["gain"] == pytest.approx(1 - perfect["parameters"], abs=2e-4)
    noise = of(found, "regression", "", "standard_clean")
    assert noise["low"] < 0 < noise["high"]
    assert abs(noise["spearman"]) < 0.2


def test_lower_is_better_is_turned_round_and_failures_are_counted_and_last(made, found):
    name = ("clean", "", "condition_number")
    rest, last = of(found, *name, failures="left out"), of(found, *name, failures="last")
    assert (rest["spearman"], rest["cells"], rest["failed"]) == (1, COUNT - FAILED, FAILED)
    expected = made["quality"].copy()
    expected[np.argsort(-expected)[:FAILED]] = -99  # the best cells are those that failed
    assert last["spearman"] == pytest.approx(stats.spearmanr(expected, made["quality"]).statistic, abs=1e-4)
    assert (last["cells"], last["failed"], last["direction"]) == (COUNT, FAILED, "lower")
    half = of(found, *name, failures="left out", subset="top half")
    assert (half["cells"], half["failed"]) == (COUNT // 2 - FAILED, FAILED)
    inside = made["quality"] < np.sort(made["quality"])[-FAILED]
    same = stats.spearmanr(made["parameters"][inside], made["quality"][inside]).statistic
    assert rest["parameters"] == pytest.approx(same, abs=1e-4)  # over the same cells


def test_ties_share_their_rank(made, found):
    row, tied = of(found, "", "", "naswot"), np.round(made["quality"])
    assert row["spearman"] == pytest.approx(stats.spearmanr(tied, made["quality"]).statistic, abs=1e-4)
    assert row["kendall"] == pytest.approx(stats.kendalltau(tied, made["quality"]).statistic, abs=1e-4)


def test_subsets_have_the_cells_that_they_say(found):
    counts = {
        subset: of(found, "", "", "zen", subset=subset)["cells"] for subset in ("connected", "top half", "top tenth")
    }
    assert counts == {"connected": COUNT - UNCONNECTED, "top half": COUNT // 2, "top tenth": COUNT // 10}


def test_what_the_parameter_count_knows_is_taken_out(found):
    copy, other = of(found, "", "", "synflow"), of(found, "robust", "pgd@8/255", "label_alignment")
    assert copy["spearman"] > 0.45
    assert copy["given_low"] < 0.1
    assert abs(copy["given_parameters"]) < 0.2
    assert other["given_low"] > 0.5
    assert other["given_low"] < other["given_parameters"] < other["given_high"]


def test_seeds_are_averaged_and_their_spread_is_told(made, scored, found):
    row, frame = of(found, "", "", "zen"), read_scores(scored)[0]
    single = frame[frame["score"] == "zen"].pivot(index="index", columns="seed", values="value").to_numpy()
    rho = [stats.spearmanr(column, made["quality"]).statistic for column in single.T]
    assert (row["seeds"], row["seed_cells"]) == (2, COUNT)
    assert row["seed_mean"] == pytest.approx(np.mean(rho), abs=1e-4)
    assert row["seed_sd"] == pytest.approx(np.std(rho, ddof=1), abs=1e-4)
    assert row["between_seeds"] == pytest.approx(stats.spearmanr(*single.T).statistic, abs=1e-4)
    mean = stats.spearmanr(single.mean(axis=1), made["quality"]).statistic
    assert row["spearman"] == pytest.approx(mean, abs=1e-4)


def test_a_seed_that_only_some_cells_have_enters_the_spread_alone(made, options):
    runs = np.stack([made["quality"], -made["quality"]], axis=1)
    path = write(made["folder"] / "some.parquet", "cifar10", made["index"], {(None, None, "zen"): runs})
    table = Reader(path).read()
    kept = [row for row in table.to_pylist() if row["seed"] == 0 or row["index"] in made["index"][:50]]
    write_table(pa.Table.from_pylist(kept, table.schema), path)
    data = read_data(path, str(made["published"]), str(made["digits"]))
    assert (data.seeds, data.seeds_used, len(data.index)) == ([0, 1], 1, COUNT)
    assert (data.scores[Name("", "", "zen")].argsort() == made["quality"].argsort()).all()
    spread = next(row for row in compute.seed_spread(data) if row["metric"] == HEADLINE[1])
    assert (spread["seed_cells"], spread["between_seeds"]) == (50, pytest.approx(-1))


def test_the_leaderboard_has_the_line_to_beat_on_top_and_says_who_beats_it(call, results, scored, options, tmp_path):
    board = pd.read_csv(results / "ntk_leaderboard_cifar10.csv").fillna({"kernel": "", "attack": ""})
    assert board["score"].iloc[0] == "params"
    assert (board["spearman"].iloc[1:].diff().dropna() <= 0).all()
    assert board["score"].iloc[-1] == "minimum_eigenvalue"
    verdicts = board.set_index(["kernel", "attack", "score"])["verdict"]
    assert verdicts["", "", "params"] == "line to beat"
    assert verdicts["clean", "", "frobenius_norm"] == "beats it"
    assert verdicts["clean", "", "minimum_eigenvalue"] == "is worse"
    assert verdicts["", "", "synflow"] == "cannot be told apart"
    assert board["seconds"].iloc[0] == 1  # two seeds of half a second
    done = call("ntk_correlation", scored, *options, "--out", tmp_path, "--target", "cifar10", "clean_acc")
    assert done.code == 0
    assert "Spearman with clean_acc of cifar10; a cell without a value ranks last" in done.out
    assert "frobenius norm (clean)" in done.out.partition("Better than the parameter count: ")[2].partition("\n")[0]


def test_a_combination_is_chosen_on_half_of_digits_and_tested_elsewhere(call, made, scored, options, tmp_path):
    columns = {
        (None, None, "params"): made["parameters"],
        (None, None, "grasp"): made["quality"],  # which nobody computes on natural images
        (None, None, "zen"): made["second"],
        ("robust", "pgd@0.1", "label_alignment"): made["first"],
        ("regression", None, "standard_clean"): np.random.default_rng(1).uniform(size=COUNT),
    }
    own = write(made["folder"] / "digits.parquet", "digits", made["index"], columns)
    assert call("ntk_correlation", own, *options, "--out", tmp_path).code == 0
    chosen = json.loads((tmp_path / "ntk_combination.json").read_text())
    assert {part["score"] for part in chosen["scores"]} == {"params", "zen", "label_alignment"}
    assert chosen["chosen_on"] == {"dataset": "digits", "metric": "pgd_acc@0.1", "cells": COUNT // 2}
    held_out = pd.read_csv(tmp_path / "ntk_combination_digits.csv")
    assert (held_out["cells"] == COUNT // 2).all()
    assert held_out["gain_low"].iloc[-1] > 0.1
    file = tmp_path / "ntk_combination.json"
    done = call("ntk_correlation", scored, *options, "--out", tmp_path, "--combination", file)
    assert done.code == 0
    tested = pd.read_csv(tmp_path / "ntk_combination_cifar10.csv")
    assert set(tested["metric"]) == {"clean_acc", "pgd_acc@8/255"}
    assert "label alignment (robust), pgd@8/255" in tested["combination"].iloc[-1]  # the largest eps there is
    assert "The whole combination ranks better than the parameter count for 2 of 2" in done.out


def test_the_figure_shows_every_kernel_and_is_not_blank(call, scored, options, tmp_path):
    done = call("ntk_figure", scored, *options, "--out", tmp_path)
    assert done.code == 0
    points = pd.read_csv(tmp_path / "ntk_figure_cifar10.csv")
    # Metrics, attacks; scalars and kernels, of the condition number the clean one alone.
    assert len(points) == 2 * 2 * (2 * 4 + 1)
    best = points[(points["scalar"] == "minimum eigenvalue") & (points["kernel"] == "robust")]
    assert (best["spearman"] == 1).all()
    assert (best["minus_clean"] == 2).all()
    with Image.open(tmp_path / "ntk_figure_cifar10.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    colours = {tuple(colour) for colour in pixels[::3, ::3].reshape(-1, 3).tolist()}
    assert {(0, 114, 178), (230, 159, 0), (213, 94, 0), (0, 0, 0)} <= colours
    assert 0.01 < (pixels.min(axis=2) < 200).mean() < 0.5
    text = (tmp_path / "ntk_figure_cifar10.svg").read_text()
    assert all(
        word in text for word in ("robust twice kernel", "parameter count", f"accuracy of {COUNT} cells", "hollow")
    )
    assert "rank better than the same number of the clean kernel" in done.out


def test_tables_that_differ_in_batch_normalisation_are_drawn_side_by_side(call, fault, scored, options, tmp_path):
    table = Reader(scored).read()
    other = {key: text.replace(b'"batch_frozen"', b'"eval"') for key, text in table.schema.metadata.items()}
    flipped = pa.compute.multiply(table["value"], -1)
    table = table.set_column(table.column_names.index("value"), "value", flipped).replace_schema_metadata(other)
    write_table(table, tmp_path / "eval.parquet")
    assert call("ntk_figure", scored, tmp_path / "eval.parquet", *options, "--out", tmp_path).code == 0
    points = pd.read_csv(tmp_path / "ntk_figure_cifar10_modes.csv")
    assert (points["seeds_used"] == 2).all()
    modes = points.set_index(["metric", "attack", "scalar", "kernel"]).groupby("bn")
    frozen, turned = modes.get_group("batch_frozen"), modes.get_group("eval")
    robust = (slice(None), slice(None), "Frobenius norm")
    assert np.allclose(frozen["spearman"].loc[robust], -turned["spearman"].loc[robust])
    assert "eval mode" in (tmp_path / "ntk_figure_cifar10_modes.svg").read_text()
    twice = fault("ntk_figure", scored, scored, *options, "--out", tmp_path)
    assert "expected tables of one data set, each with another bn" in twice


def test_the_same_call_gives_the_same_files(call, scored, options, results, tmp_path):
    assert call("ntk_correlation", scored, *options, "--out", tmp_path).code == 0
    for name in ("ntk_correlation_cifar10.csv", "ntk_leaderboard_cifar10.csv"):
        assert (tmp_path / name).read_bytes() == (results / name).read_bytes()


def test_what_cannot_be_done_is_one_sentence(fault, made, scored, options, tmp_path):
    few = write(tmp_path / "few.parquet", "cifar10", made["index"][:20], {(None, None, "zen"): made["quality"][:20]})
    table = Reader(scored).read()
    for name in ("mnist", "cifar100"):
        other = {key: text.replace(b"cifar10", name.encode()) for key, text in table.schema.metadata.items()}
        write_table(table.replace_schema_metadata(other), tmp_path / f"{name}.parquet")
    (tmp_path / "wrong.json").write_text("{}")
    for arguments, message in (
        ([made["published"] / "runs.parquet"], "not a table of scores"),
        ([tmp_path / "mnist.parquet"], "unknown data set 'mnist'"),
        ([tmp_path / "cifar100.parquet"], "no table of accuracies has cifar100"),
        ([few], "share 20 cells; 30 are needed"),
        ([scored, "--target", "cifar10", "pgd"], "unknown target 'cifar10 pgd'"),
        ([scored, "--combination", tmp_path / "wrong.json"], "is not a combination of scores"),
        ([scored, "--combination", tmp_path / "none.json"], "No such file"),
    ):
        assert message in fault("ntk_correlation", arguments[0], *options, "--out", tmp_path / "out", *arguments[1:])
    assert "share 20 cells" in fault("ntk_figure", few, *options, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
