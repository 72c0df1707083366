"""The landscape, its filters and layers, the leaderboard, comparisons and searches, used as a person uses them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browsing import AUTOATTACK, CLEAN, PGD, Explorer

from nasbench_robust import cells, search
from nasbench_robust.cells import Cell
from nasbench_robust.search.tabular import Repeats


@pytest.fixture(scope="module")
def frame(benches) -> pd.DataFrame:
    """One row a class."""
    return benches[0].frame(metrics=["clean_acc", "pgd_acc", "autoattack_acc"])


def count(view: Explorer) -> int:
    return int(view.page.inner_text("#count").split()[0].replace(",", ""))


def drag(view: Explorer, start: tuple[float, float], end: tuple[float, float], key: str | None = None) -> None:
    mouse = view.page.mouse
    mouse.move(*start)
    if key:
        view.page.keyboard.down(key)
    mouse.down()
    mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    mouse.move(*end)
    mouse.up()
    if key:
        view.page.keyboard.up(key)


# ------------------------------------------------------------------ points


def test_it_opens_on_the_best_cell(view, benches, frame):
    assert view.cell() == frame["pgd_acc"].idxmax()
    assert view.value() == benches[0].query(view.cell(), metric="pgd_acc") == frame["pgd_acc"].max()
    assert view.page.title() == f"digits, {benches[1].name} · nasbench-robust explorer"
    assert count(view) == 6466


@pytest.mark.parametrize("scales", [("linear", "linear"), ("log", "log"), ("rank", "linear"), ("rank", "rank")])
def test_points_lie_where_their_values_are_and_can_be_clicked(view, frame, scales):
    """Cells far from the others, so that no other lies nearer."""
    view.show(xs=scales[0], ys=scales[1])
    along = {
        "linear": lambda values: values,
        "log": np.log10,
        "rank": lambda values: -values.rank(method="min", ascending=False),
    }
    xs, ys = (along[scale](frame[name]) for scale, name in zip(scales, ("clean_acc", "pgd_acc"), strict=True))
    for index in (frame["pgd_acc"].idxmax(), *frame["clean_acc"].nsmallest(8).index[1::3]):
        position = view.position(xs[index], ys[index], xs, ys)
        view.page.mouse.click(*position)
        assert frame.loc[view.cell(), ["clean_acc", "pgd_acc"]].tolist() == pytest.approx(
            frame.loc[index, ["clean_acc", "pgd_acc"]].tolist(), abs=0.004
        )
        chosen = view.position(xs[view.cell()], ys[view.cell()], xs, ys)
        assert view.is_marked(chosen)


def test_the_point_moves_with_the_edge(view, benches, frame):
    view.show(cell=9930)
    xs, ys = frame["clean_acc"], frame["pgd_acc"]
    before = view.position(xs[9930], ys[9930], xs, ys)
    assert view.is_marked(before)
    view.page.focus('#drawing [data-edge="5"]')
    view.page.keyboard.press("1")  # none
    operations = [*Cell.from_index(9930).operations[:5], "none"]
    assert view.cell() == Cell(operations).index
    own = Cell(operations).representative
    assert view.is_marked(view.position(xs[own], ys[own], xs, ys))
    assert not view.is_marked(before)


def test_a_tip_names_the_cell_under_the_pointer(view, frame):
    lowest = frame["clean_acc"].nsmallest(8).index[-1]
    xs, ys = frame["clean_acc"], frame["pgd_acc"]
    view.page.mouse.move(*view.position(xs[lowest], ys[lowest], xs, ys))
    tip = view.page.inner_text("#tip")
    assert tip.startswith(str(lowest))
    assert f"{xs[lowest]:.4f}" in tip
    assert f"{ys[lowest]:.4f}" in tip
    view.page.mouse.move(2, 2)
    view.page.wait_for_selector("#tip", state="hidden")


def test_any_metric_stands_against_any_other_and_size(view, benches):
    """Of all releases; axes are labelled, colours explained, and cells without a colour are no error."""
    values = view.page.locator("#y option").evaluate_all("all => all.map(one => one.value)")
    metrics = [
        f"{bench.name}/{dataset}/{metric.column}"
        for bench in benches
        for dataset in bench.datasets
        for metric in bench.measured(dataset)
    ]
    assert set(metrics) < set(values)
    assert {"depth", "count/nor_conv_3x3", "digits/digits/parameters", "digits/digits/seconds"} < set(values)
    rng = np.random.default_rng(1)
    for x, y, c in rng.choice(values, (8, 3)).tolist():
        view.page.select_option("#x", x)
        view.page.select_option("#y", y)
        view.page.select_option("#c", c)
        state = {"x": CLEAN, "y": PGD, "c": "depth"} | view.state()
        assert (state["x"], state["y"], state["c"]) == (x, y, c)
        label = view.page.get_attribute("#plot", "aria-label") or ""
        assert all(
            view.page.inner_text(f'#{axis} option[value="{value}"]') in label for axis, value in (("x", x), ("y", y))
        )
        assert view.page.inner_text("#legend .legend-name").startswith(view.page.inner_text(f'#c option[value="{c}"]'))


# ------------------------------------------------------------------ zoom, box, filters


def test_zoom_and_pan_are_kept_in_the_address(view):
    box = view.page.locator("#plot .u-over").bounding_box()
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    view.page.mouse.move(*centre)
    view.page.mouse.wheel(0, -600)
    view.page.wait_for_function("() => location.hash.includes('zoom')")
    first = [float(part) for part in view.state()["zoom"].split(",")]
    drag(view, centre, (centre[0] + 100, centre[1] + 50))
    view.page.wait_for_function(f"() => !location.hash.includes('{view.state()['zoom']}')")
    x0, x1, y0, y1 = (float(part) for part in view.state()["zoom"].split(","))
    assert x1 - x0 == pytest.approx(first[1] - first[0], rel=1e-3)
    assert first[0] - x0 == pytest.approx(100 / box["width"] * (x1 - x0), rel=0.02)
    assert y0 - first[2] == pytest.approx(50 / box["height"] * (y1 - y0), rel=0.02)
    view.page.click("#zoom-in")
    view.page.click("#zoom-all")
    view.page.wait_for_function("() => !location.hash.includes('zoom')")


@pytest.mark.parametrize("how", ["shift", "mode"])
def test_a_box_chooses_cells(view, frame, how):
    xs, ys = frame["clean_acc"], frame["pgd_acc"]
    corners = (0.90, 0.70), (0.95, 0.80)
    start, end = (view.position(*corner, xs, ys) for corner in corners)
    if how == "mode":
        view.page.click("#mode-box")
    drag(view, start, end, "Shift" if how == "shift" else None)
    view.page.click("#mode-pan")
    x0, x1, y0, y1 = (float(part) for part in view.state()["box"].split(","))
    assert (x0, y0, x1, y1) == pytest.approx((0.90, 0.70, 0.95, 0.80), abs=0.003)
    inside = frame[xs.between(x0, x1) & ys.between(y0, y1)]
    assert view.page.inner_text("#unbox").startswith(f"{len(inside):,} in the box")
    view.page.click("#tab-leaderboard")
    assert view.page.inner_text("#board-count").endswith(f"of {len(inside):,}")
    view.page.click("#unbox")
    assert view.page.inner_text("#board-count").endswith("of 6,466")


def test_filters_let_through_what_they_say(view, benches):
    """Counts and cells are those that the package's own arrays give."""
    own, codes = cells.representatives(), cells.opcodes()
    is_own = own == np.arange(cells.SIZE)
    families, connected = cells.families(), cells.connected()
    views = {"representatives": is_own, "all": np.ones(cells.SIZE, bool), "families": families == np.arange(cells.SIZE)}
    views["smallest"] = cells.smallest_members() == np.arange(cells.SIZE)
    for name, mask in views.items():
        view.page.select_option("#view", name)
        assert count(view) == mask.sum()
    view.page.check("#connected")
    assert count(view) == (views["smallest"] & connected).sum()
    has_twin = np.array([len(np.unique(own[families == family])) > 1 for family in range(cells.SIZE)])[families]
    view.page.check("#twins")
    assert count(view) == (views["smallest"] & connected & has_twin).sum()
    view.page.click("#clear")
    assert count(view) == 6466
    view.page.click(".by-edge summary")
    for edge, code in ((0, 3), (0, 4), (2, 0), (5, 1)):
        view.page.uncheck(f'#operations input[data-edge="{edge}"][data-code="{code}"]')
    allowed = is_own & (codes[:, 0] != 3) & (codes[:, 0] != 4) & (codes[:, 2] != 0) & (codes[:, 5] != 1)
    assert count(view) == allowed.sum()
    size = benches[0].frame(cells="all")["parameters"].to_numpy()
    view.page.fill("#low", "9000")
    view.page.fill("#high", "14000")
    view.page.keyboard.press("Enter")
    assert count(view) == (allowed & (size >= 9000) & (size <= 14000)).sum()
    view.page.click("#clear")
    view.page.click(".by-edge summary")


