"""Every number of the page on rankings is what the committed results say, or an allowed word of method."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import nasbench_robust as nbr
from nasbench_robust import cells, statistics

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "analysis" / "results"
# Numbers of methods and settings, which are no results: who wrote when, sizes of samples, the size of a step.
METHOD = (
    r"`[^`]*`|\]\([^)]*\)",
    r"(?:eps|at|above) 0?\.15?\b|\d+/255|PGD-20|3x3|bfloat16",
    r"CIFAR-\d+|cifar10|ImageNet16-120",
    r"\((?:Spearman|Brown|Wu)[^)]*\)",
    r"1 - sd\^2|1 \+ \(k - 1\)|\(1|\(k - 1\)",
    r"95 %|80 %|10 %|(?:contains?|above|below|off|is|keeps?) 0\b",
    r"1,000|and 100|30 at least|\d\d images",
    r"C = \d|max_lr \.\d+|batches of \d+|\d+ epochs",
)


@cache
def table(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


def decimals(value: float, digits: int = 3, sign: str = "") -> str:
    """Return a number as the page writes it: ``-.032``."""
    return f"{value:{sign}.{digits}f}".replace("0.", ".", 1)


def digits_against_published() -> Iterator[str]:
    rows = table("digits_vs_published").set_index(["dataset", "metric", "subset", "predictor", "statistic"])

    def gain(dataset: str, subset: str) -> str:
        row = rows.loc[(dataset, "pgd_acc@8/255", subset, "pgd_acc@0.1", "spearman - parameters")]
        told = row["low"] > 0 or row["high"] < 0
        return decimals(row["value"], sign="+") if told else "cannot be told apart"

    assert gain("cifar10", "top half") == gain("cifar10", "top tenth") == gain("cifar100", "all")
    yield f"on CIFAR-10 they are worse over all cells ({gain('cifar10', 'all')})"
    places = [gain("cifar100", subset) for subset in ("top half", "top tenth")]
    yield "digits are better in the top half ({}) and the top tenth ({})".format(*places)
    places = [gain("ImageNet16-120", subset) for subset in ("all", "top half", "top tenth")]
    yield "cells ({}), in the top half ({}) and in the top tenth ({})".format(*places)

    gains = rows.xs("spearman - parameters", level="statistic")
    of_digits = gains.xs("pgd_acc@0.1", level="predictor")
    better, worse = (of_digits["low"] > 0).groupby("subset").sum(), (of_digits["high"] < 0).groupby("subset").sum()
    assert worse["top half"] == worse["top tenth"] == 0
    yield f"Over all {len(of_digits) // 3} published columns digits are better in {better['all']} over all cells"
    yield f", worse in {worse['all']};"
    yield f"better in {better['top half']} of the top halves and {better['top tenth']} of the top tenths, worse in none"
    of_both = gains.xs("pgd_acc@0.1 + parameters", level="predictor")
    assert (of_both["low"] > 0).all()
    yield f"better than the parameter count in all {len(of_both)} comparisons"


def kernels() -> Iterator[str]:
    boards = {name: table(f"ntk_leaderboard_{name}") for name in ("digits", "cifar10")}
    parameters, best, condition, beat, more = [], [], [], [], []
    for board in boards.values():
        scores = board[~board["verdict"].isin(["line to beat"])]
        parameters.append(decimals(board.loc[board["verdict"] == "line to beat", "spearman"].item()))
        best.append(f"{decimals(scores['spearman'].iloc[0])}: {scores['verdict'].iloc[0]}")
        clean = scores[(scores["kernel"] == "clean") & (scores["score"] == "condition_number")].iloc[0]
        condition.append(decimals(clean["spearman"]))
        told = scores[scores["verdict"] != "same order"]
        beat.append(f"{(told['verdict'] == 'beats it').sum()} of {len(told)}")
        more.append(f"{(told['given_low'] > 0).sum()} of {len(told)}")
    yield "| parameter count | {} | {} |".format(*parameters)
    yield "| best score | condition number of the clean kernel, {} | NASWOT, {} |".format(*best)
    yield "| condition number of the clean kernel | {} | {}: is worse |".format(*condition)
    yield "| scores that beat the parameter count | {} | {} |".format(*beat)
    yield "| scores that tell something more beside it | {} | {} |".format(*more)
    on_digits, on_cifar10 = (
        table(f"ntk_combination_{name}").query("metric == @metric and combination.str.contains('zen')").iloc[0]
        for name, metric in (("digits", "pgd_acc@0.1"), ("cifar10", "pgd_acc@8/255"))
    )
    assert on_cifar10["gain_high"] < 0
    yield (
        f"clean condition number + Zen: {decimals(on_digits['spearman'])} on the other half, against "
        f"{decimals(on_digits['parameters'])} | {decimals(on_cifar10['spearman'])}: is worse |"
    )
    yield f"every fourth representative, {boards['cifar10']['cells'].iloc[0]:,} cells"


def figure() -> Iterator[str]:
    def shown(name: str, metric: str) -> pd.DataFrame:
        return table(f"ntk_figure_{name}").query("metric == @metric and kernel != 'clean'")

    of_cifar10, of_digits = shown("cifar10", "pgd_acc@8/255"), shown("digits", "pgd_acc@0.1")
    assert not (of_cifar10["minus_clean_low"] > 0).any()
    lower = (of_cifar10["minus_clean_high"] < 0).sum()
    yield f"of the {len(of_cifar10)} numbers in its figure {lower} are worse and none is better"
    stronger = of_cifar10.assign(name=of_cifar10["attack"].str.partition("@")[0]).groupby(["scalar", "kernel", "name"])
    grown = [part["minus_clean"].iloc[-1] > part["minus_clean"].iloc[0] for _, part in stronger]
    yield (
        f"none of the {len(of_cifar10)} numbers is better, and the difference to the clean kernel is higher with the "
        f"larger eps for {sum(grown)} of {len(grown)}"
    )
    condition = of_digits[of_digits["scalar"] == "condition number"]
    assert (condition["minus_clean_high"] < 0).all()
    yield f"all {len(condition)} condition numbers are worse"
    least = of_digits[of_digits["scalar"] == "minimum eigenvalue"]
    better, worse = least[least["minus_clean_low"] > 0], least[least["minus_clean_high"] < 0]
    assert set(worse["kernel"]) == {"cross"}
    most = decimals(better["minus_clean"].max(), 2)
    yield (
        f"Of the {len(least)} minimum eigenvalues in the figure of digits {len(better)} are better, by {most} at most, "
        f"and {len(worse)}, of cross kernels, worse"
    )
    norms = table("ntk_figure_digits").query("metric == 'pgd_acc@0.1' and scalar == 'Frobenius norm'")
    clean, gain = norms.loc[norms["kernel"] == "clean", "spearman"].iloc[0], norms["minus_clean"].max()
    yield f"wrong way round ({decimals(clean, 2)}), that of attacked images by {decimals(gain, 2)} less so at most"


def modes() -> Iterator[str]:
    rows = table("ntk_figure_cifar10_modes").query("metric == 'pgd_acc@8/255'")
    stored = json.loads(
        pq.read_schema(ROOT / "analysis" / "scores" / "modes" / "eval.parquet").metadata[b"nasbench_robust_scores"]
    )
    seeds = rows.groupby("bn")["seeds_used"].unique().map(lambda counts: counts.item())
    few = rows.loc[rows["bn"] == "batch_coupled", "seed_cells"].iloc[0]
    assert seeds.to_dict() == {"batch_coupled": 1, "eval": 3}
    yield (
        f"kernels of {rows['cells'].iloc[0]} cells, every 32nd representative, in train mode (`batch_coupled`) and in "
        f"`eval` mode: {stored['images']} images, PGD at 8/255; in `eval` mode the mean of {seeds['eval']} initial "
        f"seeds, in train mode one, and two more of {few:.0f} cells"
    )
    yield f"parameter count has {decimals(rows['parameters'].iloc[0])}"
    for scalar, part in rows.groupby("scalar", sort=False):
        numbers = [", ".join(map(decimals, part.loc[part["bn"] == bn, "spearman"])) for bn in ("batch_coupled", "eval")]
        yield f"| {scalar} | {numbers[0]} | {numbers[1]} |"
    others = rows[rows["kernel"] != "clean"]
    coupled = others[others["bn"] == "batch_coupled"]
    better = coupled[coupled["minus_clean_low"] > 0]
    worse = coupled[coupled["minus_clean_high"] < 0]
    assert set(worse["kernel"]) == {"cross"}
    assert better[["scalar", "kernel"]].to_numpy().tolist() == [["Frobenius norm", "robust"]]
    yield f"the Frobenius norm of the robust kernel is better (by {decimals(better['minus_clean'].item(), 2)})"
    yield f"the {len(worse)} numbers of cross kernels are worse"
    yield f"the other {len(coupled) - len(better) - len(worse)} cannot be told apart"
    assert (rows.loc[rows["bn"] == "eval", "spearman"] < 0).all()
    yield f"all {len(rows) // 2} rank the wrong way round"
    spread = rows.groupby("bn")["seed_sd"].median()
    yield (
        f"Between single seeds rho has a standard deviation of {decimals(spread['batch_coupled'], 2)} in train mode "
        f"and {decimals(spread['eval'], 2)} in `eval` mode (medians)"
    )


def seeds() -> Iterator[str]:
    board = table("ntk_leaderboard_digits")
    clean = board[(board["kernel"] == "clean") & (board["score"] == "condition_number")].iloc[0]
    naswot = board[board["score"] == "naswot"].iloc[0]
    between = [board["between_seeds"].median(), clean["between_seeds"], naswot["between_seeds"]]
    yield (
        f"{decimals(between[0], 2)} in the median over all scores, {decimals(between[1], 2)} for the condition number "
        f"of the clean kernel and {decimals(between[2], 2)} for NASWOT"
    )
    moved = max(clean["seed_sd"], naswot["seed_sd"]), board["seed_sd"].median()
    yield f"moves by about {decimals(moved[0], 2)} for these, and by {decimals(moved[1], 2)} for the median score"


def parity() -> Iterator[str]:
    rows = table("engine_parity")
    means = rows[rows["cell"] == "all"].set_index("metric")
    pgd, clean = means.loc["pgd_acc@0.1"], means.loc["clean_acc"]
    yield f"Of {pgd['first_runs']} native and {pgd['second_runs']} torch runs"
    for row, words in ((pgd, "points of PGD accuracy at eps 0.1"), (clean, "clean")):
        numbers = 100 * row[["difference", "low", "high"]]
        yield f"{numbers['difference']:+.2f} {words} [{numbers['low']:+.2f}, {numbers['high']:+.2f}]"
    single = rows[(rows["metric"] == "pgd_acc@0.1") & (rows["cell"] != "all")]
    assert len(single) == 12
    assert ((single["low"] < 0) & (single["high"] > 0)).all()


def settings() -> Iterator[str]:
    for row in table("digits_settings").itertuples():
        numbers = [
            f"{100 * row.median:.1f}",
            f"{row.ratio:.2f}",
            decimals(row.spearman),
            decimals(row.given_parameters),
        ]
        yield " | ".join([*numbers, decimals(row.seconds, 2) if row.seconds < 1 else f"{row.seconds:.2f}"]) + " |"


def tables() -> Iterator[str]:
    index = np.unique(cells.representatives())
    parameters = pd.read_parquet(ROOT / "analysis" / "scores" / "digits.parquet").query(
        "score == 'params' and seed == 0"
    )
    yield f"only {parameters['value'].nunique()} different parameter counts"
    yield f"the {len(index):,} classes hold {len(np.unique(cells.families())):,} functions"
    scores = len(table("ntk_leaderboard_digits")) - 1
    yield f"For {len(index):,} cells and {scores} scores"
    yield f"trains {table('digits_settings')['cells'].iloc[0]} cells"


CLAIMS = (digits_against_published, kernels, figure, modes, seeds, parity, settings, tables)


def page() -> str:
    """Return the page as one line, without code."""
    text = re.sub(r"```.*?```", " ", (ROOT / "docs" / "analysis.md").read_text(), flags=re.DOTALL)
    return " ".join(text.split())


@pytest.mark.parametrize("claims", CLAIMS, ids=lambda claims: claims.__name__)
def test_the_page_says_what_the_results_say(claims) -> None:
    text = page()
    for claim in claims():
        assert claim in text, claim


@pytest.fixture(scope="module")
def unnormalised(published_table: Path) -> list[str]:
    """What the page says of the kernel in eval mode, from its table of scores and the published accuracies."""
    rows = pd.read_parquet(ROOT / "analysis" / "scores" / "cifar10_eval.parquet")
    values = rows.pivot(index="index", columns="score", values="value").replace(np.inf, np.nan)
    target = nbr.load(published_table).frame("cifar10").set_index("index").loc[values.index, "pgd_acc@8/255"]

    def spearman(name: str) -> float:
        there = values[name].notna()
        return statistics.spearman(values.loc[there, name], target[there])

    ranks = values.rank().fillna(0)  # failures last
    last = {name: statistics.spearman(ranks[name], target) for name in values}
    assert max(last, key=last.get) == "label_alignment"
    no_path = (~cells.connected()[values.index]).sum()
    lost = values["condition_number"].isna().sum() - no_path
    assert decimals(spearman("trace"), 2) == decimals(spearman("frobenius_norm"), 2)
    return [
        f"clean kernel of all {len(values):,} cells in `eval` mode",
        f"wrong way round ({decimals(spearman('trace'), 2)}), the condition number is below",
        f"for {lost:,} cells and reaches {decimals(-spearman('condition_number'), 2)} among the others",
        f"label alignment is best with {decimals(last['label_alignment'])}",
    ]


def test_no_number_of_the_page_is_without_a_result(unnormalised: list[str]) -> None:
    text = page()
    for claim in [*(claim for claims in CLAIMS for claim in claims()), *unnormalised]:
        assert claim in text, claim
        text = text.replace(claim, " ")
    for words in METHOD:
        text = re.sub(words, " ", text)
    left = [text[max(0, match.start() - 40) : match.end() + 20] for match in re.finditer(r"\d[\d.,]*", text)]
    assert not left, "\n".join(left)
