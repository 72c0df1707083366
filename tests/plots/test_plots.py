"""Plots: what is drawn is what the table says, and looks as it did when somebody looked at it.

``python tests/plots/test_plots.py`` draws the images anew, to be looked at before they are committed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasbench_robust as nbr
from nasbench_robust import plots, search, statistics
from nasbench_robust.cells import OPERATIONS, SIZE, connected, opcodes, operation_counts, representatives
from nasbench_robust.errors import MissingPackageError, MissingResultError, NasbenchRobustError

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.testing.compare import compare_images

IMAGES = Path(__file__).parent / "images"
TOLERANCE = 12  # root mean square difference of pixels, 0 to 255: fonts of other versions, but no other curve
SHOWN = np.flatnonzero((representatives() == np.arange(SIZE)) & connected())
FEW = ("random search", "regularised evolution")


def found() -> dict[str, search.Repeats]:
    problem, budget = search.TableProblem(nbr.load(), "pgd_acc"), search.Budget(queries=40)
    return {name: search.repeat(problem, search.SEARCHERS[name].make, budget, repeats=10) for name in FEW}


PLOTS: dict[str, Callable[[], Any]] = {
    "landscape": lambda: plots.landscape(nbr.load()),
    "landscape_by_size": lambda: plots.landscape(nbr.load(), "parameters", "autoattack_acc", "nor_conv_3x3"),
    "pareto": lambda: plots.pareto(nbr.load()),
    "ranks": lambda: plots.ranks(nbr.load()),
    "operations": lambda: plots.operations(nbr.load()),
    "noise": lambda: plots.noise(nbr.load()),
    "curves": lambda: plots.curves(nbr.load(), [9930, 1462, 5]),
    "trajectories": lambda: plots.trajectories(found()),
    "cells": lambda: plots.cells([9930, 1234, 5], columns=2),
}


def figure_of(axes: Any) -> Any:
    return np.atleast_1d(axes).flat[0].figure


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def digits() -> nbr.Benchmark:
    return nbr.load()


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_looks_as_it_did(name, tmp_path):
    before = dict(matplotlib.rcParams)
    figure_of(PLOTS[name]()).savefig(tmp_path / "new.png", dpi=60)
    assert dict(matplotlib.rcParams) == before
    assert compare_images(str(IMAGES / f"{name}.png"), str(tmp_path / "new.png"), TOLERANCE) is None


def test_another_plot_would_be_noticed():
    both = [str(IMAGES / f"{name}.png") for name in ("landscape", "noise")]
    try:
        assert compare_images(*both, TOLERANCE) is not None
    finally:
        (IMAGES / "noise-failed-diff.png").unlink(missing_ok=True)


def test_every_plot_has_an_image():
    assert {path.stem for path in IMAGES.glob("*.png")} == set(PLOTS)
    assert {name.partition("_")[0] for name in PLOTS} == set(plots.__all__)


def test_a_landscape_has_a_dot_per_cell_at_its_values(digits):
    figure, axes = pyplot.subplots()
    assert plots.landscape(digits, "clean_acc", "parameters", "avg_pool_3x3", axes=axes) is axes
    assert pyplot.get_fignums() == [figure.number]
    (dots,) = axes.collections
    frame = digits.frame(metrics=["clean_acc"], cells="connected")
    columns = 100 * frame["clean_acc"], frame["parameters"] / 1000, operation_counts("avg_pool_3x3")[frame.index]
    expected = {tuple(row) for row in np.round(np.column_stack(columns), 9).tolist()}
    drawn = np.column_stack([dots.get_offsets(), dots.get_array()])
    assert {tuple(row) for row in np.round(drawn, 9).tolist()} == expected
    assert axes.get_xlabel() == "clean accuracy (%)"
    assert axes.get_ylabel() == "parameters (thousand)"


def test_own_values_may_be_drawn(digits):
    axes = plots.landscape(digits, np.arange(SIZE), "pgd_acc#validation", None)
    np.testing.assert_array_equal(np.sort(axes.collections[0].get_offsets()[:, 0]), SHOWN)
    assert axes.get_ylabel() == "PGD accuracy at eps 0.1, validation (%)"


def test_the_front_is_that_of_the_table(digits):
    axes = plots.pareto(digits, ("clean_acc", "autoattack_acc"))
    front = digits.pareto(metrics=("clean_acc", "autoattack_acc"), cells="connected")
    marked = next(line for line in axes.lines if line.get_label() == "on the front")
    np.testing.assert_allclose(marked.get_xdata(), 100 * front["clean_acc"])
    np.testing.assert_allclose(marked.get_ydata(), 100 * front["autoattack_acc"])
    assert [text.get_text() for text in axes.texts] == front["index"].astype(str).tolist()


def test_ranks_are_spearmans(digits):
    axes = plots.ranks(digits, ["clean_acc", "pgd_acc", "flops"])
    frame = digits.frame(metrics=["clean_acc", "pgd_acc"])
    rho = statistics.spearman(frame["clean_acc"], frame["flops"])
    assert axes.images[0].get_array()[0, 2] == pytest.approx(rho)
    assert f"{rho:.2f}" in [text.get_text() for text in axes.texts]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["clean", "PGD 0.1", "FLOPs"]


def test_operations_are_medians_over_all_cells(digits):
    axes = plots.operations(digits, "clean_acc")
    values = 100 * digits.values(metric="clean_acc")
    drawn = {bars.get_label(): bars.lines[0].get_ydata() for bars in axes.containers}
    for code, label in ((OPERATIONS.index("nor_conv_3x3"), "conv 3x3"), (OPERATIONS.index("none"), "none")):
        expected = [np.median(values[opcodes()[:, edge] == code]) for edge in range(6)]
        np.testing.assert_allclose(drawn[label], expected)


def test_noise_is_that_of_the_seeds(digits):
    axes = plots.noise(digits)
    runs = 100 * np.array([digits.values(metric="pgd_acc", seed=seed)[SHOWN] for seed in (0, 1, 2)]).T
    np.testing.assert_allclose(axes.collections[0].get_offsets()[:, 1], runs.std(axis=1, ddof=1))
    single = np.sqrt(runs.var(axis=1, ddof=1).mean())
    assert f"one run: sd {single:.2f} points" in axes.texts[0].get_text()


def test_curves_and_searches_are_means(digits):
    line = plots.curves(digits, [9930], "train_loss").lines[0]
    np.testing.assert_allclose(line.get_ydata(), digits.curve(9930)["train_loss"])
    searches = found()
    drawn = {line.get_label(): line.get_ydata() for line in plots.trajectories(searches).lines}
    for name in FEW:
        np.testing.assert_allclose(drawn[name], 100 * searches[name].curves("regret").mean(axis=0))


def test_searches_that_stop_trainings_are_drawn_against_epochs(digits):
    problem, budget = search.TableProblem(digits, "pgd_acc", fidelity="epoch"), search.Budget(epochs=120)
    methods = {"ASHA": search.ASHA, "random search": search.RandomSearch}
    found = {name: search.repeat(problem, make, budget, repeats=4) for name, make in methods.items()}
    axes = plots.trajectories(found)
    assert axes.get_xlabel() == "epochs of training spent"
    for line in axes.lines:
        ends = [100 * one.regret[one.epochs <= 60][-1] for one in found[line.get_label()].trajectories]
        assert line.get_ydata()[list(line.get_xdata()).index(60)] == pytest.approx(np.mean(ends))


def test_many_lines_can_be_told_apart(digits):
    lines = plots.curves(digits, range(15)).lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 15


REFUSED: dict[str, Callable[[nbr.Benchmark], Any]] = {
    "did you mean 'pgd_acc'": lambda b: plots.landscape(b, "pgd"),
    "column is array": lambda b: plots.landscape(b, np.zeros(3)),
    "metrics is 'pgd_acc', expected two metric names": lambda b: plots.pareto(b, "pgd_acc"),
    "unknown column of curves 'loss'": lambda b: plots.curves(b, [1], "loss"),
    "searches is {}, expected Repeats by name": lambda b: plots.trajectories({}),
    "archs is [], expected at least one cell": lambda b: plots.cells([]),
    "axes is 1, expected at least 2": lambda b: plots.cells([1, 2], axes=pyplot.subplots()[1]),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_drawn_says_why_and_leaves_no_figure(digits, told):
    with pytest.raises(NasbenchRobustError) as caught:
        REFUSED[told](digits)
    assert told in str(caught.value)
    assert len(pyplot.get_fignums()) == ("axes" in told)


def test_a_release_of_means_has_no_noise_and_no_curves(bench):
    with pytest.raises(MissingResultError, match="gives no two seeds of pgd_acc"):
        plots.noise(bench, dataset="cifar10")
    with pytest.raises(MissingResultError, match="has no curves by epoch"):
        plots.curves(bench, [1], dataset="cifar10")
    assert "CIFAR" not in plots.landscape(bench, dataset="cifar10").get_xlabel()


def test_no_matplotlib_is_one_sentence(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (lambda: plots.landscape(digits), lambda: plots.cells([1])):
        with pytest.raises(MissingPackageError, match=r"'matplotlib' is needed here.*\.\[plots\]"):
            draw()


def test_every_cell_of_a_notebook_shows_its_figure(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    code = (
        "import nasbench_robust as nbr",
        "nbr.plots.noise(nbr.load());",
        "nbr.plots.cells([1]);",
        "nbr.plots.ranks(nbr.load());",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in code])
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [sum("image/png" in output.get("data", ()) for output in cell["outputs"]) for cell in notebook.cells]
    assert shown == [0, 1, 1, 1]


if __name__ == "__main__":
    for each, draw_it in PLOTS.items():
        figure_of(draw_it()).savefig(IMAGES / f"{each}.png", dpi=60)