def test_the_front_is_that_of_the_package(view, benches):
    for bench, dataset in ((benches[0], "digits"), (benches[1], "cifar10")):
        [x, y] = ["clean_acc", next(m.column for m in bench.measured(dataset) if m.name == "autoattack_acc")]
        view.show(x=f"{bench.name}/{dataset}/{x}", y=f"{bench.name}/{dataset}/{y}", pareto="true")
        shown = view.page.locator("#front button").evaluate_all("all => all.map(one => Number(one.dataset.cell))")
        assert sorted(shown) == sorted(bench.pareto(dataset, metrics=(x, y)).index)[: len(shown)]
        assert shown
        view.page.click("#front button >> nth=0")
        assert view.cell() == shown[0]


def test_two_releases_stand_side_by_side(view, benches):
    other = benches[1]
    names = [f"{other.name}/cifar10/clean_acc", f"{other.name}/cifar10/pgd_acc@8/255"]
    view.page.check("#side")
    view.page.select_option("#x2", names[0])
    view.page.select_option("#y2", names[1])
    table = other.frame("cifar10", metrics=["clean_acc", "pgd_acc"])
    xs, ys = table["clean_acc"], table["pgd_acc"]
    best = ys.idxmax()
    view.page.mouse.click(*view.position(xs[best], ys[best], xs, ys, "#plot-2"))
    assert ys[view.cell()] == pytest.approx(ys[best], abs=0.004)
    cell = Cell.from_index(view.cell()).representative
    assert view.is_marked(view.position(xs[cell], ys[cell], xs, ys, "#plot-2"), "#plot-2")
    digits = benches[0].frame(metrics=["clean_acc", "pgd_acc"])
    position = view.position(*digits.loc[cell, ["clean_acc", "pgd_acc"]], digits["clean_acc"], digits["pgd_acc"])
    assert view.is_marked(position)


