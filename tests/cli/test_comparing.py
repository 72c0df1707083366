"""`nasbench-robust compare`: saved searches beside baselines, as text, CSV, LaTeX and figure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nasbench_robust as nbr
from nasbench_robust import cli, search
from nasbench_robust.errors import InvalidValueError


@pytest.fixture(scope="module")
def problem() -> search.TableProblem:
    return search.TableProblem(nbr.load(), "pgd_acc")


@pytest.fixture(scope="module")
def saved(problem: search.TableProblem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve searches by local search, in a file that is called after the method."""
    path = tmp_path_factory.mktemp("searches") / "mine_50%.parquet"
    search.repeat(problem, search.LocalSearch, search.Budget(queries=60), repeats=12, seed=3).save(path)
    return path


def test_numbers_are_those_of_the_searches(problem: search.TableProblem, saved: Path) -> None:
    mine = search.Repeats.load(saved)
    table = search.comparison(search.with_baselines({"mine": mine})).set_index("method")
    assert [*table.index].count("mine") == 1
    assert {"random search", "regularised evolution", "local search"} < {*table.index}
    assert table["regret"].is_monotonic_increasing
    ends = [each.regret[-1] for each in mine.trajectories]
    assert table.at["mine", "regret"] == pytest.approx(np.mean(ends))
    assert table.at["mine", "sd"] == pytest.approx(np.std(ends, ddof=1))
    judge = problem.judges[0]
    assert table.at["mine", judge] == pytest.approx(np.mean([each.judged(judge)[-1] for each in mine.trajectories]))
    again = search.repeat(problem, search.RandomSearch, search.Budget(queries=60), repeats=100, seed=0)
    assert table.at["random search", "regret"] == pytest.approx(again.curves("regret")[:, -1].mean())


def test_it_is_written_as_text_csv_latex_and_figure(saved: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib")
    assert cli.main(["compare", str(saved), "--out", str(tmp_path / "new")]) == 0
    shown = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "new" / "comparison.csv").set_index("method")
    assert f"{table.at['mine_50%', 'regret']:.4f}" in shown
    latex = (tmp_path / "new" / "comparison.tex").read_text()
    (row,) = (line for line in latex.splitlines() if line.startswith(r"mine\_50\% & 12 & 60 & "))
    assert float(row.split(" & ")[3].split()[0]) == pytest.approx(100 * table.at["mine_50%", "regret"], abs=0.005)
    assert latex.count(r"\\") == len(table) + 1
    for name in ("comparison.png", "comparison.svg"):
        assert (tmp_path / "new" / name).stat().st_size > 5_000


def test_baselines_are_chosen_and_left_out(saved: Path, capsys) -> None:
    assert cli.main(["compare", str(saved), "--baselines", "REINFORCE", "--json"]) == 0
    assert {row["method"] for row in json.loads(capsys.readouterr().out)} == {"mine_50%", "REINFORCE"}
    assert cli.main(["compare", str(saved), "--baselines", "--json"]) == 0
    assert [row["method"] for row in json.loads(capsys.readouterr().out)] == ["mine_50%"]


def test_several_objectives_have_a_regret_and_no_judge() -> None:
    both = search.TableProblem(nbr.load(), ("clean_acc", "pgd_acc"))
    found = search.repeat(both, search.NSGA2, search.Budget(queries=60), repeats=3)
    table = search.comparison(search.with_baselines({"mine": found}))
    assert [*table.columns] == ["method", "repeats", "queries", "regret", "sd", "found"]
    assert {*table["method"]} == {"mine", "NSGA-II"}


def test_a_file_that_is_called_after_a_method_is_refused(saved: Path, tmp_path: Path, capsys) -> None:
    shutil.copy(saved, tmp_path / "random search.parquet")
    assert cli.main(["compare", str(tmp_path / "random search.parquet")]) == 2
    assert "names is 'random search.parquet', expected another name" in capsys.readouterr().err


def test_searches_that_stop_trainings_are_not_compared_by_queries() -> None:
    stopped = search.TableProblem(nbr.load(), "pgd_acc", fidelity="epoch")
    found = search.repeat(stopped, search.Hyperband, search.Budget(epochs=60), repeats=2)
    with pytest.raises(InvalidValueError, match="searches of whole trainings"):
        search.with_baselines({"hyperband": found})


def test_searches_of_other_problems_are_refused(problem: search.TableProblem) -> None:
    other = search.TableProblem(nbr.load(), "clean_acc")
    searches = {
        name: search.repeat(each, search.RandomSearch, search.Budget(queries=5), repeats=2)
        for name, each in {"one": problem, "two": other}.items()
    }
    with pytest.raises(InvalidValueError, match=r"two: .*clean_acc.* searches of the problem of one: .*pgd_acc"):
        search.comparison(searches)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{saved}", "digits"], "names is 'digits', expected a file of searches, as"),
        (["{saved}", "--baselines", "random"], "did you mean 'random search'?"),
        (["{saved}", "-r", "nosuch"], "unknown release 'nosuch'"),
        (["{saved}", "{saved}"], "expected every file once"),
        (["absent.parquet"], "no file absent.parquet"),
        (["digits"], "expected two releases, or files that Repeats.save wrote"),
        (["digits", "digits", "--out", "o"], "to go with --out"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(saved: Path, capsys, arguments: list[str], said: str) -> None:
    assert cli.main(["compare", *(word.format(saved=saved) for word in arguments)]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