# ------------------------------------------------------------------ searches


def test_a_search_from_a_file_is_drawn(view, benches, tmp_path):
    problem = search.TableProblem(benches[0], "pgd_acc", split="test")
    repeats: Repeats = search.repeat(problem, search.RegularisedEvolution, search.Budget(queries=30), repeats=3)
    repeats.save(tmp_path / "evolution.parquet")
    view.page.set_input_files("#search-file", tmp_path / "evolution.parquet")
    view.page.wait_for_selector("#searches li")
    assert view.page.locator("#searches option").all_inner_texts() == ["repeat 0", "repeat 1", "repeat 2", "all 3"]
    assert "30 queries of pgd_acc@0.1 on digits" in view.page.get_attribute("#searches li", "title")
    frame = benches[0].frame(metrics=["clean_acc", "pgd_acc"])
    view.show(cell=5)
    last = Cell.from_index(int(repeats.trajectories[1].incumbents[-1])).representative
    view.page.select_option("#searches select", "1")
    at = view.position(*frame.loc[last, ["clean_acc", "pgd_acc"]], frame["clean_acc"], frame["pgd_acc"])
    assert all(
        view.is_marked((at[0] + 5 * np.cos(turn), at[1] + 5 * np.sin(turn))) for turn in np.arange(8) * np.pi / 4
    )
    view.page.click("#searches button")
    assert not view.is_marked(at)
    assert view.page.locator("#searches li").count() == 0


def test_a_file_without_searches_is_refused_in_a_sentence(view, benches, tmp_path):
    (tmp_path / "no.parquet").write_bytes(b"nothing")
    view.page.set_input_files("#search-file", tmp_path / "no.parquet")
    view.page.wait_for_selector("#toast:has-text('no.parquet holds no searches')")
    assert view.page.locator("#searches li").count() == 0


# ------------------------------------------------------------------ leaderboard


def shown_cells(view: Explorer) -> list[int]:
    return view.page.locator("#leaderboard tbody tr").evaluate_all("all => all.map(row => Number(row.dataset.cell))")


def test_the_leaderboard_sorts_filters_and_pages(view, benches, frame):
    view.page.click("#tab-leaderboard")
    assert shown_cells(view) == benches[0].best(metric="pgd_acc", k=50).index.tolist()
    view.page.click("#next")
    assert shown_cells(view) == benches[0].best(metric="pgd_acc", k=100).index.tolist()[50:]
    view.page.click(f'#leaderboard [data-sort="{AUTOATTACK}"] button')
    assert shown_cells(view) == benches[0].best(metric="autoattack_acc", k=50).index.tolist()
    view.page.click(f'#leaderboard [data-sort="{AUTOATTACK}"] button')
    assert view.page.get_attribute(f'#leaderboard [data-sort="{AUTOATTACK}"]', "aria-sort") == "ascending"
    assert shown_cells(view) == frame.sort_values(["autoattack_acc", "index"]).index[:50].tolist()
    view.page.click('#leaderboard [data-sort="index"] button')
    assert shown_cells(view) == frame.index[:50].tolist()
    view.page.fill("#q", "pgd>0.8 parameters<=14000 avg_pool_3x3~0")
    fits = frame[
        (frame["pgd_acc"] > 0.8) & (frame["parameters"] <= 14000) & frame["arch"].str.contains("avg_pool_3x3~0")
    ]
    assert shown_cells(view) == fits.index[:50].tolist()
    assert view.page.inner_text("#board-count").endswith(f"of {len(fits)}")
    view.page.fill("#q", "nothing~9")
    assert view.page.inner_text("#board-count") == "No cell passes the filters."
    view.page.fill("#q", "9930")
    view.page.click("#leaderboard tbody .link")
    assert view.cell() == 9930


def test_the_table_is_saved_to_the_last_bit(view, benches):
    view.show(tab="leaderboard", view="all")
    with view.page.expect_download() as download:
        view.page.click("#csv")
    assert download.value.suggested_filename == "digits-digits.csv"
    saved = pd.read_csv(io.StringIO(Path(download.value.path()).read_text()), dtype={"opcodes": str}, index_col="index")
    whole = benches[0].frame(cells="all")
    assert len(saved) == cells.SIZE
    saved = saved.loc[whole.index]
    for column in ("arch", "parameters", "flops", *(metric.column for metric in benches[0].measured())):
        assert saved[column].tolist() == whole[column].tolist()
    seconds = benches[0].values(metric="train_cpu_seconds")
    assert np.abs(saved["seconds"].to_numpy() - seconds).max() <= 0.0005 + 1e-9


def test_bibtex_is_that_of_the_release(view, benches):
    view.page.click("#about-button")
    shown = view.page.locator(".source pre").all_inner_texts()
    assert [text.strip() for text in shown] == [bench.cite().strip() for bench in benches]
    for bench in benches:
        section = view.page.inner_text(f'.source[data-release="{bench.name}"]')
        assert f"version {bench.version}" in section
        assert bench.info.licence in section
        assert bench.info.source in section
    view.page.click("#about-close")
    said = []
    view.page.once("dialog", lambda dialog: (said.append(dialog.default_value), dialog.dismiss()))
    view.page.click("#tab-leaderboard")
    view.page.click("#bibtex")
    view.page.wait_for_timeout(200)
    assert said == [benches[0].cite()] or "BibTeX copied" in view.page.inner_text("#toast")


# ------------------------------------------------------------------ comparison


def test_up_to_four_cells_are_compared(view, benches):
    pinned = [9930, 1716, 81, 5]
    for index in pinned:
        view.show(cell=index, pins=view.state().get("pins", ""))
        view.page.click("#pin")
    view.show(cell=7, pins=",".join(map(str, pinned)))
    view.page.click("#pin")
    assert "Four cells are pinned already" in view.page.inner_text("#toast")
    view.page.click("#tab-compare")
    for bench in benches:
        for dataset in bench.datasets:
            for metric in bench.measured(dataset):
                row = f'#compare tr[data-variable="{bench.name}/{dataset}/{metric.column}"] td'
                shown = view.page.locator(row).evaluate_all("all => all.map(one => Number(one.dataset.value))")
                answers = bench.query_many(pinned, dataset, metric.column).tolist()
                assert shown == answers
                best = view.page.locator(f"{row}.best").evaluate_all("all => all.map(one => Number(one.dataset.value))")
                assert set(best) == {max(answers)}
    view.page.click("#compare thead .quiet >> nth=3")
    assert view.state()["pins"] == "9930,1716,81"


def test_pairs_are_counted_image_by_image(view, benches):
    """The four counts add up to all pairs of an image and a seed, and agree with the accuracies of both."""
    view.show(tab="compare", pins="9930,1716,5", image="pgd_acc@0.1~all")
    view.page.wait_for_selector("#paired tr[data-pair]")
    for pair, cells_of in (("AB", (9930, 1716)), ("AC", (9930, 5)), ("BC", (1716, 5))):
        tds = view.page.locator(f'#paired tr[data-pair="{pair}"] td')
        both, first, second, neither = (
            int(value) for value in tds.evaluate_all("all => all.map(one => one.dataset.value)")
        )
        assert both + first + second + neither == 517 * 3
        counts = [benches[0].lookup(index, metric="pgd_acc").correct for index in cells_of]
        assert counts == [both + first, both + second]
